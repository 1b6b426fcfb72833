/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copying frames into our own buffers for the back-end to read.
 *
 * Each slot of the ring has a buffer, so that what is free in the ring is free in memory. A frame
 * takes as many slots as it fills buffers; slots come back in the order in which they were used, so
 * the same frames get the same ones again and their descriptors stay as they are.
 *
 * Two passes over the frames of a burst: the first finds room and asks for its lines for writing,
 * because the back-end has them in its cache; the second copies.
 */
#include <string.h>

#include "port/virtio_user.h"
#include "virtio_net/flow.h"
#include "virtio_net/header.h"
#include "virtio_net/segment.h"
#include "virtqueue/driver.h"

/* The frames that found room. */
struct reservation {
    const struct frame *frame;
    unsigned num_slots;
};

/* --- Room ------------------------------------------------------------------------------------- */

static uint8_t *buffer_of(const struct virtio_user_tx *tx, uint16_t slot)
{
    return tx->buffers + (size_t)slot * VIRTIO_USER_BUFFER_BYTES;
}

static unsigned num_slots(const struct frame *frame)
{
    return (NET_HEADER_BYTES + frame->len + VIRTIO_USER_BUFFER_BYTES - 1) /
           VIRTIO_USER_BUFFER_BYTES;
}

/* Takes back what the back-end has read. */
static ALWAYS_INLINE void reclaim(const struct virtio_user_tx *tx, enum ring_format format)
{
    struct shunt_driver_used used[BURST_MAX_FRAMES];

    while (driver_queue_take(tx->ring, format, used, BURST_MAX_FRAMES) == (int)BURST_MAX_FRAMES)
        ;
}

/*
 * Finds room for frames, in their order. How many; those after the first that finds none because
 * the ring is full do not go either: order counts for more than one that might fit.
 */
static ALWAYS_INLINE unsigned reserve(const struct virtio_user_tx *tx, enum ring_format format,
                                      const struct burst *burst, burst_mask which,
                                      struct reservation *reservations, struct counters *counters)
{
    unsigned num = 0, ahead = 0;

    if (tx->ring->num_free < tx->ring->size / 2)
        reclaim(tx, format);
    while (which) {
        burst_mask left = which;
        const struct frame *frame = &burst->frames[burst_next(&which)];
        unsigned needed = num_slots(frame);

        if (__builtin_expect(needed > tx->ring->size, 0)) {
            counter_add(&counters->drops[DROP_TOO_BIG], 1);
            continue;
        }
        if (__builtin_expect(ahead + needed > tx->ring->num_free, 0)) {
            reclaim(tx, format);
            if (ahead + needed > tx->ring->num_free) {
                counter_add(&counters->drops[DROP_RING_FULL], (uint64_t)__builtin_popcountll(left));
                break;
            }
        }
        __builtin_prefetch(buffer_of(tx, driver_queue_slot_ahead(tx->ring, ahead)), 1);
        reservations[num++] = (struct reservation){frame, needed};
        ahead += needed;
    }
    return num;
}

/* --- Copying ---------------------------------------------------------------------------------- */

/*
 * Without offloads all of the header is 0; num_buffers is not for drivers to set (VIRTIO 1.3,
 * 5.1.6.2.1).
 */
static const struct net_header no_header;

/*
 * The Ethernet header is written from the copy that the decision was made on: the sender may have
 * changed its own since.
 */
static void fill_pieces(const struct iovec *room, const struct frame *frame)
{
    struct segment_cursor to = segment_start(room), from = segment_start(frame->segments);

    segment_write(&to, &no_header, NET_HEADER_BYTES);
    segment_write(&to, &frame->ethernet, ETHERNET_HEADER_BYTES);
    segment_skip(&from, ETHERNET_HEADER_BYTES);
    segment_copy(&to, &from, frame->len - ETHERNET_HEADER_BYTES);
}

static ALWAYS_INLINE void fill_piece(uint8_t *to, const struct frame *frame)
{
    const uint8_t *from = frame->segments->iov_base;

    memset(to, 0, NET_HEADER_BYTES);
    to += NET_HEADER_BYTES;
    memcpy(to, &frame->ethernet, ETHERNET_HEADER_BYTES);
    segment_copy_bytes(to + ETHERNET_HEADER_BYTES, from + ETHERNET_HEADER_BYTES,
                       frame->len - ETHERNET_HEADER_BYTES);
}

