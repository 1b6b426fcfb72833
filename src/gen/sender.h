/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one transmitq sends.
 *
 * Each slot of the ring has a frame of its own, which is built once, and a slot keeps its descriptor as long as
 * the frame keeps its size. So where all frames are alike nothing is written but the ring's index, unless
 * the user wants frames to be written like those of a guest (`touch`).
 */
#ifndef GEN_SENDER_H
#define GEN_SENDER_H

#include "gen/port.h"

/* Builds the frames. */
void sender_build(struct sender *sender);

/* Sends what may be sent now, a burst at most: how many frames. `now`: cycles since the start. */
unsigned sender_send(struct sender *sender, double now);

/* Sends a frame of a receiveq back from there. */
void sender_echo(struct sender *sender, const struct iovec *pieces, unsigned num, uint32_t bytes,
                 void *cookie);

/* Takes chains that came back: how many. */
unsigned sender_take(struct sender *sender, struct shunt_driver_used *used, unsigned max);

#endif
