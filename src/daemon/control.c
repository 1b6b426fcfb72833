/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation.
 *
 * What a client sends is read in pieces, and answered request by request into `out`, which is sent as
 * the client reads. While more than HIGH_WATER_BYTES wait to be sent, nothing is read or answered: a
 * client that sends many requests at once is served at the pace at which it reads. So is a client that
 * reads nothing, until control_tick() drops it.
 *
 * One turn of the loop serves one client at most TURN_REQUESTS requests. If there are more, they wait in
 * the stream, the client is `is_pending`, and EPOLLOUT brings its next turn.
 */
#include "daemon/control.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/list.h"
#include "base/listener.h"
#include "base/log.h"

#define TAG              "control"
#define READ_BYTES       ((size_t)64 << 10)
#define HIGH_WATER_BYTES ((size_t)1 << 20)
#define TURN_REQUESTS    16

/* Leaves 0660 of a socket's mode. */
#define SOCKET_UMASK 0117

struct client {
    struct list_link link;
    struct control *control;
    int fd;
    struct loop_source *source;
    struct rpc_stream stream;
    struct buffer out;
    bool is_pending; /* there may be requests in the stream that are complete */
    bool is_ending;  /* nothing more is read from it */
    unsigned unread_s;
};

struct control {
    struct loop *loop;
    struct listener listener;
    struct loop_source *source;
    rpc_call_fn *call;
    void *ctx;
    struct list_link clients;
    unsigned num_clients;
    struct log_limit log_limit;
};

/* --- Clients ----------------------------------------------------------------------------------------- */

static void drop(struct client *client)
{
    list_remove(&client->link);
    client->control->num_clients--;
    loop_remove(client->source);
    close(client->fd);
    rpc_stream_fini(&client->stream);
    buffer_free(&client->out);
    free(client);
}

static void drop_because(struct client *client, const char *reason)
{
    if (log_limit_allows(&client->control->log_limit, TAG))
        log_warning(TAG, "a client %s: it is disconnected", reason);
    drop(client);
}

