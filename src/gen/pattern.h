/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which frame comes next: its size, its flow, and which other port it is for.
 *
 * Sizes come from a table in which each has its exact share, shuffled once. Flows take turns. A *stream*
 * is what one port sends to one other in one flow: within it frames must keep their order.
 *
 *     stream = flow × destinations + destination
 *
 * Each queue of a port has flows of its own, so that a stream never changes queues.
 */
#ifndef GEN_PATTERN_H
#define GEN_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#include <shunt/error.h>

#define PATTERN_MAX_SIZES 32

/* Sizes least … most, in equal parts; all of them together have so much weight. */
struct pattern_range {
    uint32_t least, most;
    uint32_t weight;
};

/* The mix that a user asks for. */
struct pattern_mix {
    unsigned num;
    struct pattern_range ranges[PATTERN_MAX_SIZES];
};

/*
 * 64, 64-1514, imix, or several sizes and ranges with weights: 60:7,590:4,1514:1. -EINVAL: it is none
 * of them.
 */
int pattern_parse(const char *text, struct pattern_mix *mix, struct shunt_error *error);

uint32_t pattern_least(const struct pattern_mix *mix);
uint32_t pattern_most(const struct pattern_mix *mix);

struct pattern_sizes {
    uint32_t num;
    uint32_t *sizes;
};

/* -ENOMEM; -EINVAL: there are too many different sizes with too different weights. */
int pattern_sizes_create(const struct pattern_mix *mix, struct pattern_sizes *sizes,
                         struct shunt_error *error);
void pattern_sizes_destroy(struct pattern_sizes *sizes);

/* What one queue sends. */
struct pattern {
    const struct pattern_sizes *sizes;
    uint32_t next_size;
    uint32_t first_flow, flow, end_flow, flow_step;
    uint32_t num_destinations, destination;
};

struct pattern_frame {
    uint32_t size;
    uint32_t flow;
    uint32_t destination;
    uint32_t stream;
};

/* Queue `queue` of `num_queues` sends those of `num_flows` that are its own; false: there are none. */
bool pattern_init(struct pattern *pattern, const struct pattern_sizes *sizes, uint32_t num_flows,
                  uint32_t num_destinations, uint32_t queue, uint32_t num_queues);

/* All frames are alike. */
static inline bool pattern_is_constant(const struct pattern *pattern)
{
    return pattern->sizes->num == 1 && pattern->num_destinations == 1 &&
           pattern->first_flow + pattern->flow_step >= pattern->end_flow;
}

static inline struct pattern_frame pattern_next(struct pattern *pattern)
{
    struct pattern_frame frame = {
        .size = pattern->sizes->sizes[pattern->next_size],
        .flow = pattern->flow,
        .destination = pattern->destination,
        .stream = pattern->flow * pattern->num_destinations + pattern->destination,
    };

    if (++pattern->next_size == pattern->sizes->num)
        pattern->next_size = 0;
    if (++pattern->destination == pattern->num_destinations) {
        pattern->destination = 0;
        pattern->flow += pattern->flow_step;
        if (pattern->flow >= pattern->end_flow)
            pattern->flow = pattern->first_flow;
    }
    return frame;
}

#endif
