/* SPDX-License-Identifier: BSD-3-Clause */
/* Feature bits of network devices (VIRTIO 1.3, 5.1.3), and all bits by name. */
#ifndef VIRTIO_NET_FEATURE_H
#define VIRTIO_NET_FEATURE_H

#include <stdbool.h>
#include <stdint.h>

#define NET_F_CSUM           0
#define NET_F_GUEST_CSUM     1
#define NET_F_MTU            3
#define NET_F_MAC            5
#define NET_F_GUEST_TSO4     7
#define NET_F_HOST_TSO4      11
#define NET_F_MRG_RXBUF      15
#define NET_F_STATUS         16
#define NET_F_CTRL_VQ        17
#define NET_F_CTRL_RX        18
#define NET_F_CTRL_VLAN      19
#define NET_F_CTRL_RX_EXTRA  20
#define NET_F_GUEST_ANNOUNCE 21
#define NET_F_MQ             22
#define NET_F_CTRL_MAC_ADDR  23
#define NET_F_HASH_REPORT    57
#define NET_F_RSS            60
#define NET_F_SPEED_DUPLEX   63

#define NET_FEATURE(bit) (UINT64_C(1) << NET_F_##bit)

static inline bool feature_is_set(uint64_t features, unsigned bit)
{
    return features >> bit & 1;
}

/* As the specification writes it, without the prefix: "MRG_RXBUF"; NULL if the bit has no name. */
const char *feature_name(unsigned bit);

/* The same for vhost-user's protocol features: "REPLY_ACK". */
const char *protocol_feature_name(unsigned bit);

#endif
