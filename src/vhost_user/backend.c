/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A back-end's life, and its one descriptor: an epoll set of all that it waits for. Each source of events
 * is a row in a table; what it leads to is in the file of that noun, see backend.h.
 */
#include "vhost_user/backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/error.h"
#include "memory/userfault.h"

/* So much is done in one dispatch; what is left keeps the descriptor readable. */
#define EVENTS_PER_DISPATCH 64

static const struct {
    uint32_t epoll;
    void (*handle)(struct shunt_backend *backend, unsigned idx);
} sources[] = {
    [EVENT_TIMER] = {EPOLLIN, connection_on_timer},
    [EVENT_LISTENER] = {EPOLLIN, connection_on_listener},
    [EVENT_CONNECTION] = {EPOLLIN, connection_on_message},
    [EVENT_REQUEST] = {EPOLLIN, request_on_event},
    [EVENT_QUEUES] = {EPOLLIN, queue_on_events},
    /* Kicks are the program's to read: here each one is told once. */
    [EVENT_KICK] = {EPOLLIN | EPOLLET, queue_on_kick},
    [EVENT_CALL] = {EPOLLIN, queue_on_call},
    [EVENT_ERROR] = {EPOLLIN, queue_on_error},
    [EVENT_STATE_SAVE] = {EPOLLOUT, device_state_on_event},
    [EVENT_STATE_LOAD] = {EPOLLIN, device_state_on_event},
};
static_assert(sizeof(sources) / sizeof(sources[0]) == EVENT_NUM, "what each event leads to");

int backend_watch(const struct shunt_backend *backend, int fd, enum backend_event event,
                  unsigned idx)
{
    struct epoll_event wanted = {
        .events = sources[event].epoll,
        .data.u64 = (uint64_t)idx << 32 | (uint64_t)event,
    };

    return epoll_ctl(backend->epoll_fd, EPOLL_CTL_ADD, fd, &wanted) < 0 ? -errno : 0;
}

void backend_unwatch(const struct shunt_backend *backend, int fd)
{
    epoll_ctl(backend->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

void shunt_backend_dispatch(struct shunt_backend *backend)
{
    struct epoll_event events[EVENTS_PER_DISPATCH];
    int num = epoll_wait(backend->epoll_fd, events, EVENTS_PER_DISPATCH, 0);

    for (int i = 0; i < num; i++) {
        uint64_t what = events[i].data.u64;

        sources[(uint32_t)what].handle(backend, (unsigned)(what >> 32));
    }
}

uint64_t backend_offered_features(const struct shunt_backend *backend)
{
    return backend->config.features | RING_FEATURES | UINT64_C(1) << WIRE_F_PROTOCOL_FEATURES;
}

#define PROTOCOL(name) (UINT64_C(1) << WIRE_PROTOCOL_F_##name)

uint64_t backend_offered_protocol_features(const struct shunt_backend *backend)
{
    const struct shunt_backend_ops *ops = backend->ops;
    uint64_t features = PROTOCOL(MQ) | PROTOCOL(LOG_SHMFD) | PROTOCOL(REPLY_ACK) |
                        PROTOCOL(BACKEND_REQ) | PROTOCOL(BACKEND_SEND_FD) |
                        PROTOCOL(HOST_NOTIFIER) | PROTOCOL(INFLIGHT_SHMFD) |
                        PROTOCOL(RESET_DEVICE) | PROTOCOL(INBAND_NOTIFICATIONS) |
                        PROTOCOL(CONFIGURE_MEM_SLOTS) | PROTOCOL(STATUS) |
                        PROTOCOL(GET_VRING_BASE_INFLIGHT) | PROTOCOL(GPA_ADDRESSES);

    if (backend->config.config_len > 0)
        features |= PROTOCOL(CONFIG);
    if (ops->announce)
        features |= PROTOCOL(RARP);
    if (ops->set_mtu)
        features |= PROTOCOL(MTU);
    if (ops->save_state && ops->load_state)
        features |= PROTOCOL(DEVICE_STATE);
    if (backend->config.allows_postcopy && userfault_is_available())
        features |= PROTOCOL(PAGEFAULT);
    return features;
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
        int result = virtqueue_create(&backend->space, queue_signal_event, backend,
                                      &backend->queues[i].virtqueue);

        if (result < 0)
            return result;
        backend->queues[i].host_notifier.fd = -1;
    }
    return 0;
}

static int make_descriptors(struct shunt_backend *backend)
{
    int result;

    backend->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (backend->epoll_fd < 0)
        return -errno;
    backend->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (backend->event_fd < 0)
        return -errno;
    backend->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (backend->timer_fd < 0)
        return -errno;
    result = backend_watch(backend, backend->event_fd, EVENT_QUEUES, 0);
    return result < 0 ? result : backend_watch(backend, backend->timer_fd, EVENT_TIMER, 0);
}

static int make_parts(struct shunt_backend *backend, const char *name)
{
    int result;

    backend->name = strdup(name);
    if (!backend->name)
        return -ENOMEM;
    result = shunt_memory_create(&backend->memory);
    if (result == 0)
        result = iotlb_create(backend->memory, &backend->iotlb);
    backend->space = (struct virtqueue_space){.memory = backend->memory, .log = &backend->log};
    if (result == 0)
        result = make_queues(backend);
    if (result == 0)
        result = make_descriptors(backend);
    return result;
}

/* A back-end without parts, which can be destroyed. */
static struct shunt_backend *make_empty(const struct shunt_backend_config *config)
{
    struct shunt_backend *backend = calloc(1, sizeof(*backend));

    if (!backend)
        return NULL;
    backend->config = *config;
    backend->epoll_fd = -1;
    backend->event_fd = -1;
    backend->timer_fd = -1;
    backend->listener.fd = -1;
    backend->channel.fd = -1;
    backend->requests.channel.fd = -1;
    dirty_log_init(&backend->log);
    return backend;
}

int shunt_backend_create(const struct shunt_backend_config *config,
                         const struct shunt_backend_ops *ops, void *ctx,
                         struct shunt_backend **backend, struct shunt_error *error)
{
    struct shunt_backend *fresh;
    int result = check_config(config, error);

    if (result < 0)
        return result;
    fresh = make_empty(config);
    if (!fresh)
        return error_set(error, -ENOMEM, "out of memory");
    fresh->ops = ops;
    fresh->ctx = ctx;
    result = make_parts(fresh, config->name);
    if (result < 0)
        error_set(error, result, "%s", strerror(-result));
    else
        result = connection_open(fresh, error);
    if (result < 0) {
        shunt_backend_destroy(fresh);
        return result;
    }
    *backend = fresh;
    return 0;
}

static void close_descriptor(int fd)
{
    if (fd >= 0)
        close(fd);
}

void shunt_backend_destroy(struct shunt_backend *backend)
{
    if (!backend)
        return;
    connection_close(backend);
    for (unsigned i = 0; backend->queues && i < backend->config.num_virtqueues; i++)
        virtqueue_destroy(backend->queues[i].virtqueue);
    iotlb_destroy(backend->iotlb);
    dirty_log_fini(&backend->log);
    shunt_memory_destroy(backend->memory);
    close_descriptor(backend->timer_fd);
    close_descriptor(backend->event_fd);
    close_descriptor(backend->epoll_fd);
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
