/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames that wait for a receiveq behind a vIOMMU: its front-end was asked where the next buffers lie and has
 * yet to answer. They are copied, because their sender gets its buffers back meanwhile: it is the one place
 * where a frame between guests is copied twice, and it keeps a miss from blocking anybody else.
 *
 * Such a guest forgets all its mappings many times a second, and a frame that comes then would otherwise be
 * lost every time.
 *
 * Threads: under the receiveq's lock.
 */
#ifndef VIRTIO_NET_BACKLOG_H
#define VIRTIO_NET_BACKLOG_H

#include <stdbool.h>

#include "virtio_net/burst.h"

/* Some milliseconds of a fast sender, and no more memory than that. */
#define BACKLOG_MAX_FRAMES 512u
#define BACKLOG_MAX_BYTES  (1u << 20)

struct kept_frame;

/* All zero is an empty one. */
struct backlog {
    struct kept_frame *first, *last;
    unsigned num;
    unsigned bytes;
};

/* Copies the frame to the end. False: there is no room for it. */
bool backlog_keep(struct backlog *backlog, const struct frame *frame);

/* Fills an empty burst with the first frames; they stay where they are. Returns their number. */
unsigned backlog_lend(const struct backlog *backlog, struct burst *burst);

/* Forgets the first `num` frames. */
void backlog_forget(struct backlog *backlog, unsigned num);

#endif
