/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration space of a network device (VIRTIO 1.3, 5.1.4). All of it is the device's to write, but
 * for legacy drivers, which write their MAC address there.
 */
#ifndef VIRTIO_NET_CONFIG_H
#define VIRTIO_NET_CONFIG_H

#include <assert.h>
#include <stdint.h>

#define NET_STATUS_LINK_UP  1
#define NET_STATUS_ANNOUNCE 2

#define NET_SPEED_UNKNOWN UINT32_MAX

enum net_duplex { NET_DUPLEX_HALF = 0, NET_DUPLEX_FULL = 1, NET_DUPLEX_UNKNOWN = 0xff };

/* Little-endian, as we are. */
struct net_config {
    uint8_t mac[6];
    uint16_t status;
    uint16_t max_virtqueue_pairs;
    uint16_t mtu;
    uint32_t speed; /* Mbit/s */
    uint8_t duplex;
    uint8_t rss_max_key_size;
    uint16_t rss_max_indirection_table_length;
    uint32_t supported_hash_types;
};
static_assert(sizeof(struct net_config) == 24, "as in the specification");

/* "52:54:00:12:34:56" of a unicast address; 0 or -EINVAL. */
int net_mac_parse(const char *text, uint8_t mac[6]);

/* A unicast address that is locally administered, always the same for the same name. */
void net_mac_derive(const char *name, uint8_t mac[6]);

/* Part of the space; what lies behind its end reads as 0. */
void net_config_read(const struct net_config *config, uint32_t offset, void *data, uint32_t len);

#endif
