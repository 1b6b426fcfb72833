/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control queue of a network device (VIRTIO 1.3, 5.1.6.5): commands of the driver, which change the
 * device's state and are acknowledged with OK or ERR.
 *
 * A command is copied out of guest memory once and wholly checked before anything changes. A command whose
 * feature was not negotiated, whose length is not what it must be, or whose values the device did not offer,
 * is refused with ERR; that is the driver's to notice, and all goes on. Only a chain with no room for
 * the acknowledgement breaks the queue.
 *
 * Threads: the control thread; workers see what a command changed when `changed` has published it.
 */
#ifndef VIRTIO_NET_CONTROL_H
#define VIRTIO_NET_CONTROL_H

#include <sys/uio.h>

#include <shunt/virtqueue.h>

#include "virtio_net/state.h"

enum control_ack { CONTROL_OK, CONTROL_ERR };

/* The longest command that a driver has reason to send: some 2,700 addresses. */
#define CONTROL_MAX_BYTES  16384u
#define CONTROL_MAX_PIECES 1024u

/* So many are served in one go; whoever sends more waits until others were served. */
#define CONTROL_COMMANDS_AT_ONCE 64u

struct control {
    uint64_t features; /* that were negotiated */
    unsigned max_pairs;
    struct net_state state;
    /* The state was changed, and is to be in force when this returns: the command is acknowledged then. */
    void (*changed)(void *ctx);
    void *ctx;
    uint64_t num_obeyed, num_refused;
    struct iovec iov[CONTROL_MAX_PIECES];
    uint8_t command[CONTROL_MAX_BYTES];
};

/* As after a reset, without features. */
void control_init(struct control *control, const uint8_t mac[6], unsigned max_pairs,
                  void (*changed)(void *ctx), void *ctx);

/* The driver's reset: the state is as at first, with `mac`. */
void control_reset(struct control *control, const uint8_t mac[6]);

/* The features are known or were changed; the state stays. */
void control_set_features(struct control *control, uint64_t features);

/* Obeys one command, from its class on. */
enum control_ack control_obey(struct control *control, const uint8_t *bytes, size_t len);

/* Serves the queue, and arms it. True: there is more, and it is to be called again soon. */
bool control_serve(struct control *control, struct shunt_virtqueue *queue);

#endif
