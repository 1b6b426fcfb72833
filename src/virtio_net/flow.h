/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What flow a frame belongs to: its addresses, and its ports where it has them.
 *
 * The headers are copied out of the frame once, into a local, and the copy is parsed: a guest may change
 * its memory meanwhile. Up to two VLAN tags are passed over. Fragments go by their addresses only, the
 * first ones too, so that all fragments of a packet go the same way.
 */
#ifndef VIRTIO_NET_FLOW_H
#define VIRTIO_NET_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio_net/burst.h"

/* So much of a frame is looked at; what lies behind it is as if it were not there. */
#define FLOW_HEADER_BYTES 128u

enum flow_network { FLOW_NOT_IP, FLOW_IPV4, FLOW_IPV6 };
enum flow_transport { FLOW_NO_PORTS, FLOW_TCP, FLOW_UDP };

/* All as it lies in the packet: network byte order. */
struct flow {
    enum flow_network network;
    enum flow_transport transport;
    bool has_extensions;        /* IPv6: headers before the transport's */
    uint8_t source[16];         /* IPv4: the first 4 bytes */
    uint8_t destination[16];    /* … */
    uint8_t ports[4];           /* source, destination */
    uint8_t home_address[16];   /* IPv6: of the destination options, or else the source */
    uint8_t routed_address[16]; /* IPv6: of a routing header of type 2, or else the destination */
};

/* Never fails: what cannot be understood is not IP, or has no ports. */
void flow_parse(const struct frame *frame, struct flow *flow);

/* The same for both directions of a flow; frames that are not IP go by their Ethernet addresses. */
uint32_t flow_hash(const struct frame *frame);

/* flow_hash() of frame `idx`, computed once a burst, by whoever needs it first. */
static inline uint32_t burst_flow_hash(struct burst *burst, unsigned idx)
{
    if (!(burst->hashed >> idx & 1)) {
        burst->frames[idx].flow_hash = flow_hash(&burst->frames[idx]);
        burst->hashed |= UINT64_C(1) << idx;
    }
    return burst->frames[idx].flow_hash;
}

#endif
