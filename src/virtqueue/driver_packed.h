/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Filling a packed ring and taking from it, for driver.h (VIRTIO 1.3, 2.8); packed.h tells how it
 * works. Each descriptor is overwritten by the device when it is used, so all of it is written each
 * time; its flags come with the second of two words. Those of the first one that is not published
 * are written last: the device looks at no other before it.
 */
#ifndef VIRTQUEUE_DRIVER_PACKED_H
#define VIRTQUEUE_DRIVER_PACKED_H

#include "virtqueue/driver_queue.h"
#include "virtqueue/packed.h"

union packed_words {
    struct packed_descriptor descriptor;
    uint64_t words[2];
};

static inline void driver_packed_put(struct shunt_driver_queue *queue, uint16_t head, uint16_t slot,
                                     struct split_descriptor descriptor)
{
    uint16_t position = queue->next_available;
    uint64_t *to = (uint64_t *)(void *)&queue->packed.descriptors[packed_idx(position)];
    union packed_words fresh = {
        .descriptor = {
            .addr = descriptor.addr,
            .len = descriptor.len,
            .id = head,
            .flags = (uint16_t)(descriptor.flags | packed_available_flags(position)),
        }};

    queue->shadow[slot] = descriptor;
    STORE_RELAXED(&to[0], fresh.words[0]);
    if (position == queue->published_available)
        queue->first_word = fresh.words[1];
    else
        STORE_RELEASE(&to[1], fresh.words[1]);
    queue->next_available = packed_advance(position, 1, queue->size);
}

/* The release pairs with the device's read barrier after it saw the flags (2.8.21.1). */
static inline void driver_packed_publish(struct shunt_driver_queue *queue)
{
    unsigned first = packed_idx(queue->published_available);
    uint64_t *to = (uint64_t *)(void *)&queue->packed.descriptors[first];

    STORE_RELEASE(&to[1], queue->first_word);
}

/*
 * After a fence: whether the device wants to know of what was made available since `before`
 * (2.8.10).
 */
static inline bool driver_packed_is_kick_wanted(const struct shunt_driver_queue *queue,
                                                uint16_t before)
{
    return packed_is_event_wanted(queue->packed.device_event, queue->has_event_idx, queue->size,
                                  queue->next_available, before);
}

static inline struct packed_descriptor driver_packed_load(const struct shunt_driver_queue *queue)
{
    return packed_load(&queue->packed.descriptors[packed_idx(queue->next_used)]);
}

static inline bool driver_packed_is_used(const struct shunt_driver_queue *queue, unsigned flags)
{
    return (flags & (PACKED_F_AVAIL | PACKED_F_USED)) == packed_used_flags(queue->next_used);
}

#endif
