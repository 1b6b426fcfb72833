/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two ports in the test's own thread that are each other's peers on a real socket, without switch
 * and workers: the near one is of the type virtio-user, the far one of the type vhost-user. Frames
 * are sent into the one and lent from the other, and every byte of them is checked. Set-ups and the
 * teardown are cmocka's; all others fail the test if it does not go as their names say.
 */
#ifndef LIB_CABLE_H
#define LIB_CABLE_H

#include "port/port.h"

#define CABLE_MAX_FRAMES 1024u /* under way in one direction */

/* One direction: frames arrive in the order in which they were sent. */
struct cable_way {
    uint32_t num_sent, num_received;
    uint32_t sizes[CABLE_MAX_FRAMES];
};

struct cable {
    char folder[32], path[64];
    struct port *near, *far;  /* NULL: there is none */
    struct cable_way out, in; /* seen from the near one */
    struct burst sent, lent;
};

/* The state that a set-up finds: options of the two ports, as words. */
struct cable_variant {
    const char *near_options, *far_options;
};

/* Both ports are there and up; or none is there. */
int cable_setup(void **state);
int cable_setup_alone(void **state);
int cable_teardown(void **state);

void cable_open_near(struct cable *cable, const char *options);
void cable_open_far(struct cable *cable, const char *options);
void cable_close_far(struct cable *cable);

void cable_wait_near(struct cable *cable, enum port_state state);
void cable_wait_far(struct cable *cable, enum port_state state);
void cable_wait_up(struct cable *cable);

/* Adds a frame to the burst that is sent next, in pieces of so many bytes. */
void cable_add_frame(struct cable *cable, struct cable_way *way, uint32_t size,
                     uint32_t piece_bytes);
void cable_send_burst(struct cable *cable, struct port *port);

/* Sends so many frames into the port, in full bursts. */
void cable_send(struct cable *cable, struct port *port, struct cable_way *way, unsigned num,
                uint32_t size);

/* It is the next one of this way. */
void cable_expect_frame(struct cable_way *way, const struct frame *frame);

/* Lends all that is there on the first queue of the port. How many frames. */
unsigned cable_receive(struct cable *cable, struct port *port, struct cable_way *way);

struct counters cable_counters(const struct port *port, bool is_rx);

/* So many packets, and so many drops for whatever reason. */
void cable_expect_counters(const struct port *port, bool is_rx, uint64_t packets, uint64_t drops);

#endif
