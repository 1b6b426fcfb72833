/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports with a socket, made as the daemon makes them, and the control thread's turn for them. All
 * fail the test if they cannot.
 */
#ifndef LIB_PLUG_H
#define LIB_PLUG_H

#include "port/port.h"

/* A port of this type; the options are words, as after `port add NAME type TYPE`. */
struct port *plug_create(const char *type, const char *name, const struct port_events *events,
                         void *ctx, const char *options, ...) __attribute__((format(printf, 5, 6)));

/* The same where it must fail: the reason, which is valid until the next call. */
const char *plug_refused(const char *type, const char *options, ...)
    __attribute__((format(printf, 2, 3)));

/* Lets the ports, each of which may be NULL, dispatch once what is there, having waited for it. */
void plug_dispatch(struct port *const *ports, unsigned num, int timeout_ms);

/* Does so until the first of them is in this state. */
void plug_wait_state(struct port *const *ports, unsigned num, enum port_state state);

#endif
