/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A run of the generator: all ports, in one thread, round after round.
 *
 *     connecting ──▶ sending ── duration, count or interruption ──▶ draining ── all is there, or silence ──▶ end
 *
 * Cycles are counted while it sends, round by round: *busy* are all of a round in which a frame was sent or
 * received, *idle* those of the others. So busy cycles hold all that the generator does for its frames, with
 * every wait for memory, and looking for more in vain between two frames does not count.
 */
#ifndef GEN_RUN_H
#define GEN_RUN_H

#include <poll.h>
#include <signal.h>

#include "gen/port.h"
#include "gen/report.h"

struct run {
    const struct options *options;
    struct plan plan;
    const volatile sig_atomic_t *is_interrupted;
    double cycles_per_second;
    uint64_t begin;        /* cycles */
    uint64_t round;        /* when the current round began */
    uint64_t housekeeping; /* when it is due */
    uint64_t busy, idle;
    double seconds; /* for how long it has been sending */
    struct report report;
    struct pollfd *fds; /* of all front-ends, then the call descriptors of all queues */
    unsigned num_fds;
};

/*
 * Connects all ports. `options` and `*is_interrupted` outlive the run. After a failure too it is to be
 * destroyed. -EINTR: it was interrupted.
 */
int run_create(struct run *run, const struct options *options,
               const volatile sig_atomic_t *is_interrupted, struct shunt_error *error);

/* Sends, until it is done, and reports. */
void run_traffic(struct run *run);

/* Whether --verify found something wrong. */
bool run_found_errors(const struct run *run);

void run_destroy(struct run *run);

#endif
