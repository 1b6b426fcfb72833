/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copying frames into the driver's buffers: the one copy of a frame's life.
 *
 * Two passes over the frames of a burst. The first takes buffers for each frame and asks for their first
 * line for writing, the second copies; so the lines are on their way, all at once, while the first ones
 * are filled. The driver's index moves once, at the end.
 */
#include "base/prefetch.h"
#include "virtio_net/header.h"
#include "virtio_net/queue.h"
#include "virtio_net/segment.h"
#include "virtqueue/device.h"

/* Beyond this the processor sees by itself where a copy goes on. */
#define PREFETCH_MAX_BYTES 2048u

/* The room that was taken for a frame. */
struct reservation {
    const struct frame *frame;
    uint8_t *start;     /* of its first piece */
    struct iovec *room; /* all its pieces; NULL: the first is all */
    uint16_t num_buffers;
};

/* Buffers of the ring as they are being taken, and the scratch space that describes them. */
struct taker {
    struct shunt_virtqueue *queue;
    const struct net_format *format;
    struct counters *tx;
    struct iovec *room;
    struct used_chain *used;
    unsigned num_room;
    unsigned num_used;
    burst_mask waiting; /* frames that can find no room before the IOTLB is told of it */
};

/* What nearly every frame needs: one buffer, which is plain and large enough. It is taken, or not. */
static ALWAYS_INLINE bool reserve_plain(struct taker *taker, enum ring_format ring,
                                        struct reservation *reservation)
{
    uint32_t needed = taker->format->header_bytes + reservation->frame->len;
    uint16_t start = taker->queue->next_available;
    struct plain_chain plain;

    if (!virtqueue_fetch_plain(taker->queue, ring, &plain))
        return false;
    if (__builtin_expect(!plain.is_writable || plain.len < needed, 0)) {
        taker->queue->next_available = start;
        return false;
    }
    taker->used[taker->num_used++] = (struct used_chain){plain.id, 1, needed};
    reservation->start = plain.start;
    reservation->room = NULL;
    reservation->num_buffers = 1;
    return true;
}

/* Fetches a buffer, looking again for new ones when those that were seen are used up. */
static ALWAYS_INLINE int fetch_buffer(struct taker *taker, enum ring_format ring,
                                      struct shunt_chain *chain)
{
    int result;

    do
        result = virtqueue_fetch(taker->queue, ring, chain, &taker->room[taker->num_room],
                                 BURST_MAX_SEGMENTS - taker->num_room);
    while (result == 0 && virtqueue_available(taker->queue, ring, BURST_MAX_FRAMES) > 0);
    return result;
}

/* Takes one buffer. Its writable bytes; 0: none is there; or as virtqueue_fetch(). */
static ALWAYS_INLINE int64_t take_buffer(struct taker *taker, enum ring_format ring)
{
    struct shunt_chain chain;
    struct iovec *room = &taker->room[taker->num_room];
    int result = fetch_buffer(taker, ring, &chain);

    if (__builtin_expect(result <= 0, 0))
        return result < 0 || taker->queue->is_running ? result : -EPROTO;
    if (__builtin_expect(chain.num_writable == 0, 0)) {
        virtqueue_break(taker->queue, FAULT_NOT_WRITABLE, chain.id);
        return -EPROTO;
    }
    /* A receive buffer has nothing for us to read: what is readable is passed over. */
    for (unsigned i = 0; i < chain.num_writable && chain.num_readable > 0; i++)
        room[i] = room[i + chain.num_readable];
    taker->num_room += chain.num_writable;
    taker->used[taker->num_used++] = chain_used(&chain, chain.writable_len);
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
    if (result == -EAGAIN)
        return DROP_IOTLB_MISS;
    if (result > 0)
        return DROP_TOO_BIG;
    if (result == -ENOBUFS || num_buffers == taker->queue->size)
        return DROP_NO_BUFFERS;
    return DROP_RING_FULL;
}

/* After these the others of the burst do not go either: order counts for more than one that might fit. */
static bool ends_burst(enum drop drop)
{
    return drop == DROP_RING_FULL || drop == DROP_PORT_DOWN;
}

/*
 * Takes as many buffers as the frame needs, or takes none and says why. With mergeable buffers a frame
 * fills one after the other; without them it must fit into one (5.1.6.4).
 */
static enum drop reserve(struct taker *taker, enum ring_format ring,
                         struct reservation *reservation)
{
    struct virtqueue_cursor start = virtqueue_cursor(taker->queue);
    unsigned first_room = taker->num_room, first_used = taker->num_used, num_buffers = 0;
    uint32_t left = taker->format->header_bytes + reservation->frame->len;
    int64_t len;

    reservation->room = &taker->room[first_room];
    for (;;) {
        len = num_buffers < taker->queue->size ? take_buffer(taker, ring) : 0;
        if (len <= 0)
            break;
        num_buffers++;
        if (len >= left) {
            taker->used[taker->num_used - 1].len = left;
            reservation->num_buffers = (uint16_t)num_buffers;
            reservation->start = reservation->room->iov_base;
            return DROP_NUM;
        }
        if (!taker->format->is_mergeable)
            break;
        left -= (uint32_t)len;
    }
    virtqueue_rewind(taker->queue, start);
    taker->num_room = first_room;
    taker->num_used = first_used;
    return why_no_room(taker, len, num_buffers);
}

