/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Chains in flight, noted in memory that outlives us: it is shared with the front-end, which hands it to our
 * successor after a crash (vhost-user, "Inflight I/O tracking"; message GET_INFLIGHT_FD).
 *
 * A device that completes chains in order needs it only for its place in the ring: what it had taken is still
 * available to its successor. One that keeps chains and completes them in any order (shunt_virtqueue_pop()
 * and _push()) finds here which it had: they are *resubmitted*, in their old order, before any other.
 *
 * The area is the front-end's, too, and so not trusted: every index in it is checked where it is used.
 *
 * Threads: under the queue's lock.
 */
#ifndef VIRTQUEUE_INFLIGHT_H
#define VIRTQUEUE_INFLIGHT_H

#include "virtqueue/virtqueue.h"

struct chain_walk;

/* Bytes of one queue's part of the area, a multiple of 64. */
uint64_t inflight_region_bytes(enum ring_format format, uint16_t size);

/*
 * At a ring's start, when it is mapped: reads what a predecessor left, moves the queue's indices to where it
 * was, and notes from now on. Does nothing for a queue without a region. -EINVAL: the region is too
 * small or made for another size; -ENOMEM.
 */
int inflight_start(struct shunt_virtqueue *queue, struct shunt_error *error);

/* At its end. */
void inflight_stop(struct shunt_virtqueue *queue);

/* Fetches the next chain that is resubmitted: as virtqueue_fetch(). */
int inflight_fetch(struct chain_walk *walk);
struct used_chain inflight_skip(struct shunt_virtqueue *queue);

/* A chain was fetched from `position` on and is kept beyond the lock. */
void inflight_take(struct shunt_virtqueue *queue, const struct shunt_chain *chain,
                   uint16_t position);

/* Chains were returned, and, around it, are published. */
void inflight_complete(struct shunt_virtqueue *queue, const struct used_chain *used, unsigned num);
void inflight_before_publish(struct shunt_virtqueue *queue);
void inflight_after_publish(struct shunt_virtqueue *queue);

#endif
