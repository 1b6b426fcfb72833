/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a network device holds beyond its rings: all that the driver set by the control queue. It is also
 * what a migration carries over (vhost-user, DEVICE_STATE), as a string of bytes, numbers little-endian:
 *
 *       0   4  "SHNT"
 *       4   2  version: 1
 *       6   2  bit set: the six switches of CTRL_RX by number; 6, 7: too many unicast, multicast addresses
 *       8   6  the MAC address
 *      14   2  active queue pairs
 *      16   2  unicast addresses that follow, u
 *      18   2  multicast addresses that follow, m
 *      20 512  bit set of the VLANs that are wanted
 *     532   4  enabled hash types
 *     536   1  1: frames are steered by RSS; 0: automatically
 *     537   1  length of the key
 *     538  40  the key, filled with 0
 *     578   2  mask of the indirection table: it has t = mask + 1 entries
 *     580   2  queue pair of frames without hash
 *     582  2t  queue pairs
 *           6u  unicast addresses
 *           6m  multicast addresses
 *
 * The rings' own state is in the answers to GET_VRING_BASE. What automatic steering learned is not carried
 * over: the driver teaches it again with the first frames that it sends.
 */
#ifndef VIRTIO_NET_STATE_H
#define VIRTIO_NET_STATE_H

#include <stddef.h>

#include <shunt/error.h>

#include "virtio_net/filter.h"
#include "virtio_net/rss.h"

struct net_state {
    struct filter filter;
    uint16_t num_pairs; /* that are active */
    struct rss rss;
    bool is_announcing; /* the driver is asked to tell the network where it is */
};

/* As after a reset, with `num_pairs` active ones. */
void net_state_init(struct net_state *state, const uint8_t mac[6], unsigned num_pairs);

/* -EINVAL: the device would not obey such a command of a driver, with `max_pairs`. */
int net_state_check_rss(const struct rss *rss, unsigned max_pairs);

/* `*data` is to be freed. -ENOMEM. */
int net_state_save(const struct net_state *state, void **data, size_t *len);

/*
 * Only what is saved is changed, and nothing on failure. -EINVAL: not such a string, one of another version,
 * or one of a device with more queue pairs.
 */
int net_state_load(struct net_state *state, const void *data, size_t len, unsigned max_pairs,
                   struct shunt_error *error);

#endif
