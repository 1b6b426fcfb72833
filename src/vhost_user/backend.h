/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of `struct shunt_backend` (see <shunt/backend.h>).
 *
 * backend.c owns its life: the socket, the connection, the epoll set that makes it one descriptor, and
 * the rings' first kicks. message.c knows what each message does. Both run in the control thread; the
 * one thing that comes from other threads is a queue that breaks, by `fault_fd`.
 */
#ifndef VHOST_USER_BACKEND_H
#define VHOST_USER_BACKEND_H

#include <shunt/backend.h>
#include <sys/types.h>

#include "base/listener.h"
#include "base/log.h"
#include "vhost_user/channel.h"
#include "virtqueue/virtqueue.h"

struct backend_queue {
    struct shunt_virtqueue *virtqueue;
    bool is_awaited; /* its kick descriptor is in our epoll set: see backend.c */
    unsigned num_empty_kicks;
    bool is_fault_known; /* it broke, and that was reported */
};

struct shunt_backend {
    char *name;
    struct shunt_backend_config config; /* strings: name above, path in the listener */
    const struct shunt_backend_ops *ops;
    void *ctx;

    int epoll_fd;
    int fault_fd; /* eventfd: some queue broke */
    struct listener listener;
    struct channel channel;
    pid_t peer_pid;
    struct log_limit log_limit;
    char reason[SHUNT_ERROR_TEXT_BYTES];

    /* Of this connection. */
    uint64_t features;
    uint64_t protocol_features;
    bool is_memory_private; /* as far as can be seen */
    bool is_memory_shared;  /* some ring was seen to move */
    struct shunt_memory *memory;
    struct backend_queue *queues; /* config.num_virtqueues */
};

/* The features that are offered, those of rings and transport included. */
uint64_t backend_offered_features(const struct shunt_backend *backend);
uint64_t backend_offered_protocol_features(const struct shunt_backend *backend);

/* Handles one message and answers it. A negative result ends the connection. */
int message_handle(struct shunt_backend *backend, struct wire_message *message,
                   struct shunt_error *error);

/* Starts queue `idx`, which has been kicked or resumed. */
int backend_start_queue(struct shunt_backend *backend, unsigned idx, struct shunt_error *error);

/* Stops queue `idx` and closes its kick descriptor. */
void backend_stop_queue(struct shunt_backend *backend, unsigned idx);

/*
 * Puts a new kick descriptor (-1: the ring is polled) in place of the old; a stopped ring waits for its
 * first kick from then on.
 */
int backend_set_kick(struct shunt_backend *backend, unsigned idx, int fd,
                     struct shunt_error *error);

/* Tells the program that something about the queue changed. */
void backend_tell_queue(struct shunt_backend *backend, unsigned idx);

/*
 * All queues, for what concerns the whole device: memory. From the highest index down, so that a
 * worker that holds one queue of a device may take one with a lower index.
 */
void backend_lock_queues(struct shunt_backend *backend);
void backend_unlock_queues(struct shunt_backend *backend);

#endif
