/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation.
 *
 * What a small frame costs is the cache lines that cross from the generator's core to ours and back: two
 * that it wrote, and two that it has read and we write. A core can have a dozen or so of them on
 * their way at once, and stores leave it in order: one store to a line that is not there yet holds up all
 * behind it. Hence three steps over a burst:
 *
 *     gather    descriptors of both rings; the frames' lines are asked for, then the buffers', for writing
 *     copy      by then they are here, or nearly
 *     complete  used entries and one index, or flag, for each ring
 *
 * Entries of the used ring that hold already what is to be written are left alone: then their lines stay
 * in both caches. A packed ring has no such entries; its descriptors are asked for writing
 * before they are read, so that they cross once.
 *
 * The body is written once, and inlined for each format of both rings. A chain of several descriptors, or a
 * frame that takes several buffers, goes the general way, alone.
 */
#include "lane.h"

#include <err.h>
#include <string.h>

#include "copy.h"
#include "virtqueue/device.h"

#define BURST       32u
#define MAX_PIECES  1024u /* of the largest frame, on either side */
#define PER_LINE    4u    /* descriptors in a cache line */
#define NUM_BUFFERS 10u   /* where it lies in the header (VIRTIO 1.3, 5.1.6) */
#define LINE_BYTES  64u
#define HEAD_BYTES  128u /* of each frame, which are asked for as soon as it is known where it is */

/* A buffer as one descriptor names it. */
struct slot {
    uint8_t *host;
    uint32_t len;
    uint16_t id;
};

/* --- One ring ---------------------------------------------------------------------------------------- */

static ALWAYS_INLINE uint8_t *translate(struct shunt_virtqueue *queue, uint64_t addr)
{
    const struct memory_range *range = queue->last_range;

    if (__builtin_expect(!range || !memory_range_holds(range, addr), 0) &&
        virtqueue_find_range(queue, addr, MEMORY_READ, &range) < 0)
        errx(1, "no guest memory at %#llx", (unsigned long long)addr);
    return range->host + (addr - range->addr);
}

/* Descriptors that are available, up to `most`. */
static ALWAYS_INLINE unsigned look(struct shunt_virtqueue *queue, enum ring_format format,
                                   unsigned most)
{
    uint16_t num;

    if (format == RING_PACKED)
        return packed_available(queue, most);
    num = (uint16_t)(queue->seen_available - queue->next_available);
    if (num < most) {
        queue->seen_available = LOAD_ACQUIRE(&queue->split.available->idx);
        num = (uint16_t)(queue->seen_available - queue->next_available);
    }
    return num < most ? num : most;
}

/* Lines that will be read and then written are asked for writing at once. */
static ALWAYS_INLINE void ask_for_descriptors(struct shunt_virtqueue *queue,
                                              enum ring_format format, unsigned num)
{
    uint16_t position = queue->next_available;

    if (format != RING_PACKED)
        return;
    for (unsigned i = 0; i < num; i += PER_LINE) {
        __builtin_prefetch(&queue->packed.descriptors[packed_idx(position)], 1);
        position = packed_advance(position, PER_LINE, queue->size);
    }
}

/* The first lines of a frame: where it lies, or where it will. */
static ALWAYS_INLINE void ask_for(const uint8_t *frame, uint32_t len, bool for_writing)
{
    for (unsigned at = 0; at < len && at < HEAD_BYTES; at += LINE_BYTES) {
        if (for_writing)
            __builtin_prefetch(frame + at, 1);
        else
            __builtin_prefetch(frame + at, 0);
    }
}

#define IN_CHAIN (DESCRIPTOR_F_NEXT | DESCRIPTOR_F_INDIRECT)

/*
 * Reads up to `num` descriptors from the next one on: that stand alone, and are as large as their
 * counterparts in `frames`, if there are any. How many; nothing is taken yet.
 */
static ALWAYS_INLINE unsigned gather_split(struct shunt_virtqueue *queue, struct slot *slots,
                                           const struct slot *frames, unsigned num)
{
    for (unsigned i = 0; i < num; i++) {
        uint16_t id = split_head_at(queue, (uint16_t)(queue->next_available + i));
        const struct split_descriptor *descriptor =
            &queue->split.descriptors[id & (queue->size - 1)];

        if (__builtin_expect((descriptor->flags & IN_CHAIN) ||
                                 (frames && descriptor->len < frames[i].len),
                             0))
            return i;
        slots[i] = (struct slot){translate(queue, descriptor->addr), descriptor->len, id};
        ask_for(slots[i].host, frames ? frames[i].len : descriptor->len, frames != NULL);
    }
    return num;
}

