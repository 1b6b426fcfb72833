/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port of the generator: a network driver on one vhost-user socket.
 *
 *     port.c       its life: memory, front-end, features, buffers
 *     sender.c     what one transmitq sends
 *     receiver.c   what one receiveq brings
 *
 * One thread does everything, so the queues' locks are not taken: the library takes them only within
 * calls of this same thread.
 */
#ifndef GEN_PORT_H
#define GEN_PORT_H

#include <shunt/frontend.h>

#include "gen/histogram.h"
#include "gen/limiter.h"
#include "gen/options.h"
#include "gen/tracker.h"

struct port;

struct meter {
    uint64_t frames;
    uint64_t bytes; /* of Ethernet, without FCS */
};

/* What all ports have in common. */
struct plan {
    const struct options *options;
    struct pattern_sizes sizes;
    unsigned num_ports;
    struct port *ports;
    bool has_stamps; /* something is wanted of a frame that needs one */
    uint32_t max_size;
    uint8_t *scratch; /* for one frame */
};

/* One transmitq. */
struct sender {
    struct port *port;
    struct shunt_driver_queue *queue;
    struct pattern pattern;
    bool has_flows;
    bool is_constant; /* frames stay as they were built */
    uint32_t stride;
    uint8_t *frames;    /* one for each slot of the ring, `stride` bytes apart */
    uint32_t *trailers; /* of each, see frame_set_stamp() */
};

/* One receiveq. */
struct receiver {
    struct port *port;
    struct shunt_driver_queue *queue;
    struct sender *echo; /* NULL: the port is none */
    uint32_t buffer_bytes;
    uint32_t stride;
    uint8_t *buffers;
    uint32_t
        *next; /* of each buffer: one more than the one behind it in the same frame; 0: the last */

    /* The frame that is not complete yet. */
    unsigned num_wanted;
    uint32_t bytes; /* with its header */
    unsigned num_pieces;
    struct shunt_driver_used *pieces;
    struct iovec *iov; /* of an echo */
};

struct port {
    const struct plan *plan;
    const struct port_options *options;
    unsigned idx;
    struct frame_origin origin;
    struct shunt_shared_memory *memory;
    struct shunt_frontend *frontend;
    bool is_running;
    bool is_set_up; /* the buffers are there */
    bool is_mergeable;
    struct shunt_error failure; /* why it is of no use; code 0: it is */

    unsigned num_destinations;
    unsigned *destinations; /* other ports */
    struct frame_route *routes;
    struct sender *senders;
    struct receiver *receivers;
    uint32_t *sequences; /* of each stream, the next one */

    struct meter tx, rx;
    uint64_t num_foreign;   /* frames for another port, which a bridge flooded */
    uint64_t num_malformed; /* with a length or header that cannot be */
    uint64_t left;          /* frames to be sent */
    bool is_limited;
    struct limiter limiter;
    uint64_t num_under_way;
    uint64_t num_given_up; /* that were under way for too long */
    uint64_t last_return;  /* cycles */
    struct tracker tracker;
    struct histogram *round_trip; /* both in units of frame_time(); NULL: not measured */
    struct histogram *one_way;
};

/* Whether it sends by itself, and whether others send to it. */
static inline bool port_sends(const struct port *port)
{
    return port->options->role == ROLE_BOTH || port->options->role == ROLE_SEND;
}

static inline bool port_is_destination(const struct port *port)
{
    return port->options->role != ROLE_SEND;
}

/*
 * Begins to connect. `port` is one of plan->ports, all zero, which stay where they are. After a failure too it
 * is to be destroyed.
 */
int port_create(struct port *port, const struct plan *plan, unsigned idx,
                struct shunt_error *error);
void port_destroy(struct port *port);

/* Its file name, for tables. */
const char *port_name(const struct port *port);

#endif
