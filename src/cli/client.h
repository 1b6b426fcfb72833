/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of shuntd's control socket: JSON-RPC 2.0 over a Unix stream socket, values back to back,
 * one request at a time.
 *
 * It connects when it is first asked for something, and again after the connection was lost; so a
 * program that asks again and again outlives a restart of the daemon.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <jansson.h>
#include <stdbool.h>

#define CLIENT_DEFAULT_PATH  "/run/shunt/control.sock"
#define CLIENT_PATH_VARIABLE "SHUNT_CONTROL"

struct client;

/*
 * `path` must outlive the client. No answer within `timeout_s` seconds counts as a lost connection.
 */
struct client *client_create(const char *path, unsigned timeout_s);

/* From the next connection on. */
void client_set_timeout(struct client *client, unsigned timeout_s);

/* Accepts NULL. */
void client_destroy(struct client *client);

const char *client_path(const struct client *client);

/*
 * Calls a method of the control API and waits for its result, a new reference. `params` is an
 * object, or NULL for none. On failure NULL: client_error() is then the line for the user, from the
 * daemon or about the connection, and client_is_connected() tells which.
 */
json_t *client_call(struct client *client, const char *method, const json_t *params);

const char *client_error(const struct client *client);
bool client_is_connected(const struct client *client);

#endif
