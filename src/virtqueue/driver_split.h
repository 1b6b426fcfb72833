/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Filling a split ring and taking from it, for driver.h (VIRTIO 1.3, 2.7). Only what differs from
 * what the device knows already is written: lines that we do not write stay in its cache.
 */
#ifndef VIRTQUEUE_DRIVER_SPLIT_H
#define VIRTQUEUE_DRIVER_SPLIT_H

#include "virtqueue/driver_queue.h"
#include "virtqueue/split.h"

union split_words {
    struct split_descriptor descriptor;
    uint64_t words[2];
};

static inline void driver_split_put(struct shunt_driver_queue *queue, uint16_t slot,
                                    struct split_descriptor descriptor)
{
    union split_words fresh = {.descriptor = descriptor};
    union split_words known = {.descriptor = queue->shadow[slot]};
    uint64_t *to = (uint64_t *)(void *)&queue->split.descriptors[slot];

    if (fresh.words[0] == known.words[0] && fresh.words[1] == known.words[1])
        return;
    queue->shadow[slot] = descriptor;
    STORE_RELAXED(&to[0], fresh.words[0]);
    STORE_RELAXED(&to[1], fresh.words[1]);
}

/* The chain is the next one in the available ring. */
static inline void driver_split_enter(struct shunt_driver_queue *queue, uint16_t head)
{
    unsigned at = queue->next_available++ & (queue->size - 1u);

    if (queue->heads[at] == head)
        return;
    queue->heads[at] = head;
    STORE_RELAXED(&queue->split.available->ring[at], head);
}

/*
 * The release pairs with the device's read barrier after it reads the index: it then sees the
 * entries, the descriptors and what is in the buffers (2.7.13.3).
 */
static inline void driver_split_publish(struct shunt_driver_queue *queue)
{
    STORE_RELEASE(&queue->split.available->idx, queue->next_available);
}

/* After a fence: whether the device wants to know of the entries since `before` (2.7.10). */
static inline bool driver_split_is_kick_wanted(const struct shunt_driver_queue *queue,
                                               uint16_t before)
{
    const struct split_used *used = queue->split.used;

    if (queue->has_event_idx) {
        uint16_t avail_event = LOAD_RELAXED(
            (const uint16_t *)(const void *)&used->ring[queue->size]);

        return ring_is_event_crossed(avail_event, queue->next_available, before);
    }
    return !(LOAD_RELAXED(&used->flags) & USED_F_NO_NOTIFY);
}

/*
 * Whether the next used entry is there. The acquire pairs with the device's write barrier between
 * the entries and its index (2.7.14). It cannot have returned more than was published.
 */
static inline bool driver_split_look(struct shunt_driver_queue *queue)
{
    uint16_t idx, num;

    if (queue->next_used != queue->seen_used)
        return true;
    idx = LOAD_ACQUIRE(&queue->split.used->idx);
    num = (uint16_t)(idx - queue->next_used);
    if (__builtin_expect(num > (uint16_t)(queue->published_available - queue->next_used), 0)) {
        driver_queue_break(queue, DRIVER_FAULT_USED_INDEX, idx);
        return false;
    }
    queue->seen_used = idx;
    return num > 0;
}

static inline struct driver_used_entry driver_split_read(const struct shunt_driver_queue *queue)
{
    const struct split_used_element *element =
        &queue->split.used->ring[queue->next_used & (queue->size - 1u)];

    return (struct driver_used_entry){LOAD_RELAXED(&element->id), LOAD_RELAXED(&element->len)};
}

#endif
