/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fetching from and completing in a packed ring, for device.h (VIRTIO 1.3, 2.8).
 *
 * There is one ring, and both sides write to it. A descriptor is available when its AVAIL bit equals the wrap
 * counter of whoever reads it and its USED bit does not; a used one has both equal. Positions (ring.h) are
 * an index and that counter. A chain lies in consecutive descriptors; when it is used, one descriptor
 * is written at our used position, which then moves on by as many as the chain had.
 *
 * So a used descriptor overwrites one that was available: chains are only returned when it is certain
 * that they will not be given up (virtqueue_rewind() takes back what was fetched, never what was returned).
 * The flags of the first one returned since the last publish are written last; the driver looks at no
 * other before it.
 *
 * Where we are in the ring is written nowhere in it, and a front-end whose back-end crashed does not
 * know it either. We leave it in the `position` of our event structure, whose meaning is defined only
 * while its flags say EVENT_DESCRIPTOR: packed_recover() finds it there. A device that keeps chains while it
 * sleeps, with EVENT_IDX, loses those by a crash; for such devices there is inflight.h.
 */
#ifndef VIRTQUEUE_PACKED_H
#define VIRTQUEUE_PACKED_H

#include "base/prefetch.h"
#include "virtqueue/chain.h"

static inline unsigned packed_idx(uint16_t position)
{
    return position & PACKED_POSITION_IDX;
}

static inline uint16_t packed_advance(uint16_t position, unsigned num, uint16_t size)
{
    unsigned idx = packed_idx(position) + num;
    unsigned wrap = position & PACKED_POSITION_WRAP;

    if (idx >= size) {
        idx -= size;
        wrap ^= PACKED_POSITION_WRAP;
    }
    return (uint16_t)(idx | wrap);
}

/* How many entries lie from one position up to a later one, which is at most one lap ahead. */
static inline unsigned packed_distance(uint16_t from, uint16_t to, uint16_t size)
{
    unsigned lap = (from ^ to) & PACKED_POSITION_WRAP ? size : 0;

    return lap + packed_idx(to) - packed_idx(from);
}

/* AVAIL and USED of a descriptor that is available, or used, at this position. */
static inline unsigned packed_available_flags(uint16_t position)
{
    return position & PACKED_POSITION_WRAP ? PACKED_F_AVAIL : PACKED_F_USED;
}

static inline unsigned packed_used_flags(uint16_t position)
{
    return position & PACKED_POSITION_WRAP ? PACKED_F_AVAIL | PACKED_F_USED : 0;
}

static inline bool packed_is_available(unsigned flags, uint16_t position)
{
    return (flags & (PACKED_F_AVAIL | PACKED_F_USED)) == packed_available_flags(position);
}

/*
 * One read of a descriptor. Its flags are in the second word; the acquire pairs with the driver's write
 * barrier between filling a chain and setting its first flags (2.8.21.1), so all of the chain is there.
 */
static inline struct packed_descriptor packed_load(const struct packed_descriptor *from)
{
    union {
        uint64_t words[2];
        struct packed_descriptor descriptor;
    } copy;
    const uint64_t *words = (const uint64_t *)(const void *)from;

    copy.words[1] = LOAD_ACQUIRE(&words[1]);
    copy.words[0] = LOAD_RELAXED(&words[0]);
    return copy.descriptor;
}

/*
 * No count is known beforehand: as many as are asked for, if there is one. What is taken is overwritten when it
 * is returned: the lines are asked for writing at once.
 */
static inline unsigned packed_available(struct shunt_virtqueue *queue, unsigned most)
{
    const unsigned in_line = CACHE_LINE_BYTES / sizeof(struct packed_descriptor);
    uint16_t position = queue->next_available;
    const struct packed_descriptor *next = &queue->packed.descriptors[packed_idx(position)];

    if (!packed_is_available(LOAD_ACQUIRE(&next->flags), position))
        return 0;
    for (unsigned i = in_line; i < most && i < queue->size; i += in_line) {
        position = packed_advance(position, in_line, queue->size);
        prefetch_for_writing(&queue->packed.descriptors[packed_idx(position)]);
    }
    return most;
}

/* The rest of a chain whose first descriptor is available. */
static inline int packed_walk(struct chain_walk *walk, struct packed_descriptor descriptor)
{
    struct shunt_virtqueue *queue = walk->queue;
    uint16_t position = queue->next_available;

    for (;;) {
        struct buffer buffer = {descriptor.addr, descriptor.len, descriptor.flags};
        bool is_last = !(buffer.flags & DESCRIPTOR_F_NEXT);
        int result = 0;

        walk->chain->id = descriptor.id; /* that of the last one counts (2.8.5) */
        walk->chain->num_descriptors++;
        if (__builtin_expect(buffer.flags & DESCRIPTOR_F_INDIRECT, 0))
            return chain_walk_indirect(walk, &buffer);
        result = chain_count_descriptor(walk);
        if (__builtin_expect(result == 0, 1))
            result = chain_add_buffer(walk, &buffer);
        if (__builtin_expect(result < 0 || is_last, 1))
            return result;
        position = packed_advance(position, 1, queue->size);
        descriptor = packed_load(&queue->packed.descriptors[packed_idx(position)]);
    }
}

