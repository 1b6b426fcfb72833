/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port is where frames enter and leave the switch. One file a type, all behind `struct port_class`.
 *
 * The way of a burst, seen from here (rx is what comes in from the port):
 *
 *     n = lend(queue, burst)          frames where they lie; the rx side of the queue stays locked
 *     …   copy(port', hint, burst, which)   for each destination: the frames of the mask `which`
 *     give_back(queue, burst)         after every lend that returned more than 0
 *
 * Threads. The *control thread* creates, destroys, dispatches and describes ports. *Workers* lend,
 * copy, give back, arm and disarm. Each side of a queue is worked on by one thread at a time: a port's
 * lend takes what lock it needs and its give_back releases it; copy locks within. A worker that holds
 * an rx side may take tx sides, never the other way round.
 *
 * A port outlives all its use by workers: it leaves its bridge and the workers first (which wait for a
 * grace period), and is destroyed after that.
 */
#ifndef PORT_PORT_H
#define PORT_PORT_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <shunt/error.h>

#include "base/counters.h"
#include "port/option.h"
#include "virtio_net/burst.h"

#define PORT_NAME_MAX_BYTES 63
#define PORT_MAX_QUEUES     128
#define PORT_REASON_BYTES   256

enum port_state {
    PORT_DOWN,       /* something is wrong: see the reason */
    PORT_CONNECTING, /* waits for its peer */
    PORT_UP,         /* frames can pass */
};

struct port;

/* One queue, or pair of virtqueues, of a port: an rx and a tx side. */
struct port_queue {
    struct port *port;
    unsigned idx;
    bool is_running; /* control thread: workers may lend from it */
    _Alignas(64) struct counters rx;
    _Alignas(64) struct counters tx;
};

/* What a port tells its owner, in the control thread. */
struct port_events {
    /*
     * Workers may lend from `queue` from now on, or (`runs` false) must not any more; after the call
     * returns, the queue's wake descriptor may be closed.
     */
    void (*queue_changed)(void *ctx, struct port_queue *queue, bool runs);

    /* The port's state or reason changed. */
    void (*state_changed)(void *ctx, struct port *port);
};

struct port_class {
    const char *type;
    const char *help;             /* one line */
    const struct option *options; /* beyond the common ones */

    /* Control thread. `options` are checked. Fills port->private, makes queues, sets the state. */
    int (*open)(struct port *port, const json_t *options, struct shunt_error *error);
    /* Frees what open made; may be called after an open that failed halfway. */
    void (*close)(struct port *port);
    /* Optional: a descriptor for the control thread's epoll set, and what to do when it is readable. */
    int (*fd)(const struct port *port);
    void (*dispatch)(struct port *port);
    /* Optional: once a second. */
    void (*tick)(struct port *port);
    /*
     * For the options that are live: the value that was given, checked, or NULL if it was taken back and
     * has no default.
     */
    void (*set)(struct port *port, const char *key, const json_t *value);
    /* Optional: adds what the type knows to the object that `port show` prints. */
    void (*describe)(const struct port *port, json_t *object);

    /* Workers. */
    unsigned (*lend)(struct port_queue *queue, struct burst *burst);
    void (*give_back)(struct port_queue *queue, struct burst *burst);
    /*
     * Copies the frames of the mask, which is not empty, to the port's peer, on the queues that it chooses;
     * `hint` is the queue that they came from at their source. Each frame is counted at one of the
     * queues, or by port_count_down().
     */
    void (*copy)(struct port *port, unsigned hint, struct burst *burst, burst_mask which);

    /*
     * Workers: asks for a wake-up by the next frame. False when something is there already, or none
     * can be had: look again soon. disarm() says that the queue is being polled.
     */
    bool (*arm)(struct port_queue *queue);
    void (*disarm)(struct port_queue *queue);
    /* The descriptor that becomes readable, watched edge-triggered; -1: the queue must be polled. */
    int (*wake_fd)(const struct port_queue *queue);
    /* An empty lend costs a system call: do it only after a wake-up. */
    bool is_lend_costly;
};

struct port {
    const struct port_class *class;
    char name[PORT_NAME_MAX_BYTES + 1];
    unsigned num_queues;
    struct port_queue *queues;
    atomic_uint num_tx_queues;   /* those that take frames now: 0 while the port is not up */
    _Atomic uint64_t down_drops; /* frames for it while there was no queue to count them at */
    enum port_state state;       /* control thread */
    char reason[PORT_REASON_BYTES];
    const struct port_events *events;
    void *events_ctx;
    void *private;
};

/* The types that there are; ends with NULL. */
extern const struct port_class *const port_classes[];

/* The class by the name of its type, or NULL. */
const struct port_class *port_class_find(const char *type);

/*
 * Makes a port. `options` are those of its type, checked. `events` must outlive it and may be called
 * before this returns. Errors are those of the class's open; nothing is left on failure.
 */
int port_create(const struct port_class *class, const char *name, const json_t *options,
                const struct port_events *events, void *ctx, struct port **port,
                struct shunt_error *error);

/* Ends a port that no bridge and no worker uses any more. Accepts NULL. */
void port_destroy(struct port *port);

const char *port_state_name(enum port_state state);

/*
 * The port as `port show` prints it, without its bridge: name, type, state, reason, queues, features,
 * rx, tx and what the type adds. A new reference; NULL when memory is short.
 */
json_t *port_describe(const struct port *port);

/* What all queues counted, since the port was made. */
void port_sum_counters(const struct port *port, struct counters *rx, struct counters *tx);

/* For port types: sets the state with a formatted reason ("" when up) and tells the owner if new. */
void port_set_state(struct port *port, enum port_state state, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* For port types: allocates the port's queues. -ENOMEM. */
int port_make_queues(struct port *port, unsigned num);

/* For port types: tells the owner that a queue runs or stops, once for each change. */
void port_queue_run(struct port_queue *queue, bool runs);

static inline bool port_is_up(const struct port *port)
{
    return atomic_load_explicit(&port->num_tx_queues, memory_order_acquire) > 0;
}

/* Any worker: so many frames found the port down. */
static inline void port_count_down(struct port *port, uint64_t num)
{
    atomic_fetch_add_explicit(&port->down_drops, num, memory_order_relaxed);
}

/* Workers: delivers the frames of the mask, or counts them if the port is down. */
static inline void port_copy(struct port *port, unsigned hint, struct burst *burst,
                             burst_mask which)
{
    if (port_is_up(port))
        port->class->copy(port, hint, burst, which);
    else
        port_count_down(port, (uint64_t)__builtin_popcountll(which));
}

#endif
