/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of `struct shunt_backend` (see <shunt/backend.h>).
 *
 *   backend.c     its life, and the epoll set that makes it one descriptor
 *   connection.c  front-ends that come and go
 *   message.c     what each message does
 *   queue.c       rings that start, stop, are kicked and break
 *   request.c     what we have to tell or ask the front-end
 *
 * All run in the control thread. What comes from other threads, a queue that breaks or misses an address,
 * comes by `event_fd`.
 */
#ifndef VHOST_USER_BACKEND_H
#define VHOST_USER_BACKEND_H

#include <shunt/backend.h>
#include <sys/types.h>

#include "base/connector.h"
#include "base/listener.h"
#include "base/log.h"
#include "memory/dirty_log.h"
#include "memory/iotlb.h"
#include "vhost_user/channel.h"
#include "vhost_user/device_state.h"
#include "vhost_user/inflight_area.h"
#include "vhost_user/postcopy.h"
#include "vhost_user/request.h"
#include "virtqueue/virtqueue.h"

/* What made a descriptor of the epoll set readable; the index of the queue, if any, goes with it. */
enum backend_event {
    EVENT_TIMER,      /* see connection.c */
    EVENT_LISTENER,   /* somebody connects */
    EVENT_CONNECTION, /* a message */
    EVENT_REQUEST,    /* the request channel: a reply, or room for more */
    EVENT_QUEUES,     /* some queue broke or misses an address */
    EVENT_KICK,
    EVENT_CALL, /* of a ring without descriptors: they become requests */
    EVENT_ERROR,
    EVENT_STATE_SAVE, /* the device's state can be written on (EPOLLOUT): device_state_on_event() */
    EVENT_STATE_LOAD, /* … read on (EPOLLIN) */
    EVENT_NUM,
};

struct backend_queue {
    struct shunt_virtqueue *virtqueue;
    bool is_kick_watched; /* its kick descriptor is in our epoll set: see queue.c */
    bool is_awaited;      /* … because the ring was not seen to move yet */
    bool is_programs; /* … because the program wants to be told: shunt_backend_watch_queue() */
    unsigned num_empty_kicks;
    bool is_fault_known;  /* it broke, and that was reported */
    bool is_running_told; /* that it can go on: behind a vIOMMU addresses are lost and found */

    /* The front-end said how it is to be notified, be it by a descriptor or not at all. */
    bool has_call;
    bool has_error;
    /* It did not: call_fd and error_fd are ours, see queue.c. */
    bool calls_in_band;
    bool reports_in_band;

    unsigned requests_due; /* bit set of `enum request` */
    uint64_t refused_addr;
    unsigned refused_access;
    struct host_notifier host_notifier;
};

#define PEER_NAME_BYTES 16

/* How front-ends come. */
enum backend_role {
    ROLE_SERVER,  /* we listen */
    ROLE_CLIENT,  /* we connect */
    ROLE_ADOPTED, /* there is one connection, and it was handed to us */
};

struct shunt_backend {
    char *name;
    struct shunt_backend_config config; /* strings: name above, path in listener or connector */
    const struct shunt_backend_ops *ops;
    void *ctx;

    int epoll_fd;
    int event_fd; /* eventfd: some queue broke or misses an address */
    int timer_fd;
    enum backend_role role;
    struct listener listener;
    struct connector connector;
    bool is_trouble_said; /* that there is no front-end to be had, in the log */
    bool is_flapping; /* the last connection was of no use, and this one was not yet: a client's */
    struct channel channel;
    pid_t peer_pid;
    char peer_name[PEER_NAME_BYTES]; /* of the process; "" if unknown */
    uint64_t connected_ms;
    struct log_limit log_limit;
    char reason[SHUNT_ERROR_TEXT_BYTES];

    /* Of this connection. */
    uint64_t features;
    uint64_t protocol_features;
    bool is_useful;         /* some ring was started */
    bool is_memory_private; /* as far as can be seen */
    bool is_memory_shared;  /* some ring was seen to move */
    struct request_channel requests;
    struct shunt_memory *memory;
    struct iotlb *iotlb; /* in use, as space.iotlb, while ACCESS_PLATFORM is negotiated */
    struct dirty_log log;
    struct virtqueue_space space; /* of all the queues; changed with all of them locked */
    uint8_t status;               /* as SET_STATUS said it */
    struct inflight_area inflight;
    struct postcopy postcopy;
    struct device_state device_state;
    struct backend_queue *queues; /* config.num_virtqueues */
};

/* --- backend.c -------------------------------------------------------------------------------------- */

/* Puts `fd` into the epoll set. -errno. */
int backend_watch(const struct shunt_backend *backend, int fd, enum backend_event event,
                  unsigned idx);
void backend_unwatch(const struct shunt_backend *backend, int fd);

