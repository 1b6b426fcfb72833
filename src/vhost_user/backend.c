/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a back-end.
 *
 *     listening ── accept ──▶ connected ── closed, or a rule broken ──▶ listening
 *                              │   ▲
 *          SET_VRING_KICK: the ring waits for its first kick
 *                              │   │ GET_VRING_BASE
 *                              ▼   │
 *                         ring started ── the driver breaks it ──▶ ring broken, connection stays
 *
 * A ring starts on its first kick ("Ring states"), not when the kick descriptor arrives: before that
 * the driver may not have written it. Two rings have no first kick to wait for: one without a kick
 * descriptor, and one that is resumed at an index other than 0, whose first kick was long ago.
 *
 * A driver that kicks has made a buffer available before. So a ring that stays empty, however often it is
 * kicked, belongs to a front-end whose memory is private: what its driver writes stays in there. One such
 * kick means nothing (QEMU signals the descriptor when it makes it), a second one is said to the user.
 * Until the ring was seen to move, the kick descriptor is therefore watched here as well.
 */
#include "vhost_user/backend.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

/* So much is done in one dispatch; what is left keeps the descriptor readable. */
#define EVENTS_PER_DISPATCH   64
#define MESSAGES_PER_DISPATCH 64

static const char waiting[] = "waiting for a front-end to connect";

enum event_source {
    EVENT_LISTENER,
    EVENT_CONNECTION,
    EVENT_FAULT,
    EVENT_KICK, /* + index of the queue in the upper half */
};

