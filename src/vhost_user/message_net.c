/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages to network devices. What they mean for the network, the program knows. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "vhost_user/message.h"

/* VIRTIO 1.3, 5.1.4.1 */
#define MTU_MIN_BYTES 68
#define MTU_MAX_BYTES 65535

/* The address is the first 6 bytes of the payload. */
int message_send_rarp(struct shunt_backend *backend, struct wire_message *message,
                      struct shunt_error *error)
{
    uint8_t mac[6];

    (void)error;
    memcpy(mac, &message->payload, sizeof(mac));
    backend->ops->announce(backend->ctx, mac);
    return 0;
}

int message_net_set_mtu(struct shunt_backend *backend, struct wire_message *message,
                        struct shunt_error *error)
{
    uint64_t mtu = message->payload.u64;
    int result = -EINVAL;

    if (mtu >= MTU_MIN_BYTES && mtu <= MTU_MAX_BYTES)
        result = backend->ops->set_mtu(backend->ctx, (uint16_t)mtu);
    if (result == 0)
        return 0;
    error_set(error, result, "an MTU of %" PRIu64 " bytes: %s", mtu, strerror(-result));
    return MESSAGE_DECLINED;
}
