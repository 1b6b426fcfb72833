/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loop of the control thread: waits on file descriptors, on signals, and for the second to pass.
 *
 * Everything here belongs to that thread. A source may be removed at any time, by its own function and
 * by those of others too: it is not called after that, not even for an event that was waiting already.
 */
#ifndef DAEMON_LOOP_H
#define DAEMON_LOOP_H

#include <stdint.h>

#include <shunt/error.h>

struct loop;
struct loop_source;

/* `events` are those of epoll(7). */
typedef void loop_fn(void *ctx, uint32_t events);

struct loop_ops {
    void (*tick)(void *ctx);   /* once a second */
    void (*reload)(void *ctx); /* on SIGHUP */
};

/*
 * Blocks SIGTERM, SIGINT and SIGHUP, here and in the threads that are started later, and ignores
 * SIGPIPE. `ops` and `ctx` are for loop_run(). -EMFILE, -ENOMEM.
 */
int loop_create(const struct loop_ops *ops, void *ctx, struct loop **loop,
                struct shunt_error *error);

/* All sources must have been removed. Accepts NULL. */
void loop_destroy(struct loop *loop);

/* Runs until SIGTERM or SIGINT comes. */
void loop_run(struct loop *loop);

/* Watches a descriptor, level-triggered, until the source is removed. -ENOSPC, -ENOMEM. */
int loop_add(struct loop *loop, int fd, uint32_t events, loop_fn *fn, void *ctx,
             struct loop_source **source);

/* Waits for other events from now on. */
void loop_watch(struct loop_source *source, uint32_t events);

/* Before its descriptor is closed. Accepts NULL. */
void loop_remove(struct loop_source *source);

#endif
