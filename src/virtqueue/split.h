/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fetching from and completing in a split ring, for device.h. Indices run freely modulo 65,536; entries
 * are found by masking, so the size is a power of two.
 */
#ifndef VIRTQUEUE_SPLIT_H
#define VIRTQUEUE_SPLIT_H

#include "virtqueue/chain.h"

/*
 * The driver's index, and the entries before it: the acquire pairs with the driver's write barrier
 * between filling the entries and moving its index (2.7.13.3). With those that we have, there are never more
 * than the ring has entries.
 */
static inline unsigned split_look(struct shunt_virtqueue *queue)
{
    uint16_t idx = LOAD_ACQUIRE(&queue->split.available->idx);
    uint16_t num = (uint16_t)(idx - queue->next_available);

    if (__builtin_expect(num > queue->size || (uint16_t)(idx - queue->next_used) > queue->size,
                         0)) {
        virtqueue_break(queue, FAULT_AVAILABLE_INDEX, idx);
        return 0;
    }
    queue->seen_available = idx;
    return num;
}

static inline uint16_t split_head_at(const struct shunt_virtqueue *queue, uint16_t idx)
{
    return LOAD_RELAXED(&queue->split.available->ring[idx & (queue->size - 1)]);
}

/*
 * The driver's index is read only when what was seen of it is used up or does not suffice: it is the line
 * that the driver writes most.
 */
static inline unsigned split_available(struct shunt_virtqueue *queue, unsigned most)
{
    unsigned num = (uint16_t)(queue->seen_available - queue->next_available);

    if (num < most)
        num = split_look(queue);
    if (num > most)
        num = most;
    for (unsigned i = 0; i < num; i++) {
        uint16_t head = split_head_at(queue, (uint16_t)(queue->next_available + i));

        __builtin_prefetch(&queue->split.descriptors[head & (queue->size - 1)]);
    }
    return num;
}

/* One read of a descriptor: two words, neither of which is looked at again. */
static inline struct split_descriptor split_load(const struct split_descriptor *from)
{
    union {
        uint64_t words[2];
        struct split_descriptor descriptor;
    } copy;
    const uint64_t *words = (const uint64_t *)(const void *)from;

    copy.words[0] = LOAD_RELAXED(&words[0]);
    copy.words[1] = LOAD_RELAXED(&words[1]);
    return copy.descriptor;
}

static inline struct buffer split_buffer(const struct split_descriptor *descriptor)
{
    return (struct buffer){descriptor->addr, descriptor->len, descriptor->flags};
}

/* Follows the chain from `head` through the descriptor area. */
static inline int split_walk(struct chain_walk *walk, uint16_t head)
{
    struct shunt_virtqueue *queue = walk->queue;
    uint16_t idx = head;

    for (;;) {
        struct split_descriptor descriptor = split_load(&queue->split.descriptors[idx]);
        struct buffer buffer = split_buffer(&descriptor);
        int result;

        if (__builtin_expect(buffer.flags & DESCRIPTOR_F_INDIRECT, 0))
            return chain_walk_indirect(walk, &buffer);
        result = chain_count_descriptor(walk);
        if (__builtin_expect(result == 0, 1))
            result = chain_add_buffer(walk, &buffer);
        if (__builtin_expect(result < 0, 0))
            return result;
        if (!(buffer.flags & DESCRIPTOR_F_NEXT))
            return 0;
        idx = descriptor.next;
        if (__builtin_expect(idx >= queue->size, 0)) {
            virtqueue_break(queue, FAULT_NEXT, idx);
            return -EPROTO;
        }
    }
}

/* The chain from `head` on, which is or was in the available ring. */
static inline int split_gather(struct chain_walk *walk, uint16_t head)
{
    if (__builtin_expect(head >= walk->queue->size, 0)) {
        virtqueue_break(walk->queue, FAULT_HEAD, head);
        return -EPROTO;
    }
    walk->chain->id = head;
    walk->chain->num_descriptors = 1; /* of the used ring */
    return split_walk(walk, head);
}

static inline int split_fetch(struct chain_walk *walk)
{
    struct shunt_virtqueue *queue = walk->queue;
    int result;

    if (__builtin_expect(queue->next_available == queue->seen_available, 0))
        return 0;
    result = split_gather(walk, split_head_at(queue, queue->next_available));
    if (__builtin_expect(result < 0, 0))
        return result;
    queue->next_available++;
    return 1;
}

static ALWAYS_INLINE bool split_fetch_plain(struct shunt_virtqueue *queue,
                                            struct plain_chain *plain)
{
    uint16_t head = split_head_at(queue, queue->next_available);
    struct split_descriptor descriptor;
    struct buffer buffer;

    if (__builtin_expect(head >= queue->size, 0))
        return false;
    descriptor = split_load(&queue->split.descriptors[head]);
    buffer = split_buffer(&descriptor);
    if (!chain_is_plain(queue, &buffer, plain))
        return false;
    plain->id = head;
    queue->next_available++;
    return true;
}

static inline struct used_chain split_skip(struct shunt_virtqueue *queue)
{
    uint16_t head = split_head_at(queue, queue->next_available++);

    return (struct used_chain){.id = head & (uint16_t)(queue->size - 1), .num_descriptors = 1};
}

/* Fills the next entries of the used ring; the driver does not look at them before its index moves. */
static inline void split_return(struct shunt_virtqueue *queue, const struct used_chain *used,
                                unsigned num)
{
    for (unsigned i = 0; i < num; i++) {
        queue->split.used->ring[queue->next_used++ & (queue->size - 1)] =
            (struct split_used_element){.id = used[i].id, .len = used[i].len};
    }
}

/*
 * The release pairs with the driver's read barrier after it reads the index: it then sees the entries
 * and what we wrote to the buffers (2.7.14).
 */
static inline void split_publish(struct shunt_virtqueue *queue)
{
    STORE_RELEASE(&queue->split.used->idx, queue->next_used);
}

/* After a fence: whether the driver wants to know of the entries since `before`. */
static inline bool split_is_notification_wanted(const struct shunt_virtqueue *queue,
                                                uint16_t before)
{
    if (__builtin_expect(queue->notifies_on_empty, 0) &&
        LOAD_RELAXED(&queue->split.available->idx) == queue->next_available)
        return true;
    if (queue->has_event_idx) {
        uint16_t used_event = LOAD_RELAXED(&queue->split.available->ring[queue->size]);

        return ring_is_event_crossed(used_event, queue->next_used, before);
    }
    return !(LOAD_RELAXED(&queue->split.available->flags) & AVAILABLE_F_NO_INTERRUPT);
}

#endif
