/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rings of a back-end, seen from the protocol.
 *
 *          SET_VRING_KICK                     first kick
 *     stopped ─────────▶ stopped, awaited ─────────────────▶ started ── the driver breaks it ──▶ broken
 *        ▲                     │                                │                                 │
 *        └─────────────────────┴────────── GET_VRING_BASE ──────┴─────────────────────────────────┘
 *
 * A ring starts on its first kick ("Ring states"), not when the kick descriptor arrives: before that
 * the driver may not have written it. Two rings have no first kick to wait for: one without a kick
 * descriptor, and one that is resumed at an index other than 0, whose first kick was long ago.
 *
 * A driver that kicks has made a buffer available before. So a ring that stays empty, however often it is
 * kicked, belongs to a front-end whose memory is private: what its driver writes stays in there. One such
 * kick means nothing (QEMU signals the descriptor when it makes it), a second one is said to the user.
 * Until the ring was seen to move, the kick descriptor is therefore watched here as well.
 *
 * In-band notifications: a ring whose front-end set no descriptor is given eventfds of our own, so that
 * whoever works on it need not know. VRING_KICK signals the kick descriptor; what the ring signals on the
 * others becomes a request on the request channel.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/event.h"
#include "vhost_user/backend.h"

/* Every second queue, from `first` on. */
static void lock_half(struct shunt_backend *backend, unsigned first)
{
    for (unsigned i = first; i < backend->config.num_virtqueues; i += 2)
        shunt_virtqueue_lock(backend->queues[i].virtqueue);
}

void backend_lock_queues(struct shunt_backend *backend)
{
    lock_half(backend, 1);
    lock_half(backend, 0);
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

bool backend_is_suspended(const struct shunt_backend *backend)
{
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++) {
        if (backend->queues[i].virtqueue->is_started)
            return false;
    }
    return true;
}

/* --- Notifications without descriptors -------------------------------------------------------------- */

/* An eventfd of our own in `slot`, which is watched. */
static int notify_in_band(struct shunt_backend *backend, unsigned idx, int *slot,
                          enum backend_event event)
{
    int result, fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0)
        return -errno;
    result = backend_watch(backend, fd, event, idx);
    if (result < 0) {
        close(fd);
        return result;
    }
    shunt_virtqueue_lock(backend->queues[idx].virtqueue);
    virtqueue_replace_fd(slot, fd);
    shunt_virtqueue_unlock(backend->queues[idx].virtqueue);
    return 0;
}

static int prepare_notifications(struct shunt_backend *backend, unsigned idx)
{
    struct backend_queue *queue = &backend->queues[idx];
    struct shunt_virtqueue *virtqueue = queue->virtqueue;
    int result = 0;

    if (!backend_has_protocol(backend, WIRE_PROTOCOL_F_INBAND_NOTIFICATIONS))
        return 0;
    if (!queue->has_call && !queue->calls_in_band) {
        result = notify_in_band(backend, idx, &virtqueue->call_fd, EVENT_CALL);
        queue->calls_in_band = result == 0;
    }
    if (result == 0 && !queue->has_error && !queue->reports_in_band) {
        result = notify_in_band(backend, idx, &virtqueue->error_fd, EVENT_ERROR);
        queue->reports_in_band = result == 0;
    }
    return result;
}

/* Ours, if it is, must be out of the epoll set before it is closed. */
static void replace_notification(struct shunt_backend *backend, unsigned idx, int *slot, int fd,
                                 bool *is_in_band)
{
    struct shunt_virtqueue *virtqueue = backend->queues[idx].virtqueue;

    if (*is_in_band)
        backend_unwatch(backend, *slot);
    *is_in_band = false;
    shunt_virtqueue_lock(virtqueue);
    virtqueue_replace_fd(slot, fd);
    shunt_virtqueue_unlock(virtqueue);
}

/* What was returned before this came had nobody to notify: the driver is told to look once. */
void backend_set_call(struct shunt_backend *backend, unsigned idx, int fd)
{
    struct backend_queue *queue = &backend->queues[idx];

    replace_notification(backend, idx, &queue->virtqueue->call_fd, fd, &queue->calls_in_band);
    queue->has_call = true;
    shunt_virtqueue_lock(queue->virtqueue);
    if (queue->virtqueue->is_started)
        virtqueue_notify(queue->virtqueue);
    shunt_virtqueue_unlock(queue->virtqueue);
}

void backend_set_error(struct shunt_backend *backend, unsigned idx, int fd)
{
    struct backend_queue *queue = &backend->queues[idx];

    replace_notification(backend, idx, &queue->virtqueue->error_fd, fd, &queue->reports_in_band);
    queue->has_error = true;
}

