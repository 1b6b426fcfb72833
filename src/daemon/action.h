/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The actions that plans are made of: each does one thing to the fabric, and can undo it.
 *
 * Undoing puts back what was there before, in the reverse order of doing. Where that takes something
 * that can be refused (a socket at a path that was given up) it may fail; that is logged.
 */
#ifndef DAEMON_ACTION_H
#define DAEMON_ACTION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include <shunt/error.h>

#include "daemon/fabric.h"

/* In the order in which a plan does them; what "withdraw" means is explained there. */
enum action_kind {
    ACTION_LEAVE,
    ACTION_WITHDRAW_PORT,
    ACTION_END_PORT,
    ACTION_WITHDRAW_BRIDGE,
    ACTION_MAKE_BRIDGE,
    ACTION_SET_BRIDGE,
    ACTION_SET_WORKERS,
    ACTION_MAKE_PORT,
    ACTION_SET_PORT,
    ACTION_JOIN,
    ACTION_KINDS,
};

struct action {
    enum action_kind kind;
    size_t step;      /* of the plan, that it belongs to */
    const char *name; /* of the object; NULL: the workers */
    json_t *before;   /* its options, borrowed from the live tree; NULL: it was not there */
    json_t *after;    /* and from the wanted tree */
    void *withdrawn;  /* the object, until it ends */
};

/* Does it. On failure nothing is changed, and the error is set. */
int action_run(struct fabric *fabric, struct action *action, struct shunt_error *error);

/* Undoes it; false where that is not wholly possible. */
bool action_undo(struct fabric *fabric, struct action *action);

/* Nothing will be undone any more: ends what was kept for that. */
void action_finish(struct action *action);

#endif
