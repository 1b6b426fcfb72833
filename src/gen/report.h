/* SPDX-License-Identifier: BSD-3-Clause */
/* What a run tells on standard output: a table with a JSON twin, on the way and at the end. */
#ifndef GEN_REPORT_H
#define GEN_REPORT_H

#include "gen/port.h"

/* Counters at one moment. */
struct report_moment {
    double seconds;
    uint64_t busy, idle; /* cycles */
    struct meter tx[OPTIONS_MAX_PORTS], rx[OPTIONS_MAX_PORTS];
};

struct report {
    const struct plan *plan;
    double cycles_per_second;
    struct report_moment last; /* of the last report */
    unsigned num_lines;
};

void report_init(struct report *report, const struct plan *plan, double cycles_per_second);

/* What happened since the last one. */
void report_interval(struct report *report, double seconds, uint64_t busy, uint64_t idle);

/* All of it. */
void report_end(struct report *report, double seconds, uint64_t busy, uint64_t idle);

#endif