/* What nearly every frame is: in one piece, and it goes into one. */
static ALWAYS_INLINE void send_plain(const struct virtio_user_tx *tx, enum ring_format format,
                                     const struct frame *frame)
{
    struct iovec room = {
        buffer_of(tx, driver_queue_next_id(tx->ring)),
        NET_HEADER_BYTES + frame->len,
    };

    fill_piece(room.iov_base, frame);
    driver_queue_add(tx->ring, format, &room, 1, 1, NULL);
}

static void send_pieces(const struct virtio_user_tx *tx, const struct reservation *reservation,
                        struct iovec *room)
{
    size_t left = NET_HEADER_BYTES + reservation->frame->len;

    for (unsigned i = 0; i < reservation->num_slots; i++) {
        room[i].iov_base = buffer_of(tx, driver_queue_slot_ahead(tx->ring, i));
        room[i].iov_len = left < VIRTIO_USER_BUFFER_BYTES ? left : VIRTIO_USER_BUFFER_BYTES;
        left -= room[i].iov_len;
    }
    fill_pieces(room, reservation->frame);
    driver_queue_add(tx->ring, tx->ring->format, room, reservation->num_slots,
                     reservation->num_slots, NULL);
}

static ALWAYS_INLINE void copy_burst(const struct virtio_user_tx *tx, enum ring_format format,
                                     const struct burst *burst, burst_mask which,
                                     struct counters *counters)
{
    struct reservation reservations[BURST_MAX_FRAMES];
    unsigned num = reserve(tx, format, burst, which, reservations, counters);
    uint64_t bytes = 0;

    for (unsigned i = 0; i < num; i++) {
        const struct frame *frame = reservations[i].frame;

        if (__builtin_expect(reservations[i].num_slots == 1 && frame->num_segments == 1, 1))
            send_plain(tx, format, frame);
        else
            send_pieces(tx, &reservations[i], burst->room);
        bytes += frame->len;
    }
    driver_queue_publish(tx->ring, format);
    counter_add(&counters->packets, num);
    counter_add(&counters->bytes, bytes);
}

static void copy_to(struct port_queue *queue, const struct burst *burst, burst_mask which)
{
    const struct virtio_user_tx *tx = virtio_user_tx_of(queue);

    shunt_driver_queue_lock(tx->ring);
    if (!tx->ring->is_running)
        counter_add(&queue->tx.drops[DROP_PORT_DOWN], (uint64_t)__builtin_popcountll(which));
    else if (tx->ring->format == RING_PACKED)
        copy_burst(tx, RING_PACKED, burst, which, &queue->tx);
    else
        copy_burst(tx, RING_SPLIT, burst, which, &queue->tx);
    shunt_driver_queue_unlock(tx->ring);
}

/* --- Choosing queues -------------------------------------------------------------------------- */

/*
 * Each flow has its queue, whichever it came from: so a sender with one queue is spread over the
 * workers of the other switch, too. What comes back is on the queue where the device steers it to.
 */
static void spread(struct port *port, unsigned num, struct burst *burst, burst_mask which)
{
    uint8_t queues[BURST_MAX_FRAMES] = {0};

    for (burst_mask left = which; left;) {
        unsigned i = burst_next(&left);

        queues[i] = (uint8_t)(burst_flow_hash(burst, i) % num);
    }
    while (which) {
        unsigned queue = queues[__builtin_ctzll(which)];
        burst_mask same = 0;

        for (burst_mask left = which; left;) {
            unsigned i = burst_next(&left);

            same |= (burst_mask)(queues[i] == queue) << i;
        }
        copy_to(&port->queues[queue], burst, same);
        which &= ~same;
    }
}

void virtio_user_copy(struct port *port, unsigned hint, struct burst *burst, burst_mask which)
{
    unsigned num = atomic_load_explicit(&port->num_tx_queues, memory_order_acquire);

    (void)hint;
    if (num == 0)
        port_count_down(port, (uint64_t)__builtin_popcountll(which));
    else if (num == 1)
        copy_to(&port->queues[0], burst, which);
    else
        spread(port, num, burst, which);
}