static inline int packed_fetch(struct chain_walk *walk)
{
    struct shunt_virtqueue *queue = walk->queue;
    struct packed_descriptor first = packed_load(
        &queue->packed.descriptors[packed_idx(queue->next_available)]);
    int result;

    if (!packed_is_available(first.flags, queue->next_available))
        return 0;
    result = packed_walk(walk, first);
    if (__builtin_expect(result < 0, 0))
        return result;
    queue->next_available = packed_advance(queue->next_available, walk->chain->num_descriptors,
                                           queue->size);
    return 1;
}

static ALWAYS_INLINE bool packed_fetch_plain(struct shunt_virtqueue *queue,
                                             struct plain_chain *plain)
{
    struct packed_descriptor descriptor = packed_load(
        &queue->packed.descriptors[packed_idx(queue->next_available)]);
    struct buffer buffer = {descriptor.addr, descriptor.len, descriptor.flags};

    if (!packed_is_available(descriptor.flags, queue->next_available) ||
        !chain_is_plain(queue, &buffer, plain))
        return false;
    plain->id = descriptor.id;
    queue->next_available = packed_advance(queue->next_available, 1, queue->size);
    return true;
}

static inline struct used_chain packed_skip(struct shunt_virtqueue *queue)
{
    struct used_chain used = {0};
    struct packed_descriptor descriptor;

    do {
        descriptor = packed_load(&queue->packed.descriptors[packed_idx(queue->next_available)]);
        queue->next_available = packed_advance(queue->next_available, 1, queue->size);
        used.num_descriptors++;
    } while ((descriptor.flags & DESCRIPTOR_F_NEXT) && used.num_descriptors < queue->size);
    used.id = descriptor.id;
    return used;
}

static inline void packed_return(struct shunt_virtqueue *queue, const struct used_chain *used,
                                 unsigned num)
{
    for (unsigned i = 0; i < num; i++) {
        uint16_t position = queue->next_used;
        struct packed_descriptor *descriptor = &queue->packed.descriptors[packed_idx(position)];
        uint16_t flags = (uint16_t)(packed_used_flags(position) |
                                    (used[i].len > 0 ? DESCRIPTOR_F_WRITE : 0));

        STORE_RELAXED(&descriptor->id, used[i].id);
        STORE_RELAXED(&descriptor->len, used[i].len);
        if (position == queue->published_used)
            queue->first_flags = flags;
        else
            STORE_RELEASE(&descriptor->flags, flags);
        if (__builtin_expect(queue->is_logging, 0))
            virtqueue_mark_used(queue, position, 1);
        queue->next_used = packed_advance(position, used[i].num_descriptors, queue->size);
    }
}

/*
 * How our place is left to a successor: at index 0 as the end of the lap before, so that 0 means that nothing
 * was left. (A ring of 32,768 entries has no bit for that.)
 */
static inline uint16_t packed_mark_of(uint16_t position, uint16_t size)
{
    if (packed_idx(position) != 0 || size > PACKED_POSITION_IDX)
        return position;
    return (uint16_t)(size | ((position ^ PACKED_POSITION_WRAP) & PACKED_POSITION_WRAP));
}

/*
 * The release pairs with the driver's read barrier after it saw the flags: it then sees all that was returned
 * and what we wrote to the buffers (2.8.21.3).
 */
static inline void packed_publish(struct shunt_virtqueue *queue)
{
    uint16_t first = queue->published_used;

    STORE_RELEASE(&queue->packed.descriptors[packed_idx(first)].flags, queue->first_flags);
    /* While it is a wish, it is to be where the driver's next chain comes. */
    STORE_RELAXED(&queue->packed.device_event->position,
                  queue->is_armed && queue->has_event_idx
                      ? queue->next_available
                      : packed_mark_of(queue->next_used, queue->size));
}

/*
 * After a fence: whether the other side, whose wish this is, wants to know of what happened from position
 * `before` up to `now`. The structure is read in one go, so that flags and position belong together.
 */
static inline bool packed_is_event_wanted(const struct packed_event *theirs, bool has_event_idx,
                                          uint16_t size, uint16_t now, uint16_t before)
{
    union {
        uint32_t word;
        struct packed_event event;
    } wish;
    uint16_t event, since;

    wish.word = LOAD_RELAXED((const uint32_t *)(const void *)theirs);
    if (wish.event.flags != PACKED_EVENT_DESCRIPTOR || !has_event_idx)
        return wish.event.flags != PACKED_EVENT_DISABLE;
    /* As if indices ran on: those of the lap before ours are negative (2.8.10). */
    event = (uint16_t)packed_idx(wish.event.position);
    since = (uint16_t)packed_idx(before);
    if ((wish.event.position ^ now) & PACKED_POSITION_WRAP)
        event = (uint16_t)(event - size);
    if ((before ^ now) & PACKED_POSITION_WRAP)
        since = (uint16_t)(since - size);
    return ring_is_event_crossed(event, (uint16_t)packed_idx(now), since);
}

/* After a fence: whether the driver wants to know of what was returned since `before`. */
static inline bool packed_is_notification_wanted(const struct shunt_virtqueue *queue,
                                                 uint16_t before)
{
    return packed_is_event_wanted(queue->packed.driver_event, queue->has_event_idx, queue->size,
                                  queue->next_used, before);
}

#endif