void queue_on_call(struct shunt_backend *backend, unsigned idx)
{
    struct backend_queue *queue = &backend->queues[idx];

    if (queue->calls_in_band && event_take(queue->virtqueue->call_fd))
        request_add(backend, idx, REQUEST_CALL);
}

void queue_on_error(struct shunt_backend *backend, unsigned idx)
{
    struct backend_queue *queue = &backend->queues[idx];

    if (queue->reports_in_band && event_take(queue->virtqueue->error_fd))
        request_add(backend, idx, REQUEST_ERROR);
}

/* --- Start and stop --------------------------------------------------------------------------------- */

static void unwatch_kick(struct shunt_backend *backend, unsigned idx)
{
    struct backend_queue *queue = &backend->queues[idx];

    if (queue->is_kick_watched)
        backend_unwatch(backend, queue->virtqueue->kick_fd);
    queue->is_kick_watched = false;
}

static int watch_kick(struct shunt_backend *backend, unsigned idx)
{
    struct backend_queue *queue = &backend->queues[idx];
    int result = 0;

    if (queue->virtqueue->kick_fd >= 0 && !queue->is_kick_watched) {
        result = backend_watch(backend, queue->virtqueue->kick_fd, EVENT_KICK, idx);
        queue->is_kick_watched = result == 0;
    }
    return result;
}

/* The kick descriptor is needed for nothing more but what the program asked for. */
static void stop_awaiting(struct shunt_backend *backend, unsigned idx)
{
    struct backend_queue *queue = &backend->queues[idx];

    queue->is_awaited = false;
    if (!queue->is_programs)
        unwatch_kick(backend, idx);
}

static bool is_any_fault_known(const struct shunt_backend *backend)
{
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++) {
        if (backend->queues[i].is_fault_known)
            return true;
    }
    return false;
}

static void tell_program_of_kick(struct shunt_backend *backend, unsigned idx)
{
    struct backend_queue *queue = &backend->queues[idx];

    if (!queue->is_programs || !queue->virtqueue->is_started)
        return;
    event_take(queue->virtqueue->kick_fd);
    if (backend->ops->kicked)
        backend->ops->kicked(backend->ctx, idx);
}

/* Starts queue `idx`, which has been kicked or resumed. */
static int start_queue(struct shunt_backend *backend, unsigned idx, struct shunt_error *error)
{
    struct backend_queue *queue = &backend->queues[idx];
    struct shunt_error cause = {0};
    int result = prepare_notifications(backend, idx);

    if (result < 0)
        return error_set(error, result, "virtqueue %u: no eventfd for its notifications: %s", idx,
                         strerror(-result));
    shunt_virtqueue_lock(queue->virtqueue);
    result = virtqueue_start(queue->virtqueue, backend->features, &cause);
    if (result == 0 && !(backend->features >> WIRE_F_PROTOCOL_FEATURES & 1))
        queue->virtqueue->is_enabled = true;
    queue->is_running_told = queue->virtqueue->is_running;
    shunt_virtqueue_unlock(queue->virtqueue);
    if (result < 0)
        return error_set(error, result, "virtqueue %u: %s", idx, cause.text);
    connection_settle(backend);
    if (!backend->is_memory_private && !is_any_fault_known(backend))
        backend->reason[0] = '\0';
    log_debug(backend->name, "virtqueue %u started at index %u, %u entries", idx,
              queue->virtqueue->base, queue->virtqueue->size);
    backend_tell_queue(backend, idx);
    request_send(backend); /* that was due while the device was suspended */
    return 0;
}

void backend_stop_queue(struct shunt_backend *backend, unsigned idx)
{
    struct backend_queue *queue = &backend->queues[idx];
    bool was_started;

    queue->is_awaited = false;
    unwatch_kick(backend, idx);
    shunt_virtqueue_lock(queue->virtqueue);
    was_started = queue->virtqueue->is_started;
    virtqueue_stop(queue->virtqueue);
    shunt_virtqueue_unlock(queue->virtqueue);
    queue->is_fault_known = false;
    queue->is_running_told = false;
    if (was_started) {
        queue_on_call(backend, idx);
        backend_tell_queue(backend, idx);
    }
    request_forget_queue(backend, idx);
    shunt_virtqueue_lock(queue->virtqueue);
    virtqueue_replace_fd(&queue->virtqueue->kick_fd, -1);
    queue->virtqueue->has_started = false;
    shunt_virtqueue_unlock(queue->virtqueue);
}

