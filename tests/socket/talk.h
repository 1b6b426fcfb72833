/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An honest conversation on ports `left` and `right`, in a process of its own (talker.c). The test that goes
 * on beside it fails at the end if a frame was lost, damaged, or out of order.
 */
#ifndef SOCKET_TALK_H
#define SOCKET_TALK_H

#include "socket/lab.h"

struct talk {
    const struct lab *lab;
    pid_t pid;
    uint64_t *progress;
};

/* Adds the two ports, and waits until the conversation flows. */
void talk_begin(struct talk *talk, const struct lab *lab);

/* Waits until so many more frames have arrived. */
void talk_wait(const struct talk *talk, uint64_t num);

/* Ends it; it must have gone well. */
void talk_end(struct talk *talk);

/* Ends it after the switch is gone. */
void talk_kill(struct talk *talk);

#endif
