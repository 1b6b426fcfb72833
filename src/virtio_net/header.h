/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The header before each frame in a virtqueue (VIRTIO 1.3, 5.1.6).
 *
 * It is 12 bytes long; for legacy drivers without mergeable buffers the last field, and so 2 bytes, are
 * missing (5.1.6.1), and with HASH_REPORT it is 20 bytes long (5.1.6.4.4).
 */
#ifndef VIRTIO_NET_HEADER_H
#define VIRTIO_NET_HEADER_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "virtio_net/feature.h"
#include "virtqueue/ring.h"

struct net_header {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint16_t num_buffers;
    /* Only with HASH_REPORT. */
    uint32_t hash_value;
    uint16_t hash_report;
    uint16_t padding;
};

#define NET_HEADER_BYTES        12u
#define NET_HEADER_LEGACY_BYTES 10u
#define NET_HEADER_HASH_BYTES   20u
static_assert(sizeof(struct net_header) == NET_HEADER_HASH_BYTES, "as in the specification");
static_assert(offsetof(struct net_header, hash_value) == NET_HEADER_BYTES, "behind all else");

#define NET_HEADER_F_NEEDS_CSUM 1
#define NET_HEADER_GSO_NONE     0

/* No offload was negotiated, so none may be asked for. */
static inline bool net_header_is_plain(const struct net_header *header)
{
    return !(header->flags & NET_HEADER_F_NEEDS_CSUM) && header->gso_type == NET_HEADER_GSO_NONE;
}

static inline unsigned net_header_bytes(uint64_t features)
{
    if (feature_is_set(features, NET_F_HASH_REPORT))
        return NET_HEADER_HASH_BYTES;
    return feature_is_set(features, RING_F_VERSION_1) || feature_is_set(features, NET_F_MRG_RXBUF)
               ? NET_HEADER_BYTES
               : NET_HEADER_LEGACY_BYTES;
}

#endif