static ALWAYS_INLINE unsigned gather_packed(struct shunt_virtqueue *queue, struct slot *slots,
                                            const struct slot *frames, unsigned num)
{
    uint16_t position = queue->next_available;

    for (unsigned i = 0; i < num; i++) {
        struct packed_descriptor descriptor = packed_load(
            &queue->packed.descriptors[packed_idx(position)]);

        if (!packed_is_available(descriptor.flags, position) ||
            __builtin_expect((descriptor.flags & IN_CHAIN) ||
                                 (frames && descriptor.len < frames[i].len),
                             0))
            return i;
        slots[i] = (struct slot){translate(queue, descriptor.addr), descriptor.len, descriptor.id};
        ask_for(slots[i].host, frames ? frames[i].len : descriptor.len, frames != NULL);
        position = packed_advance(position, 1, queue->size);
    }
    return num;
}

static ALWAYS_INLINE unsigned gather(struct shunt_virtqueue *queue, enum ring_format format,
                                     struct slot *slots, const struct slot *frames, unsigned num)
{
    return format == RING_PACKED ? gather_packed(queue, slots, frames, num)
                                 : gather_split(queue, slots, frames, num);
}

static ALWAYS_INLINE void complete_split(struct shunt_virtqueue *queue, const struct slot *slots,
                                         const struct slot *frames, unsigned num)
{
    for (unsigned i = 0; i < num; i++) {
        struct split_used_element *element =
            &queue->split.used->ring[queue->next_used++ & (queue->size - 1)];
        uint32_t len = frames ? frames[i].len : 0;

        if (element->id != slots[i].id || element->len != len)
            *element = (struct split_used_element){slots[i].id, len};
    }
    queue->next_available = (uint16_t)(queue->next_available + num);
    split_publish(queue);
}

/* Length, id and flags are one word. The first one is written last: the driver looks at no other before. */
static ALWAYS_INLINE void complete_packed(struct shunt_virtqueue *queue, const struct slot *slots,
                                          const struct slot *frames, unsigned num)
{
    uint16_t position = queue->next_used;
    uint64_t first_word = 0;
    uint64_t *first = NULL;

    for (unsigned i = 0; i < num; i++) {
        unsigned flags = packed_used_flags(position) | (frames ? DESCRIPTOR_F_WRITE : 0);
        uint64_t word = (frames ? frames[i].len : 0) | (uint64_t)slots[i].id << 32 |
                        (uint64_t)flags << 48;
        uint64_t *words = (uint64_t *)(void *)&queue->packed.descriptors[packed_idx(position)];

        if (first) {
            STORE_RELAXED(&words[1], word);
        } else {
            first = words;
            first_word = word;
        }
        position = packed_advance(position, 1, queue->size);
    }
    STORE_RELEASE(&first[1], first_word);
    queue->next_used = position;
    queue->next_available = packed_advance(queue->next_available, num, queue->size);
}

/* Gives the buffers back, with `frames` in them, or NULL: nothing was written. */
static ALWAYS_INLINE void complete(struct shunt_virtqueue *queue, enum ring_format format,
                                   const struct slot *slots, const struct slot *frames,
                                   unsigned num)
{
    if (format == RING_PACKED)
        complete_packed(queue, slots, frames, num);
    else
        complete_split(queue, slots, frames, num);
    queue->published_used = queue->next_used;
}

/* --- Both -------------------------------------------------------------------------------------------- */

/* The other lines of a large one: while the frame before it is copied, for a burst of them is too much. */
static ALWAYS_INLINE void ask_for_rest(const struct slot *from, const struct slot *to, uint32_t len)
{
    for (unsigned at = HEAD_BYTES; at < len; at += LINE_BYTES) {
        __builtin_prefetch(from->host + at);
        __builtin_prefetch(to->host + at, 1);
    }
}

static ALWAYS_INLINE void copy_all(struct lane *lane, const struct slot *from,
                                   const struct slot *to, unsigned num)
{
    static const uint16_t one = 1;
    uint64_t bytes = 0;

    for (unsigned i = 0; i < num; i++) {
        if (i + 1 < num)
            ask_for_rest(&from[i + 1], &to[i + 1], from[i + 1].len);
        copy_frame(to[i].host, from[i].host, from[i].len);
        memcpy(to[i].host + NUM_BUFFERS, &one, sizeof(one));
        bytes += from[i].len;
    }
    lane->bytes += bytes;
    lane->frames += num;
    lane->bursts++;
}

/* --- The general way --------------------------------------------------------------------------------- */

/* Buffers for `len` bytes, as the driver's own pieces. How many pieces; 0: there are not enough. */
static unsigned take_room(struct shunt_virtqueue *queue, uint64_t len, struct iovec *room,
                          struct used_chain *used, unsigned *num_used)
{
    struct virtqueue_cursor start = virtqueue_cursor(queue);
    unsigned num = 0;

