/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The workers: threads that take bursts from queues and forward them. Queues are spread over them.
 *
 * Called by the control thread only. It must not be a registered RCU reader, and must not hold any
 * virtqueue's lock.
 */
#ifndef WORKER_POOL_H
#define WORKER_POOL_H

#include <jansson.h>

#include <shunt/error.h>

#include "bridge/bridge.h"

#define WORKER_MAX 64

enum worker_mode {
    WORKER_ADAPTIVE,  /* polls while there is work and a little longer, then sleeps */
    WORKER_POLL,      /* never sleeps */
    WORKER_INTERRUPT, /* sleeps whenever there is nothing to do */
};

struct worker_config {
    enum worker_mode mode;
    unsigned num;         /* 1 … WORKER_MAX */
    int cpus[WORKER_MAX]; /* the CPU of each, or -1: wherever the kernel runs it */
};

struct worker_pool;

/* Names as users write them; a mode's name, or NULL-terminated list of all. */
extern const char *const worker_mode_names[];

/* Starts the workers. -EINVAL: a CPU that is not there or not ours; -EAGAIN, -ENOMEM, -EMFILE. */
int worker_pool_create(const struct worker_config *config, struct worker_pool **pool,
                       struct shunt_error *error);

/* Ends the workers; no queue is assigned any more. Accepts NULL. */
void worker_pool_destroy(struct worker_pool *pool);

/* Changes number, CPUs and mode; queues stay in service. On failure all is as it was. */
int worker_pool_set(struct worker_pool *pool, const struct worker_config *config,
                    struct shunt_error *error);

const struct worker_config *worker_pool_config(const struct worker_pool *pool);

/* Gives a queue that runs, of a port that is in a bridge, to the worker with the fewest. -ENOMEM. */
int worker_pool_add(struct worker_pool *pool, struct bridge_port *member, struct port_queue *queue);

/* Takes it away; no worker uses the queue or the member when this returns. Not there: nothing. */
void worker_pool_remove(struct worker_pool *pool, struct port_queue *queue);

/*
 * As `worker show` prints it: an array of objects with id, cpu, pinned, mode, queues, busy_cycles,
 * idle_cycles, cycles_per_second, frames, bursts, wakeups. A new reference; NULL when memory is short.
 */
json_t *worker_pool_describe(const struct worker_pool *pool);

#endif
