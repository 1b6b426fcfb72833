/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Automatic receive steering (VIRTIO 1.3, 5.1.6.5.6): a flow returns on the queue pair that its driver sent
 * it on. What was not sent yet is spread over the active pairs by its hash.
 *
 * The table remembers flows by their hash. It has buckets of a few entries, each one word that is read and
 * written in one go; a new flow takes the place of the one that was not seen for the longest time. An
 * entry that says what is known already is not written again within a second, so that its line stays
 * shared between the cores that read it.
 *
 * Threads: any may learn and choose at any time. Two that learn in the same bucket may overwrite one
 * another's entry: a flow is then spread, or learned again with its next frame.
 */
#ifndef VIRTIO_NET_STEERING_H
#define VIRTIO_NET_STEERING_H

#include <stdint.h>

struct steering;

/* An empty table: nothing is known. -ENOMEM. */
int steering_create(struct steering **steering);

/* Accepts NULL. */
void steering_destroy(struct steering *steering);

/* The driver sent the flow on `queue` (< 65535). */
void steering_learn(struct steering *steering, uint32_t hash, unsigned queue, uint32_t now_s);

/* The pair for the flow, out of the first `num` (> 0). */
unsigned steering_choose(const struct steering *steering, uint32_t hash, unsigned num);

/* Forgets all: another driver, other flows. */
void steering_clear(struct steering *steering);

#endif
