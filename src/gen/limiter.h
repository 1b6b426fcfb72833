/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A limit of a rate: frames are due at points of a timetable that goes on whether or not they can be
 * sent. Who is late catches up, but for what is older than the slack, which is a token bucket of that
 * depth. So over a second the rate is exact, unless the machine cannot reach it.
 *
 * Frames may be due in groups: then a whole group is due at once, and the next one that much later.
 *
 * Time is in cycles from any point on that is not long ago: a double counts them exactly for months.
 */
#ifndef GEN_LIMITER_H
#define GEN_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

/* How long one may be late. */
#define LIMITER_SLACK_S 0.1

struct limiter {
    double cycles_per_frame;
    double cycles_per_byte;
    double slack;
    double next;    /* when the next group is due */
    unsigned group; /* frames */
    unsigned left;  /* of the group that is being sent */
};

/* `rate` in frames or bits a second, from the cycle `now` on; `group` at least 1. */
static inline void limiter_init(struct limiter *limiter, double rate, bool is_in_bits,
                                unsigned group, double cycles_per_second, double now)
{
    *limiter = (struct limiter){
        .cycles_per_frame = is_in_bits ? 0 : cycles_per_second / rate,
        .cycles_per_byte = is_in_bits ? 8 * cycles_per_second / rate : 0,
        .slack = LIMITER_SLACK_S * cycles_per_second,
        .next = now,
        .group = group,
    };
}

/* Whether a frame is due. */
static inline bool limiter_allows(struct limiter *limiter, double now)
{
    if (limiter->left > 0)
        return true;
    if (limiter->next > now)
        return false;
    if (limiter->next < now - limiter->slack)
        limiter->next = now - limiter->slack;
    limiter->left = limiter->group;
    return true;
}

/* A frame that was due is sent. */
static inline void limiter_spend(struct limiter *limiter, uint32_t bytes)
{
    limiter->next += limiter->cycles_per_frame + limiter->cycles_per_byte * bytes;
    limiter->left--;
}

#endif
