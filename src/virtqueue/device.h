/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's side of a split ring: fetching and completing chains. Inline, because devices do it a
 * million times a second; <shunt/virtqueue.h> wraps the same functions.
 *
 *     num = virtqueue_available(queue, most);       how many chains there are, descriptors on their way
 *     for (…) virtqueue_fetch(queue, …);            each once, in order
 *     virtqueue_rewind(queue, cursor);              those since `cursor` were not taken after all
 *     for (…) virtqueue_return(queue, head, len);   in any order
 *     virtqueue_publish(queue);                     once a burst
 *
 * All with the lock held, on a queue that is started. Every word that the guest can write is loaded
 * once, into a local, by an atomic load that the compiler can neither tear nor repeat.
 */
#ifndef VIRTQUEUE_DEVICE_H
#define VIRTQUEUE_DEVICE_H

#include <errno.h>
#include <stdatomic.h>

#include "virtqueue/virtqueue.h"

#define LOAD_RELAXED(pointer)         __atomic_load_n(pointer, __ATOMIC_RELAXED)
#define LOAD_ACQUIRE(pointer)         __atomic_load_n(pointer, __ATOMIC_ACQUIRE)
#define STORE_RELAXED(pointer, value) __atomic_store_n(pointer, value, __ATOMIC_RELAXED)
#define STORE_RELEASE(pointer, value) __atomic_store_n(pointer, value, __ATOMIC_RELEASE)

/* One chain while it is gathered: where its pieces go, and what is allowed to come next. */
struct chain_walk {
    struct shunt_virtqueue *queue;
    struct shunt_chain *chain;
    struct iovec *iov;
    unsigned max;
    unsigned num_descriptors; /* so far; a chain is at most as long as the ring (2.6) */
};

static inline bool virtqueue_is_usable(const struct shunt_virtqueue *queue)
{
    return queue->is_started && queue->fault == FAULT_NONE;
}

/*
 * The driver's index, and the entries before it: the acquire pairs with the driver's write barrier
 * between filling the entries and moving its index (2.7.13.3).
 */
static inline unsigned virtqueue_look(struct shunt_virtqueue *queue)
{
    uint16_t idx = LOAD_ACQUIRE(&queue->available->idx);
    uint16_t num = (uint16_t)(idx - queue->next_available);

    if (__builtin_expect(num > queue->size, 0)) {
        virtqueue_break(queue, FAULT_AVAILABLE_INDEX, idx);
        return 0;
    }
    queue->seen_available = idx;
    return num;
}

static inline uint16_t virtqueue_head_at(const struct shunt_virtqueue *queue, uint16_t idx)
{
    return LOAD_RELAXED(&queue->available->ring[idx & (queue->size - 1)]);
}

/*
 * How many chains can be fetched, up to `most`; their first descriptors are asked into the cache. The
 * driver's index is read only when what was seen of it is used up or does not suffice: it is the line
 * that the driver writes most.
 */
static inline unsigned virtqueue_available(struct shunt_virtqueue *queue, unsigned most)
{
    unsigned num = (uint16_t)(queue->seen_available - queue->next_available);

    if (num < most)
        num = virtqueue_look(queue);
    if (num > most)
        num = most;
    for (unsigned i = 0; i < num; i++) {
        uint16_t head = virtqueue_head_at(queue, (uint16_t)(queue->next_available + i));

        __builtin_prefetch(&queue->descriptors[head & (queue->size - 1)]);
    }
    return num;
}

/* One read of a descriptor: two words, neither of which is looked at again. */
static inline struct split_descriptor virtqueue_load_descriptor(const struct split_descriptor *from)
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

/* Adds the pieces of one buffer to the chain. -ENOBUFS, or -EPROTO when the queue broke. */
static inline int chain_add_buffer(struct chain_walk *walk, const struct split_descriptor *desc)
{
    struct shunt_virtqueue *queue = walk->queue;
    struct shunt_chain *chain = walk->chain;
    bool is_writable = desc->flags & DESCRIPTOR_F_WRITE;
    uint32_t *total = is_writable ? &chain->writable_len : &chain->readable_len;
    uint64_t addr = desc->addr, left = desc->len;

    if (__builtin_expect(left == 0, 0)) {
        virtqueue_break(queue, FAULT_ZERO_LENGTH, addr);
        return -EPROTO;
    }
    if (__builtin_expect(!is_writable && chain->num_writable > 0, 0)) {
        virtqueue_break(queue, FAULT_READABLE_AFTER_WRITABLE, addr);
        return -EPROTO;
    }
    if (__builtin_expect(__builtin_add_overflow(*total, desc->len, total), 0)) {
        virtqueue_break(queue, FAULT_CHAIN_TOO_LARGE, chain->head);
        return -EPROTO;
    }
    while (left > 0) {
        unsigned at = (unsigned)chain->num_readable + chain->num_writable;
        uint64_t piece;
        void *base;

        base = memory_at_guest(queue->memory, &queue->last_region, addr, left, &piece);
        if (__builtin_expect(!base, 0)) {
            virtqueue_break(queue, FAULT_UNMAPPED, addr);
            return -EPROTO;
        }
        if (__builtin_expect(at == walk->max || at == UINT16_MAX, 0))
            return -ENOBUFS;
        walk->iov[at] = (struct iovec){.iov_base = base, .iov_len = piece};
        if (is_writable)
            chain->num_writable++;
        else
            chain->num_readable++;
        addr += piece;
        left -= piece;
    }
    return 0;
}

