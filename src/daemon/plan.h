/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A plan: how the fabric becomes what a checked tree says, step by step, all of it or nothing.
 *
 * Making a plan changes nothing, so its steps can be shown and the plan dropped. Objects that do not
 * differ are not touched, and options that are live are set without disturbing the object.
 *
 * Threads: the control thread. Between making a plan and running it the fabric must not change.
 */
#ifndef DAEMON_PLAN_H
#define DAEMON_PLAN_H

#include <jansson.h>

#include <shunt/error.h>

#include "daemon/fabric.h"

struct plan;

/* `wanted` is a checked tree; the plan takes its own reference. -ENOMEM. */
int plan_make(struct fabric *fabric, json_t *wanted, struct plan **plan, struct shunt_error *error);

/* Accepts NULL. */
void plan_free(struct plan *plan);

/* The steps, one line each: "add port vm3 (vhost-user, bridge br0)". Borrowed. */
const json_t *plan_lines(const struct plan *plan);

/*
 * Runs it. On failure all is as it was before, and the error says which step failed, and why. A plan
 * runs once.
 */
int plan_run(struct plan *plan, struct shunt_error *error);

#endif
