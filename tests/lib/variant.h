/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One test of several kinds of rings: the features that are negotiated are the state that its set-up finds,
 * and their name is behind that of the test.
 *
 *     VARIANT(test_one_frame, packed, setup, teardown),
 *     BOTH_FORMATS(test_one_frame, setup, teardown),
 *
 * A program may have `variant_…` of its own beside these.
 */
#ifndef LIB_VARIANT_H
#define LIB_VARIANT_H

#include <stdint.h>

#include "virtqueue/ring.h"

static const uint64_t variant_split = 0;
static const uint64_t variant_packed = RING_FEATURE(PACKED);
static const uint64_t variant_split_event_idx = RING_FEATURE(EVENT_IDX);
static const uint64_t variant_packed_event_idx = RING_FEATURE(PACKED) | RING_FEATURE(EVENT_IDX);

#define VARIANT(test, variant, setup, teardown)                                                    \
    {                                                                                              \
#test "/" #variant, test, setup, teardown, (void *)(uintptr_t)&variant_##variant           \
    }
#define BOTH_FORMATS(test, setup, teardown)                                                        \
    VARIANT(test, split, setup, teardown), VARIANT(test, packed, setup, teardown)
#define BOTH_FORMATS_EVENT_IDX(test, setup, teardown)                                              \
    VARIANT(test, split_event_idx, setup, teardown),                                               \
        VARIANT(test, packed_event_idx, setup, teardown)

/* In a set-up. */
static inline uint64_t variant_features(void **state)
{
    return *(const uint64_t *)*state;
}

#endif