    for (*num_used = 0; len > 0;) {
        struct shunt_chain chain;
        uint32_t written;

        virtqueue_available(queue, queue->format, BURST);
        if (virtqueue_fetch(queue, queue->format, &chain, &room[num], MAX_PIECES - num) <= 0) {
            virtqueue_rewind(queue, start);
            return 0;
        }
        written = chain.writable_len < len ? chain.writable_len : (uint32_t)len;
        used[(*num_used)++] = chain_used(&chain, written);
        num += chain.num_writable;
        len -= written;
    }
    return num;
}

static void copy_pieces(const struct iovec *to, const struct iovec *from, uint64_t len)
{
    size_t to_offset = 0, from_offset = 0;

    while (len > 0) {
        size_t piece = memory_min(to->iov_len - to_offset, from->iov_len - from_offset);

        piece = memory_min(piece, len);
        copy_frame((uint8_t *)to->iov_base + to_offset, (uint8_t *)from->iov_base + from_offset,
                   piece);
        len -= piece;
        to_offset += piece;
        from_offset += piece;
        if (to_offset == to->iov_len) {
            to++;
            to_offset = 0;
        }
        if (from_offset == from->iov_len) {
            from++;
            from_offset = 0;
        }
    }
}

static unsigned forward_chain(struct lane *lane)
{
    static struct iovec pieces[MAX_PIECES], room[MAX_PIECES];
    static struct used_chain used[MAX_PIECES];
    struct shunt_virtqueue *from = lane->from, *to = lane->to;
    struct virtqueue_cursor start = virtqueue_cursor(from);
    struct shunt_chain chain;
    struct used_chain sent;
    unsigned num_used;
    uint16_t num_buffers;

    virtqueue_available(from, from->format, 1);
    if (virtqueue_fetch(from, from->format, &chain, pieces, MAX_PIECES) <= 0)
        return 0;
    if (take_room(to, chain.readable_len, room, used, &num_used) == 0) {
        virtqueue_rewind(from, start);
        return 0;
    }
    copy_pieces(room, pieces, chain.readable_len);
    num_buffers = (uint16_t)num_used;
    memcpy((uint8_t *)room->iov_base + NUM_BUFFERS, &num_buffers, sizeof(num_buffers));
    virtqueue_return(to, to->format, used, num_used);
    virtqueue_publish(to, to->format);
    sent = chain_used(&chain, 0);
    virtqueue_return(from, from->format, &sent, 1);
    virtqueue_publish(from, from->format);
    lane->frames++;
    lane->bursts++;
    lane->bytes += chain.readable_len;
    return 1;
}

/* --- A burst ----------------------------------------------------------------------------------------- */

static ALWAYS_INLINE unsigned forward(struct lane *lane, enum ring_format from_format,
                                      enum ring_format to_format)
{
    struct slot from[BURST], to[BURST];
    unsigned num = look(lane->from, from_format, BURST);

    if (num == 0)
        return 0;
    num = look(lane->to, to_format, num);
    if (num == 0)
        return 0;
    ask_for_descriptors(lane->from, from_format, num);
    ask_for_descriptors(lane->to, to_format, num);
    num = gather(lane->from, from_format, from, NULL, num);
    num = gather(lane->to, to_format, to, from, num);
    if (__builtin_expect(num == 0, 0))
        return forward_chain(lane);
    copy_all(lane, from, to, num);
    complete(lane->to, to_format, to, from, num);
    complete(lane->from, from_format, from, NULL, num);
    return num;
}

static unsigned split_to_split(struct lane *lane)
{
    return forward(lane, RING_SPLIT, RING_SPLIT);
}

static unsigned split_to_packed(struct lane *lane)
{
    return forward(lane, RING_SPLIT, RING_PACKED);
}

static unsigned packed_to_split(struct lane *lane)
{
    return forward(lane, RING_PACKED, RING_SPLIT);
}

static unsigned packed_to_packed(struct lane *lane)
{
    return forward(lane, RING_PACKED, RING_PACKED);
}

unsigned lane_forward(struct lane *lane)
{
    static unsigned (*const instances[2][2])(struct lane *) = {
        [RING_SPLIT] = {[RING_SPLIT] = split_to_split, [RING_PACKED] = split_to_packed},
        [RING_PACKED] = {[RING_SPLIT] = packed_to_split, [RING_PACKED] = packed_to_packed},
    };

    if (!lane->from->is_running || !lane->to->is_running)
        return 0;
    return instances[lane->from->format][lane->to->format](lane);
}
