/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Front-ends that come and go: one at a time, and what the last one left is cleared away before the next.
 *
 *                    ┌── server: accept ───────────────┐
 *     waiting ───────┼── client: connect ──────────────┼──▶ connected ── closed, or a rule is broken ──┐
 *        ▲           └── a connection was handed to us ┘                                                │
 *        └──────────────────────────────────────────────────────────────────────────────────────────────┘
 *
 * As a client we try for ever: at once after a connection that was of use, else after a pause that doubles
 * up to CONNECTOR_MAX_DELAY_MS. The log hears of the first failure, and then of the success. A front-end that
 * accepts and closes in a loop is *flapping*: it is a failure that lasts until a connection is of use, which
 * is when a ring starts or after USEFUL_MS. A connection that was handed to us is the only one: when it ends,
 * that is the end.
 *
 * The timer is for the one thing that the role has to do later: try again or stop flapping, accept again after a time without
 * free descriptors, or begin with what was handed to us, so that the program is told from within dispatch.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "vhost_user/backend.h"

/* So much is done in one dispatch; what is left keeps the descriptor readable. */
#define MESSAGES_PER_DISPATCH 64

/* A connection that lasted so long was of use, whatever came over it. */
#define USEFUL_MS 1000u

/* How long not to accept when there are no descriptors for it. */
#define ACCEPT_PAUSE_MS 1000u

static void set_timer(const struct shunt_backend *backend, unsigned delay_ms)
{
    struct itimerspec time = {
        .it_value =
            {
                .tv_sec = delay_ms / 1000,
                /* 0 would stop it. */
                .tv_nsec = (long)(delay_ms % 1000) * 1000000 + (delay_ms == 0),
            },
    };

    timerfd_settime(backend->timer_fd, 0, &time, NULL);
}

/* --- Its beginning ---------------------------------------------------------------------------------- */

/* The name of a process is its own choice: nothing of it may reach a terminal unseen. */
static void find_peer(struct shunt_backend *backend, int fd)
{
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);
    char path[32], *name = backend->peer_name;
    ssize_t num = -1;
    int file;

    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
    backend->peer_pid = peer.pid;
    snprintf(path, sizeof(path), "/proc/%d/comm", (int)peer.pid);
    file = open(path, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        num = read(file, name, PEER_NAME_BYTES - 1);
        close(file);
    }
    name[num > 0 ? num : 0] = '\0';
    name[strcspn(name, "\n")] = '\0';
    for (; *name; name++) {
        if (*name < ' ' || *name > '~')
            *name = '?';
    }
}

static void say_connected(struct shunt_backend *backend)
{
    backend->is_trouble_said = false;
    backend->reason[0] = '\0';
    if (log_limit_allows(&backend->log_limit, backend->name))
        log_info(backend->name, "front-end (pid %d) connected", (int)backend->peer_pid);
}

static void tell_reason(struct shunt_backend *backend)
{
    if (backend->ops->reason_changed)
        backend->ops->reason_changed(backend->ctx);
}

/* It is connected to stay: what was the matter with those before is over. */
static void stop_flapping(struct shunt_backend *backend)
{
    if (!backend->is_flapping)
        return;
    backend->is_flapping = false;
    say_connected(backend);
    tell_reason(backend);
}

void connection_settle(struct shunt_backend *backend)
{
    backend->is_useful = true;
    stop_flapping(backend);
}

/* Takes over the socket. False: it cannot be watched, and is closed. */
static bool connect_front_end(struct shunt_backend *backend, int fd)
{
    int result = backend_watch(backend, fd, EVENT_CONNECTION, 0);

    if (result < 0) {
        snprintf(backend->reason, sizeof(backend->reason), "the connection cannot be watched: %s",
                 strerror(-result));
        log_error(backend->name, "%s", backend->reason);
        close(fd);
        return false;
    }
    find_peer(backend, fd);
    backend->connected_ms = clock_ms();
    backend->is_useful = false;
    channel_open(&backend->channel, fd);
    if (backend->is_flapping)
        set_timer(backend, USEFUL_MS);
    else
        say_connected(backend);
    if (backend->ops->connected)
        backend->ops->connected(backend->ctx);
    return true;
}

/* --- Its end ---------------------------------------------------------------------------------------- */

static void say_why(struct shunt_backend *backend, const char *fault)
{
    char *reason = backend->reason;
    const size_t size = sizeof(backend->reason);

    if (backend->role == ROLE_SERVER && fault)
        snprintf(reason, size, "waiting for a front-end; the last one was disconnected: %.180s",
                 fault);
    else if (backend->role == ROLE_SERVER)
        snprintf(reason, size, "waiting for a front-end to connect");
    else if (backend->role == ROLE_CLIENT)
        snprintf(reason, size, "connecting to %.107s: %s%.80s; trying again",
                 backend->connector.path, fault ? "the last front-end was disconnected: " : "",
                 fault ? fault : "the front-end closed the connection");
    else
        snprintf(reason, size, "the only connection has ended: %.200s",
                 fault ? fault : "the front-end closed it");
}

