/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Postcopy migration, on the side where the guest arrives before its memory does (vhost-user,
 * "Migration").
 *
 *     none ── ADVISE ──▶ advised ── LISTEN ──▶ listening ◀─────────── acknowledged ────────┐
 *       ▲                                       │    └── SET_MEM_TABLE, ADD_MEM_REG ──▶ staged
 *       └────────────────── END ────────────────┘
 *
 * The front-end is told where we have the regions, so that it understands our faults, and acknowledges. Until
 * then nothing of the new memory may be touched: it is only *staged*, and the rings know nothing of it. With
 * the acknowledgement it is registered with userfaultfd, and then becomes the device's memory.
 *
 * Threads: the control thread.
 */
#ifndef VHOST_USER_POSTCOPY_H
#define VHOST_USER_POSTCOPY_H

#include <shunt/error.h>
#include <shunt/memory.h>
#include <stdbool.h>

#include "vhost_user/wire.h"

enum postcopy_phase {
    POSTCOPY_NONE,
    POSTCOPY_ADVISED,
    POSTCOPY_LISTENING,
    POSTCOPY_STAGED,
};

/* All zero is a fresh one. */
struct postcopy {
    enum postcopy_phase phase;
    int fd;                      /* userfaultfd, unless NONE */
    struct shunt_memory *staged; /* while STAGED */
};

static inline bool postcopy_is_listening(const struct postcopy *postcopy)
{
    return postcopy->phase >= POSTCOPY_LISTENING;
}

/* Opens the descriptor. -errno. */
int postcopy_advise(struct postcopy *postcopy, struct shunt_error *error);

/* Stage a whole table, or one more region. Errors as of shunt_memory_replace() and _add(). */
int postcopy_stage_table(struct postcopy *postcopy, struct shunt_memory *memory,
                         const struct shunt_memory_region *regions, const int *fds, unsigned num,
                         struct shunt_error *error);
int postcopy_stage_region(struct postcopy *postcopy, const struct shunt_memory *memory,
                          const struct shunt_memory_region *region, int fd,
                          struct shunt_error *error);

/* Puts our address of a staged region in the place of the front-end's. */
void postcopy_tell_address(const struct postcopy *postcopy, struct wire_region *region);

/* What is staged is registered and becomes `memory`; the queues are locked. On failure it is given up. */
int postcopy_commit(struct postcopy *postcopy, struct shunt_memory *memory,
                    struct shunt_error *error);

/* The end, in order or not. With no queue locked: it wakes who waits for a page, with one in hand. */
void postcopy_end(struct postcopy *postcopy, const struct shunt_memory *memory);

#endif
