/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages about features, and about who owns the device. */
#include <errno.h>
#include <inttypes.h>

#include "base/error.h"
#include "vhost_user/message.h"

#define PROTOCOL(bit) (UINT64_C(1) << WIRE_PROTOCOL_F_##bit)

int message_get_features(struct shunt_backend *backend, struct wire_message *message,
                         struct shunt_error *error)
{
    (void)error;
    message_set_u64(message, backend_offered_features(backend));
    return 0;
}

/*
 * Of the features only LOG_ALL may change while rings run: that is how a front-end switches logging on and
 * off.
 */
static int check_features(const struct shunt_backend *backend, uint64_t features,
                          struct shunt_error *error)
{
    uint64_t unknown = features & ~backend_offered_features(backend);
    uint64_t changed = features ^ backend->features;

    if (unknown)
        return error_set(error, -EINVAL, "features 0x%" PRIx64 " were not offered", unknown);
    if ((changed & ~RING_FEATURE(LOG_ALL)) && !backend_is_suspended(backend))
        return error_set(error, -EBUSY,
                         "features changed from 0x%" PRIx64 " to 0x%" PRIx64 " while rings run",
                         backend->features, features);
    return 0;
}

int message_set_features(struct shunt_backend *backend, struct wire_message *message,
                         struct shunt_error *error)
{
    uint64_t features = message->payload.u64;
    bool is_running = !backend_is_suspended(backend);
    bool knows_enable = features >> WIRE_F_PROTOCOL_FEATURES & 1;
    int result = check_features(backend, features, error);

    if (result < 0)
        return result;
    backend->features = features;
    message_update_logging(backend);
    if (!is_running) {
        message_update_space(backend);
        result = message_attach_inflight(backend, error);
        if (result < 0)
            return result;
        if (backend->ops->features_changed)
            backend->ops->features_changed(backend->ctx, features);
    }
    /* "Ring states": a front-end that knows nothing of SET_VRING_ENABLE means all of them. */
    for (unsigned i = 0; !knows_enable && i < backend->config.num_virtqueues; i++)
        backend_enable_queue(backend, i, true);
    return 0;
}

int message_get_protocol_features(struct shunt_backend *backend, struct wire_message *message,
                                  struct shunt_error *error)
{
    (void)error;
    message_set_u64(message, backend_offered_protocol_features(backend));
    return 0;
}

/* "In-band notifications" says to close the connection of a front-end that takes them without these. */
static int check_protocol_features(const struct shunt_backend *backend, uint64_t features,
                                   struct shunt_error *error)
{
    const uint64_t needed = PROTOCOL(BACKEND_REQ) | PROTOCOL(REPLY_ACK);
    uint64_t unknown = features & ~backend_offered_protocol_features(backend);
    uint64_t changed = features ^ backend->protocol_features;

    if (unknown)
        return error_set(error, -EINVAL, "protocol features 0x%" PRIx64 " were not offered",
                         unknown);
    if ((features & PROTOCOL(INBAND_NOTIFICATIONS)) && (features & needed) != needed)
        return error_set(error, -EINVAL,
                         "INBAND_NOTIFICATIONS without BACKEND_REQ and REPLY_ACK: 0x%" PRIx64,
                         features);
    if (changed && !backend_is_suspended(backend))
        return error_set(error, -EBUSY,
                         "protocol features changed from 0x%" PRIx64 " to 0x%" PRIx64
                         " while rings run",
                         backend->protocol_features, features);
    if ((changed & PROTOCOL(GPA_ADDRESSES)) && shunt_memory_num_regions(backend->memory) > 0)
        return error_set(error, -EBUSY, "GPA_ADDRESSES changed while there are memory regions");
    return 0;
}

int message_set_protocol_features(struct shunt_backend *backend, struct wire_message *message,
                                  struct shunt_error *error)
{
    int result = check_protocol_features(backend, message->payload.u64, error);

    if (result < 0)
        return result;
    backend->protocol_features = message->payload.u64;
    if (backend_is_suspended(backend)) /* else nothing has changed */
        message_update_space(backend);
    return 0;
}

void message_update_space(struct shunt_backend *backend)
{
    bool has_iommu = backend->features & RING_FEATURE(ACCESS_PLATFORM);
    bool has_guest_addresses = backend_has_protocol(backend, WIRE_PROTOCOL_F_GPA_ADDRESSES);

    backend_lock_queues(backend);
    iotlb_set_target(backend->iotlb, has_guest_addresses ? IOTLB_TARGET_GUEST : IOTLB_TARGET_USER);
    if (!has_iommu)
        iotlb_clear(backend->iotlb);
    backend->space.iotlb = has_iommu ? backend->iotlb : NULL;
    backend->space.ring_addressing = has_iommu             ? RING_AT_IO
                                     : has_guest_addresses ? RING_AT_GUEST
                                                           : RING_AT_USER;
    backend_unlock_queues(backend);
}

int message_get_queue_num(struct shunt_backend *backend, struct wire_message *message,
                          struct shunt_error *error)
{
    (void)error;
    message_set_u64(message, backend->config.queue_num);
    return 0;
}

/* There is one owner, the connection: it need not say so. */
int message_set_owner(struct shunt_backend *backend, struct wire_message *message,
                      struct shunt_error *error)
{
    (void)backend;
    (void)message;
    (void)error;
    return 0;
}
