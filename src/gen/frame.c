/* SPDX-License-Identifier: BSD-3-Clause */
#include "gen/frame.h"

#include <arpa/inet.h>
#include <string.h>

#define ETHERNET_BYTES 14u
#define IP_BYTES       20u
#define UDP_BYTES      8u
#define TCP_BYTES      20u
#define UDP_END        (ETHERNET_BYTES + IP_BYTES + UDP_BYTES)
#define TCP_END        (ETHERNET_BYTES + IP_BYTES + TCP_BYTES)

#define TYPE_IPV4  0x0800
#define IP_VERSION 0x45u /* and a header of five words */
#define IP_HOPS    64u
#define TCP_ACK    0x10

#define FLOWS_PER_IP  32768u
#define FIRST_PORT    1024u
#define OUR_PORT      5353u
#define STAMP_MAGIC   0x53
#define STAMP_CONTENT 1u
#define STAMP_TIME    2u

#define GSO_TCPV4 1

struct ip_header {
    uint8_t version, service;
    uint16_t len, id, fragment;
    uint8_t ttl, protocol;
    uint16_t sum;
    uint32_t from, to;
} __attribute__((packed));
static_assert(sizeof(struct ip_header) == IP_BYTES, "RFC 791");

struct udp_header {
    uint16_t from, to, len, sum;
} __attribute__((packed));

struct tcp_header {
    uint16_t from, to;
    uint32_t sequence, acknowledged;
    uint8_t offset, flags;
    uint16_t window, sum, urgent;
} __attribute__((packed));
static_assert(sizeof(struct tcp_header) == TCP_BYTES, "RFC 9293");

struct stamp {
    uint8_t magic, flags;
    uint8_t id, port;
    uint32_t stream; /* and in its highest byte the seed of the payload */
    uint32_t sequence;
    uint32_t time;
    uint16_t sum;
} __attribute__((packed));
static_assert(UDP_END + sizeof(struct stamp) == FRAME_MIN_BYTES, "it fits");
static_assert(TCP_END + sizeof(struct stamp) == FRAME_MIN_GSO_BYTES, "it fits");

struct headers {
    uint8_t to[6], from[6];
    uint16_t type;
    struct ip_header ip;
    union {
        struct udp_header udp;
        struct tcp_header tcp;
    };
} __attribute__((packed));
static_assert(sizeof(struct headers) == TCP_END, "without gaps");

/* --- Sums (RFC 1071) ------------------------------------------------------------------------------------ */

static uint16_t fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* Of an even number of bytes, not folded. */
static uint64_t sum_of(const void *data, uint32_t bytes)
{
    const uint8_t *at = data;
    uint64_t sum = 0;
    uint32_t word;
    uint16_t half;

    for (; bytes >= 4; bytes -= 4, at += 4) {
        memcpy(&word, at, 4);
        sum += word;
    }
    if (bytes) {
        memcpy(&half, at, 2);
        sum += half;
    }
    return sum;
}

/* --- Addresses ------------------------------------------------------------------------------------------ */

struct frame_address frame_address_of(struct frame_origin origin)
{
    return (struct frame_address){
        .mac = {0x02, origin.id, origin.port},
        .ip = UINT32_C(10) << 24 | (uint32_t)origin.port << 16,
    };
}

/* Address number `idx`: it counts in the three last bytes. */
static void put_mac(uint8_t mac[static 6], const uint8_t first[static 6], uint32_t idx)
{
    uint32_t low;

    memcpy(&low, first + 2, 4);
    low = ntohl(low);
    low = htonl((low & 0xff000000) | ((low + idx) & 0xffffff));
    memcpy(mac, first, 2);
    memcpy(mac + 2, &low, 4);
}

int frame_destination(const uint8_t *frame, uint8_t id)
{
    return frame[0] == 0x02 && frame[1] == id ? frame[2] : -1;
}

/* --- Payload -------------------------------------------------------------------------------------------- */

#define PAYLOAD_FACTOR UINT32_C(0x9e3779b1)

static uint32_t payload_word(uint32_t place, uint8_t seed)
{
    return ((uint32_t)seed << 24 | place) * PAYLOAD_FACTOR;
}

