/* SPDX-License-Identifier: BSD-3-Clause */
/* CPUs as users write them: 3, "3", "0,2-3", or a list of such. In the order in which they are given. */
#ifndef DAEMON_CPUS_H
#define DAEMON_CPUS_H

#include <jansson.h>

#include <shunt/error.h>

#include "worker/pool.h"

/* All zero is none. */
struct cpus {
    unsigned num;
    int ids[WORKER_MAX];
};

/* Adds what a number or a text says. -EINVAL: not CPU numbers, one that is there already, too many. */
int cpus_add(struct cpus *cpus, const json_t *given, struct shunt_error *error);

#endif
