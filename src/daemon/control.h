/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket: a Unix stream socket on which JSON-RPC is spoken (daemon/rpc.h).
 *
 * Who may open it may control the switch: its mode is 0660. Nobody who does can hold up the control
 * thread or use up its memory: the number of clients is bounded, and so is a request; a client that has
 * answers to read gets no further ones, and is dropped if it does not read them in time.
 *
 * All of it belongs to the control thread.
 */
#ifndef DAEMON_CONTROL_H
#define DAEMON_CONTROL_H

#include <shunt/error.h>

#include "daemon/loop.h"
#include "daemon/rpc.h"

#define CONTROL_DEFAULT_PATH "/run/shunt/control.sock"

#define CONTROL_MAX_CLIENTS  64
#define CONTROL_MAX_UNREAD_S 10 /* in which a client reads nothing at all */
#define CONTROL_MAX_ANSWER_BYTES                                                                   \
    ((size_t)16 << 20) /* of one request or batch: thousands of ports */

struct control;

/*
 * Listens at `path`; clients are served when the loop runs, by `call`. The folder of the default path is
 * made if it is absent, and a socket that a dead shuntd left is replaced. -EADDRINUSE: another shuntd
 * listens there; -ENAMETOOLONG; -EEXIST: it is no socket; -ENOENT: there is no such folder; -EACCES, …
 * as the system calls say.
 */
int control_create(struct loop *loop, const char *path, rpc_call_fn *call, void *ctx,
                   struct control **control, struct shunt_error *error);

/* Disconnects all clients and removes the socket, if it is still ours. Accepts NULL. */
void control_destroy(struct control *control);

/* To be called once a second. */
void control_tick(struct control *control);

#endif
