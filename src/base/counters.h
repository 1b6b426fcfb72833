/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is counted on each side of a queue. Written by one thread at a time, under the lock of that side,
 * and read by others at any time: whole words, relaxed, never reset.
 */
#ifndef BASE_COUNTERS_H
#define BASE_COUNTERS_H

#include <stdint.h>

#include "base/drop.h"

struct counters {
    uint64_t packets;
    uint64_t bytes;  /* of Ethernet frames, without FCS */
    uint64_t copies; /* rx: further deliveries of a frame that was flooded */
    uint64_t drops[DROP_NUM];
};

static inline void counter_add(uint64_t *counter, uint64_t n)
{
    __atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static inline uint64_t counter_read(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

#endif
