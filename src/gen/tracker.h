/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Follows the sequence numbers of streams: what was lost, came twice, or out of order.
 *
 * Of each stream the last TRACKER_WINDOW numbers are remembered. A number that comes later than that counts
 * as reordered, although it could have come twice.
 */
#ifndef GEN_TRACKER_H
#define GEN_TRACKER_H

#include <stdbool.h>
#include <stdint.h>

#include "gen/frame.h"

#define TRACKER_WINDOW 256u

struct tracker_counts {
    uint64_t verified; /* frames with content */
    uint64_t lost;     /* numbers that were passed over and did not come later */
    uint64_t duplicated;
    uint64_t reordered;
    uint64_t corrupted;
    uint64_t unknown; /* frames that are not of our making, or whose headers are damaged */
};

struct tracker_stream {
    uint32_t next; /* one more than the highest number that came */
    bool is_known;
    uint64_t seen[TRACKER_WINDOW / 64]; /* by number modulo TRACKER_WINDOW, below next */
};

/* All that one port receives. All zero is a fresh one. */
struct tracker {
    struct tracker_counts counts;
    struct tracker_source *sources;
    unsigned num_sources;
    unsigned last; /* the source that was asked for last */
    uint8_t own_id;
};

/* `own_id`: frames of our own process are counted from 0 on, others from the first that comes. */
void tracker_init(struct tracker *tracker, uint8_t own_id);
void tracker_destroy(struct tracker *tracker);

/* A frame came. Without memory for its stream it is not counted. */
void tracker_see(struct tracker *tracker, const struct frame_stamp *stamp);

/* One more than the highest number that came in the stream; 0: none came. */
uint32_t tracker_next(const struct tracker *tracker, struct frame_origin origin, uint32_t stream);

/* Whether anything came from there. */
bool tracker_knows(const struct tracker *tracker, struct frame_origin origin);

#endif
