/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One direction between two guests: frames that one of them makes available in its transmitq are copied
 * into the receiveq of the other, by the shortest loop that there is. What a switch does beside that is not
 * here: nothing is checked, locked, looked up, counted by reason, dropped or notified.
 *
 * What is there of a back-end is real: the rings are those of a front-end, each descriptor is read and
 * each address translated, and each buffer is returned by an entry of the used ring.
 *
 * Where the receiveq is full, frames stay in the transmitq: a lane loses nothing.
 */
#ifndef BENCH_LANE_H
#define BENCH_LANE_H

#include "virtqueue/virtqueue.h"

struct lane {
    struct shunt_virtqueue *from; /* a transmitq */
    struct shunt_virtqueue *to;   /* a receiveq */
    uint64_t frames;
    uint64_t bytes;
    uint64_t bursts;
};

/* Forwards a burst. How many frames; 0: there is none, or no room for it. */
unsigned lane_forward(struct lane *lane);

#endif
