/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's side of a ring: fetching and completing chains. Inline, because devices do it a million
 * times a second; <shunt/virtqueue.h> wraps the same functions.
 *
 *     num = virtqueue_available(queue, format, most);   about how many chains there are, on their way
 *     while (virtqueue_fetch(queue, format, …) > 0)     each once, in order
 *     virtqueue_rewind(queue, cursor);                  those since `cursor` were not taken after all
 *     virtqueue_return(queue, format, used, num);       in any order; what is returned is never rewound
 *     virtqueue_publish(queue, format);                 once a burst
 *
 * All with the lock held, on a queue that runs. The format is queue->format, for callers with a hot loop as
 * a constant: they are written once and inlined twice (see transmitq.c). Split and packed differ in
 * how a descriptor is fetched and completed, and nowhere else.
 */
#ifndef VIRTQUEUE_DEVICE_H
#define VIRTQUEUE_DEVICE_H

#include "virtqueue/inflight.h"
#include "virtqueue/packed.h"
#include "virtqueue/split.h"

/*
 * Whether chains can be fetched, and how many at most, up to `most`. A split ring knows their number; a
 * packed one says `most` if there is one. Descriptors are asked into the cache.
 */
static ALWAYS_INLINE unsigned virtqueue_available(struct shunt_virtqueue *queue,
                                                  enum ring_format format, unsigned most)
{
    if (__builtin_expect(queue->num_resubmitted > 0, 0))
        return queue->num_resubmitted < most ? queue->num_resubmitted : most;
    return format == RING_PACKED ? packed_available(queue, most) : split_available(queue, most);
}

/*
 * Takes the next chain: its buffers are put into `iov`, of which there are `max`. 1; 0: none is
 * available (a split ring looks no further than virtqueue_available() did); the chain stays where it is
 * with -ENOBUFS: more than `max` pieces, and -EAGAIN: the IOTLB must be told of an address first;
 * -EPROTO: the queue broke.
 */
static ALWAYS_INLINE int virtqueue_fetch(struct shunt_virtqueue *queue, enum ring_format format,
                                         struct shunt_chain *chain, struct iovec *iov, unsigned max)
{
    struct chain_walk walk = {.queue = queue, .chain = chain, .iov = iov, .max = max};
    int result;

    *chain = (struct shunt_chain){.generation = queue->generation};
    if (__builtin_expect(queue->num_resubmitted > 0, 0))
        result = inflight_fetch(&walk);
    else
        result = format == RING_PACKED ? packed_fetch(&walk) : split_fetch(&walk);
    if (__builtin_expect(result == -EAGAIN, 0))
        virtqueue_block(queue);
    return result;
}

/*
 * Takes the next chain if it is there and plain. A split ring looks no further than
 * virtqueue_available() did: the caller counts.
 */
static ALWAYS_INLINE bool virtqueue_fetch_plain(struct shunt_virtqueue *queue,
                                                enum ring_format format, struct plain_chain *plain)
{
    if (__builtin_expect(queue->num_resubmitted > 0, 0))
        return false;
    return format == RING_PACKED ? packed_fetch_plain(queue, plain)
                                 : split_fetch_plain(queue, plain);
}

/* Takes the next chain, which is there, without looking at its buffers: it can only be returned. */
static ALWAYS_INLINE struct used_chain virtqueue_skip(struct shunt_virtqueue *queue,
                                                      enum ring_format format)
{
    if (__builtin_expect(queue->num_resubmitted > 0, 0))
        return inflight_skip(queue);
    return format == RING_PACKED ? packed_skip(queue) : split_skip(queue);
}

/* The chain as it is returned, with `len` bytes written to it. */
static inline struct used_chain chain_used(const struct shunt_chain *chain, uint32_t len)
{
    return (struct used_chain){chain->id, chain->num_descriptors, len};
}

/* The place in the ring that a rewind goes back to. */
struct virtqueue_cursor {
    uint16_t next_available;
    unsigned num_resubmitted;
};

static inline struct virtqueue_cursor virtqueue_cursor(const struct shunt_virtqueue *queue)
{
    return (struct virtqueue_cursor){queue->next_available, queue->num_resubmitted};
}

/* What was fetched since the cursor was not. */
static inline void virtqueue_rewind(struct shunt_virtqueue *queue, struct virtqueue_cursor cursor)
{
    queue->next_available = cursor.next_available;
    queue->num_resubmitted = cursor.num_resubmitted;
}

/* Gives chains back, in this order; the driver sees them after virtqueue_publish(). */
static ALWAYS_INLINE void virtqueue_return(struct shunt_virtqueue *queue, enum ring_format format,
                                           const struct used_chain *used, unsigned num)
{
    if (__builtin_expect(queue->inflight != NULL, 0))
        inflight_complete(queue, used, num);
    if (format == RING_PACKED)
        packed_return(queue, used, num);
    else
        split_return(queue, used, num);
}

/*
 * Whether the driver wants to know of what was returned since `before`. Its wish is read after what we
 * returned is visible; the fence pairs with the driver's between writing its wish and looking at the ring,
 * so one of the two sees the other (2.7.7.2, 2.8.21.3.1).
 */
static ALWAYS_INLINE bool virtqueue_is_notification_wanted(const struct shunt_virtqueue *queue,
                                                           enum ring_format format, uint16_t before)
{
    atomic_thread_fence(memory_order_seq_cst);
    return format == RING_PACKED ? packed_is_notification_wanted(queue, before)
                                 : split_is_notification_wanted(queue, before);
}

/* Shows what was returned to the driver, and notifies it if it asks for that. */
static ALWAYS_INLINE void virtqueue_publish(struct shunt_virtqueue *queue, enum ring_format format)
{
    uint16_t before = queue->published_used;

    if (queue->next_used == before)
        return;
    if (__builtin_expect(queue->inflight != NULL, 0))
        inflight_before_publish(queue);
    if (format == RING_PACKED)
        packed_publish(queue);
    else
        split_publish(queue);
    if (__builtin_expect(queue->is_logging, 0))
        virtqueue_log_publish(queue, before);
    if (__builtin_expect(queue->inflight != NULL, 0))
        inflight_after_publish(queue);
    queue->published_used = queue->next_used;
    if (virtqueue_is_notification_wanted(queue, format, before))
        virtqueue_notify(queue);
    else
        queue->stats.suppressed++;
}

#endif
