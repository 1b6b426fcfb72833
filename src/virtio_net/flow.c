/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio_net/flow.h"

#include <arpa/inet.h>
#include <string.h>

#include "virtio_net/segment.h"

#define TYPE_IPV4  0x0800
#define TYPE_IPV6  0x86dd
#define TYPE_VLAN  0x8100
#define TYPE_QINQ  0x88a8
#define MAX_VLANS  2
#define VLAN_BYTES 4u

#define IPV4_BYTES         20u
#define IPV4_FRAGMENT_MASK 0x3fff /* more fragments, or an offset */
#define IPV6_BYTES         40u
#define IPV6_MAX_HEADERS   8 /* before the transport's */
#define IPV6_ADDRESS_BYTES 16u

/* IANA, protocol numbers. */
enum {
    PROTOCOL_HOP_BY_HOP = 0,
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    PROTOCOL_ROUTING = 43,
    PROTOCOL_FRAGMENT = 44,
    PROTOCOL_DESTINATION = 60,
    PROTOCOL_MOBILITY = 135,
};

#define ROUTING_TYPE_2      2    /* RFC 6275, 6.4 */
#define OPTION_PAD1         0    /* RFC 8200, 4.2 */
#define OPTION_HOME_ADDRESS 0xc9 /* RFC 6275, 6.3 */

/* The start of a frame, copied. */
struct headers {
    unsigned len;
    uint8_t bytes[FLOW_HEADER_BYTES];
};

/* The Ethernet header is the copy that everybody decides on. */
static void copy_headers(const struct frame *frame, struct headers *headers)
{
    struct segment_cursor from = segment_start(frame->segments);

    headers->len = frame->len < FLOW_HEADER_BYTES ? frame->len : FLOW_HEADER_BYTES;
    memcpy(headers->bytes, &frame->ethernet, ETHERNET_HEADER_BYTES);
    segment_skip(&from, ETHERNET_HEADER_BYTES);
    segment_read(&from, headers->bytes + ETHERNET_HEADER_BYTES,
                 headers->len - ETHERNET_HEADER_BYTES);
}

/* `len` bytes at `offset`, or NULL where there are not as many. */
static const uint8_t *bytes_at(const struct headers *headers, unsigned offset, unsigned len)
{
    if (offset > headers->len || len > headers->len - offset)
        return NULL;
    return headers->bytes + offset;
}

static uint16_t load16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

/* TCP and UDP both begin with their ports. */
static void parse_transport(const struct headers *headers, unsigned offset, uint8_t protocol,
                            struct flow *flow)
{
    const uint8_t *ports = bytes_at(headers, offset, sizeof(flow->ports));

    if (!ports || (protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP))
        return;
    flow->transport = protocol == PROTOCOL_TCP ? FLOW_TCP : FLOW_UDP;
    memcpy(flow->ports, ports, sizeof(flow->ports));
}

static void parse_ipv4(const struct headers *headers, unsigned offset, struct flow *flow)
{
    const uint8_t *ip = bytes_at(headers, offset, IPV4_BYTES);
    unsigned header_bytes;

    if (!ip || ip[0] >> 4 != 4)
        return;
    header_bytes = (ip[0] & 0xfu) * 4;
    if (header_bytes < IPV4_BYTES)
        return;
    flow->network = FLOW_IPV4;
    memcpy(flow->source, ip + 12, 4);
    memcpy(flow->destination, ip + 16, 4);
    if (!(load16(ip + 6) & IPV4_FRAGMENT_MASK))
        parse_transport(headers, offset + header_bytes, ip[9], flow);
}

/* Looks for a home address among the options of a destination options header. */
static void parse_options(const uint8_t *header, unsigned len, struct flow *flow)
{
    unsigned at = 2;

    while (at + 2 <= len) {
        unsigned option_bytes = header[at] == OPTION_PAD1 ? 1 : 2u + header[at + 1];

        if (header[at] == OPTION_HOME_ADDRESS && header[at + 1] == IPV6_ADDRESS_BYTES &&
            option_bytes <= len - at)
            memcpy(flow->home_address, header + at + 2, IPV6_ADDRESS_BYTES);
        at += option_bytes;
    }
}

