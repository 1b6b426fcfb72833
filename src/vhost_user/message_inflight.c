/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages about the area in which chains in flight are noted. */
#include <errno.h>
#include <inttypes.h>

#include "base/error.h"
#include "vhost_user/message.h"
#include "virtqueue/inflight.h"

#define QUEUE_SIZE_MAX 32768

static uint64_t region_bytes(const struct shunt_backend *backend, uint16_t queue_size)
{
    bool is_packed = backend->features & RING_FEATURE(PACKED);

    return inflight_region_bytes(is_packed ? RING_PACKED : RING_SPLIT, queue_size);
}

static int check_numbers(const struct shunt_backend *backend, const struct wire_inflight *inflight,
                         struct shunt_error *error)
{
    if (inflight->num_queues == 0 || inflight->num_queues > backend->config.num_virtqueues)
        return error_set(error, -EINVAL, "an area for %u queues instead of 1 to %u",
                         inflight->num_queues, backend->config.num_virtqueues);
    if (inflight->queue_size == 0 || inflight->queue_size > QUEUE_SIZE_MAX)
        return error_set(error, -EINVAL, "an area for queues of %u entries instead of 1 to %u",
                         inflight->queue_size, QUEUE_SIZE_MAX);
    return 0;
}

int message_get_inflight_fd(struct shunt_backend *backend, struct wire_message *message,
                            struct shunt_error *error)
{
    struct wire_inflight *inflight = &message->payload.inflight;
    int fd, result = check_numbers(backend, inflight, error);

    if (result < 0)
        return result;
    inflight->offset = 0;
    inflight->size = inflight->num_queues * region_bytes(backend, inflight->queue_size);
    fd = inflight_area_make(inflight->size, error);
    if (fd < 0)
        return fd;
    message_give_fd(message, fd);
    return 0;
}

int message_attach_inflight(struct shunt_backend *backend, struct shunt_error *error)
{
    const struct inflight_area *area = &backend->inflight;
    uint64_t bytes = region_bytes(backend, area->queue_size);

    if (!area->mapping.start)
        return 0;
    if (area->num_queues * bytes > area->size)
        return error_set(error, -EINVAL,
                         "the in-flight area has %" PRIu64 " bytes, but %u queues of %u entries "
                         "take %" PRIu64,
                         area->size, area->num_queues, area->queue_size, area->num_queues * bytes);
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++) {
        struct shunt_virtqueue *queue = backend->queues[i].virtqueue;
        bool has_part = i < area->num_queues;

        shunt_virtqueue_lock(queue);
        virtqueue_set_inflight_region(queue, has_part ? area->mapping.start + i * bytes : NULL,
                                      has_part ? bytes : 0);
        shunt_virtqueue_unlock(queue);
    }
    return 0;
}

int message_set_inflight_fd(struct shunt_backend *backend, struct wire_message *message,
                            struct shunt_error *error)
{
    const struct wire_inflight *inflight = &message->payload.inflight;
    int result = check_numbers(backend, inflight, error);

    if (result == 0)
        result = inflight_area_map(&backend->inflight, message->fds[0], inflight->offset,
                                   inflight->size, error);
    if (result < 0)
        return result;
    backend->inflight.num_queues = inflight->num_queues;
    backend->inflight.queue_size = inflight->queue_size;
    return message_attach_inflight(backend, error);
}