/* A frame in one piece, into a room of one piece. */
static ALWAYS_INLINE void fill_piece(uint8_t *to, const struct net_header *header,
                                     unsigned header_bytes, const struct frame *frame)
{
    const uint8_t *from = frame->segments->iov_base;

    if (__builtin_expect(header_bytes == NET_HEADER_BYTES, 1))
        memcpy(to, header, NET_HEADER_BYTES); /* two stores */
    else
        memcpy(to, header, header_bytes);
    to += header_bytes;
    memcpy(to, &frame->ethernet, ETHERNET_HEADER_BYTES);
    segment_copy_bytes(to + ETHERNET_HEADER_BYTES, from + ETHERNET_HEADER_BYTES,
                       frame->len - ETHERNET_HEADER_BYTES);
}

static void fill_pieces(const struct reservation *reservation, const struct net_header *header,
                        unsigned header_bytes)
{
    const struct frame *frame = reservation->frame;
    struct iovec whole = {reservation->start, header_bytes + frame->len};
    struct segment_cursor to = segment_start(reservation->room ? reservation->room : &whole);
    struct segment_cursor from = segment_start(frame->segments);

    segment_write(&to, header, header_bytes);
    segment_write(&to, &frame->ethernet, ETHERNET_HEADER_BYTES);
    segment_skip(&from, ETHERNET_HEADER_BYTES);
    segment_copy(&to, &from, frame->len - ETHERNET_HEADER_BYTES);
}

/*
 * The Ethernet header is written from the copy that the decision was made on: the sender may have changed
 * its own since.
 */
static ALWAYS_INLINE void fill(const struct reservation *reservation, unsigned header_bytes)
{
    const struct frame *frame = reservation->frame;
    struct net_header header = {
        .num_buffers = reservation->num_buffers,
        .hash_value = frame->hash,
        .hash_report = frame->hash_report,
    };

    if (__builtin_expect(frame->num_segments == 1 && !reservation->room, 1))
        fill_piece(reservation->start, &header, header_bytes, frame);
    else
        fill_pieces(reservation, &header, header_bytes);
}

/* Of those that an index told of, and no more; a packed ring says it by itself. */
static ALWAYS_INLINE bool may_be_there(const struct shunt_virtqueue *queue, enum ring_format ring)
{
    return ring == RING_PACKED || queue->next_available != queue->seen_available;
}

/* The first pass. How many of the frames found room. */
static ALWAYS_INLINE unsigned reserve_all(struct taker *taker, enum ring_format ring,
                                          const struct burst *burst, burst_mask which,
                                          struct reservation *reservations)
{
    unsigned num = 0;

    virtqueue_available(taker->queue, ring, (unsigned)__builtin_popcountll(which));
    while (which) {
        struct reservation *reservation = &reservations[num];
        burst_mask left = which;
        enum drop drop = DROP_NUM;

        reservation->frame = &burst->frames[burst_next(&which)];
        if (!may_be_there(taker->queue, ring) || !reserve_plain(taker, ring, reservation))
            drop = reserve(taker, ring, reservation);
        if (__builtin_expect(drop == DROP_NUM, 1)) {
            prefetch_head_for_writing(reservation->start, reservation->frame->len);
            num++;
            continue;
        }
        if (drop == DROP_IOTLB_MISS) {
            taker->waiting = left;
            break;
        }
        counter_add(&taker->tx->drops[drop], 1);
        if (ends_burst(drop)) {
            counter_add(&taker->tx->drops[drop], (unsigned)__builtin_popcountll(which));
            break;
        }
    }
    return num;
}

static unsigned reserve_split(struct taker *taker, const struct burst *burst, burst_mask which,
                              struct reservation *reservations)
{
    return reserve_all(taker, RING_SPLIT, burst, which, reservations);
}

static unsigned reserve_packed(struct taker *taker, const struct burst *burst, burst_mask which,
                               struct reservation *reservations)
{
    return reserve_all(taker, RING_PACKED, burst, which, reservations);
}

/* What lies behind the heads of a large frame: both sides, while the one before it is copied. */
static ALWAYS_INLINE void prefetch_rest(const struct reservation *reservation)
{
    const struct frame *frame = reservation->frame;
    const uint8_t *from = frame->segments->iov_base;

    if (__builtin_expect(frame->num_segments != 1 || reservation->room, 0))
        return;
    for (uint32_t at = PREFETCH_HEAD_BYTES; at < frame->len && at < PREFETCH_MAX_BYTES;
         at += CACHE_LINE_BYTES) {
        prefetch_for_reading(from + at);
        prefetch_for_writing(reservation->start + at);
    }
}

static void mark(struct shunt_virtqueue *queue, const struct reservation *reservation, uint32_t len)
{
    if (reservation->room)
        virtqueue_mark_pieces(queue, reservation->room, len);
    else
        virtqueue_mark(queue, reservation->start, len);
}

burst_mask receiveq_copy(struct shunt_virtqueue *queue, const struct net_format *format,
                         struct burst *burst, burst_mask which, struct counters *tx)
{
    struct reservation reservations[BURST_MAX_FRAMES];
    struct taker taker = {
        .queue = queue,
        .format = format,
        .tx = tx,
        .room = burst->room,
        .used = burst->used,
    };
    uint64_t bytes = 0;
    unsigned num = queue->format == RING_PACKED ? reserve_packed(&taker, burst, which, reservations)
                                                : reserve_split(&taker, burst, which, reservations);

    for (unsigned i = 0; i < num; i++) {
        const struct reservation *reservation = &reservations[i];

        if (i + 1 < num)
            prefetch_rest(reservation + 1);
        fill(reservation, format->header_bytes);
        bytes += reservation->frame->len;
        if (__builtin_expect(queue->is_logging, 0))
            mark(queue, reservation, format->header_bytes + reservation->frame->len);
    }
    if (num == 0)
        return taker.waiting;
    counter_add(&tx->packets, num);
    counter_add(&tx->bytes, bytes);
    virtqueue_return(queue, queue->format, taker.used, taker.num_used);
    virtqueue_publish(queue, queue->format);
    return taker.waiting;
}
