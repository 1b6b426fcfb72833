/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's side of a ring: adding chains and taking them back. Inline, because programs do it a
 * million times a second; <shunt/driver.h> wraps the same functions.
 *
 *     driver_queue_add(queue, format, iov, num_readable, num, cookie);
 *     driver_queue_publish(queue, format);                              once a burst
 *     num = driver_queue_take(queue, format, used, max);
 *
 * All with the lock held. The format is queue->format, for callers with a hot loop as a constant:
 * they are written once and inlined twice. Split and packed differ in how a descriptor is put and a
 * used entry read, and nowhere else. Arguments are not checked here.
 */
#ifndef VIRTQUEUE_DRIVER_H
#define VIRTQUEUE_DRIVER_H

#include "base/event.h"
#include "virtqueue/driver_packed.h"
#include "virtqueue/driver_split.h"

#ifndef ALWAYS_INLINE
#define ALWAYS_INLINE inline __attribute__((always_inline))
#endif

/* --- Slots ------------------------------------------------------------------------------------------ */

static inline uint16_t driver_queue_following(const struct shunt_driver_queue *queue, unsigned slot)
{
    return (uint16_t)(slot + 1u == queue->size ? 0 : slot + 1);
}

static inline uint16_t driver_queue_take_slot(struct shunt_driver_queue *queue)
{
    uint16_t slot = queue->free_slots[queue->first_free];

    queue->first_free = driver_queue_following(queue, queue->first_free);
    return slot;
}

static inline void driver_queue_free_slot(struct shunt_driver_queue *queue, uint16_t slot)
{
    queue->free_slots[queue->end_free] = slot;
    queue->end_free = driver_queue_following(queue, queue->end_free);
}

/* The slot that will be taken after `ahead` (< num_free) others. */
static inline uint16_t driver_queue_slot_ahead(const struct shunt_driver_queue *queue,
                                               unsigned ahead)
{
    unsigned at = queue->first_free + ahead;

    return queue->free_slots[at >= queue->size ? at - queue->size : at];
}

/* The id that the next chain will have, if there is room for it. */
static inline uint16_t driver_queue_next_id(const struct shunt_driver_queue *queue)
{
    return queue->free_slots[queue->first_free];
}

/* --- Adding ----------------------------------------------------------------------------------------- */

static ALWAYS_INLINE void driver_queue_put(struct shunt_driver_queue *queue,
                                           enum ring_format format, uint16_t head, uint16_t slot,
                                           struct split_descriptor descriptor)
{
    if (format == RING_PACKED)
        driver_packed_put(queue, head, slot, descriptor);
    else
        driver_split_put(queue, slot, descriptor);
}

/* The chain whose descriptors were put is complete. */
static ALWAYS_INLINE void driver_queue_enter(struct shunt_driver_queue *queue,
                                             enum ring_format format, uint16_t head, unsigned num,
                                             uint32_t writable_len, void *cookie)
{
    struct driver_chain *chain = &queue->chains[head];

    chain->cookie = cookie;
    chain->writable_len = writable_len;
    chain->sequence = queue->sequence++;
    chain->num = (uint16_t)num;
    queue->num_free = (uint16_t)(queue->num_free - num);
    if (format == RING_SPLIT)
        driver_split_enter(queue, head);
}

/*
 * Adds a chain of `num` pieces, the first `num_readable` of which the device reads. Its id, or
 * -ENOSPC. With constants for the numbers there is no loop.
 */
static ALWAYS_INLINE int driver_queue_add(struct shunt_driver_queue *queue, enum ring_format format,
                                          const struct iovec *iov, unsigned num_readable,
                                          unsigned num, void *cookie)
{
    uint32_t writable_len = 0;
    uint16_t head, slot;

    if (__builtin_expect(num > queue->num_free, 0))
        return -ENOSPC;
    head = slot = driver_queue_take_slot(queue);
    for (unsigned i = 0; i < num; i++) {
        bool is_last = i + 1 == num, is_writable = i >= num_readable;
        uint16_t next = is_last ? 0 : driver_queue_take_slot(queue);

        driver_queue_put(queue, format, head, slot,
                         (struct split_descriptor){
                             .addr = (uintptr_t)iov[i].iov_base,
                             .len = (uint32_t)iov[i].iov_len,
                             .flags = (uint16_t)((is_writable ? DESCRIPTOR_F_WRITE : 0) |
                                                 (is_last ? 0 : DESCRIPTOR_F_NEXT)),
                             .next = next,
                         });
        writable_len += is_writable ? (uint32_t)iov[i].iov_len : 0;
        slot = next;
    }
    driver_queue_enter(queue, format, head, num, writable_len, cookie);
    return head;
}

/*
 * Whether the device wants to know of what was added since `before`. Its wish is read after our
 * index is visible; the fence pairs with the device's between writing its wish and looking at the
 * ring, so one of the two sees the other (2.7.10.1, 2.8.21.3.1).
 */
static ALWAYS_INLINE bool driver_queue_is_kick_wanted(const struct shunt_driver_queue *queue,
                                                      enum ring_format format, uint16_t before)
{
    atomic_thread_fence(memory_order_seq_cst);
    return format == RING_PACKED ? driver_packed_is_kick_wanted(queue, before)
                                 : driver_split_is_kick_wanted(queue, before);
}

/* Shows what was added to the device, and notifies it if it asks for that. */
static ALWAYS_INLINE void driver_queue_publish(struct shunt_driver_queue *queue,
                                               enum ring_format format)
{
    uint16_t before = queue->published_available;