static uint32_t min(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Bytes from `begin`, a multiple of 4, to `end`. */
static void put_payload(uint8_t *frame, uint32_t begin, uint32_t end, uint8_t seed)
{
    for (uint32_t place = begin; place < end; place += 4) {
        uint32_t word = payload_word(place, seed);

        memcpy(frame + place, &word, min(4, end - place));
    }
}

static bool has_payload(const uint8_t *frame, uint32_t begin, uint32_t end, uint8_t seed)
{
    uint32_t place = begin, different = 0, found, word = payload_word(begin, seed);

    /* From one word to the next it is one addition. */
    for (; end - place >= 4; place += 4, word += 4 * PAYLOAD_FACTOR) {
        memcpy(&found, frame + place, 4);
        different |= found ^ word;
    }
    if (place < end) {
        uint32_t expected = payload_word(place, seed);

        return !different && memcmp(frame + place, &expected, end - place) == 0;
    }
    return !different;
}

/* The last place that is a multiple of 4 and leaves room; 0: it would be within the stamp. */
static uint32_t trailer_place(uint32_t size, uint32_t stamp_end)
{
    uint32_t place = (size - 4) & ~UINT32_C(3);

    return place >= stamp_end ? place : 0;
}

/* --- Building ------------------------------------------------------------------------------------------- */

void frame_build(uint8_t *buffer, uint32_t max_size, const struct frame_route *route, uint8_t seed)
{
    memset(buffer, 0, NET_HEADER_BYTES);
    frame_set_headers(buffer, route, max_size, 0);
    put_payload(buffer + NET_HEADER_BYTES, route->gso_bytes ? TCP_END + 2 : UDP_END + 2, max_size,
                seed);
}

static void put_udp(struct headers *headers, uint16_t from, uint16_t len)
{
    headers->udp.from = htons(from);
    headers->udp.to = htons(OUR_PORT);
    headers->udp.len = htons(len);
    headers->udp.sum = 0;
}

/* The sum is that of the pseudo header: the back-end completes it, for each segment. */
static void put_tcp(struct headers *headers, uint16_t from, uint16_t len, uint32_t address_sum)
{
    headers->tcp = (struct tcp_header){
        .from = htons(from),
        .to = htons(OUR_PORT),
        .offset = TCP_BYTES / 4 << 4,
        .flags = TCP_ACK,
        .window = 0xffff,
        .sum = htons(fold(address_sum + IPPROTO_TCP + len)),
    };
}

static void put_offload(uint8_t *buffer, uint32_t size, uint16_t gso_bytes)
{
    struct net_header header = {
        .flags = NET_HEADER_F_NEEDS_CSUM,
        .hdr_len = TCP_END,
        .csum_start = ETHERNET_BYTES + IP_BYTES,
        .csum_offset = offsetof(struct tcp_header, sum),
    };

    if (size - TCP_END > gso_bytes) {
        header.gso_type = GSO_TCPV4;
        header.gso_size = gso_bytes;
    }
    memcpy(buffer, &header, NET_HEADER_BYTES);
}

static uint32_t halves_of(uint32_t word)
{
    return (word >> 16) + (word & 0xffff);
}

static void put_ip(struct ip_header *ip, uint16_t len, uint8_t protocol, uint32_t from, uint32_t to)
{
    uint32_t sum = (IP_VERSION << 8) + len + (IP_HOPS << 8) + protocol + halves_of(from) +
                   halves_of(to);

    ip->version = IP_VERSION;
    ip->service = 0;
    ip->len = htons(len);
    ip->id = ip->fragment = 0;
    ip->ttl = IP_HOPS;
    ip->protocol = protocol;
    ip->sum = htons((uint16_t)~fold(sum));
    ip->from = htonl(from);
    ip->to = htonl(to);
}

/*
 * Field by field into the frame, and sums from the values: what was stored in small pieces is slow to be read
 * in large ones.
 */
void frame_set_headers(uint8_t *buffer, const struct frame_route *route, uint32_t size,
                       uint32_t flow)
{
    struct headers *headers = (struct headers *)(void *)(buffer + NET_HEADER_BYTES);
    uint16_t ip_len = (uint16_t)(size - ETHERNET_BYTES), l4_len = (uint16_t)(ip_len - IP_BYTES);
    uint16_t from_port = (uint16_t)(FIRST_PORT + flow % FLOWS_PER_IP);
    uint32_t from = route->from.ip + 1 + flow / FLOWS_PER_IP, to = route->to.ip + 1;
    uint32_t mac = route->num_macs > 1 ? flow % route->num_macs : 0;
    bool is_tcp = route->gso_bytes > 0;

    put_mac(headers->to, route->to.mac, mac);
    put_mac(headers->from, route->from.mac, mac);
    headers->type = htons(TYPE_IPV4);
    put_ip(&headers->ip, ip_len, is_tcp ? IPPROTO_TCP : IPPROTO_UDP, from, to);
    if (is_tcp) {
        put_tcp(headers, from_port, l4_len, halves_of(from) + halves_of(to));
        put_offload(buffer, size, route->gso_bytes);
    } else {
        put_udp(headers, from_port, l4_len);
    }
}

/* --- Stamps --------------------------------------------------------------------------------------------- */

/* Where the stamp is; 0: this is no frame of ours. */
static uint32_t stamp_place(const uint8_t *frame, uint32_t size)
{
    const uint8_t *ip = frame + ETHERNET_BYTES;

    if (size < FRAME_MIN_BYTES || frame[12] != TYPE_IPV4 >> 8 || frame[13] != (TYPE_IPV4 & 0xff) ||
        ip[0] != IP_VERSION)
        return 0;
    if (ip[9] == IPPROTO_UDP)
        return UDP_END;
    return ip[9] == IPPROTO_TCP && size >= FRAME_MIN_GSO_BYTES ? TCP_END : 0;
}

/* Of all up to the end of the stamp, but for TCP's sum, which others complete. */
static uint64_t stamped_sum(const uint8_t *frame, uint32_t place)
{
    uint64_t sum = sum_of(frame, place + (uint32_t)sizeof(struct stamp));

    if (place == TCP_END) {
        uint16_t tcp_sum;

        memcpy(&tcp_sum, frame + offsetof(struct headers, tcp.sum), 2);
        sum += (uint16_t)~tcp_sum;
    }
    return sum;
}

void frame_set_stamp(uint8_t *buffer, uint32_t size, const struct frame_stamp *stamp, uint8_t seed,
                     uint32_t *trailer)
{
    uint8_t *frame = buffer + NET_HEADER_BYTES;
    uint32_t place = frame[ETHERNET_BYTES + 9] == IPPROTO_TCP ? TCP_END : UDP_END;
    struct stamp own = {
        .magic = STAMP_MAGIC,
        .flags = (uint8_t)((stamp->has_content ? STAMP_CONTENT : 0) |
                           (stamp->has_time ? STAMP_TIME : 0)),
        .id = stamp->origin.id,
        .port = stamp->origin.port,
        .stream = stamp->stream | (uint32_t)seed << 24,
        .sequence = stamp->sequence,
        .time = stamp->time,
    };

    memcpy(frame + place, &own, sizeof(own));
    own.sum = (uint16_t)~fold(stamped_sum(frame, place));
    memcpy(frame + place + offsetof(struct stamp, sum), &own.sum, 2);
    if (!stamp->has_content)
        return;
    if (*trailer)
        put_payload(frame, *trailer, *trailer + 4, seed);
    *trailer = trailer_place(size, place + (uint32_t)sizeof(own));
    if (*trailer)
        memcpy(frame + *trailer, &own.sequence, 4);
}

bool frame_get_stamp(const uint8_t *frame, uint32_t size, struct frame_stamp *stamp)
{
    uint32_t place = stamp_place(frame, size);
    struct stamp own;

    if (place == 0)
        return false;
    memcpy(&own, frame + place, sizeof(own));
    if (own.magic != STAMP_MAGIC || fold(stamped_sum(frame, place)) != 0xffff)
        return false;
    *stamp = (struct frame_stamp){
        .origin = {own.id, own.port},
        .stream = own.stream & (FRAME_MAX_STREAMS - 1),
        .sequence = own.sequence,
        .time = own.time,
        .has_content = own.flags & STAMP_CONTENT,
        .has_time = own.flags & STAMP_TIME,
    };
    return true;
}

bool frame_is_intact(const uint8_t *frame, uint32_t size, const struct frame_stamp *stamp)
{
    uint32_t place = stamp_place(frame, size), end, trailer, sequence;
    uint16_t ip_len;
    uint8_t seed;

    if (place == 0)
        return false;
    memcpy(&ip_len, frame + ETHERNET_BYTES + offsetof(struct ip_header, len), 2);
    if (ntohs(ip_len) != size - ETHERNET_BYTES)
        return false;
    seed = frame[place + offsetof(struct stamp, stream) + 3];
    end = place + (uint32_t)sizeof(struct stamp);
    trailer = trailer_place(size, end);
    if (trailer == 0)
        return has_payload(frame, end, size, seed);
    memcpy(&sequence, frame + trailer, 4);
    return sequence == stamp->sequence && has_payload(frame, end, trailer, seed) &&
           has_payload(frame, trailer + 4, size, seed);
}

/* --- Echo ----------------------------------------------------------------------------------------------- */

static void exchange(uint8_t *a, uint8_t *b, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        uint8_t kept = a[i];

        a[i] = b[i];
        b[i] = kept;
    }
}

void frame_turn(uint8_t *frame, uint32_t size)
{
    uint8_t *ip = frame + ETHERNET_BYTES;

    if (size < ETHERNET_BYTES)
        return;
    exchange(frame, frame + 6, 6);
    if (stamp_place(frame, size) == 0)
        return;
    exchange(ip + offsetof(struct ip_header, from), ip + offsetof(struct ip_header, to), 4);
    exchange(ip + IP_BYTES, ip + IP_BYTES + 2, 2);
}
