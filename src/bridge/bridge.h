/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A bridge: one broadcast domain of ports. In mode `learn` it forwards by destination address, learns
 * source addresses, and floods what it does not know; in mode `patch` it joins exactly two ports
 * with no lookup.
 *
 * Threads: the control thread creates, changes and destroys; workers forward. What workers read is
 * published under RCU: functions that take something away wait for a grace period before they return,
 * so the control thread must not be a registered RCU reader.
 */
#ifndef BRIDGE_BRIDGE_H
#define BRIDGE_BRIDGE_H

#include <stdint.h>

#include <shunt/error.h>

#include "bridge/fdb.h"
#include "port/port.h"
#include "virtio_net/burst.h"

#define BRIDGE_MAX_PORTS             4096
#define BRIDGE_DEFAULT_AGEING_S      300
#define BRIDGE_DEFAULT_MAX_ADDRESSES 4096

enum bridge_mode {
    BRIDGE_LEARN,
    BRIDGE_PATCH,
};

struct bridge;

/* A port's place in a bridge. */
struct bridge_port;

/* -ENOMEM. The clock of the forwarding table is the `now_s` that is handed to the functions below. */
int bridge_create(const char *name, enum bridge_mode mode, unsigned ageing_s,
                  struct bridge **bridge, struct shunt_error *error);

/* It must have no ports any more. Accepts NULL. */
void bridge_destroy(struct bridge *bridge);

const char *bridge_name(const struct bridge *bridge);
enum bridge_mode bridge_mode(const struct bridge *bridge);
unsigned bridge_num_ports(const struct bridge *bridge);

/* 0: addresses never age. Live. */
void bridge_set_ageing(struct bridge *bridge, unsigned ageing_s);
unsigned bridge_ageing(const struct bridge *bridge);

/*
 * Joins a port. -ENOSPC: the bridge is full (a patch has two places); -ENOMEM. `max_addresses` bounds
 * what is learned on the port.
 */
int bridge_add_port(struct bridge *bridge, struct port *port, unsigned max_addresses,
                    struct bridge_port **member, struct shunt_error *error);

/*
 * Takes the port out and forgets its addresses. No worker polls its queues any more when this is
 * called; none copies to it when this returns.
 */
void bridge_remove_port(struct bridge_port *member);

struct bridge *bridge_port_bridge(const struct bridge_port *member);
struct port *bridge_port_port(const struct bridge_port *member);
void bridge_port_set_max_addresses(struct bridge_port *member, unsigned max_addresses);

/*
 * Worker: takes one burst from the queue and delivers it. Returns the number of frames that came in.
 * `now_s` is a coarse monotonic clock, seconds.
 */
unsigned bridge_forward(struct bridge_port *from, struct port_queue *queue, struct burst *burst,
                        uint32_t now_s);

/* Control: forgets addresses that are older than the ageing time. Call it once a second. */
void bridge_age(struct bridge *bridge, uint32_t now_s);

/* What `fdb show` tells of an address. */
struct bridge_address {
    const struct bridge *bridge;
    const struct port *port;
    uint8_t mac[6];
    bool is_static;
    uint32_t age_s; /* since it was last seen; 0 for static ones */
};

/* Control: calls `fn` for each address; `fn` must not change the table. */
void bridge_walk_addresses(const struct bridge *bridge, uint32_t now_s,
                           void (*fn)(void *ctx, const struct bridge_address *address), void *ctx);

/* Control: a static address, which neither ages nor moves. -EINVAL: a group address; -ENOSPC. */
int bridge_add_address(struct bridge_port *member, const uint8_t mac[6], uint32_t now_s,
                       struct shunt_error *error);

/* Control: forgets an address, static or learned. -ENOENT. */
int bridge_del_address(struct bridge *bridge, const uint8_t mac[6]);

/* Control: forgets all learned addresses, or those of one port. Returns how many. */
unsigned bridge_flush_addresses(struct bridge *bridge, const struct bridge_port *member_or_null);

/* What `bridge show` tells of the table. */
struct fdb_stats bridge_address_stats(const struct bridge *bridge);

#endif
