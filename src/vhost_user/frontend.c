/* SPDX-License-Identifier: BSD-3-Clause */
/* A front-end's life, and its one descriptor: an epoll set of all that it waits for. */
#include "vhost_user/frontend.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <shunt/virtqueue.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/event.h"
#include "base/timer.h"

/* So much is done in one dispatch; what is left keeps the descriptor readable. */
#define EVENTS_PER_DISPATCH 16

/* Features of the ring that would ask of us what we do not do. */
#define UNUSABLE_FEATURES                                                                          \
    (RING_FEATURE(NOTIFY_ON_EMPTY) | RING_FEATURE(LOG_ALL) | RING_FEATURE(ACCESS_PLATFORM) |       \
     RING_FEATURE(NOTIFICATION_DATA) | RING_FEATURE(RESET))

static void take_event(int fd)
{
    eventfd_t num;

    eventfd_read(fd, &num);
}

/* --- Events ----------------------------------------------------------------------------------------- */

/* A queue broke, in whatever thread found it. */
static bool find_fault(struct shunt_frontend *frontend, struct shunt_error *error)
{
    for (unsigned i = 0; i < frontend->num_virtqueues; i++) {
        struct shunt_driver_queue *queue = frontend->queues[i].queue;
        enum driver_fault fault;
        uint64_t value;

        shunt_driver_queue_lock(queue);
        fault = queue->fault;
        value = queue->fault_value;
        shunt_driver_queue_unlock(queue);
        if (fault == DRIVER_FAULT_NONE)
            continue;
        error_set(error, -EPROTO, "the back-end broke virtqueue %u: %s 0x%" PRIx64, i,
                  driver_queue_fault_text(fault), value);
        return true;
    }
    return false;
}

static void on_event(struct shunt_frontend *frontend)
{
    struct shunt_error error;

    take_event(frontend->event_fd);
    if (frontend->channel.fd < 0)
        return;
    if ((frontend->is_running && find_fault(frontend, &error)) ||
        frontend_sequence_continue(frontend, &error) < 0)
        frontend_link_fail(frontend, &error);
}

static void on_error(struct shunt_frontend *frontend)
{
    struct shunt_error error;

    take_event(frontend->error_fd);
    error_set(&error, -EPROTO, "the back-end says that a virtqueue is broken");
    if (frontend->is_running)
        frontend_link_fail(frontend, &error);
}

static void (*const handlers[])(struct shunt_frontend *frontend) = {
    [FRONTEND_ON_TIMER] = frontend_link_on_timer,
    [FRONTEND_ON_LISTENER] = frontend_link_on_listener,
    [FRONTEND_ON_MESSAGE] = frontend_link_on_message,
    [FRONTEND_ON_REQUEST] = frontend_request_on_event,
    [FRONTEND_ON_EVENT] = on_event,
    [FRONTEND_ON_ERROR] = on_error,
};
static_assert(sizeof(handlers) / sizeof(handlers[0]) == FRONTEND_NUM_EVENTS,
              "what each event leads to");

int frontend_watch(const struct shunt_frontend *frontend, int fd, enum frontend_event event)
{
    struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = event};

    return epoll_ctl(frontend->epoll_fd, EPOLL_CTL_ADD, fd, &wanted) < 0 ? -errno : 0;
}