    if (queue->next_available == before)
        return;
    if (format == RING_PACKED)
        driver_packed_publish(queue);
    else
        driver_split_publish(queue);
    queue->published_available = queue->next_available;
    queue->published_sequence = queue->sequence;
    if (queue->is_running && driver_queue_is_kick_wanted(queue, format, before)) {
        queue->stats.kicked++;
        event_signal(queue->kick_fd);
    } else {
        queue->stats.suppressed++;
    }
}

/* --- Taking ----------------------------------------------------------------------------------------- */

/* Puts the next used entry into queue->entry, if it is there. */
static ALWAYS_INLINE bool driver_queue_read_entry(struct shunt_driver_queue *queue,
                                                  enum ring_format format)
{
    if (format == RING_PACKED) {
        struct packed_descriptor descriptor = driver_packed_load(queue);

        queue->entry = (struct driver_used_entry){descriptor.id, descriptor.len};
        return driver_packed_is_used(queue, descriptor.flags);
    }
    if (!driver_split_look(queue))
        return false;
    queue->entry = driver_split_read(queue);
    return true;
}

/*
 * IN_ORDER: an entry may stand for all chains up to the one that it names (VIRTIO 1.3, 2.7.8.2,
 * 2.8.9). They are one behind the other in slots. In a split ring they cannot be more than the
 * index says.
 */
static inline uint16_t driver_queue_oldest_of_batch(struct shunt_driver_queue *queue,
                                                    enum ring_format format)
{
    uint16_t id = queue->oldest;

    queue->is_in_batch = id != queue->entry.id;
    if (__builtin_expect(queue->is_in_batch && format == RING_SPLIT &&
                             (uint16_t)(queue->seen_used - queue->next_used) == 1,
                         0))
        driver_queue_break(queue, DRIVER_FAULT_USED_BATCH, queue->entry.id);
    return id;
}

/* The next chain that came back. False: there is none, or the queue broke. */
static ALWAYS_INLINE bool driver_queue_next(struct shunt_driver_queue *queue,
                                            enum ring_format format,
                                            struct driver_completion *completion)
{
    struct driver_chain *chain;
    uint32_t id, len;

    if (!queue->is_in_batch && !driver_queue_read_entry(queue, format))
        return false;
    id = queue->entry.id;
    if (__builtin_expect(id >= queue->size || queue->chains[id].num == 0, 0)) {
        driver_queue_break(queue, DRIVER_FAULT_USED_ID, id);
        return false;
    }
    if (queue->is_in_order)
        id = driver_queue_oldest_of_batch(queue, format);
    chain = &queue->chains[id];
    len = chain->writable_len;
    if (!queue->is_in_batch && len > 0) {
        if (__builtin_expect(queue->entry.len > len, 0))
            driver_queue_break(queue, DRIVER_FAULT_USED_LENGTH, queue->entry.len);
        len = queue->entry.len;
    }
    if (__builtin_expect(queue->fault != DRIVER_FAULT_NONE, 0))
        return false;
    *completion = (struct driver_completion){(uint16_t)id, chain->num, len};
    if (format == RING_PACKED)
        queue->next_used = packed_advance(queue->next_used, chain->num, queue->size);
    else
        queue->next_used++;
    if (queue->is_in_order)
        queue->oldest = (uint16_t)(id + chain->num >= queue->size ? id + chain->num - queue->size
                                                                  : id + chain->num);
    chain->num = 0;
    return true;
}

/* Its slots are free for others. */
static ALWAYS_INLINE void driver_queue_free_chain(struct shunt_driver_queue *queue,
                                                  const struct driver_completion *completion)
{
    uint16_t slot = completion->id;

    driver_queue_free_slot(queue, slot);
    for (unsigned i = 1; i < completion->num; i++) {
        slot = queue->shadow[slot].next;
        driver_queue_free_slot(queue, slot);
    }
    queue->num_free = (uint16_t)(queue->num_free + completion->num);
}

static ALWAYS_INLINE void driver_queue_give(struct shunt_driver_queue *queue,
                                            const struct driver_completion *completion,
                                            struct shunt_driver_used *used)
{
    *used = (struct shunt_driver_used){
        .cookie = queue->chains[completion->id].cookie,
        .len = completion->len,
        .id = completion->id,
    };
    driver_queue_free_chain(queue, completion);
}

/* Takes what a device returned that is gone. */
unsigned driver_queue_take_backlog(struct shunt_driver_queue *queue, struct shunt_driver_used *used,
                                   unsigned max);

/*
 * Takes up to `max` chains that came back. How many, or -EPROTO when there is none and the queue
 * broke.
 */
static ALWAYS_INLINE int driver_queue_take(struct shunt_driver_queue *queue,
                                           enum ring_format format, struct shunt_driver_used *used,
                                           unsigned max)
{
    struct driver_completion completion;
    unsigned num = 0;

    if (__builtin_expect(queue->num_backlog > 0, 0))
        num = driver_queue_take_backlog(queue, used, max);
    if (__builtin_expect(queue->fault != DRIVER_FAULT_NONE, 0))
        return num > 0 ? (int)num : -EPROTO;
    while (num < max && driver_queue_next(queue, format, &completion))
        driver_queue_give(queue, &completion, &used[num++]);
    return num == 0 && queue->fault != DRIVER_FAULT_NONE ? -EPROTO : (int)num;
}

#endif
