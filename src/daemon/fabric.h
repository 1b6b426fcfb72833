/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fabric: the bridges, ports and workers that live, by name, each with the options that it has.
 *
 * It makes and ends single objects, and moves the queues of ports to the workers and away from them as
 * they start and stop. What is to become of it as a whole is a plan's to say (daemon/plan.h): nobody
 * else changes it. Options are those of a checked tree (daemon/tree.h).
 *
 * All of it belongs to the control thread.
 */
#ifndef DAEMON_FABRIC_H
#define DAEMON_FABRIC_H

#include <jansson.h>
#include <stdbool.h>

#include <shunt/error.h>

#include "base/counters.h"
#include "base/list.h"
#include "base/log.h"
#include "bridge/bridge.h"
#include "daemon/loop.h"
#include "port/port.h"
#include "worker/pool.h"

struct fabric_bridge {
    struct list_link link;
    json_t *options;
    struct bridge *bridge;
    bool is_leaving; /* taken out, but not ended: another one may have its name */
};

struct fabric_port {
    struct list_link link;
    struct fabric *fabric;
    json_t *options;
    struct port *port;
    struct bridge_port *member; /* NULL: in no bridge */
    struct loop_source *source; /* NULL: it has no descriptor for us */
    bool is_leaving;
    struct log_limit log_limit;
    /* Static addresses, while it is on its way from one bridge to another. */
    uint8_t (*addresses)[6];
    unsigned num_addresses;
};

struct fabric {
    struct loop *loop;
    struct list_link bridges; /* in the order in which they were made, as are the ports */
    struct list_link ports;
    json_t *worker_options;   /* NULL: there are no workers yet */
    struct worker_pool *pool; /* NULL as long */
    /* What was counted by ports that are gone. */
    struct counters gone_rx;
    struct counters gone_tx;
};

/* An empty one: no bridges, no ports, no workers. */
void fabric_init(struct fabric *fabric, struct loop *loop);

/* Ends all that there is. */
void fabric_fini(struct fabric *fabric);

/* To be called once a second. */
void fabric_tick(struct fabric *fabric);

/* The tree as it stands; a new reference to a copy. */
json_t *fabric_tree(const struct fabric *fabric);

/* By name; NULL where there is none. Those that are leaving are not found. */
struct fabric_bridge *fabric_find_bridge(const struct fabric *fabric, const char *name);
struct fabric_port *fabric_find_port(const struct fabric *fabric, const char *name);

bool fabric_is_in(const struct fabric_port *port, const struct fabric_bridge *bridge);

/* What all ports have counted since the start, those included that are gone. */
void fabric_sum_counters(const struct fabric *fabric, struct counters *rx, struct counters *tx);

/* --- For plans --------------------------------------------------------------------------------------- */

/* Errors are those of bridge_create(). */
int fabric_make_bridge(struct fabric *fabric, const char *name, json_t *options,
                       struct shunt_error *error);
/* It has no ports any more. */
void fabric_end_bridge(struct fabric_bridge *bridge);
/* Changes what is live, that is all but the mode. */
void fabric_set_bridge(struct fabric_bridge *bridge, json_t *options);

/* A port that is in no bridge yet. Errors are those of port_create(). */
int fabric_make_port(struct fabric *fabric, const char *name, json_t *options,
                     struct shunt_error *error);
/* It is in no bridge any more. What it counted is kept. */
void fabric_end_port(struct fabric_port *port);
/* Changes the options that are live; the bridge only while it is in none. */
void fabric_set_port(struct fabric_port *port, json_t *options);

/*
 * Joins the bridge that the port's options name, and gives its queues to the workers. Errors are those
 * of bridge_add_port() and worker_pool_add(); it is in no bridge then.
 */
int fabric_join(struct fabric_port *port, struct shunt_error *error);
/*
 * Takes the queues from the workers and leaves the bridge. Static addresses go along, to where the port
 * joins next; learned ones are forgotten.
 */
void fabric_leave(struct fabric_port *port);

/* Errors are those of worker_pool_create() and worker_pool_set(). */
int fabric_set_workers(struct fabric *fabric, json_t *options, struct shunt_error *error);

#endif