/* Everything that the front-end said. */
static void forget_front_end(struct shunt_backend *backend)
{
    message_forget(backend);
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++)
        backend_reset_queue(backend, i);
    request_close(backend); /* and what the program, told of the queues' end, had to say */
    backend_lock_queues(backend);
    shunt_memory_replace(backend->memory, NULL, NULL, 0, NULL);
    iotlb_clear(backend->iotlb);
    dirty_log_fini(&backend->log);
    backend->space.iotlb = NULL;
    backend->space.ring_addressing = RING_AT_USER;
    backend_unlock_queues(backend);
    inflight_area_unmap(&backend->inflight);
    backend->features = 0;
    backend->protocol_features = 0;
    backend->is_memory_private = false;
    backend->is_memory_shared = false;
}

static bool was_useful(const struct shunt_backend *backend)
{
    return backend->is_useful || clock_ms() - backend->connected_ms >= USEFUL_MS;
}

/* Tries again at once or later, depending on what this one was good for. */
static void plan_next_try(struct shunt_backend *backend)
{
    if (was_useful(backend))
        connector_forgive(&backend->connector);
    backend->is_flapping = !was_useful(backend);
    set_timer(backend, connector_delay_ms(&backend->connector));
}

/* `fault`: what the front-end did wrong; NULL: it left in order. */
static void disconnect(struct shunt_backend *backend, const char *fault)
{
    say_why(backend, fault);
    backend_unwatch(backend, backend->channel.fd);
    channel_close(&backend->channel);
    forget_front_end(backend);
    if (!backend->is_flapping && log_limit_allows(&backend->log_limit, backend->name))
        log_info(backend->name, "front-end (pid %d) disconnected", (int)backend->peer_pid);
    if (backend->role == ROLE_CLIENT)
        plan_next_try(backend);
    if (backend->ops->disconnected)
        backend->ops->disconnected(backend->ctx);
}

void connection_fail(struct shunt_backend *backend, const struct shunt_error *fault)
{
    if (backend->channel.fd < 0)
        return;
    if (log_limit_allows(&backend->log_limit, backend->name))
        log_warning(backend->name, "%s", fault->text);
    disconnect(backend, fault->text);
}

void connection_on_message(struct shunt_backend *backend, unsigned idx)
{
    (void)idx;
    for (unsigned i = 0; i < MESSAGES_PER_DISPATCH && backend->channel.fd >= 0; i++) {
        struct shunt_error error = {.text = "unknown"};
        struct wire_message message;
        int result = channel_receive(&backend->channel, &message, &error);

        if (result == 0)
            return;
        if (result > 0) {
            result = message_handle(backend, &message, &error);
            wire_close_fds(&message);
        }
        if (result == -EPIPE)
            disconnect(backend, NULL);
        else if (result < 0)
            connection_fail(backend, &error);
    }
}

/* --- Server ----------------------------------------------------------------------------------------- */

static int watch_listener(struct shunt_backend *backend)
{
    return backend_watch(backend, backend->listener.fd, EVENT_LISTENER, 0);
}

/* Who waits to be accepted keeps the socket readable: without a pause we would turn in circles. */
static void pause_listening(struct shunt_backend *backend, int code)
{
    backend_unwatch(backend, backend->listener.fd);
    set_timer(backend, ACCEPT_PAUSE_MS);
    if (backend->channel.fd < 0)
        snprintf(backend->reason, sizeof(backend->reason),
                 "a front-end cannot be accepted: %s; trying again", strerror(-code));
    if (!backend->is_trouble_said)
        log_error(backend->name, "a front-end cannot be accepted: %s; trying again until it can",
                  strerror(-code));
    backend->is_trouble_said = true;
    tell_reason(backend);
}

/* One front-end at a time. One that is gone, but not noticed yet, makes room for the next. */
void connection_on_listener(struct shunt_backend *backend, unsigned idx)
{
    struct pollfd gone = {.fd = backend->channel.fd, .events = POLLRDHUP};
    int fd = listener_accept(&backend->listener);

    (void)idx;
    if (fd == -EAGAIN)
        return;
    if (fd < 0) {
        pause_listening(backend, fd);
        return;
    }
    if (backend->channel.fd >= 0 && poll(&gone, 1, 0) > 0)
        disconnect(backend, NULL);
    if (backend->channel.fd < 0) {
        connect_front_end(backend, fd);
        return;
    }
    if (log_limit_allows(&backend->log_limit, backend->name))
        log_warning(backend->name,
                    "a second front-end was turned away: the one with pid %d is connected",
                    (int)backend->peer_pid);
    close(fd);
}

