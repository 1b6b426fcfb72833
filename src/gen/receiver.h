/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one receiveq brings.
 *
 * Buffers are added again in the order in which they came, so that descriptors and ring entries stay as they
 * are. Of a frame only what is needed is read: nothing, the header before it with mergeable buffers, its
 * stamp, or all of it.
 */
#ifndef GEN_RECEIVER_H
#define GEN_RECEIVER_H

#include "gen/port.h"

/* Makes all buffers available. */
void receiver_fill(struct receiver *receiver);

/* Takes what came: how many buffers. */
unsigned receiver_receive(struct receiver *receiver);

#endif
