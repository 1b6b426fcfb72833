/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connected vhost-user socket: messages with file descriptors, in and out, never blocking.
 *
 * A message may arrive a byte at a time; what has come of it stays here until it is whole. The peer is
 * not trusted: a payload is at most what `union wire_payload` holds, and descriptors at most
 * WIRE_MAX_FDS a message; whatever is too much is closed.
 *
 * Threads: the control thread.
 */
#ifndef VHOST_USER_CHANNEL_H
#define VHOST_USER_CHANNEL_H

#include <shunt/error.h>
#include <stdbool.h>
#include <stddef.h>

#include "vhost_user/wire.h"

struct channel {
    int fd; /* -1: closed */
    struct wire_message incoming;
    size_t received; /* bytes of it that are there */
    struct wire_message outgoing;
    size_t unsent; /* bytes of it that are to be sent */
};

/* Takes over a connected, non-blocking socket. */
void channel_open(struct channel *channel, int fd);

/* Closes it, and the descriptors of messages that are not whole. */
void channel_close(struct channel *channel);

/*
 * 1: `*message` is a whole message, whose descriptors are the caller's now; 0: more must arrive first;
 * -EPIPE: the peer closed the connection; -EPROTO: it broke the framing; or what recvmsg(2) returns.
 */
int channel_receive(struct channel *channel, struct wire_message *message,
                    struct shunt_error *error);

/* Sends the message, without its descriptors. -EAGAIN: the peer does not read. */
int channel_send(struct channel *channel, const struct wire_message *message,
                 struct shunt_error *error);

/* The same with `fd`, which stays the caller's. */
int channel_send_fd(struct channel *channel, const struct wire_message *message, int fd,
                    struct shunt_error *error);

/*
 * For those who can wait: takes over a message with its descriptors, while channel_is_flushed(), which
 * channel_flush() then sends. 0: all of it is sent; -EAGAIN: the socket takes no more now; -EPIPE: the peer
 * closed the connection; or what sendmsg(2) returns.
 */
void channel_put(struct channel *channel, struct wire_message *message);
int channel_flush(struct channel *channel, struct shunt_error *error);
bool channel_is_flushed(const struct channel *channel);

/* Closes the descriptors that are left in a message. */
void wire_close_fds(struct wire_message *message);

/* Takes descriptor `idx` out of the message; the caller closes it. -1 if there is none. */
int wire_take_fd(struct wire_message *message, unsigned idx);

#endif