static void listen_again(struct shunt_backend *backend)
{
    if (watch_listener(backend) < 0)
        set_timer(backend, ACCEPT_PAUSE_MS);
}

/* --- Client ----------------------------------------------------------------------------------------- */

static void try_to_connect(struct shunt_backend *backend)
{
    struct shunt_error error;
    int fd;

    if (backend->channel.fd >= 0) {
        stop_flapping(backend);
        return;
    }
    fd = connector_connect(&backend->connector, &error);
    if (fd >= 0 && connect_front_end(backend, fd))
        return;
    set_timer(backend, connector_delay_ms(&backend->connector));
    if (fd >= 0)
        return;
    backend->is_flapping = false;
    snprintf(backend->reason, sizeof(backend->reason), "%.230s; trying again", error.text);
    if (!backend->is_trouble_said && log_limit_allows(&backend->log_limit, backend->name))
        log_warning(backend->name, "%s; trying again until it works", error.text);
    backend->is_trouble_said = true;
    tell_reason(backend);
}

/* --- A connection that was handed to us ------------------------------------------------------------- */

static void begin_with_adopted(struct shunt_backend *backend)
{
    int fd = backend->config.fd;

    backend->config.fd = -1;
    if (fd >= 0)
        connect_front_end(backend, fd);
}

static int adopt_connection(struct shunt_backend *backend, struct shunt_error *error)
{
    int flags, fd = backend->config.fd;
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);

    if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0)
        return error_set(error, -errno,
                         "descriptor %d is neither a connected nor a listening socket: %m", fd);
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return error_set(error, -errno, "descriptor %d: %m", fd);
    backend->role = ROLE_ADOPTED;
    set_timer(backend, 0);
    return 0;
}

static int adopt(struct shunt_backend *backend, struct shunt_error *error)
{
    int listens = 0, result;
    socklen_t len = sizeof(listens);

    if (getsockopt(backend->config.fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 || !listens)
        return adopt_connection(backend, error);
    backend->role = ROLE_SERVER;
    result = listener_adopt(&backend->listener, backend->config.fd, error);
    if (result < 0)
        return result;
    result = watch_listener(backend);
    if (result < 0)
        backend->listener.fd = -1; /* it stays the caller's */
    return result < 0 ? error_set(error, result, "descriptor %d cannot be watched: %s",
                                  backend->config.fd, strerror(-result))
                      : 0;
}

/* --- Life ------------------------------------------------------------------------------------------- */

static int start_listening(struct shunt_backend *backend, struct shunt_error *error)
{
    int result = listener_open(&backend->listener, backend->config.socket_path, error);

    if (result < 0)
        return result;
    backend->role = ROLE_SERVER;
    result = watch_listener(backend);
    return result < 0
               ? error_set(error, result, "the socket cannot be watched: %s", strerror(-result))
               : 0;
}

static int start_connecting(struct shunt_backend *backend, struct shunt_error *error)
{
    backend->role = ROLE_CLIENT;
    set_timer(backend, 0);
    return connector_open(&backend->connector, backend->config.socket_path, error);
}

int connection_open(struct shunt_backend *backend, struct shunt_error *error)
{
    int result;

    if (!backend->config.socket_path)
        result = adopt(backend, error);
    else if (backend->config.is_client)
        result = start_connecting(backend, error);
    else
        result = start_listening(backend, error);
    if (result < 0)
        return result;
    if (backend->role == ROLE_SERVER)
        say_why(backend, NULL);
    else
        snprintf(backend->reason, sizeof(backend->reason), "connecting%s%.107s",
                 backend->role == ROLE_CLIENT ? " to " : "",
                 backend->role == ROLE_CLIENT ? backend->connector.path : "");
    backend->config.socket_path = NULL; /* the caller's */
    return 0;
}

void connection_close(struct shunt_backend *backend)
{
    if (backend->channel.fd >= 0)
        disconnect(backend, NULL);
    else if (backend->role == ROLE_ADOPTED && backend->config.fd >= 0)
        close(backend->config.fd);
    listener_close(&backend->listener);
    connector_close(&backend->connector);
}

void connection_on_timer(struct shunt_backend *backend, unsigned idx)
{
    static void (*const jobs[])(struct shunt_backend *) = {
        [ROLE_SERVER] = listen_again,
        [ROLE_CLIENT] = try_to_connect,
        [ROLE_ADOPTED] = begin_with_adopted,
    };
    uint64_t count;

    (void)idx;
    if (read(backend->timer_fd, &count, sizeof(count)) == sizeof(count))
        jobs[backend->role](backend);
}