void backend_enable_queue(struct shunt_backend *backend, unsigned idx, bool is_enabled)
{
    struct shunt_virtqueue *virtqueue = backend->queues[idx].virtqueue;
    bool was_enabled;

    shunt_virtqueue_lock(virtqueue);
    was_enabled = virtqueue->is_enabled;
    virtqueue->is_enabled = is_enabled;
    shunt_virtqueue_unlock(virtqueue);
    if (was_enabled != is_enabled)
        backend_tell_queue(backend, idx);
}

void backend_reset_queue(struct shunt_backend *backend, unsigned idx)
{
    struct backend_queue *queue = &backend->queues[idx];
    struct shunt_virtqueue *virtqueue = queue->virtqueue;

    backend_stop_queue(backend, idx);
    replace_notification(backend, idx, &virtqueue->call_fd, -1, &queue->calls_in_band);
    replace_notification(backend, idx, &virtqueue->error_fd, -1, &queue->reports_in_band);
    queue->has_call = false;
    queue->has_error = false;
    queue->refused_addr = 0;
    queue->refused_access = 0;
    shunt_virtqueue_lock(virtqueue);
    virtqueue_set_inflight_region(virtqueue, NULL, 0);
    virtqueue->is_enabled = false;
    virtqueue->is_logging = false;
    virtqueue->has_addresses = false;
    virtqueue->size = 0;
    virtqueue->base = 0;
    shunt_virtqueue_unlock(virtqueue);
}

/* A ring that starts without a kick may have something in it already. */
static int start_without_kick(struct shunt_backend *backend, unsigned idx,
                              struct shunt_error *error)
{
    int result = start_queue(backend, idx, error);

    if (result < 0)
        return result;
    if (backend->queues[idx].is_programs && watch_kick(backend, idx) < 0)
        log_error(backend->name, "virtqueue %u: the kick descriptor cannot be watched", idx);
    tell_program_of_kick(backend, idx);
    return 0;
}

int backend_set_kick(struct shunt_backend *backend, unsigned idx, int fd, struct shunt_error *error)
{
    struct backend_queue *queue = &backend->queues[idx];
    bool was_started = queue->virtqueue->is_started, is_resumable;
    int result;

    backend_stop_queue(backend, idx);
    shunt_virtqueue_lock(queue->virtqueue);
    virtqueue_replace_fd(&queue->virtqueue->kick_fd, fd);
    is_resumable = virtqueue_is_resumable(queue->virtqueue, backend->features);
    shunt_virtqueue_unlock(queue->virtqueue);
    if (fd < 0 || was_started || is_resumable)
        return start_without_kick(backend, idx, error);
    result = watch_kick(backend, idx);
    if (result < 0)
        return error_set(error, result, "virtqueue %u: the kick descriptor cannot be watched: %s",
                         idx, strerror(-result));
    queue->is_awaited = true;
    queue->num_empty_kicks = 0;
    return 0;
}

/* --- Kicks ------------------------------------------------------------------------------------------ */

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

static bool is_running(struct shunt_virtqueue *virtqueue)
{
    bool runs;

    shunt_virtqueue_lock(virtqueue);
    runs = virtqueue->is_running;
    shunt_virtqueue_unlock(virtqueue);
    return runs;
}

/* A ring that was not seen to move yet. */
static int on_early_kick(struct shunt_backend *backend, unsigned idx, struct shunt_error *error)
{
    struct backend_queue *queue = &backend->queues[idx];
    bool is_telling;
    int result = 0;

    if (shunt_memory_num_regions(backend->memory) == 0) {
        say_memory_is_private(backend, idx);
        return 0;
    }
    if (!queue->virtqueue->is_started)
        result = start_queue(backend, idx, error);
    if (result < 0)
        return result;
    /* Behind a vIOMMU we may not know where the ring lies yet. */
    is_telling = !backend->is_memory_shared && is_running(queue->virtqueue);
    if (virtqueue_has_moved(queue->virtqueue))
        say_ring_moves(backend, idx);
    else if (is_telling && queue->num_empty_kicks++ > 0)
        say_memory_is_private(backend, idx);
    return 0;
}

static int on_kick(struct shunt_backend *backend, unsigned idx, struct shunt_error *error)
{
    struct backend_queue *queue = &backend->queues[idx];
    struct pollfd kick = {.fd = queue->virtqueue->kick_fd, .events = POLLIN};
    int result = 0;

    /* An event of this round may be older than a message of it. */
    if (!queue->is_kick_watched || poll(&kick, 1, 0) <= 0)
        return 0;
    if (queue->is_awaited)
        result = on_early_kick(backend, idx, error);
    if (result == 0)
        tell_program_of_kick(backend, idx);
    return result;
}

