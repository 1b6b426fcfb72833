/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer that breaks the rules on port `evil`, beside two that talk on `left` and `right`. The teardown
 * fails when the two were disturbed, when the counters do not balance, or when shuntd holds on to anything
 * of the peer.
 */
#ifndef SOCKET_HOSTILE_H
#define SOCKET_HOSTILE_H

#include "socket/guest.h"
#include "socket/lab.h"
#include "socket/talk.h"

struct hostile {
    struct lab *lab;
    struct talk talk;
    struct guest evil;
    uint64_t features;              /* that it negotiates beside those of its configuration */
    bool has_deleted;               /* ports, and their counters with them */
    unsigned num_fds, num_mappings; /* of shuntd before the first attack */
};

/* With split rings, and with packed ones. */
int hostile_setup(void **state);
int hostile_setup_packed(void **state);
int hostile_teardown(void **state);

/* Connects the peer; its port is up. */
struct driver *hostile_attach(struct hostile *hostile);

/* Connects with other features, and rings of another kind. */
struct driver *hostile_attach_as(struct hostile *hostile, const struct guest_config *config);

/* The others go on. */
void hostile_assert_others_go_on(const struct hostile *hostile);

/* The peer's port is down for this reason, and works again after the driver's reset. */
void hostile_assert_broken(struct hostile *hostile, const char *reason);

/* The peer was disconnected for this reason, and may come back. */
void hostile_assert_disconnected(struct hostile *hostile, const char *reason);

/* The peer's port is up, and its frames come through. */
void hostile_assert_unharmed(struct hostile *hostile);

#endif