static int watch(const struct shunt_backend *backend, int fd, enum event_source source,
                 unsigned idx)
{
    struct epoll_event event = {
        /* Kicks are the program's to read: here each one is told once. */
        .events = source == EVENT_KICK ? EPOLLIN | EPOLLET : EPOLLIN,
        .data.u64 = (uint64_t)idx << 32 | (uint64_t)source,
    };

    return epoll_ctl(backend->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static void unwatch(const struct shunt_backend *backend, int fd)
{
    epoll_ctl(backend->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

uint64_t backend_offered_features(const struct shunt_backend *backend)
{
    return backend->config.features | RING_FEATURES | UINT64_C(1) << WIRE_F_PROTOCOL_FEATURES;
}

uint64_t backend_offered_protocol_features(const struct shunt_backend *backend)
{
    uint64_t features = UINT64_C(1) << WIRE_PROTOCOL_F_MQ |
                        UINT64_C(1) << WIRE_PROTOCOL_F_REPLY_ACK |
                        UINT64_C(1) << WIRE_PROTOCOL_F_CONFIGURE_MEM_SLOTS;

    if (backend->config.config_len > 0)
        features |= UINT64_C(1) << WIRE_PROTOCOL_F_CONFIG;
    return features;
}

void backend_lock_queues(struct shunt_backend *backend)
{
    for (unsigned i = backend->config.num_virtqueues; i-- > 0;)
        shunt_virtqueue_lock(backend->queues[i].virtqueue);
}

void backend_unlock_queues(struct shunt_backend *backend)
{
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++)
        shunt_virtqueue_unlock(backend->queues[i].virtqueue);
}

void backend_tell_queue(struct shunt_backend *backend, unsigned idx)
{
    if (backend->ops->queue_changed)
        backend->ops->queue_changed(backend->ctx, idx);
}

/* --- Rings ------------------------------------------------------------------------------------------ */

static void stop_awaiting(struct shunt_backend *backend, unsigned idx)
{
    struct backend_queue *queue = &backend->queues[idx];

    if (queue->is_awaited)
        unwatch(backend, queue->virtqueue->kick_fd);
    queue->is_awaited = false;
}

static bool is_any_fault_known(const struct shunt_backend *backend)
{
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++) {
        if (backend->queues[i].is_fault_known)
            return true;
    }
    return false;
}

int backend_start_queue(struct shunt_backend *backend, unsigned idx, struct shunt_error *error)
{
    struct backend_queue *queue = &backend->queues[idx];
    struct shunt_error cause = {0};
    int result;

    shunt_virtqueue_lock(queue->virtqueue);
    result = virtqueue_start(queue->virtqueue, backend->features, &cause);
    if (result == 0 && !(backend->features >> WIRE_F_PROTOCOL_FEATURES & 1))
        queue->virtqueue->is_enabled = true;
    shunt_virtqueue_unlock(queue->virtqueue);
    if (result < 0)
        return error_set(error, result, "virtqueue %u: %s", idx, cause.text);
    if (!backend->is_memory_private && !is_any_fault_known(backend))
        backend->reason[0] = '\0';
    log_debug(backend->name, "virtqueue %u started at index %u, %u entries", idx,
              queue->virtqueue->base, queue->virtqueue->size);
    backend_tell_queue(backend, idx);
    return 0;
}

void backend_stop_queue(struct shunt_backend *backend, unsigned idx)
{
    struct backend_queue *queue = &backend->queues[idx];
    bool was_started;

    stop_awaiting(backend, idx);
    shunt_virtqueue_lock(queue->virtqueue);
    was_started = queue->virtqueue->is_started;
    virtqueue_stop(queue->virtqueue);
    shunt_virtqueue_unlock(queue->virtqueue);
    queue->is_fault_known = false;
    if (was_started)
        backend_tell_queue(backend, idx);
    shunt_virtqueue_lock(queue->virtqueue);
    virtqueue_replace_fd(&queue->virtqueue->kick_fd, -1);
    queue->virtqueue->has_started = false;
    shunt_virtqueue_unlock(queue->virtqueue);
}

static bool is_resumable(const struct shunt_virtqueue *queue)
{
    return queue->base != 0 && queue->has_addresses && queue->size != 0;
}

int backend_set_kick(struct shunt_backend *backend, unsigned idx, int fd, struct shunt_error *error)
{
    struct backend_queue *queue = &backend->queues[idx];
    bool was_started = queue->virtqueue->is_started;
    int result;

    backend_stop_queue(backend, idx);
    shunt_virtqueue_lock(queue->virtqueue);
    virtqueue_replace_fd(&queue->virtqueue->kick_fd, fd);
    shunt_virtqueue_unlock(queue->virtqueue);
    if (fd < 0 || was_started || is_resumable(queue->virtqueue))
        return backend_start_queue(backend, idx, error);
    result = watch(backend, fd, EVENT_KICK, idx);
    if (result < 0)
        return error_set(error, result, "virtqueue %u: the kick descriptor cannot be watched: %s",
                         idx, strerror(-result));
    queue->is_awaited = true;
    queue->num_empty_kicks = 0;
    return 0;
}

static void say_memory_is_private(struct shunt_backend *backend, unsigned idx)
{
    if (backend->is_memory_private)
        return;
    backend->is_memory_private = true;
    snprintf(
        backend->reason, sizeof(backend->reason),
        "guest memory is not shared: the guest kicked virtqueue %u, but %s; start it with shared "
        "memory (QEMU: a memory backend with share=on)",
        idx,
        shunt_memory_num_regions(backend->memory) == 0 ? "the front-end shared no memory"
                                                       : "nothing that it wrote can be seen");
    if (log_limit_allows(&backend->log_limit, backend->name))
        log_warning(backend->name, "%s", backend->reason);
    backend_tell_queue(backend, idx);
}

/* The driver's writes reach us: there is nothing more to find out by its kicks. */
static void say_ring_moves(struct shunt_backend *backend, unsigned idx)
{
    stop_awaiting(backend, idx);
    backend->is_memory_shared = true;
    if (!backend->is_memory_private)
        return;
    backend->is_memory_private = false;
    backend->reason[0] = '\0';
    backend_tell_queue(backend, idx);
}

static int on_kick(struct shunt_backend *backend, unsigned idx, struct shunt_error *error)
{
    struct backend_queue *queue = &backend->queues[idx];
    struct pollfd kick = {.fd = queue->virtqueue->kick_fd, .events = POLLIN};
    int result = 0;

    /* An event of this round may be older than a message of it. */
    if (!queue->is_awaited || poll(&kick, 1, 0) <= 0)
        return 0;
    if (shunt_memory_num_regions(backend->memory) == 0) {
        say_memory_is_private(backend, idx);
        return 0;
    }
    if (!queue->virtqueue->is_started)
        result = backend_start_queue(backend, idx, error);
    if (result < 0)
        return result;
    if (virtqueue_has_moved(queue->virtqueue))
        say_ring_moves(backend, idx);
    else if (!backend->is_memory_shared && queue->num_empty_kicks++ > 0)
        say_memory_is_private(backend, idx);
    return 0;
}

/* Some queue broke: which, and why, is said here once, in the control thread. */
static void report_faults(struct shunt_backend *backend)
{
    uint64_t count;

    if (read(backend->fault_fd, &count, sizeof(count)) < 0)
        return;
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++) {
        struct backend_queue *queue = &backend->queues[i];
        enum virtqueue_fault fault;
        uint64_t value;

        shunt_virtqueue_lock(queue->virtqueue);
        fault = queue->virtqueue->fault;
        value = queue->virtqueue->fault_value;
        shunt_virtqueue_unlock(queue->virtqueue);
        if (fault == FAULT_NONE || queue->is_fault_known)
            continue;
        queue->is_fault_known = true;
        snprintf(backend->reason, sizeof(backend->reason),
                 "the guest's driver broke virtqueue %u: %s 0x%llx; it works again when the driver "
                 "resets the device",
                 i, virtqueue_fault_text(fault), (unsigned long long)value);
        if (log_limit_allows(&backend->log_limit, backend->name))
            log_warning(backend->name, "%s", backend->reason);
        backend_tell_queue(backend, i);
    }
}

/* Any thread, with the queue locked. */
static void on_queue_broken(void *ctx)
{
    struct shunt_backend *backend = ctx;
    uint64_t one = 1;

    /* Only ever full if the control thread has 2^64 - 1 faults to look at: it will look. */
    while (write(backend->fault_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

/* --- The connection --------------------------------------------------------------------------------- */

static void reset_queue(struct shunt_backend *backend, unsigned idx)
{
    struct shunt_virtqueue *queue = backend->queues[idx].virtqueue;

    backend_stop_queue(backend, idx);
    shunt_virtqueue_lock(queue);
    virtqueue_replace_fd(&queue->call_fd, -1);
    virtqueue_replace_fd(&queue->error_fd, -1);
    queue->is_enabled = false;
    queue->has_addresses = false;
    queue->size = 0;
    queue->base = 0;
    shunt_virtqueue_unlock(queue);
}

/* `fault`: what the front-end did wrong; NULL: it left in order. */
static void disconnect(struct shunt_backend *backend, const char *fault)
{
    if (fault)
        snprintf(backend->reason, sizeof(backend->reason),
                 "waiting for a front-end; the last one was disconnected: %.180s", fault);
    else
        snprintf(backend->reason, sizeof(backend->reason), "%s", waiting);
    unwatch(backend, backend->channel.fd);
    channel_close(&backend->channel);
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++)
        reset_queue(backend, i);
    backend_lock_queues(backend);
    shunt_memory_replace(backend->memory, NULL, NULL, 0, NULL);
    backend_unlock_queues(backend);
    backend->features = 0;
    backend->protocol_features = 0;
    backend->is_memory_private = false;
    backend->is_memory_shared = false;
    if (log_limit_allows(&backend->log_limit, backend->name))
        log_info(backend->name, "front-end (pid %d) disconnected", (int)backend->peer_pid);
    if (backend->ops->disconnected)
        backend->ops->disconnected(backend->ctx);
}

static void connect_front_end(struct shunt_backend *backend, int fd)
{
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);

    if (watch(backend, fd, EVENT_CONNECTION, 0) < 0) {
        log_error(backend->name, "the connection cannot be watched: %m");
        close(fd);
        return;
    }
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
    backend->peer_pid = peer.pid;
    backend->reason[0] = '\0';
    channel_open(&backend->channel, fd);
    if (log_limit_allows(&backend->log_limit, backend->name))
        log_info(backend->name, "front-end (pid %d) connected", (int)peer.pid);
    if (backend->ops->connected)
        backend->ops->connected(backend->ctx);
}

/* One front-end at a time. One that is gone, but not noticed yet, makes room for the next. */
static void accept_front_end(struct shunt_backend *backend)
{
    struct pollfd gone = {.fd = backend->channel.fd, .events = POLLRDHUP};
    int fd = listener_accept(&backend->listener);

    if (fd == -EAGAIN)
        return;
    if (fd < 0) {
        if (log_limit_allows(&backend->log_limit, backend->name))
            log_error(backend->name, "a connection cannot be accepted: %s", strerror(-fd));
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

static void receive_messages(struct shunt_backend *backend)
{
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
        if (result >= 0)
            continue;
        if (result != -EPIPE && log_limit_allows(&backend->log_limit, backend->name))
            log_warning(backend->name, "%s", error.text);
        disconnect(backend, result == -EPIPE ? NULL : error.text);
    }
}

static void handle_event(struct shunt_backend *backend, uint64_t what)
{
    struct shunt_error error = {.text = "unknown"};

    switch ((enum event_source)(uint32_t)what) {
    case EVENT_LISTENER:
        accept_front_end(backend);
        break;
    case EVENT_CONNECTION:
        receive_messages(backend);
        break;
    case EVENT_FAULT:
        report_faults(backend);
        break;
    case EVENT_KICK:
        if (on_kick(backend, (unsigned)(what >> 32), &error) < 0) {
            if (log_limit_allows(&backend->log_limit, backend->name))
                log_warning(backend->name, "%s", error.text);
            disconnect(backend, error.text);
        }
        break;
    }
}

void shunt_backend_dispatch(struct shunt_backend *backend)
{
    struct epoll_event events[EVENTS_PER_DISPATCH];
    int num = epoll_wait(backend->epoll_fd, events, EVENTS_PER_DISPATCH, 0);

    for (int i = 0; i < num; i++)
        handle_event(backend, events[i].data.u64);
}

/* --- Life ------------------------------------------------------------------------------------------- */

static int check_config(const struct shunt_backend_config *config, struct shunt_error *error)
{
    if (config->num_virtqueues == 0 || config->num_virtqueues > SHUNT_BACKEND_MAX_VIRTQUEUES)
        return error_set(error, -EINVAL, "%u virtqueues: must be 1 to %d", config->num_virtqueues,
                         SHUNT_BACKEND_MAX_VIRTQUEUES);
    if (config->config_len > WIRE_CONFIG_MAX_BYTES)
        return error_set(error, -EINVAL, "a configuration space of %u bytes: at most %d",
                         config->config_len, WIRE_CONFIG_MAX_BYTES);
    return 0;
}

static int make_queues(struct shunt_backend *backend)
{
    unsigned num = backend->config.num_virtqueues;

    backend->queues = calloc(num, sizeof(*backend->queues));
    if (!backend->queues)
        return -ENOMEM;
    for (unsigned i = 0; i < num; i++) {
        int result = virtqueue_create(backend->memory, on_queue_broken, backend,
                                      &backend->queues[i].virtqueue);

        if (result < 0)
            return result;
    }
    return 0;
}

static int make_descriptors(struct shunt_backend *backend)
{
    backend->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (backend->epoll_fd < 0)
        return -errno;
    backend->fault_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (backend->fault_fd < 0)
        return -errno;
    return watch(backend, backend->fault_fd, EVENT_FAULT, 0);
}

static int make_parts(struct shunt_backend *backend, const char *name)
{
    int result;

    backend->name = strdup(name);
    if (!backend->name)
        return -ENOMEM;
    result = shunt_memory_create(&backend->memory);
    if (result == 0)
        result = make_queues(backend);
    if (result == 0)
        result = make_descriptors(backend);
    return result;
}

int shunt_backend_create(const struct shunt_backend_config *config,
                         const struct shunt_backend_ops *ops, void *ctx,
                         struct shunt_backend **backend, struct shunt_error *error)
{
    struct shunt_backend *fresh;
    int result = check_config(config, error);

    if (result < 0)
        return result;
    fresh = calloc(1, sizeof(*fresh));
    if (!fresh)
        return error_set(error, -ENOMEM, "out of memory");
    fresh->config = *config;
    fresh->ops = ops;
    fresh->ctx = ctx;
    fresh->epoll_fd = -1;
    fresh->fault_fd = -1;
    fresh->listener.fd = -1;
    fresh->channel.fd = -1;
    result = make_parts(fresh, config->name);
    if (result < 0) {
        error_set(error, result, "%s", strerror(-result));
    } else {
        result = listener_open(&fresh->listener, config->socket_path, error);
        if (result == 0) {
            result = watch(fresh, fresh->listener.fd, EVENT_LISTENER, 0);
            if (result < 0)
                error_set(error, result, "the socket cannot be watched: %s", strerror(-result));
        }
    }
    if (result < 0) {
        shunt_backend_destroy(fresh);
        return result;
    }
    snprintf(fresh->reason, sizeof(fresh->reason), "%s", waiting);
    *backend = fresh;
    return 0;
}

void shunt_backend_destroy(struct shunt_backend *backend)
{
    if (!backend)
        return;
    if (backend->channel.fd >= 0)
        disconnect(backend, NULL);
    listener_close(&backend->listener);
    for (unsigned i = 0; backend->queues && i < backend->config.num_virtqueues; i++)
        virtqueue_destroy(backend->queues[i].virtqueue);
    shunt_memory_destroy(backend->memory);
    if (backend->fault_fd >= 0)
        close(backend->fault_fd);
    if (backend->epoll_fd >= 0)
        close(backend->epoll_fd);
    free(backend->queues);
    free(backend->name);
    free(backend);
}

int shunt_backend_fd(const struct shunt_backend *backend)
{
    return backend->epoll_fd;
}

bool shunt_backend_is_connected(const struct shunt_backend *backend)
{
    return backend->channel.fd >= 0;
}

uint64_t shunt_backend_features(const struct shunt_backend *backend)
{
    return backend->features;
}

uint64_t shunt_backend_protocol_features(const struct shunt_backend *backend)
{
    return backend->protocol_features;
}

const char *shunt_backend_reason(const struct shunt_backend *backend)
{
    return backend->reason;
}

struct shunt_virtqueue *shunt_backend_virtqueue(struct shunt_backend *backend, unsigned idx)
{
    return backend->queues[idx].virtqueue;
}

const struct shunt_memory *shunt_backend_memory(const struct shunt_backend *backend)
{
    return backend->memory;
}
