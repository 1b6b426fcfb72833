/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port whose peer is the test: what the test sends comes in from the port, and what the switch copies to
 * the port is captured.
 *
 *     port = inproc_create(&inproc_class, "a", 1, NULL, NULL);
 *     inproc_send(port, 0, frame, len, 0);
 *     … a worker, or bridge_forward() …
 *     frames = inproc_received(port, 0, &num);
 *     port_destroy(port);
 *
 * Threads: as for every port, the control thread creates, sets up and destroys; all else is for any.
 */
#ifndef LIB_INPROC_H
#define LIB_INPROC_H

#include "port/port.h"

/* Three ways to be noticed. */
extern const struct port_class inproc_class;        /* an eventfd, signalled if armed */
extern const struct port_class inproc_class_costly; /* costly lends; an eventfd, always signalled */
extern const struct port_class inproc_class_unwakeable; /* none: it must be polled */

/* Frames that can wait in a queue. */
#define INPROC_MAX_PENDING 256u

/* A frame that was delivered. */
struct inproc_frame {
    uint32_t len;
    uint8_t *bytes;
};

/* What the switch did to a queue. */
struct inproc_stats {
    uint64_t lends;
    uint64_t empty_lends;
    uint64_t arms;
    uint64_t disarms;
    uint64_t wakes; /* by us */
};

/* Makes a port that is up and whose queues run. Fails the test if it cannot. */
struct port *inproc_create(const struct port_class *class, const char *name, unsigned num_queues,
                           const struct port_events *events, void *ctx);

/* Up: it takes frames and its queues run. */
void inproc_set_up(struct port *port, bool is_up);

/* After so many more frames the queue is full (ring-full). Without limit at first. */
void inproc_set_room(struct port *port, unsigned idx, uint64_t num_frames);

/* Whether frames are captured, as at first, or only counted. */
void inproc_set_capture(struct port *port, bool is_on);

/*
 * Sends a frame of at least 14 bytes, lying in pieces of `piece_bytes` (0: in one). False when too many
 * are waiting.
 */
bool inproc_send(struct port *port, unsigned queue, const void *frame, uint32_t len,
                 uint32_t piece_bytes);

/* Frames that were sent and not given back yet. */
unsigned inproc_num_pending(struct port *port, unsigned idx);

/* What was captured, in order; valid until more comes or all is forgotten. */
const struct inproc_frame *inproc_received(struct port *port, unsigned idx, unsigned *num);
void inproc_forget(struct port *port);

struct inproc_stats inproc_stats(struct port *port, unsigned idx);

#endif
