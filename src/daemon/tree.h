/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration as one tree. Whatever a user says, in a file, by a control call or on a command
 * line, becomes a tree of this form, and is checked here before anything is done:
 *
 *     {"bridges": {"br0": {"mode": "learn", "ageing": 300}},
 *      "ports":   {"vm1": {"type": "vhost-user", "bridge": "br0", "max-addresses": 4096,
 *                          …options of the type}},
 *      "workers": {"mode": "adaptive", "cpus": [1, 2]}}
 *
 * Workers have either `cpus`, one worker pinned to each, or `count`, so many that are not pinned.
 *
 * A checked tree has all keys that there are, with typed values; texts without a value are left out.
 * It is accepted again as it is.
 */
#ifndef DAEMON_TREE_H
#define DAEMON_TREE_H

#include <jansson.h>

#include <shunt/error.h>

#include "port/port.h"

struct yaml_source;

/*
 * Checks `given` (which is not changed), as it was read from `source`, or from elsewhere when that is
 * NULL, and makes the checked tree. -EINVAL with the path of the key, the value, and what was expected,
 * behind file, line and column if they are known.
 */
int tree_check(json_t *given, const struct yaml_source *source, json_t **tree,
               struct shunt_error *error);

/* The type of a port of a checked tree. */
const struct port_class *tree_port_class(const json_t *port);

#endif
