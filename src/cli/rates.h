/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From counters to rates: what happened between two looks at the switch.
 *
 * A sample is what the daemon said at one time, {"ports": […], "workers": […]}, as `port.show` and
 * `worker.show` answer.
 */
#ifndef CLI_RATES_H
#define CLI_RATES_H

#include <jansson.h>

/*
 * What happened in the `seconds` from one sample to the next, as a new object:
 *
 *     ports    [{name, bridge, state, rx, tx, drops, reason}]
 *              rx, tx: {packets, bits} a second; drops a second, `reason` the largest part of them
 *     workers  [{id, cpu, pinned, mode, queues, busy, cycles_per_frame, frames}]
 *              busy: 0 … 1; cycles_per_frame: null without frames; frames a second
 *     total    {rx, tx, drops}, over all ports
 *
 * What is new since `before`, or counts from 0 again, counts from 0.
 */
json_t *rates_between(const json_t *before, const json_t *after, double seconds);

enum rates_order {
    RATES_BY_NAME,
    RATES_BY_RX,
    RATES_BY_TX,
    RATES_BY_DROPS,
};

/* Sorts the ports of such an object: names upwards, rates downwards. */
void rates_sort(json_t *rates, enum rates_order order);

#endif