/* Reads what there is, up to a bound. */
static int receive(struct client *client)
{
    static char bytes[READ_BYTES];
    ssize_t len = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (len < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (len == 0) {
        /* It has said all, and may still wait for answers. */
        client->is_ending = true;
        return 0;
    }
    client->is_pending = true;
    return rpc_stream_feed(&client->stream, bytes, (size_t)len);
}

static bool is_full(const struct client *client)
{
    return buffer_len(&client->out) >= HIGH_WATER_BYTES;
}

static int answer(struct client *client)
{
    int result = 1;

    for (unsigned i = 0; i < TURN_REQUESTS && result > 0 && !is_full(client); i++)
        result = rpc_stream_answer(&client->stream, &client->out);
    client->is_pending = result > 0;
    if (result == -EPROTO) {
        client->is_ending = true;
        return 0;
    }
    return result < 0 ? result : 0;
}

static int transmit(struct client *client)
{
    ssize_t len;

    if (buffer_len(&client->out) == 0)
        return 0;
    len = send(client->fd, buffer_front(&client->out), buffer_len(&client->out),
               MSG_DONTWAIT | MSG_NOSIGNAL);
    if (len < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    buffer_consume(&client->out, (size_t)len);
    client->unread_s = 0;
    return 0;
}

/* What the client waits for, or we for it; 0: it is served. */
static uint32_t wanted_events(const struct client *client)
{
    uint32_t events = 0;

    if (!client->is_ending && !is_full(client))
        events |= EPOLLIN;
    if (client->is_pending || buffer_len(&client->out) > 0)
        events |= EPOLLOUT;
    return events;
}

static void on_client(void *ctx, uint32_t events)
{
    struct client *client = ctx;
    int result = 0;

    if (!client->is_ending && !is_full(client) && (events & ~(uint32_t)EPOLLOUT))
        result = receive(client);
    if (result == 0 && client->is_pending)
        result = answer(client);
    if (result == 0)
        result = transmit(client);
    if (result == -ENOBUFS)
        drop_because(client, "asks for more at once than an answer can hold");
    else if (result < 0 || wanted_events(client) == 0)
        drop(client);
    else
        loop_watch(client->source, wanted_events(client));
}

static int add_client(struct control *control, int fd)
{
    struct client *client = calloc(1, sizeof(*client));
    int result;

    if (!client)
        return -ENOMEM;
    *client = (struct client){
        .control = control,
        .fd = fd,
        .out.limit = CONTROL_MAX_ANSWER_BYTES,
    };
    result = loop_add(control->loop, fd, EPOLLIN, on_client, client, &client->source);
    if (result < 0) {
        free(client);
        return result;
    }
    rpc_stream_init(&client->stream, control->call, control->ctx);
    list_append(&control->clients, &client->link);
    control->num_clients++;
    return 0;
}

/* One that cannot be served is told why. */
static void turn_away(struct control *control, int fd, const char *reason)
{
    struct buffer out = {.limit = HIGH_WATER_BYTES};

    if (log_limit_allows(&control->log_limit, TAG))
        log_warning(TAG, "a client is turned away: %s", reason);
    if (rpc_put_error(&out, RPC_FAILED, reason) == 0)
        (void)send(fd, buffer_front(&out), buffer_len(&out), MSG_DONTWAIT | MSG_NOSIGNAL);
    buffer_free(&out);
    close(fd);
}

static void on_listener(void *ctx, uint32_t events)
{
    struct control *control = ctx;
    int fd = listener_accept(&control->listener);

    (void)events;
    if (fd == -EAGAIN)
        return;
    if (fd < 0) {
        /* The client goes on waiting: without a pause, so would we, in a circle. */
        log_warning(TAG, "clients have to wait: %s", strerror(-fd));
        loop_watch(control->source, 0);
    } else if (control->num_clients == CONTROL_MAX_CLIENTS) {
        turn_away(control, fd, "too many clients are connected: close one, or try again later");
    } else if (add_client(control, fd) < 0) {
        turn_away(control, fd, "shuntd is short of memory: try again later");
    }
}

void control_tick(struct control *control)
{
    struct client *client, *next;

    loop_watch(control->source, EPOLLIN);
    list_for_each_safe (client, next, &control->clients, link) {
        if (buffer_len(&client->out) > 0 && client->unread_s++ >= CONTROL_MAX_UNREAD_S)
            drop_because(client, "does not read its answers");
    }
}

/* --- The socket -------------------------------------------------------------------------------------- */

/* The process that listens at the path; 0 if that cannot be told. */
static pid_t listening_pid(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return 0;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
    close(fd);
    return peer.pid;
}

/* What the listener says of any socket, in words for this one. */
static int explain(const char *path, int result, const struct shunt_error *cause,
                   struct shunt_error *error)
{
    switch (result) {
    case -EADDRINUSE:
        return error_set(
            error, result,
            "another shuntd (pid %d) is already listening on %s: stop it, or give this "
            "one another --control PATH",
            (int)listening_pid(path), path);
    case -EACCES:
        return error_set(error, result,
                         "no permission to make %s: run shuntd as root, or give it another "
                         "--control PATH",
                         path);
    default:
        return error_set(error, result, "control socket: %s", cause->text);
    }
}

static int listen_at(struct listener *listener, const char *path, struct shunt_error *error)
{
    struct shunt_error cause = {0};
    mode_t mask;
    int result;

    /* Of the default path: its folder is on a file system that is empty after each boot. */
    if (strcmp(path, CONTROL_DEFAULT_PATH) == 0)
        (void)mkdir("/run/shunt", 0755);
    mask = umask(SOCKET_UMASK);
    result = listener_open(listener, path, &cause);
    umask(mask);
    return result < 0 ? explain(path, result, &cause, error) : 0;
}

int control_create(struct loop *loop, const char *path, rpc_call_fn *call, void *ctx,
                   struct control **control, struct shunt_error *error)
{
    struct control *self = calloc(1, sizeof(*self));
    int result;

    if (!self)
        return error_set(error, -ENOMEM, "out of memory");
    *self = (struct control){.loop = loop, .call = call, .ctx = ctx, .listener.fd = -1};
    list_init(&self->clients);
    result = listen_at(&self->listener, path, error);
    if (result == 0) {
        result = loop_add(loop, self->listener.fd, EPOLLIN, on_listener, self, &self->source);
        if (result < 0)
            error_set(error, result, "control socket: %s", strerror(-result));
    }
    if (result < 0) {
        control_destroy(self);
        return result;
    }
    *control = self;
    return 0;
}

void control_destroy(struct control *control)
{
    struct client *client, *next;

    if (!control)
        return;
    list_for_each_safe (client, next, &control->clients, link)
        drop(client);
    loop_remove(control->source);
    listener_close(&control->listener);
    free(control);
}
