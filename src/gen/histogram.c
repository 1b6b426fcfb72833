/* SPDX-License-Identifier: BSD-3-Clause */
#include "gen/histogram.h"

#include <math.h>

/* The largest value that falls into the bucket. */
static uint64_t last_of(unsigned bucket)
{
    unsigned exponent = bucket / HISTOGRAM_STEPS;
    uint64_t step = bucket % HISTOGRAM_STEPS;

    if (exponent == 0)
        return step;
    exponent--;
    return ((HISTOGRAM_STEPS + step) << exponent) + (UINT64_C(1) << exponent) - 1;
}

uint64_t histogram_quantile(const struct histogram *histogram, double part)
{
    uint64_t wanted = (uint64_t)ceil(part * (double)histogram->num);
    uint64_t seen = 0;

    if (wanted == 0)
        wanted = 1;
    for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->counts[bucket];
        if (seen >= wanted)
            return last_of(bucket) < histogram->max ? last_of(bucket) : histogram->max;
    }
    return histogram->max;
}
