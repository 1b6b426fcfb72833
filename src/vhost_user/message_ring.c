/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages about rings: where they lie, where they begin, and how both sides notify each other. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "vhost_user/message.h"

int message_set_vring_num(struct shunt_backend *backend, struct wire_message *message,
                          struct shunt_error *error)
{
    struct shunt_virtqueue *queue = message_queue(backend, message);
    int result;

    shunt_virtqueue_lock(queue);
    result = virtqueue_set_size(queue, message->payload.state.num, error);
    shunt_virtqueue_unlock(queue);
    return result;
}

/* Also for a ring that runs: that is how its logging is switched on and off. */
int message_set_vring_addr(struct shunt_backend *backend, struct wire_message *message,
                           struct shunt_error *error)
{
    const struct wire_vring_addr *addr = &message->payload.addr;
    struct shunt_virtqueue *queue = message_queue(backend, message);
    struct virtqueue_addresses addresses = {
        .descriptor = addr->descriptor,
        .driver = addr->available,
        .device = addr->used,
        .log = addr->log,
        .is_logged = addr->flags & WIRE_VRING_ADDR_F_LOG,
    };
    int result;

    shunt_virtqueue_lock(queue);
    result = virtqueue_set_addresses(queue, &addresses, error);
    shunt_virtqueue_unlock(queue);
    return result;
}

/* Packed rings have two positions, split ones an index. */
int message_set_vring_base(struct shunt_backend *backend, struct wire_message *message,
                           struct shunt_error *error)
{
    struct shunt_virtqueue *queue = message_queue(backend, message);
    bool is_packed = backend->features & RING_FEATURE(PACKED);
    uint32_t base = message->payload.state.num;

    if (base > UINT16_MAX && !is_packed)
        return error_set(error, -EINVAL, "index 0x%x does not fit into 16 bits", base);
    if (queue->is_started)
        return error_set(error, -EBUSY, "index 0x%x set while the ring runs", base);
    queue->base = base;
    return 0;
}

/*
 * Also GET_VRING_BASE_SKIP_DRAIN: chains that the program keeps are not waited for in either case. Where there
 * is an in-flight area, they stay noted in it.
 */
int message_get_vring_base(struct shunt_backend *backend, struct wire_message *message,
                           struct shunt_error *error)
{
    (void)error;
    backend_stop_queue(backend, message->payload.state.idx);
    message->payload.state.num = message_queue(backend, message)->base;
    return 0;
}

/* Comes before SET_FEATURES from QEMU: that it needs PROTOCOL_FEATURES cannot be held against it. */
int message_set_vring_enable(struct shunt_backend *backend, struct wire_message *message,
                             struct shunt_error *error)
{
    uint32_t enable = message->payload.state.num;

    if (enable > 1)
        return error_set(error, -EINVAL, "enable is %u instead of 0 or 1", enable);
    backend_enable_queue(backend, message->payload.state.idx, enable);
    return 0;
}

/* Non-blocking suits the other end as well: an eventfd's reader is woken by poll. */
int message_check_eventfd(int fd, struct shunt_error *error)
{
    static const char wanted[] = "anon_inode:[eventfd]";
    char link[64], target[64];
    ssize_t len;
    int flags;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, target, sizeof(target) - 1);
    if (len < 0)
        return error_set(error, -errno, "the descriptor cannot be examined: %s: %m", link);
    target[len] = '\0';
    if (strcmp(target, wanted) != 0)
        return error_set(error, -EINVAL, "the descriptor is not an eventfd but %s", target);
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return error_set(error, -errno, "fcntl: %m");
    return 0;
}

/* The eventfd that came with a SET_VRING_KICK, _CALL or _ERR, or -1 where the message says so. */
static int take_eventfd(struct wire_message *message, int *fd, struct shunt_error *error)
{
    bool has_none = message->payload.u64 & WIRE_VRING_FD_NONE;
    int result;

    *fd = -1;
    if (has_none != (message->num_fds == 0))
        return error_set(error, -EINVAL, "%u file descriptors, but the message announces %d",
                         message->num_fds, !has_none);
    if (has_none)
        return 0;
    result = message_check_eventfd(message->fds[0], error);
    if (result == 0)
        *fd = wire_take_fd(message, 0);
    return result;
}

int message_set_vring_kick(struct shunt_backend *backend, struct wire_message *message,
                           struct shunt_error *error)
{
    int fd, result = take_eventfd(message, &fd, error);

    if (result < 0)
        return result;
    return backend_set_kick(backend, message_fd_queue_idx(message), fd, error);
}

int message_set_vring_call(struct shunt_backend *backend, struct wire_message *message,
                           struct shunt_error *error)
{
    int fd, result = take_eventfd(message, &fd, error);

    if (result == 0)
        backend_set_call(backend, message_fd_queue_idx(message), fd);
    return result;
}

int message_set_vring_err(struct shunt_backend *backend, struct wire_message *message,
                          struct shunt_error *error)
{
    int fd, result = take_eventfd(message, &fd, error);

    if (result == 0)
        backend_set_error(backend, message_fd_queue_idx(message), fd);
    return result;
}

int message_vring_kick(struct shunt_backend *backend, struct wire_message *message,
                       struct shunt_error *error)
{
    return backend_kick_queue(backend, message->payload.state.idx, error);
}

int message_set_backend_req_fd(struct shunt_backend *backend, struct wire_message *message,
                               struct shunt_error *error)
{
    return backend_set_request_fd(backend, wire_take_fd(message, 0), error);
}
