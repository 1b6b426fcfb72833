/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/report.h"

struct client {
    const char *path;
    unsigned timeout_s;
    int fd; /* -1: not connected */
    json_int_t last_id;
    int read_errno; /* of the last read; 0: none, or the end of the stream */
    char *error;
};

struct client *client_create(const char *path, unsigned timeout_s)
{
    struct client *client = need(calloc(1, sizeof(*client)));

    client->path = path;
    client->timeout_s = timeout_s;
    client->fd = -1;
    return client;
}

void client_set_timeout(struct client *client, unsigned timeout_s)
{
    client->timeout_s = timeout_s;
}

static void disconnect(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

void client_destroy(struct client *client)
{
    if (!client)
        return;
    disconnect(client);
    free(client->error);
    free(client);
}

const char *client_path(const struct client *client)
{
    return client->path;
}

const char *client_error(const struct client *client)
{
    return client->error ? client->error : "";
}

bool client_is_connected(const struct client *client)
{
    return client->fd >= 0;
}

static void set_error(struct client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void set_error(struct client *client, const char *format, ...)
{
    va_list args;

    free(client->error);
    client->error = NULL;
    va_start(args, format);
    if (vasprintf(&client->error, format, args) < 0)
        client->error = NULL;
    va_end(args);
    need(client->error);
}

/* What keeps us from talking to the daemon at all. */
static void set_connection_error(struct client *client, int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ECONNREFUSED:
        set_error(client,
                  "no shuntd listens on %s: start one with 'shuntd', or name its socket with "
                  "--control PATH",
                  client->path);
        return;
    case EACCES:
    case EPERM:
        set_error(
            client,
            "permission denied on %s: only the user and the group of shuntd may control it, so "
            "become one of them, for instance with sudo",
            client->path);
        return;
    case EAGAIN:
    case ETIMEDOUT:
        set_error(client,
                  "shuntd on %s does not answer within %u s: see what its process is busy with",
                  client->path, client->timeout_s);
        return;
    case 0:
    case EPIPE:
    case ECONNRESET:
        set_error(client, "shuntd on %s closed the connection: see its log, and try again",
                  client->path);
        return;
    default:
        set_error(client, "cannot talk to shuntd on %s: %s", client->path, strerror(error));
    }
}

/* Of connect(), send() and recv() alike; connect() heeds the one for sending. */
static void set_timeouts(const struct client *client)
{
    const struct timeval timeout = {.tv_sec = client->timeout_s};

    (void)setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    (void)setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
}

static int connect_to(struct client *client)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(client->path);

    if (len >= sizeof(address.sun_path))
        return ENAMETOOLONG;
    memcpy(address.sun_path, client->path, len);
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        return errno;
    set_timeouts(client);
    if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return errno;
    return 0;
}

static int send_all(const struct client *client, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t num = send(client->fd, bytes, len, MSG_NOSIGNAL);

        if (num < 0 && errno == EINTR)
            continue;
        if (num < 0)
            return errno;
        bytes += num;
        len -= (size_t)num;
    }
    return 0;
}

static int send_request(struct client *client, const char *method, const json_t *params)
{
    json_t *request = need(json_pack("{s:s, s:I, s:s, s:O*}", "jsonrpc", "2.0", "id",
                                     ++client->last_id, "method", method, "params", params));
    char *text = need(json_dumps(request, JSON_COMPACT));
    int error = send_all(client, text, strlen(text));

    free(text);
    json_decref(request);
    return error;
}

static size_t read_some(void *buffer, size_t len, void *ctx)
{
    struct client *client = ctx;
    ssize_t num;

    do {
        num = recv(client->fd, buffer, len, 0);
    } while (num < 0 && errno == EINTR);
    client->read_errno = num < 0 ? errno : 0;
    return num < 0 ? (size_t)-1 : (size_t)num;
}

static void set_not_shuntd_error(struct client *client)
{
    set_error(client,
              "what answers on %s is not shuntd: name its control socket with --control PATH",
              client->path);
}

/*
 * Reads one value. Nothing of the next one can be in the bytes that the parser took with it: the
 * daemon has no other request to answer yet.
 */
static json_t *receive_response(struct client *client)
{
    json_error_t error;
    json_t *response;

    client->read_errno = 0;
    response = json_load_callback(read_some, client, JSON_DISABLE_EOF_CHECK, &error);
    if (response)
        return response;
    if (client->read_errno || json_error_code(&error) == json_error_premature_end_of_input)
        set_connection_error(client, client->read_errno);
    else
        set_not_shuntd_error(client);
    disconnect(client);
    return NULL;
}

/* The result in a response, a new reference, or NULL with the error that it holds instead. */
static json_t *take_result(struct client *client, const json_t *response)
{
    const json_t *error = json_object_get(response, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    json_t *result = json_object_get(response, "result");

    if (message) {
        set_error(client, "%s", message);
        return NULL;
    }
    if (!result || json_integer_value(json_object_get(response, "id")) != client->last_id) {
        set_not_shuntd_error(client);
        disconnect(client);
        return NULL;
    }
    return json_incref(result);
}

static int ensure_connected(struct client *client)
{
    int error = client->fd < 0 ? connect_to(client) : 0;

    if (error)
        disconnect(client);
    return error;
}

json_t *client_call(struct client *client, const char *method, const json_t *params)
{
    int error = ensure_connected(client);

    if (!error)
        error = send_request(client, method, params);
    /* A daemon that closes without reading has left an answer that says why. */
    if (error && error != EPIPE && error != ECONNRESET) {
        set_connection_error(client, error);
        disconnect(client);
        return NULL;
    }
    json_t *response = receive_response(client);
    json_t *result = response ? take_result(client, response) : NULL;

    json_decref(response);
    return result;
}
