/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One worker: a thread, the queues that it polls, and how it rests.
 *
 * Threads: the control thread calls everything here; the worker's own thread is inside.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "worker/pool.h"

struct worker;

/* What a worker counts; cycles are those of clock_cycles(). */
struct worker_stats {
    uint64_t busy_cycles; /* in rounds that moved a frame */
    uint64_t idle_cycles; /* in rounds that did not, and asleep */
    uint64_t frames;
    uint64_t bursts;
    uint64_t wakeups;
    int cpu; /* where it ran last */
};

/* Starts a worker on `cpu` (-1: any). */
int worker_create(unsigned id, int cpu, enum worker_mode mode, struct worker **worker,
                  struct shunt_error *error);

/* Ends it; it has no queues any more. Accepts NULL. */
void worker_destroy(struct worker *worker);

void worker_set_mode(struct worker *worker, enum worker_mode mode);

/* Adds a queue; `*slot` names it from then on. -ENOMEM; -errno when its wake-up cannot be watched. */
int worker_add(struct worker *worker, struct bridge_port *member, struct port_queue *queue,
               unsigned *slot);

/* Takes it out; the worker does not use it any more when this returns. */
void worker_remove(struct worker *worker, unsigned slot);

unsigned worker_num_queues(const struct worker *worker);
struct worker_stats worker_stats(const struct worker *worker);

#endif
