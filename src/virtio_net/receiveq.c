/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copying frames into the driver's buffers: the one copy of a frame's life.
 *
 * Two passes over the frames of a burst. The first takes buffers for each frame and asks for their first
 * line for writing, the second copies; so the lines are on their way, all at once, while the first ones
 * are filled. The driver's index moves once, at the end.
 */
#include "virtio_net/header.h"
#include "virtio_net/queue.h"
#include "virtio_net/segment.h"
#include "virtqueue/device.h"

/* The room that was taken for a frame. */
struct reservation {
    const struct frame *frame;
    struct iovec *room;
    uint16_t num_buffers;
};

/* Buffers of the ring as they are being taken, and the scratch space that describes them. */
struct taker {
    struct shunt_virtqueue *queue;
    struct iovec *room;
    unsigned num_room;
    unsigned available; /* chains that are left */
};

/* Takes one buffer. Its writable bytes; 0: none is there; -EPROTO or -ENOBUFS. */
static int64_t take_buffer(struct taker *taker, uint16_t *head)
{
    struct shunt_chain chain;
    struct iovec *room = &taker->room[taker->num_room];
    int result;

    if (taker->available == 0) {
        taker->available = virtqueue_available(taker->queue, BURST_MAX_FRAMES);
        if (taker->available == 0)
            return taker->queue->fault == FAULT_NONE ? 0 : -EPROTO;
    }
    result = virtqueue_fetch(taker->queue, &chain, room, BURST_MAX_SEGMENTS - taker->num_room);
    if (__builtin_expect(result < 0, 0))
        return result;
    taker->available--;
    if (__builtin_expect(chain.num_writable == 0, 0)) {
        virtqueue_break(taker->queue, FAULT_NOT_WRITABLE, chain.head);
        return -EPROTO;
    }
    /* A receive buffer has nothing for us to read: what is readable is passed over. */
    for (unsigned i = 0; i < chain.num_writable && chain.num_readable > 0; i++)
        room[i] = room[i + chain.num_readable];
    taker->num_room += chain.num_writable;
    *head = chain.head;
    return chain.writable_len;
}

/*
 * Why a frame got no room: `result` is what the last take_buffer() said, after `num_buffers` that did
 * not suffice.
 */
static enum drop why_no_room(const struct taker *taker, int64_t result, unsigned num_buffers)
{
    if (result == -EPROTO)
        return DROP_PORT_DOWN;
    if (result > 0)
        return DROP_TOO_BIG;
    if (result == -ENOBUFS || num_buffers == taker->queue->size)
        return DROP_NO_BUFFERS;
    return DROP_RING_FULL;
}

/*
 * Takes as many buffers as the frame needs and marks them used, or takes none and says why. With
 * mergeable buffers a frame fills one after the other; without them it must fit into one (5.1.6.4).
 */
static enum drop reserve(struct taker *taker, const struct net_format *format,
                         struct reservation *reservation)
{
    struct virtqueue_cursor start = virtqueue_cursor(taker->queue);
    unsigned first_room = taker->num_room, num_buffers = 0;
    uint32_t left = format->header_bytes + reservation->frame->len;
    int64_t len;

    reservation->room = &taker->room[first_room];
    for (;;) {
        uint16_t head = 0;

        len = num_buffers < taker->queue->size ? take_buffer(taker, &head) : 0;
        if (len <= 0)
            break;
        num_buffers++;
        if (len >= left) {
            virtqueue_return(taker->queue, head, left);
            reservation->num_buffers = (uint16_t)num_buffers;
            return DROP_NUM;
        }
        if (!format->is_mergeable)
            break;
        virtqueue_return(taker->queue, head, (uint32_t)len);
        left -= (uint32_t)len;
    }
    virtqueue_rewind(taker->queue, start);
    taker->num_room = first_room;
    taker->available = 0; /* what was counted is to be counted again from the start */
    return why_no_room(taker, len, num_buffers);
}

/*
 * The Ethernet header is written from the copy that the decision was made on: the sender may have changed
 * its own since.
 */
static void fill(const struct reservation *reservation, const struct net_format *format)
{
    const struct frame *frame = reservation->frame;
    struct net_header header = {.num_buffers = reservation->num_buffers};
    struct segment_cursor to = segment_start(reservation->room);
    struct segment_cursor from = segment_start(frame->segments);

    segment_write(&to, &header, format->header_bytes);
    segment_write(&to, &frame->ethernet, ETHERNET_HEADER_BYTES);
    segment_skip(&from, ETHERNET_HEADER_BYTES);
    segment_copy(&to, &from, frame->len - ETHERNET_HEADER_BYTES);
}

void receiveq_copy(struct shunt_virtqueue *queue, const struct net_format *format,
                   struct burst *burst, burst_mask which, struct counters *tx)
{
    struct reservation reservations[BURST_MAX_FRAMES];
    struct taker taker = {.queue = queue, .room = burst->room};
    unsigned num = 0;
    uint64_t bytes = 0;

    while (which) {
        struct reservation *reservation = &reservations[num];
        enum drop drop;

        reservation->frame = &burst->frames[burst_next(&which)];
        drop = reserve(&taker, format, reservation);
        if (__builtin_expect(drop == DROP_NUM, 1)) {
            __builtin_prefetch(reservation->room->iov_base, 1);
            num++;
            continue;
        }
        counter_add(&tx->drops[drop], 1);
        if (drop == DROP_RING_FULL || drop == DROP_PORT_DOWN) {
            /* Nor do the others go: order counts for more than a small frame that might fit. */
            counter_add(&tx->drops[drop], (unsigned)__builtin_popcountll(which));
            break;
        }
    }
    for (unsigned i = 0; i < num; i++) {
        fill(&reservations[i], format);
        bytes += reservations[i].frame->len;
    }
    if (num == 0)
        return;
    counter_add(&tx->packets, num);
    counter_add(&tx->bytes, bytes);
    virtqueue_publish(queue);
}
