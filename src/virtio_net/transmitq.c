/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lending the driver's frames.
 *
 * Two passes over a burst, so that the misses overlap: the first gathers the chains and asks for the line
 * in which each frame begins, the second copies the two headers out of it, checks the copies and fills in
 * the frames.
 */
#include "base/prefetch.h"
#include "virtio_net/header.h"
#include "virtio_net/queue.h"
#include "virtio_net/segment.h"
#include "virtqueue/device.h"

struct net_format net_format_of(uint64_t features)
{
    return (struct net_format){
        .header_bytes = net_header_bytes(features),
        .is_mergeable = feature_is_set(features, NET_F_MRG_RXBUF),
    };
}

/* A chain that is none of the usual. Its pieces; or as virtqueue_fetch(). */
static ALWAYS_INLINE int gather_pieces(struct shunt_virtqueue *queue, enum ring_format ring,
                                       struct iovec *segments, unsigned max,
                                       struct used_chain *used, struct frame *frame)
{
    struct shunt_chain chain;
    int result = virtqueue_fetch(queue, ring, &chain, segments, max);

    if (result <= 0)
        return result;
    *used = chain_used(&chain, 0);
    frame->num_segments = chain.num_readable;
    frame->len = chain.readable_len;
    return 1;
}

/*
 * Takes a burst of chains; their buffers become the frames' segments, with the virtio-net header still in
 * front. The number of frames.
 */
static ALWAYS_INLINE unsigned gather(struct shunt_virtqueue *queue, enum ring_format ring,
                                     struct burst *burst, struct counters *rx)
{
    unsigned available = virtqueue_available(queue, ring, BURST_MAX_FRAMES);
    unsigned num = 0, num_segments = 0;

    while (num < available) {
        struct iovec *segments = &burst->segments[num_segments];
        struct frame *frame = &burst->frames[num];
        struct plain_chain plain;
        int result = 1;

        if (virtqueue_fetch_plain(queue, ring, &plain)) {
            segments[0] = (struct iovec){.iov_base = plain.start, .iov_len = plain.len};
            burst->chains[num] = (struct used_chain){.id = plain.id, .num_descriptors = 1};
            frame->num_segments = !plain.is_writable;
            frame->len = plain.is_writable ? 0 : plain.len;
            prefetch_head_for_reading(plain.start, plain.len);
        } else {
            result = gather_pieces(queue, ring, segments, BURST_MAX_SEGMENTS - num_segments,
                                   &burst->chains[num], frame);
        }
        if (__builtin_expect(result == -ENOBUFS && num == 0, 0)) {
            /* More pieces than the largest ring can have: nobody can carry such a frame. */
            burst->chains[0] = virtqueue_skip(queue, ring);
            burst->num_chains = 1;
            counter_add(&rx->drops[DROP_OVERSIZE], 1);
            counter_add(&rx->packets, 1);
            return 0;
        }
        if (__builtin_expect(result <= 0, 0))
            break; /* no more, broken, or the rest of the chains wait for the next burst */
        frame->segments = segments;
        num_segments += frame->num_segments;
        num++;
    }
    burst->num_chains = num;
    return num;
}

static unsigned gather_split(struct shunt_virtqueue *queue, struct burst *burst,
                             struct counters *rx)
{
    return gather(queue, RING_SPLIT, burst, rx);
}

static unsigned gather_packed(struct shunt_virtqueue *queue, struct burst *burst,
                              struct counters *rx)
{
    return gather(queue, RING_PACKED, burst, rx);
}

/* Moves the start of the frame to the cursor, behind which there is more. */
static void cut_front(struct frame *frame, const struct segment_cursor *cursor)
{
    struct iovec *first = (struct iovec *)(uintptr_t)cursor->segment;
    size_t offset = cursor->offset;

    if (offset == first->iov_len) {
        first++;
        offset = 0;
    }
    frame->num_segments -= (uint32_t)(first - frame->segments);
    frame->segments = first;
    first->iov_base = (uint8_t *)first->iov_base + offset;
    first->iov_len -= offset;
}

/* Both headers of a frame that lies in one piece. */
static ALWAYS_INLINE void read_piece(struct frame *frame, unsigned header_bytes,
                                     struct net_header *header)
{
    struct iovec *segment = (struct iovec *)(uintptr_t)frame->segments;
    uint8_t *start = segment->iov_base;

    memcpy(header, start, NET_HEADER_LEGACY_BYTES);
    memcpy(&frame->ethernet, start + header_bytes, sizeof(frame->ethernet));
    segment->iov_base = start + header_bytes;
    segment->iov_len -= header_bytes;
}

static void read_pieces(struct frame *frame, unsigned header_bytes, struct net_header *header)
{
    struct segment_cursor cursor = segment_start(frame->segments);

    segment_read(&cursor, header, header_bytes);
    cut_front(frame, &cursor);
    cursor = segment_start(frame->segments);
    segment_read(&cursor, &frame->ethernet, sizeof(frame->ethernet));
}

/* Takes the header off the frame, or says why it is none. */
static ALWAYS_INLINE enum drop open_frame(struct frame *frame, unsigned header_bytes)
{
    struct net_header header = {0};

    if (__builtin_expect(frame->len < header_bytes + ETHERNET_HEADER_BYTES, 0))
        return DROP_RUNT;
    if (__builtin_expect(frame->len > header_bytes + FRAME_MAX_BYTES, 0))
        return DROP_OVERSIZE;
    if (__builtin_expect(frame->num_segments == 1, 1))
        read_piece(frame, header_bytes, &header);
    else
        read_pieces(frame, header_bytes, &header);
    atomic_signal_fence(memory_order_seq_cst); /* what follows looks at the copies only */
    frame->len -= header_bytes;
    return __builtin_expect(net_header_is_plain(&header), 1) ? DROP_NUM : DROP_BAD_OFFLOAD;
}

unsigned transmitq_lend(struct shunt_virtqueue *queue, const struct net_format *format,
                        struct burst *burst, struct counters *rx)
{
    unsigned num = queue->format == RING_PACKED ? gather_packed(queue, burst, rx)
                                                : gather_split(queue, burst, rx);
    unsigned header_bytes = format->header_bytes;
    uint64_t bytes = 0;

    burst->num = 0;
    for (unsigned i = 0; i < num; i++) {
        struct frame *frame = &burst->frames[i];
        enum drop drop = queue->is_enabled ? open_frame(frame, header_bytes) : DROP_QUEUE_DISABLED;

        if (__builtin_expect(drop != DROP_NUM, 0)) {
            counter_add(&rx->drops[drop], 1);
            continue;
        }
        bytes += frame->len;
        if (__builtin_expect(burst->num != i, 0))
            burst->frames[burst->num] = *frame;
        burst->num++;
    }
    if (num > 0) {
        counter_add(&rx->packets, num);
        counter_add(&rx->bytes, bytes);
    }
    if (burst->num == 0)
        transmitq_give_back(queue, burst);
    return burst->num;
}

void transmitq_give_back(struct shunt_virtqueue *queue, struct burst *burst)
{
    if (burst->num_chains == 0 || !queue->is_running)
        return;
    virtqueue_return(queue, queue->format, burst->chains, burst->num_chains);
    burst->num_chains = 0;
    virtqueue_publish(queue, queue->format);
}
