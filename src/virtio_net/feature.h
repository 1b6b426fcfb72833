/* SPDX-License-Identifier: BSD-3-Clause */
/* Feature bits of network devices (VIRTIO 1.3, 5.1.3), and all bits by name. */
#ifndef VIRTIO_NET_FEATURE_H
#define VIRTIO_NET_FEATURE_H

#include <stdbool.h>
#include <stdint.h>

#define NET_F_MRG_RXBUF 15
#define NET_F_MQ        22

static inline bool feature_is_set(uint64_t features, unsigned bit)
{
    return features >> bit & 1;
}

/* As the specification writes it, without the prefix: "MRG_RXBUF"; NULL if the bit has no name. */
const char *feature_name(unsigned bit);

/* The same for vhost-user's protocol features: "REPLY_ACK". */
const char *protocol_feature_name(unsigned bit);

#endif
