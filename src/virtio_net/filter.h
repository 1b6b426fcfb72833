/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which frames the driver wants to receive, as it said on the control queue (VIRTIO 1.3, 5.1.6.5.1 to
 * 5.1.6.5.3). The filter starts open, and means something only for what was negotiated: a driver
 * without CTRL_RX gets all addresses, one without CTRL_VLAN all VLANs.
 */
#ifndef VIRTIO_NET_FILTER_H
#define VIRTIO_NET_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio_net/burst.h"

/* A driver that names more of a kind gets all of that kind. */
#define FILTER_MAX_ADDRESSES 64u
#define FILTER_NUM_VLANS     4096u

/* The switches of VIRTIO_NET_CTRL_RX, by their commands' numbers. */
enum filter_switch {
    FILTER_PROMISC,
    FILTER_ALLMULTI,
    FILTER_ALLUNI,
    FILTER_NOMULTI,
    FILTER_NOUNI,
    FILTER_NOBCAST,
    FILTER_SWITCHES,
};

struct filter_table {
    bool is_overflown;
    uint16_t num;
    uint8_t macs[FILTER_MAX_ADDRESSES][6];
};

struct filter {
    bool has_addresses; /* frames are filtered by destination */
    bool has_vlans;     /* frames with a VLAN tag are filtered by that */
    bool is_on[FILTER_SWITCHES];
    uint8_t mac[6];
    struct filter_table unicast, multicast;
    uint64_t vlans[FILTER_NUM_VLANS / 64]; /* bit set of those that are wanted */
};

/* As after a reset. */
void filter_init(struct filter *filter, const uint8_t mac[6]);

void filter_set_vlan(struct filter *filter, uint16_t vlan, bool is_wanted);

/* Whether it can refuse any frame at all. */
bool filter_is_closed(const struct filter *filter);

bool filter_passes(const struct filter *filter, const struct frame *frame);

#endif