void queue_on_kick(struct shunt_backend *backend, unsigned idx)
{
    struct shunt_error error;

    if (on_kick(backend, idx, &error) < 0)
        connection_fail(backend, &error);
}

/* The first kick of a ring that was given no descriptor makes one. A ring that is polled has none. */
int backend_kick_queue(struct shunt_backend *backend, unsigned idx, struct shunt_error *error)
{
    const struct shunt_virtqueue *virtqueue = backend->queues[idx].virtqueue;
    int result = 0;

    if (virtqueue->kick_fd < 0 && !virtqueue->is_started) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

        if (fd < 0)
            return error_set(error, -errno, "virtqueue %u: eventfd: %m", idx);
        result = backend_set_kick(backend, idx, fd, error);
    }
    if (result < 0)
        return result;
    event_signal(virtqueue->kick_fd);
    return on_kick(backend, idx, error);
}

void shunt_backend_watch_queue(struct shunt_backend *backend, unsigned idx)
{
    struct backend_queue *queue = &backend->queues[idx];

    if (queue->is_programs)
        return;
    queue->is_programs = true;
    if (queue->virtqueue->is_started && watch_kick(backend, idx) < 0)
        log_error(backend->name, "virtqueue %u: the kick descriptor cannot be watched", idx);
}

/* --- Faults and misses ------------------------------------------------------------------------------ */

static bool has_new_miss(const struct shunt_virtqueue *virtqueue)
{
    for (unsigned i = 0; i < virtqueue->num_misses; i++) {
        if (!virtqueue->misses[i].is_asked)
            return true;
    }
    return false;
}

/* The ring can go on: whoever sleeps on it is woken, as by a kick that is not the driver's, or told. */
static void wake_queue(struct backend_queue *queue)
{
    queue->num_empty_kicks = 0;
    queue->is_running_told = false;
    virtqueue_wake(queue->virtqueue);
}

/* The program is told later, when no queue is locked. */
void backend_remap_queues(struct shunt_backend *backend)
{
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++) {
        if (virtqueue_remap(backend->queues[i].virtqueue))
            wake_queue(&backend->queues[i]);
    }
    event_signal(backend->event_fd);
}

void backend_iotlb_changed(struct shunt_backend *backend, uint64_t io_addr, uint64_t bytes)
{
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++) {
        if (virtqueue_iotlb_changed(backend->queues[i].virtqueue, io_addr, bytes))
            wake_queue(&backend->queues[i]);
    }
    event_signal(backend->event_fd);
}

/* A queue broke: which, and why, is said here once. */
static void report_fault(struct shunt_backend *backend, unsigned idx, enum virtqueue_fault fault,
                         uint64_t value)
{
    struct backend_queue *queue = &backend->queues[idx];

    queue->is_fault_known = true;
    snprintf(backend->reason, sizeof(backend->reason),
             "the guest's driver broke virtqueue %u: %s 0x%llx; it works again when the driver "
             "resets the device",
             idx, virtqueue_fault_text(fault), (unsigned long long)value);
    if (log_limit_allows(&backend->log_limit, backend->name))
        log_warning(backend->name, "%s", backend->reason);
    if (fault == FAULT_IO_ACCESS) {
        if (queue->refused_addr != value)
            queue->refused_access = MEMORY_READ | MEMORY_WRITE;
        queue->refused_addr = value;
        request_add(backend, idx, REQUEST_ACCESS_FAIL);
    }
    backend_tell_queue(backend, idx);
}

void queue_on_events(struct shunt_backend *backend, unsigned idx)
{
    (void)idx;
    event_take(backend->event_fd);
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++) {
        struct shunt_virtqueue *virtqueue = backend->queues[i].virtqueue;
        enum virtqueue_fault fault;
        uint64_t value;
        bool misses, runs;

        shunt_virtqueue_lock(virtqueue);
        fault = virtqueue->fault;
        value = virtqueue->fault_value;
        misses = has_new_miss(virtqueue);
        runs = virtqueue->is_running;
        shunt_virtqueue_unlock(virtqueue);
        if (misses)
            request_add(backend, i, REQUEST_MISS);
        if (fault != FAULT_NONE && !backend->queues[i].is_fault_known)
            report_fault(backend, i, fault, value);
        else if (runs && !backend->queues[i].is_running_told)
            backend_tell_queue(backend, i);
        backend->queues[i].is_running_told |= runs; /* it may wait for the IOTLB now and then */
    }
}

void queue_signal_event(void *ctx)
{
    const struct shunt_backend *backend = ctx;

    event_signal(backend->event_fd);
}