/* The features that are offered, those of rings and transport included. */
uint64_t backend_offered_features(const struct shunt_backend *backend);
uint64_t backend_offered_protocol_features(const struct shunt_backend *backend);

static inline bool backend_has_protocol(const struct shunt_backend *backend, unsigned bit)
{
    return backend->protocol_features >> bit & 1;
}

/* --- connection.c ----------------------------------------------------------------------------------- */

/* Begins to wait for front-ends as the configuration says. */
int connection_open(struct shunt_backend *backend, struct shunt_error *error);

/* The end of it; a front-end that is there is disconnected. */
void connection_close(struct shunt_backend *backend);

/* The connection is of use: a ring was started. */
void connection_settle(struct shunt_backend *backend);

/* Ends the connection, if there is one, because of `fault`, and waits for the next. */
void connection_fail(struct shunt_backend *backend, const struct shunt_error *fault);

void connection_on_timer(struct shunt_backend *backend, unsigned idx);
void connection_on_listener(struct shunt_backend *backend, unsigned idx);
void connection_on_message(struct shunt_backend *backend, unsigned idx);

/* --- message.c -------------------------------------------------------------------------------------- */

/* Handles one message and answers it. A negative result ends the connection. */
int message_handle(struct shunt_backend *backend, struct wire_message *message,
                   struct shunt_error *error);

/*
 * The connection ends: ends what messages of migration and status began. Before any queue is locked: it
 * wakes whoever waits, with a queue locked, for a page of a guest that arrives by postcopy.
 */
void message_forget(struct shunt_backend *backend);

/* --- queue.c ---------------------------------------------------------------------------------------- */

/* Stops queue `idx` and closes its kick descriptor. */
void backend_stop_queue(struct shunt_backend *backend, unsigned idx);

/* Enables or disables it, started or not. */
void backend_enable_queue(struct shunt_backend *backend, unsigned idx, bool is_enabled);

/* Stops it and forgets all that this connection said of it. */
void backend_reset_queue(struct shunt_backend *backend, unsigned idx);

/*
 * Puts a new kick descriptor (-1: the ring is polled) in place of the old; a stopped ring waits for its
 * first kick from then on. The descriptor is the back-end's, also on failure.
 */
int backend_set_kick(struct shunt_backend *backend, unsigned idx, int fd,
                     struct shunt_error *error);

/* VRING_KICK: the kick of a ring without descriptor. */
int backend_kick_queue(struct shunt_backend *backend, unsigned idx, struct shunt_error *error);

/* Takes over a call or error descriptor; -1: the front-end does not want to be notified. */
void backend_set_call(struct shunt_backend *backend, unsigned idx, int fd);
void backend_set_error(struct shunt_backend *backend, unsigned idx, int fd);

/* After memory or IOTLB changed, with all queues locked: finds the rings again. */
void backend_remap_queues(struct shunt_backend *backend);

/* The same after a change of `bytes` from `io_addr` on in the IOTLB. */
void backend_iotlb_changed(struct shunt_backend *backend, uint64_t io_addr, uint64_t bytes);

/* Tells the program that something about the queue changed. */
void backend_tell_queue(struct shunt_backend *backend, unsigned idx);

void queue_on_events(struct shunt_backend *backend, unsigned idx);
void queue_on_kick(struct shunt_backend *backend, unsigned idx);
void queue_on_call(struct shunt_backend *backend, unsigned idx);
void queue_on_error(struct shunt_backend *backend, unsigned idx);

/* For virtqueue_create(): any thread, with the queue locked. */
void queue_signal_event(void *ctx);

/* All queues are stopped: we may neither write to guest memory nor send anything but answers. */
bool backend_is_suspended(const struct shunt_backend *backend);

/*
 * All queues, for what concerns the whole device: memory. First those with odd indices, then those with even
 * ones: a worker that holds a network device's transmitq may take any receiveq.
 */
void backend_lock_queues(struct shunt_backend *backend);
void backend_unlock_queues(struct shunt_backend *backend);

/* --- request.c -------------------------------------------------------------------------------------- */

/*
 * Puts the socket of the request channel in place of the one there. -ENOTSOCK, -EINVAL: it is no stream
 * socket. The descriptor is the back-end's, also on failure.
 */
int backend_set_request_fd(struct shunt_backend *backend, int fd, struct shunt_error *error);

/* Closes the channel and the host notifiers' descriptors. */
void request_close(struct shunt_backend *backend);

/* Marks a request of queue `idx` as due, and sends what can be sent. */
void request_add(struct shunt_backend *backend, unsigned idx, enum request request);

/* Sends what is due and can be sent. */
void request_send(struct shunt_backend *backend);

/* The queue was stopped: sends the last of its calls, and forgets what else was due. */
void request_forget_queue(struct shunt_backend *backend, unsigned idx);

void request_on_event(struct shunt_backend *backend, unsigned idx);

#endif
