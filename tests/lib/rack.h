/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small switch inside the process: workers, one bridge, and in-process ports plugged into it, tied
 * together as the daemon does it.
 *
 * Threads: all by one, the control thread, which must not be a registered RCU reader. Frames may be sent
 * and looked at by any (lib/inproc.h).
 */
#ifndef LIB_RACK_H
#define LIB_RACK_H

#include "bridge/bridge.h"
#include "lib/inproc.h"
#include "worker/pool.h"

#define RACK_MAX_PORTS 16u

/*
 * Over all ports: what came in or was multiplied (Σ rx.packets + rx.copies), and what became of it
 * (Σ tx.packets + Σ drops).
 */
struct rack_balance {
    uint64_t in, out;
    uint64_t rx_packets, tx_packets, drops;
};

struct rack {
    struct worker_pool *pool;
    struct bridge *bridge;
    /* NULL: not plugged in */
    struct port *ports[RACK_MAX_PORTS];
    struct bridge_port *members[RACK_MAX_PORTS];
    struct rack_balance gone; /* of ports that were unplugged */
};

/* Workers that run anywhere. */
struct worker_config rack_workers(enum worker_mode mode, unsigned num);

/* Fails the test if it cannot. */
void rack_init(struct rack *rack, enum bridge_mode mode, const struct worker_config *config);

/* Unplugs what is there, and ends the workers. */
void rack_fini(struct rack *rack);

/* Makes a port, up, puts it into the bridge and gives its queues to the workers. Returns its place. */
unsigned rack_plug(struct rack *rack, const struct port_class *class, unsigned num_queues);

/* The same with a port that exists; it is destroyed when it is unplugged. */
unsigned rack_plug_port(struct rack *rack, struct port *port);

/* Takes the port out of all that uses it and destroys it. */
void rack_unplug(struct rack *rack, unsigned place);

/* What port events must be, of ports made elsewhere; their context is the rack. */
extern const struct port_events rack_events;

/* What was counted until now, also by ports that are gone. */
struct rack_balance rack_balance(const struct rack *rack);

/* Waits until `in` and `out` agree and nothing is on its way, but not for ever. */
void rack_settle(struct rack *rack);

/* Packets that the port has delivered to its peer. */
uint64_t rack_delivered(const struct rack *rack, unsigned place);

#endif