static void parse_extension(const uint8_t *header, unsigned len, uint8_t protocol,
                            struct flow *flow)
{
    if (protocol == PROTOCOL_DESTINATION)
        parse_options(header, len, flow);
    if (protocol == PROTOCOL_ROUTING && header[2] == ROUTING_TYPE_2 &&
        len >= 8 + IPV6_ADDRESS_BYTES)
        memcpy(flow->routed_address, header + 8, IPV6_ADDRESS_BYTES);
}

static bool is_extension(uint8_t protocol)
{
    return protocol == PROTOCOL_HOP_BY_HOP || protocol == PROTOCOL_ROUTING ||
           protocol == PROTOCOL_FRAGMENT || protocol == PROTOCOL_DESTINATION ||
           protocol == PROTOCOL_MOBILITY;
}

static void parse_ipv6(const struct headers *headers, unsigned offset, struct flow *flow)
{
    const uint8_t *ip = bytes_at(headers, offset, IPV6_BYTES);
    uint8_t protocol;

    if (!ip || ip[0] >> 4 != 6)
        return;
    flow->network = FLOW_IPV6;
    memcpy(flow->source, ip + 8, IPV6_ADDRESS_BYTES);
    memcpy(flow->destination, ip + 24, IPV6_ADDRESS_BYTES);
    memcpy(flow->home_address, flow->source, IPV6_ADDRESS_BYTES);
    memcpy(flow->routed_address, flow->destination, IPV6_ADDRESS_BYTES);
    protocol = ip[6];
    offset += IPV6_BYTES;
    for (unsigned i = 0; is_extension(protocol); i++) {
        const uint8_t *header = bytes_at(headers, offset, 8);
        unsigned len;

        if (!header || i == IPV6_MAX_HEADERS)
            return;
        flow->has_extensions = true;
        if (protocol == PROTOCOL_FRAGMENT)
            return;
        len = (header[1] + 1u) * 8;
        header = bytes_at(headers, offset, len);
        if (!header)
            return;
        parse_extension(header, len, protocol, flow);
        protocol = header[0];
        offset += len;
    }
    parse_transport(headers, offset, protocol, flow);
}

void flow_parse(const struct frame *frame, struct flow *flow)
{
    struct headers headers;
    uint16_t type = ntohs(frame->ethernet.type);
    unsigned offset = ETHERNET_HEADER_BYTES;

    *flow = (struct flow){0};
    copy_headers(frame, &headers);
    for (unsigned i = 0; i < MAX_VLANS && (type == TYPE_VLAN || type == TYPE_QINQ); i++) {
        const uint8_t *tag = bytes_at(&headers, offset, VLAN_BYTES);

        if (!tag)
            return;
        type = load16(tag + 2);
        offset += VLAN_BYTES;
    }
    if (type == TYPE_IPV4)
        parse_ipv4(&headers, offset, flow);
    else if (type == TYPE_IPV6)
        parse_ipv6(&headers, offset, flow);
}

/* --- The hash of both directions --------------------------------------------------------------------- */

/* Multiplies and folds: each bit that goes in reaches all that come out. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)(a ^ UINT64_C(0x9e3779b97f4a7c15)) *
                                (b ^ UINT64_C(0xc2b2ae3d27d4eb4f));

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* One end of the flow. */
static uint64_t hash_end(const uint8_t addr[16], const uint8_t port[2])
{
    uint64_t halves[2];

    memcpy(halves, addr, sizeof(halves));
    return mix(mix(halves[0], halves[1]), load16(port));
}

/* Sum and product do not know which end is which. */
static uint32_t hash_ends(uint64_t one, uint64_t other, unsigned kind)
{
    uint64_t hash = mix(one + other, mix(one ^ other, kind));

    return (uint32_t)(hash ^ hash >> 32);
}

uint32_t flow_hash(const struct frame *frame)
{
    uint8_t source[16] = {0}, destination[16] = {0};
    static const uint8_t no_port[2];
    struct flow flow;

    flow_parse(frame, &flow);
    if (flow.network != FLOW_NOT_IP)
        return hash_ends(hash_end(flow.source, flow.ports),
                         hash_end(flow.destination, flow.ports + 2), flow.transport);
    memcpy(source, frame->ethernet.source, sizeof(frame->ethernet.source));
    memcpy(destination, frame->ethernet.destination, sizeof(frame->ethernet.destination));
    return hash_ends(hash_end(source, no_port), hash_end(destination, no_port),
                     frame->ethernet.type);
}
