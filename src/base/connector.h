/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connects to a Unix stream socket on which somebody else listens, again and again: who listens may come
 * later than we do, and go.
 *
 *     connector_open(&connector, path, &error);
 *     fd = connector_connect(&connector, &error);      never blocks
 *     … after a failure, or when a connection was of no use: once more in connector_delay_ms() …
 *     connector_forgive(&connector);                   the connection was of use
 */
#ifndef BASE_CONNECTOR_H
#define BASE_CONNECTOR_H

#include <shunt/error.h>

/* The first and the longest time between two tries; it doubles. */
#define CONNECTOR_MIN_DELAY_MS 50u
#define CONNECTOR_MAX_DELAY_MS 800u

struct connector {
    char *path;         /* NULL: closed */
    unsigned num_tries; /* since one was of use */
};

/* -EINVAL: the path is empty; -ENAMETOOLONG; -ENOMEM. */
int connector_open(struct connector *connector, const char *path, struct shunt_error *error);
void connector_close(struct connector *connector);

/*
 * A connected, non-blocking socket, or what socket(2) and connect(2) return, with a text that names the
 * path and the remedy. -EAGAIN: who listens has enough to do.
 */
int connector_connect(struct connector *connector, struct shunt_error *error);

/* The last connection was worth it: if it ends, the next try need not wait. */
void connector_forgive(struct connector *connector);

/* How long to wait before the next try: 0 at first. */
unsigned connector_delay_ms(const struct connector *connector);

#endif