void frontend_unwatch(const struct shunt_frontend *frontend, int fd)
{
    epoll_ctl(frontend->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

void shunt_frontend_dispatch(struct shunt_frontend *frontend)
{
    struct epoll_event events[EVENTS_PER_DISPATCH];
    int num = epoll_wait(frontend->epoll_fd, events, EVENTS_PER_DISPATCH, 0);

    for (int i = 0; i < num; i++)
        handlers[events[i].data.u32](frontend);
}

/* --- Life ------------------------------------------------------------------------------------------- */

static int check_sizes(const struct shunt_frontend_config *config, struct shunt_error *error)
{
    unsigned num = config->num_virtqueues, size = config->queue_size;

    if (num == 0 || num > SHUNT_FRONTEND_MAX_VIRTQUEUES || config->min_virtqueues > num)
        return error_set(error, -EINVAL, "%u virtqueues, at least %u: must be 1 to %d", num,
                         config->min_virtqueues, SHUNT_FRONTEND_MAX_VIRTQUEUES);
    if (config->virtqueues_per_queue == 0)
        return error_set(error, -EINVAL, "0 virtqueues for each that GET_QUEUE_NUM counts");
    if (size == 0 || size > SHUNT_VIRTQUEUE_MAX_SIZE ||
        config->max_indirect > SHUNT_VIRTQUEUE_MAX_SIZE)
        return error_set(error, -EINVAL, "ring size %u, %u pieces of an indirect chain: at most %d",
                         size, config->max_indirect, SHUNT_VIRTQUEUE_MAX_SIZE);
    if ((size & (size - 1)) != 0 && !(config->required_features & RING_FEATURE(PACKED)))
        return error_set(error, -EINVAL,
                         "ring size %u is not a power of two, and PACKED is not required", size);
    if (config->config_len > WIRE_CONFIG_MAX_BYTES)
        return error_set(error, -EINVAL, "a configuration space of %u bytes: at most %d",
                         config->config_len, WIRE_CONFIG_MAX_BYTES);
    return 0;
}

static int check_config(const struct shunt_frontend_config *config, struct shunt_error *error)
{
    uint64_t unusable = (config->features | config->required_features) & UNUSABLE_FEATURES;

    if (unusable)
        return error_set(error, -EINVAL, "features 0x%" PRIx64 " cannot be used here", unusable);
    return check_sizes(config, error);
}

/* In whatever thread works on the queue. */
static void on_break(void *ctx)
{
    const struct shunt_frontend *frontend = ctx;

    event_signal(frontend->event_fd);
}

static int make_queues(struct shunt_frontend *frontend, struct shunt_error *error)
{
    struct driver_queue_config config = {
        .size = frontend->config.queue_size,
        .max_indirect = frontend->config.max_indirect,
        .on_break = on_break,
        .ctx = frontend,
    };
    uint64_t bytes = driver_queue_bytes(&config);
    unsigned num = frontend->config.num_virtqueues;
    int result = shared_area_create(&frontend->rings, bytes * num, 0, error);

    if (result < 0)
        return result;
    frontend->queues = calloc(num, sizeof(*frontend->queues));
    if (!frontend->queues)
        return error_set(error, -ENOMEM, "out of memory");
    for (unsigned i = 0; i < num; i++) {
        frontend->queues[i].is_enable_wanted = true;
        result = driver_queue_create(&config, frontend->rings.start + i * bytes,
                                     &frontend->queues[i].queue);
        if (result < 0)
            return error_set(error, result, "virtqueue %u: %s", i, strerror(-result));
    }
    return 0;
}

static int make_descriptors(struct shunt_frontend *frontend, struct shunt_error *error)
{
    frontend->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    frontend->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    frontend->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    frontend->error_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (frontend->epoll_fd < 0 || frontend->timer_fd < 0 || frontend->event_fd < 0 ||
        frontend->error_fd < 0 ||
        frontend_watch(frontend, frontend->timer_fd, FRONTEND_ON_TIMER) < 0 ||
        frontend_watch(frontend, frontend->event_fd, FRONTEND_ON_EVENT) < 0 ||
        frontend_watch(frontend, frontend->error_fd, FRONTEND_ON_ERROR) < 0)
        return error_set(error, -errno, "%m");
    return 0;
}

/* A front-end without parts, which can be destroyed. */
static struct shunt_frontend *make_empty(const struct shunt_frontend_config *config)
{
    struct shunt_frontend *frontend = calloc(1, sizeof(*frontend));

    if (!frontend)
        return NULL;
    frontend->config = *config;
    frontend->config.features |= config->required_features | RING_FEATURE(VERSION_1);
    if (config->min_virtqueues == 0)
        frontend->config.min_virtqueues = config->num_virtqueues;
    frontend->wants_running = !config->is_stopped;
    frontend->epoll_fd = frontend->timer_fd = frontend->event_fd = frontend->error_fd = -1;
    frontend->listener.fd = frontend->channel.fd = frontend->requests.fd = -1;
    frontend->name = strdup(config->name);
    if (frontend->name)
        return frontend;
    free(frontend);
    return NULL;
}

int shunt_frontend_create(const struct shunt_frontend_config *config,
                          const struct shunt_frontend_ops *ops, void *ctx,
                          struct shunt_frontend **frontend, struct shunt_error *error)
{
    struct shunt_frontend *fresh;
    int result = check_config(config, error);

    if (result < 0)
        return result;
    fresh = make_empty(config);
    if (!fresh)
        return error_set(error, -ENOMEM, "out of memory");
    fresh->ops = ops;
    fresh->ctx = ctx;
    frontend_sequence_forget(fresh);
    result = make_descriptors(fresh, error);
    if (result == 0)
        result = make_queues(fresh, error);
    if (result == 0)
        result = frontend_link_begin(fresh, error);
    if (result < 0) {
        shunt_frontend_destroy(fresh);
        return result;
    }
    *frontend = fresh;
    return 0;
}

static void close_descriptor(int fd)
{
    if (fd >= 0)
        close(fd);
}

void shunt_frontend_destroy(struct shunt_frontend *frontend)
{
    if (!frontend)
        return;
    frontend_link_end(frontend);
    for (unsigned i = 0; frontend->queues && i < frontend->config.num_virtqueues; i++)
        driver_queue_destroy(frontend->queues[i].queue);
    shared_area_destroy(&frontend->rings);
    close_descriptor(frontend->error_fd);
    close_descriptor(frontend->event_fd);
    close_descriptor(frontend->timer_fd);
    close_descriptor(frontend->epoll_fd);
    free(frontend->queues);
    free(frontend->name);
    free(frontend);
}

/* --- What it is like -------------------------------------------------------------------------------- */

int shunt_frontend_fd(const struct shunt_frontend *frontend)
{
    return frontend->epoll_fd;
}

bool shunt_frontend_is_connected(const struct shunt_frontend *frontend)
{
    return frontend->channel.fd >= 0;
}

bool shunt_frontend_is_running(const struct shunt_frontend *frontend)
{
    return frontend->is_running;
}

uint64_t shunt_frontend_features(const struct shunt_frontend *frontend)
{
    return frontend->kept_features;
}

uint64_t shunt_frontend_protocol_features(const struct shunt_frontend *frontend)
{
    return frontend->protocol_features;
}

unsigned shunt_frontend_num_virtqueues(const struct shunt_frontend *frontend)
{
    return frontend->kept_virtqueues;
}

const char *shunt_frontend_reason(const struct shunt_frontend *frontend)
{
    return frontend->reason;
}

struct shunt_driver_queue *shunt_frontend_queue(struct shunt_frontend *frontend, unsigned idx)
{
    return frontend->queues[idx].queue;
}

const void *shunt_frontend_device_config(const struct shunt_frontend *frontend)
{
    return frontend->has_device_config ? frontend->device_config : NULL;
}

/* --- What is wanted of it --------------------------------------------------------------------------- */

void shunt_frontend_enable_queue(struct shunt_frontend *frontend, unsigned idx, bool is_enabled)
{
    frontend->queues[idx].is_enable_wanted = is_enabled;
    if (frontend->wants_running)
        frontend_sequence_want(frontend, PHASE_ENABLE);
}

void shunt_frontend_share_memory(struct shunt_frontend *frontend)
{
    frontend_sequence_want(frontend, PHASE_MEMORY);
}

/* A start that has begun is gone through before the stop. */
void shunt_frontend_stop(struct shunt_frontend *frontend)
{
    frontend->wants_running = false;
    frontend->sequence.due &= ~(1u << PHASE_START);
    if (frontend->sequence.phase == PHASE_START ||
        (frontend->is_running && frontend->sequence.phase != PHASE_STOP))
        frontend_sequence_want(frontend, PHASE_STOP);
}

void shunt_frontend_start(struct shunt_frontend *frontend)
{
    frontend->wants_running = true;
    frontend->sequence.due &= ~(1u << PHASE_STOP);
    if (frontend->sequence.phase == PHASE_STOP ||
        (!frontend->is_running && frontend->sequence.phase != PHASE_START))
        frontend_sequence_want(frontend, PHASE_START);
}
