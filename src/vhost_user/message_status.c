/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages about the device's status (VIRTIO 1.3, 2.1), and those that reset it. */
#include <errno.h>
#include <inttypes.h>

#include "base/error.h"
#include "vhost_user/message.h"

#define STATUS_FEATURES_OK 8u
#define STATUS_NEEDS_RESET 64u
#define STATUS_ALL         0xffu

/* Those that only drivers of VIRTIO 1.0 and later know (VIRTIO 1.3, chapter 6). */
#define MODERN_FEATURES                                                                            \
    (RING_FEATURE(ACCESS_PLATFORM) | RING_FEATURE(PACKED) | RING_FEATURE(IN_ORDER) |               \
     RING_FEATURE(ORDER_PLATFORM) | RING_FEATURE(NOTIFICATION_DATA) | RING_FEATURE(RESET))

/* Deprecated; sent by old front-ends that mean to disable all rings, which is what this does, and no more. */
int message_reset_owner(struct shunt_backend *backend, struct wire_message *message,
                        struct shunt_error *error)
{
    (void)message;
    (void)error;
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++)
        backend_enable_queue(backend, i, false);
    return 0;
}

/*
 * What the driver said is forgotten. What the front-end said stays: memory, protocol features, the log, and
 * where it wants to be notified, which QEMU says once in a connection.
 */
static void reset_device(struct shunt_backend *backend)
{
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++) {
        struct shunt_virtqueue *queue = backend->queues[i].virtqueue;

        backend_stop_queue(backend, i);
        backend_enable_queue(backend, i, false);
        shunt_virtqueue_lock(queue);
        queue->has_addresses = false;
        shunt_virtqueue_unlock(queue);
    }
    backend->status = 0;
    backend->features = 0;
    message_update_logging(backend);
    message_update_space(backend);
    if (backend->ops->reset)
        backend->ops->reset(backend->ctx);
}

int message_reset_device(struct shunt_backend *backend, struct wire_message *message,
                         struct shunt_error *error)
{
    (void)message;
    (void)error;
    reset_device(backend);
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++)
        backend->queues[i].virtqueue->base = 0;
    return 0;
}

static bool do_features_fit(uint64_t features)
{
    return (features & RING_FEATURE(VERSION_1)) || !(features & MODERN_FEATURES);
}

int message_set_status(struct shunt_backend *backend, struct wire_message *message,
                       struct shunt_error *error)
{
    uint64_t status = message->payload.u64;

    if (status & ~(uint64_t)STATUS_ALL)
        return error_set(error, -EINVAL, "a device status has 8 bits: 0x%" PRIx64, status);
    /* QEMU up to 7.2 asks only after this, by GET_VRING_BASE, how far the rings were; so that is kept. */
    if (status == 0) {
        reset_device(backend);
        return 0;
    }
    if ((status & STATUS_FEATURES_OK) && !do_features_fit(backend->features)) {
        log_warning(backend->name, "features 0x%" PRIx64 " are refused: some need VERSION_1",
                    backend->features);
        status &= ~(uint64_t)STATUS_FEATURES_OK;
    }
    backend->status = (uint8_t)status;
    return 0;
}

static bool is_any_queue_broken(const struct shunt_backend *backend)
{
    bool is_broken = false;

    for (unsigned i = 0; i < backend->config.num_virtqueues && !is_broken; i++) {
        struct shunt_virtqueue *queue = backend->queues[i].virtqueue;

        shunt_virtqueue_lock(queue);
        is_broken = queue->fault != FAULT_NONE;
        shunt_virtqueue_unlock(queue);
    }
    return is_broken;
}

int message_get_status(struct shunt_backend *backend, struct wire_message *message,
                       struct shunt_error *error)
{
    (void)error;
    message_set_u64(message,
                    backend->status | (is_any_queue_broken(backend) ? STATUS_NEEDS_RESET : 0));
    return 0;
}
