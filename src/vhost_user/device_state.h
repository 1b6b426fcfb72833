/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's state on its way from or to a front-end that migrates (vhost-user, "Migrating back-end
 * state"): through a pipe of the front-end's, as far as it goes without blocking.
 *
 *     idle ── begin ──▶ saving ── all is written, the pipe closed ──▶ done
 *                  └──▶ loading ── end of file, loaded ─────────────▶ done
 *
 * CHECK_DEVICE_STATE is answered when it is done, be it late.
 *
 * Threads: the control thread.
 */
#ifndef VHOST_USER_DEVICE_STATE_H
#define VHOST_USER_DEVICE_STATE_H

#include <shunt/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhost_user/wire.h"

struct shunt_backend;

/* More than any device of ours has to say. */
#define DEVICE_STATE_MAX_BYTES ((size_t)1 << 20)

enum device_state_phase {
    DEVICE_STATE_IDLE,
    DEVICE_STATE_SAVING,
    DEVICE_STATE_LOADING,
    DEVICE_STATE_DONE,
};

/* All zero is a fresh one. */
struct device_state {
    enum device_state_phase phase;
    int fd; /* while SAVING or LOADING */
    uint8_t *data;
    size_t len;
    size_t done;       /* of it, bytes */
    int result;        /* once DONE */
    bool is_check_due; /* the front-end waits for the result */
};

static inline bool device_state_is_moving(const struct device_state *state)
{
    return state->phase == DEVICE_STATE_SAVING || state->phase == DEVICE_STATE_LOADING;
}

/*
 * Begins a transfer in place of any before, and takes over `fd`, which epoll(7) must be able to watch. -errno,
 * also from the program's save_state().
 */
int device_state_begin(struct shunt_backend *backend, enum wire_transfer_direction direction,
                       int fd, struct shunt_error *error);

/* The descriptor of the transfer is ready: goes on. */
void device_state_on_event(struct shunt_backend *backend, unsigned idx);

/* Gives up what is under way, and forgets what was done. */
void device_state_forget(struct shunt_backend *backend);

#endif
