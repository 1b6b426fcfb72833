/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lending the driver's frames.
 *
 * Two passes over a burst, so that the misses overlap: the first gathers the chains and asks for the line
 * in which each frame begins, the second copies the two headers out of it, checks the copies and fills in
 * the frames.
 */
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

/* A chain as the first pass leaves it for the second. */
struct gathered {
    struct iovec *segments;
    unsigned num_segments;
    uint32_t len; /* the virtio-net header included */
};

static ALWAYS_INLINE unsigned gather(struct shunt_virtqueue *queue, enum ring_format format,
                                     struct burst *burst,
                                     struct gathered gathered[BURST_MAX_FRAMES],
                                     struct counters *rx)
{
    unsigned available = virtqueue_available(queue, format, BURST_MAX_FRAMES);
    unsigned num = 0, num_segments = 0;

    burst->num_chains = 0;
    while (burst->num_chains < available) {
        struct iovec *segments = &burst->segments[num_segments];
        struct shunt_chain chain;
        int result = virtqueue_fetch(queue, format, &chain, segments,
                                     BURST_MAX_SEGMENTS - num_segments);

        if (__builtin_expect(result == -ENOBUFS && burst->num_chains == 0, 0)) {
            /* More pieces than the largest ring can have: nobody can carry such a frame. */
            burst->chains[burst->num_chains++] = virtqueue_skip(queue, format);
            counter_add(&rx->drops[DROP_OVERSIZE], 1);
            counter_add(&rx->packets, 1);
            break;
        }
        if (__builtin_expect(result <= 0, 0))
            break; /* no more, broken, or the rest of the chains wait for the next burst */
        burst->chains[burst->num_chains++] = chain_used(&chain, 0);
        if (chain.num_readable > 0)
            __builtin_prefetch(segments[0].iov_base);
        gathered[num++] = (struct gathered){segments, chain.num_readable, chain.readable_len};
        num_segments += chain.num_readable;
    }
    return num;
}

static unsigned gather_split(struct shunt_virtqueue *queue, struct burst *burst,
                             struct gathered *gathered, struct counters *rx)
{
    return gather(queue, RING_SPLIT, burst, gathered, rx);
}

static unsigned gather_packed(struct shunt_virtqueue *queue, struct burst *burst,
                              struct gathered *gathered, struct counters *rx)
{
    return gather(queue, RING_PACKED, burst, gathered, rx);
}

/* The offload that a frame asks for: none was negotiated, so none may be asked for. */
static bool is_offload_valid(const struct net_header *header)
{
    return !(header->flags & NET_HEADER_F_NEEDS_CSUM) && header->gso_type == NET_HEADER_GSO_NONE;
}

/* Moves the start of the list to the cursor, behind which there is more. */
static void cut_front(struct gathered *chain, const struct segment_cursor *cursor)
{
    unsigned skipped = (unsigned)(cursor->segment - chain->segments);
    size_t offset = cursor->offset;

    if (offset == cursor->segment->iov_len) {
        skipped++;
        offset = 0;
    }
    chain->segments += skipped;
    chain->num_segments -= skipped;
    chain->segments->iov_base = (uint8_t *)chain->segments->iov_base + offset;
    chain->segments->iov_len -= offset;
}

/* Fills in the frame, or says why it is none. */
static enum drop open_frame(const struct net_format *format, struct gathered *chain,
                            struct frame *frame)
{
    struct segment_cursor cursor = segment_start(chain->segments);
    struct net_header header = {0};

    if (chain->len < format->header_bytes + ETHERNET_HEADER_BYTES)
        return DROP_RUNT;
    if (chain->len > format->header_bytes + FRAME_MAX_BYTES)
        return DROP_OVERSIZE;
    segment_read(&cursor, &header, format->header_bytes);
    if (!is_offload_valid(&header))
        return DROP_BAD_OFFLOAD;
    cut_front(chain, &cursor);
    frame->segments = chain->segments;
    frame->num_segments = chain->num_segments;
    frame->len = chain->len - format->header_bytes;
    cursor = segment_start(chain->segments);
    segment_read(&cursor, &frame->ethernet, ETHERNET_HEADER_BYTES);
    return DROP_NUM;
}

unsigned transmitq_lend(struct shunt_virtqueue *queue, const struct net_format *format,
                        struct burst *burst, struct counters *rx)
{
    struct gathered gathered[BURST_MAX_FRAMES];
    unsigned num = queue->format == RING_PACKED ? gather_packed(queue, burst, gathered, rx)
                                                : gather_split(queue, burst, gathered, rx);
    uint64_t bytes = 0;

    burst->num = 0;
    for (unsigned i = 0; i < num; i++) {
        struct frame *frame = &burst->frames[burst->num];
        enum drop drop = queue->is_enabled ? open_frame(format, &gathered[i], frame)
                                           : DROP_QUEUE_DISABLED;

        if (__builtin_expect(drop != DROP_NUM, 0)) {
            counter_add(&rx->drops[drop], 1);
            continue;
        }
        bytes += frame->len;
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
