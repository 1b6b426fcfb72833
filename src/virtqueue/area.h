/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the three areas of a ring lie for us: found by the addresses that the front-end gave, which are its
 * own, guest physical, or I/O virtual.
 *
 * We index areas, so each must lie in one piece. Behind a vIOMMU it often does not: a guest's kernel maps
 * pages from anywhere to I/O virtual addresses in a row. Such an area gets a window: its pages, mapped once
 * more, in a row.
 *
 * Threads: under the queue's lock.
 */
#ifndef VIRTQUEUE_AREA_H
#define VIRTQUEUE_AREA_H

#include "virtqueue/virtqueue.h"

/*
 * Finds all areas of the ring and fills in queue->split or ->packed. -EINVAL: an area lies outside of the
 * memory, or unaligned; -EAGAIN: the IOTLB does not know, and is being asked. After a failure nothing is mapped.
 */
int area_map_all(struct shunt_virtqueue *queue, struct shunt_error *error);

/* Forgets them. */
void area_unmap_all(struct shunt_virtqueue *queue);

/* Whether any area has an address among the `bytes` from `addr` on; 0 from 0 on are all that there are. */
bool area_overlaps(const struct shunt_virtqueue *queue, uint64_t addr, uint64_t bytes);

/* While logging: `len` bytes at address `addr` of an area were written. */
void area_mark(struct shunt_virtqueue *queue, uint64_t addr, uint64_t len);

#endif
