/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How often a value came, for values of any size with the same relative precision: as many buckets
 * between each power of two and the next one. A value is known to 1/64 of itself.
 */
#ifndef GEN_HISTOGRAM_H
#define GEN_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS    6 /* of a value, below the highest one, that choose the bucket */
#define HISTOGRAM_STEPS   (1u << HISTOGRAM_BITS)
#define HISTOGRAM_BUCKETS ((65 - HISTOGRAM_BITS) * HISTOGRAM_STEPS)

/* All zero is an empty one. */
struct histogram {
    uint64_t num;
    uint64_t max;
    double sum;
    uint64_t counts[HISTOGRAM_BUCKETS];
};

static inline unsigned histogram_bucket(uint64_t value)
{
    unsigned exponent;

    if (value < HISTOGRAM_STEPS)
        return (unsigned)value;
    exponent = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_BITS;
    return (exponent + 1) * HISTOGRAM_STEPS + (unsigned)(value >> exponent) - HISTOGRAM_STEPS;
}

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->num++;
    histogram->sum += (double)value;
    if (value > histogram->max)
        histogram->max = value;
    histogram->counts[histogram_bucket(value)]++;
}

/* The least value that `part` (0 … 1) of all do not exceed, to its precision; 0 if there is none. */
uint64_t histogram_quantile(const struct histogram *histogram, double part);

static inline double histogram_mean(const struct histogram *histogram)
{
    return histogram->num ? histogram->sum / (double)histogram->num : 0;
}

#endif
