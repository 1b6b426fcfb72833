/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The request channel: a second socket, on which the back-end asks and the front-end answers
 * (vhost-user, "Back-end communication"). Its theory of operation is in request.c.
 */
#ifndef VHOST_USER_REQUEST_H
#define VHOST_USER_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "vhost_user/channel.h"

/* What can be due for a queue, in the order in which it is sent. */
enum request {
    REQUEST_CALL,
    REQUEST_ERROR,
    REQUEST_MISS,
    REQUEST_ACCESS_FAIL,
    REQUEST_HOST_NOTIFIER,
    REQUEST_NUM,
};

/* Where the guest may notify the device without the front-end. */
struct host_notifier {
    int fd; /* -1: nowhere */
    uint64_t offset;
    uint64_t size;
};

/* A request that is to be answered. */
struct request_asked {
    uint32_t request; /* as in wire.h */
    unsigned queue_idx;
    uint64_t io_addr;
    unsigned access;
};

/* So many may be unanswered; a power of two. */
#define REQUEST_MAX_ASKED 64u

struct request_channel {
    struct channel channel; /* fd -1: there is none */
    bool is_full;           /* the socket takes no more: we are told when it does */
    bool is_config_due;     /* the configuration space changed */
    unsigned next_queue;    /* whose turn it is */
    struct request_asked asked[REQUEST_MAX_ASKED];
    uint32_t num_asked; /* since the channel is there; wraps */
    uint32_t num_answered;
};

#endif
