/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of `struct shunt_frontend` (see <shunt/frontend.h>).
 *
 *     frontend.c            its life, and its one descriptor: an epoll set
 *     frontend_link.c       back-ends that come and go
 *     frontend_sequence.c   what is said to them, one message after the other
 *     frontend_step.c       each of these messages
 *     frontend_request.c    what they ask for
 *
 * What has to be said next is state, not a list: phases that are due, and a place in the phase at
 * hand. So nothing has to be kept for a back-end that does not read, and a new one is told
 * everything anew.
 *
 * Threads: the program's control thread; the queues have locks of their own.
 */
#ifndef VHOST_USER_FRONTEND_H
#define VHOST_USER_FRONTEND_H

#include <shunt/frontend.h>

#include "base/connector.h"
#include "base/listener.h"
#include "base/log.h"
#include "memory/shared.h"
#include "vhost_user/channel.h"
#include "virtqueue/driver_queue.h"

/* In the order in which they come when several are due. */
enum frontend_phase {
    PHASE_NEGOTIATE,
    PHASE_MEMORY,
    PHASE_CONFIG,
    PHASE_START,
    PHASE_ENABLE,
    PHASE_STOP,
    PHASE_NUM,
    PHASE_NONE = PHASE_NUM,
};

struct frontend_queue {
    struct shunt_driver_queue *queue;
    bool is_enable_wanted;
    bool is_enable_told;
};

/* Where we are in what is to be said. */
struct frontend_sequence {
    unsigned due; /* a bit for each phase */
    enum frontend_phase phase;
    unsigned step;
    unsigned item;
    bool is_awaiting; /* the answer to the message of this item */
};

struct shunt_frontend {
    struct shunt_frontend_config config; /* its strings are not kept */
    const struct shunt_frontend_ops *ops;
    void *ctx;
    char *name;

    int epoll_fd;
    int timer_fd;
    int event_fd; /* something is due, or a queue broke */
    int error_fd; /* the back-end says that a queue broke */

    struct listener listener;
    struct connector connector;
    bool is_listener_paused;
    struct channel channel;
    bool is_room_watched;
    struct channel requests;
    uint64_t connected_ms;

    struct frontend_sequence sequence;
    uint64_t offered_features;
    uint64_t features; /* of this connection */
    uint64_t protocol_features;
    unsigned num_virtqueues; /* of this connection */
    uint64_t max_mem_slots;
    unsigned num_regions_told;

    bool wants_running;
    bool is_running;
    bool has_started; /* once: these stay from then on */
    uint64_t kept_features;
    unsigned kept_virtqueues;

    struct shared_area rings;
    struct frontend_queue *queues;
    uint8_t device_config[WIRE_CONFIG_MAX_BYTES];
    bool has_device_config;

    char reason[256];
    struct log_limit log_limit;
    bool is_trouble_said;
};

/* --- frontend.c ------------------------------------------------------------------------------------- */

enum frontend_event {
    FRONTEND_ON_TIMER,
    FRONTEND_ON_LISTENER,
    FRONTEND_ON_MESSAGE,
    FRONTEND_ON_REQUEST,
    FRONTEND_ON_EVENT,
    FRONTEND_ON_ERROR,
    FRONTEND_NUM_EVENTS,
};

/* 0 or -errno of epoll_ctl(2). */
int frontend_watch(const struct shunt_frontend *frontend, int fd, enum frontend_event event);
void frontend_unwatch(const struct shunt_frontend *frontend, int fd);

static inline bool frontend_has_protocol(const struct shunt_frontend *frontend, unsigned bit)
{
    return frontend->protocol_features >> bit & 1;
}

/* --- frontend_link.c -------------------------------------------------------------------------------- */

/* Listens, or begins to connect. As of shunt_frontend_create(). */
int frontend_link_begin(struct shunt_frontend *frontend, struct shunt_error *error);

/* Disconnects, and closes the listening socket. */
void frontend_link_end(struct shunt_frontend *frontend);

/* The back-end broke a rule. */
void frontend_link_fail(struct shunt_frontend *frontend, const struct shunt_error *fault);

void frontend_link_on_timer(struct shunt_frontend *frontend);
void frontend_link_on_listener(struct shunt_frontend *frontend);
void frontend_link_on_message(struct shunt_frontend *frontend);

/* --- frontend_sequence.c ---------------------------------------------------------------------------- */

/* A back-end is connected, to which nothing was said yet; or there is none any more. */
void frontend_sequence_begin(struct shunt_frontend *frontend);
void frontend_sequence_forget(struct shunt_frontend *frontend);

/* The phase is to be gone through, when the program dispatches. */
void frontend_sequence_want(struct shunt_frontend *frontend, enum frontend_phase phase);

/* Says what can be said. -errno: the connection is of no use any more. */
int frontend_sequence_continue(struct shunt_frontend *frontend, struct shunt_error *error);

/* The back-end's answer. -EPROTO: it does not fit; -EREMOTEIO: it is no. */
int frontend_sequence_answer(struct shunt_frontend *frontend, const struct wire_message *message,
                             struct shunt_error *error);

/* --- frontend_request.c ----------------------------------------------------------------------------- */

/* Makes the channel for requests; `*fd` is the back-end's end, the caller's. -errno. */
int frontend_request_open(struct shunt_frontend *frontend, int *fd);
void frontend_request_close(struct shunt_frontend *frontend);
void frontend_request_on_event(struct shunt_frontend *frontend);

#endif
