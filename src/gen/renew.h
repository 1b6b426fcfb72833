/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A chain of one descriptor that came back is made available again as it was: what taking and adding do, without the
 * detour over the list of free slots. Its id stays, and with it whatever belongs to its slot.
 *
 *     while (renew_next(queue, format, &completion))
 *         renew(queue, format, completion.id, length as it is to be);
 *     driver_queue_publish(queue, format);
 */
#ifndef GEN_RENEW_H
#define GEN_RENEW_H

#include "virtqueue/driver.h"

/*
 * The next chain that came back; false: there is none. What a back-end had returned before it went
 * (the backlog) is for driver_queue_take(), and so are longer chains.
 */
static ALWAYS_INLINE bool renew_next(struct shunt_driver_queue *queue, enum ring_format format,
                                     struct driver_completion *completion)
{
    return queue->fault == DRIVER_FAULT_NONE && driver_queue_next(queue, format, completion);
}

/* Adds it once more, with so many bytes. */
static ALWAYS_INLINE void renew(struct shunt_driver_queue *queue, enum ring_format format,
                                uint16_t id, uint32_t len)
{
    struct driver_chain *chain = &queue->chains[id];
    struct split_descriptor descriptor = queue->shadow[id];

    if (format == RING_PACKED || __builtin_expect(descriptor.len != len, 0)) {
        descriptor.len = len;
        driver_queue_put(queue, format, id, id, descriptor);
    }
    chain->sequence = queue->sequence++;
    chain->num = 1;
    if (format == RING_SPLIT)
        driver_split_enter(queue, id);
}

#endif
