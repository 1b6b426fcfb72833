/* SPDX-License-Identifier: BSD-3-Clause */
/* The steps of what is said to a back-end, for frontend_sequence.c: the table. */
#ifndef VHOST_USER_FRONTEND_STEP_H
#define VHOST_USER_FRONTEND_STEP_H

#include "vhost_user/frontend.h"

/* One row of the table. */
struct frontend_step {
    const char *name;
    enum frontend_phase phase;
    enum wire_request request;
    /* How many messages; NULL: one. */
    unsigned (*num)(const struct shunt_frontend *frontend);
    /* Fills in payload and size, which are 0. -errno. */
    int (*make)(struct shunt_frontend *frontend, unsigned item, struct wire_message *message);
    /* Has an answer of its own, of at least `min_bytes`. */
    int (*answered)(struct shunt_frontend *frontend, const struct wire_message *message,
                    struct shunt_error *error);
    uint32_t min_bytes;
};

/* The rows, sorted by phase; NULL behind the last one. */
const struct frontend_step *frontend_step_at(unsigned idx);

/* Whether the back-end has enough queues; more than are wanted are left alone. -ENOTSUP. */
int frontend_step_settle_queues(struct shunt_frontend *frontend, struct shunt_error *error);

#endif