/* Where an indirect table lies is only known piece by piece: entries are read by guest address. */
int virtqueue_walk_indirect(struct chain_walk *walk, const struct split_descriptor *table);

/* Follows the chain from `head` through the descriptor area. */
static inline int chain_walk_from(struct chain_walk *walk, uint16_t head)
{
    struct shunt_virtqueue *queue = walk->queue;
    uint16_t idx = head;

    for (;;) {
        struct split_descriptor desc = virtqueue_load_descriptor(&queue->descriptors[idx]);
        int result;

        if (__builtin_expect(desc.flags & DESCRIPTOR_F_INDIRECT, 0))
            return virtqueue_walk_indirect(walk, &desc);
        if (__builtin_expect(++walk->num_descriptors > queue->size, 0)) {
            virtqueue_break(queue, FAULT_CHAIN_TOO_LONG, head);
            return -EPROTO;
        }
        result = chain_add_buffer(walk, &desc);
        if (__builtin_expect(result < 0, 0))
            return result;
        if (!(desc.flags & DESCRIPTOR_F_NEXT))
            return 0;
        idx = desc.next;
        if (__builtin_expect(idx >= queue->size, 0)) {
            virtqueue_break(queue, FAULT_NEXT, idx);
            return -EPROTO;
        }
    }
}

/*
 * Takes the next chain of those that virtqueue_available() counted. 0; -ENOBUFS: more than `max`
 * pieces, the chain stays where it is; -EPROTO: the queue broke.
 */
static inline int virtqueue_fetch(struct shunt_virtqueue *queue, struct shunt_chain *chain,
                                  struct iovec *iov, unsigned max)
{
    struct chain_walk walk = {.queue = queue, .chain = chain, .iov = iov, .max = max};
    uint16_t head = virtqueue_head_at(queue, queue->next_available);
    int result;

    if (__builtin_expect(head >= queue->size, 0)) {
        virtqueue_break(queue, FAULT_HEAD, head);
        return -EPROTO;
    }
    *chain = (struct shunt_chain){.head = head, .generation = queue->generation};
    result = chain_walk_from(&walk, head);
    if (__builtin_expect(result == 0, 1))
        queue->next_available++;
    return result;
}

/* Takes the next chain without looking at its buffers: it can only be returned. */
static inline uint16_t virtqueue_skip(struct shunt_virtqueue *queue)
{
    return virtqueue_head_at(queue, queue->next_available++) & (uint16_t)(queue->size - 1);
}

/* The place in the ring that a rewind goes back to. */
struct virtqueue_cursor {
    uint16_t next_available;
    uint16_t next_used;
};

static inline struct virtqueue_cursor virtqueue_cursor(const struct shunt_virtqueue *queue)
{
    return (struct virtqueue_cursor){queue->next_available, queue->next_used};
}

/* What was fetched and returned (but not published) since the cursor was not. */
static inline void virtqueue_rewind(struct shunt_virtqueue *queue, struct virtqueue_cursor cursor)
{
    queue->next_available = cursor.next_available;
    queue->next_used = cursor.next_used;
}

/* Fills the next entry of the used ring; the driver does not look at it before its index moves. */
static inline void virtqueue_return(struct shunt_virtqueue *queue, uint16_t head, uint32_t written)
{
    struct split_used_element *element = &queue->used->ring[queue->next_used & (queue->size - 1)];

    STORE_RELAXED(&element->id, head);
    STORE_RELAXED(&element->len, written);
    queue->next_used++;
}

/* VIRTIO 1.3, 2.7.10: whether `event` lies among the entries from `before` up to `now`. */
static inline bool ring_is_event_crossed(uint16_t event, uint16_t now, uint16_t before)
{
    return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

/*
 * Whether the driver wants to know of the entries since `before`. Its wish is read after our index is
 * visible; the fence pairs with the driver's between writing its wish and looking at the index, so
 * one of the two sees the other (2.7.7.2).
 */
static inline bool virtqueue_is_notification_wanted(const struct shunt_virtqueue *queue,
                                                    uint16_t before)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (queue->has_event_idx) {
        uint16_t used_event = LOAD_RELAXED(&queue->available->ring[queue->size]);

        return ring_is_event_crossed(used_event, queue->next_used, before);
    }
    return !(LOAD_RELAXED(&queue->available->flags) & AVAILABLE_F_NO_INTERRUPT);
}

/*
 * The release pairs with the driver's read barrier after it reads the index: it then sees the entries
 * and what we wrote to the buffers (2.7.14).
 */
static inline void virtqueue_publish(struct shunt_virtqueue *queue)
{
    uint16_t before = queue->published_used;

    if (queue->next_used == before)
        return;
    STORE_RELEASE(&queue->used->idx, queue->next_used);
    queue->published_used = queue->next_used;
    if (virtqueue_is_notification_wanted(queue, before))
        virtqueue_notify(queue);
    else
        queue->stats.suppressed++;
}

#endif
