/* SPDX-License-Identifier: BSD-3-Clause */
/* Flows: what belongs to one, how they are hashed, and on which queue they return. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtio_net/flow.h"
#include "virtio_net/rss.h"
#include "virtio_net/steering.h"

#define MAX_BYTES 256u

/* A frame as it is lent, its bytes in pieces of any size. */
struct made {
    struct frame frame;
    struct iovec segments[MAX_BYTES];
    uint8_t bytes[MAX_BYTES];
};

static void put16(uint8_t *to, unsigned value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

/* Appends; where it was put. */
static uint8_t *append(struct made *made, const void *bytes, unsigned len)
{
    uint8_t *at = made->bytes + made->frame.len;

    assert_true(made->frame.len + len <= MAX_BYTES);
    if (bytes)
        memcpy(at, bytes, len);
    made->frame.len += len;
    return at;
}

static void begin(struct made *made)
{
    static const uint8_t macs[12] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};

    memset(made, 0, sizeof(*made));
    append(made, macs, sizeof(macs));
}

static void add_type(struct made *made, unsigned type)
{
    put16(append(made, NULL, 2), type);
}

/* Cuts the frame into pieces, at which point it is complete. */
static const struct frame *finish(struct made *made, unsigned piece_bytes)
{
    struct frame *frame = &made->frame;

    memcpy(&frame->ethernet, made->bytes, ETHERNET_HEADER_BYTES);
    frame->segments = made->segments;
    frame->num_segments = 0;
    for (unsigned at = 0; at < frame->len; at += piece_bytes)
        made->segments[frame->num_segments++] = (struct iovec){
            .iov_base = made->bytes + at,
            .iov_len = frame->len - at < piece_bytes ? frame->len - at : piece_bytes,
        };
    return frame;
}

/* One end of a flow, as text and port. */
struct end {
    const char *addr;
    unsigned port;
};

static uint8_t *add_ip(struct made *made, const struct end *source, const struct end *destination,
                       uint8_t protocol)
{
    bool is_ipv6 = strchr(source->addr, ':') != NULL;
    uint8_t *ip;

    add_type(made, is_ipv6 ? 0x86dd : 0x0800);
    ip = append(made, NULL, is_ipv6 ? 40 : 20);
    ip[0] = is_ipv6 ? 0x60 : 0x45;
    ip[is_ipv6 ? 6 : 9] = protocol;
    assert_int_equal(inet_pton(is_ipv6 ? AF_INET6 : AF_INET, source->addr, ip + (is_ipv6 ? 8 : 12)),
                     1);
    assert_int_equal(inet_pton(is_ipv6 ? AF_INET6 : AF_INET, destination->addr,
                               ip + (is_ipv6 ? 24 : 16)),
                     1);
    return ip;
}

static void add_ports(struct made *made, const struct end *source, const struct end *destination)
{
    uint8_t *ports = append(made, NULL, 20);

    put16(ports, source->port);
    put16(ports + 2, destination->port);
}

static const struct frame *make(struct made *made, const struct end *source,
                                const struct end *destination, uint8_t protocol)
{
    begin(made);
    add_ip(made, source, destination, protocol);
    add_ports(made, source, destination);
    return finish(made, MAX_BYTES);
}

/* --- The Toeplitz hash: the values are those of Microsoft's verification suite ------------------------- */

static const uint8_t suite_key[RSS_KEY_BYTES] = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static const struct suite_row {
    struct end destination, source;
    uint32_t of_addresses, of_ports;
} suite[] = {
    {{"161.142.100.80", 1766}, {"66.9.149.187", 2794}, 0x323e8fc2, 0x51ccc178},
    {{"65.69.140.83", 4739}, {"199.92.111.2", 14230}, 0xd718262a, 0xc626b0ea},
    {{"12.22.207.184", 38024}, {"24.19.198.95", 12898}, 0xd2d0a5de, 0x5c2b394a},
    {{"209.142.163.6", 2217}, {"38.27.205.30", 48228}, 0x82989176, 0xafc7327f},
    {{"202.188.127.2", 1303}, {"153.39.163.191", 44251}, 0x5d1809c5, 0x10e828a2},
    {{"3ffe:2501:200:3::1", 1766}, {"3ffe:2501:200:1fff::7", 2794}, 0x2cc18cd5, 0x40207d3d},
    {{"ff02::1", 4739}, {"3ffe:501:8::260:97ff:fe40:efab", 14230}, 0x0f0c461c, 0xdde51bbf},
    {{"fe80::200:f8ff:fe21:67cf", 38024},
     {"3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251},
     0x4b61e985,
     0x02d1feef},
};
#define NUM_SUITE (sizeof(suite) / sizeof(suite[0]))

static struct rss suite_rss(uint32_t hash_types)
{
    struct rss rss = {.hash_types = hash_types};

    rss_key_set(&rss.key, suite_key, sizeof(suite_key));
    return rss;
}

static void assert_hash(const struct rss *rss, const struct frame *frame, unsigned report,
                        uint32_t expected)
{
    uint32_t hash;

    assert_int_equal(rss_hash(rss, frame, &hash), report);
    assert_int_equal(hash, expected);
}

static void test_verification_suite(void **state)
{
    const struct rss all = suite_rss(RSS_SUPPORTED_TYPES);
    const struct rss plain = suite_rss(1u << RSS_IPV4 | 1u << RSS_IPV6);
    struct made made;

    for (unsigned i = 0; i < NUM_SUITE; i++) {
        const struct suite_row *row = &suite[i];
        bool is_ipv6 = strchr(row->source.addr, ':') != NULL;

        make(&made, &row->source, &row->destination, IPPROTO_TCP);
        assert_hash(&all, &made.frame, (is_ipv6 ? RSS_TCPV6 : RSS_TCPV4) + 1, row->of_ports);
        assert_hash(&plain, &made.frame, (is_ipv6 ? RSS_IPV6 : RSS_IPV4) + 1, row->of_addresses);
        make(&made, &row->source, &row->destination, IPPROTO_UDP);
        assert_hash(&all, &made.frame, (is_ipv6 ? RSS_UDPV6 : RSS_UDPV4) + 1, row->of_ports);
        make(&made, &row->source, &row->destination, IPPROTO_ICMP);
        assert_hash(&all, &made.frame, (is_ipv6 ? RSS_IPV6 : RSS_IPV4) + 1, row->of_addresses);
    }
}

static void test_hash_types_that_are_off(void **state)
{
    const struct rss tcp_only = suite_rss(1u << RSS_TCPV4), none = suite_rss(0);
    struct made made;

    make(&made, &suite[0].source, &suite[0].destination, IPPROTO_UDP);
    assert_hash(&tcp_only, &made.frame, RSS_REPORT_NONE, 0);
    assert_hash(&none, &made.frame, RSS_REPORT_NONE, 0);
    make(&made, &suite[5].source, &suite[5].destination, IPPROTO_TCP);
    assert_hash(&tcp_only, &made.frame, RSS_REPORT_NONE, 0);
}

/* Whatever lies between Ethernet and IP, and however the frame lies in memory. */
static void test_tags_and_pieces(void **state)
{
    const struct rss rss = suite_rss(RSS_SUPPORTED_TYPES);
    static const unsigned pieces[] = {1, 2, 3, 13, 14, 15, 33, MAX_BYTES};
    struct made made;

    for (unsigned tags = 0; tags <= 2; tags++) {
        for (unsigned i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
            begin(&made);
            for (unsigned j = 0; j < tags; j++) {
                add_type(&made, j == 0 && tags == 2 ? 0x88a8 : 0x8100);
                put16(append(&made, NULL, 2), 7);
            }
            add_ip(&made, &suite[0].source, &suite[0].destination, IPPROTO_TCP);
            add_ports(&made, &suite[0].source, &suite[0].destination);
            assert_hash(&rss, finish(&made, pieces[i]), RSS_TCPV4 + 1, suite[0].of_ports);
        }
    }
}

static void test_fragments_go_by_addresses(void **state)
{
    const struct rss rss = suite_rss(RSS_SUPPORTED_TYPES);
    static const unsigned offsets[] = {0x2000, 0x2001, 0x0001, 0x1fff};
    struct made made;

    for (unsigned i = 0; i < 4; i++) {
        begin(&made);
        put16(add_ip(&made, &suite[0].source, &suite[0].destination, IPPROTO_UDP) + 6, offsets[i]);
        add_ports(&made, &suite[0].source, &suite[0].destination);
        assert_hash(&rss, finish(&made, MAX_BYTES), RSS_IPV4 + 1, suite[0].of_addresses);
    }
    begin(&made);
    put16(add_ip(&made, &suite[0].source, &suite[0].destination, IPPROTO_UDP) + 6, 0x4000);
    add_ports(&made, &suite[0].source, &suite[0].destination);
    assert_hash(&rss, finish(&made, MAX_BYTES), RSS_UDPV4 + 1, suite[0].of_ports); /* just DF */
}

static void test_ipv4_options(void **state)
{
    const struct rss rss = suite_rss(RSS_SUPPORTED_TYPES);
    struct made made;

    begin(&made);
    *add_ip(&made, &suite[0].source, &suite[0].destination, IPPROTO_TCP) = 0x47;
    append(&made, NULL, 8);
    add_ports(&made, &suite[0].source, &suite[0].destination);
    assert_hash(&rss, finish(&made, MAX_BYTES), RSS_TCPV4 + 1, suite[0].of_ports);
}

/* An IPv6 packet with the extension headers of RFC 6275, whose addresses are the ones that count. */
static void make_mobile(struct made *made, bool is_fragment)
{
    static const struct end via = {"2001:db8::99", 0};
    uint8_t *header;

    begin(made);
    add_ip(made, &via, &via, 60);
    header = append(made, NULL, 24);
    header[0] = 43;
    header[1] = 2;
    header[2] = 1; /* PadN of 2 bytes */
    header[4] = 0xc9;
    header[5] = 16;
    inet_pton(AF_INET6, suite[5].source.addr, header + 6);
    header = append(made, NULL, 24);
    header[0] = is_fragment ? 44 : IPPROTO_TCP;
    header[1] = 2;
    header[2] = 2;
    inet_pton(AF_INET6, suite[5].destination.addr, header + 8);
    if (is_fragment)
        append(made, NULL, 8)[0] = IPPROTO_TCP;
    add_ports(made, &suite[5].source, &suite[5].destination);
    finish(made, MAX_BYTES);
}

static void test_extension_headers(void **state)
{
    const struct rss all = suite_rss(RSS_SUPPORTED_TYPES), plain = suite_rss(1u << RSS_TCPV6);
    struct made made;
    uint32_t hash;

    make_mobile(&made, false);
    assert_hash(&all, &made.frame, RSS_TCPV6_EX + 1, suite[5].of_ports);
    assert_int_equal(rss_hash(&plain, &made.frame, &hash), RSS_TCPV6 + 1);
    assert_int_not_equal(hash, suite[5].of_ports); /* by the addresses of the IPv6 header */
    make_mobile(&made, true);
    assert_hash(&all, &made.frame, RSS_IPV6_EX + 1, suite[5].of_addresses);
}

/* Every length that a frame can be cut to, and rubbish: nothing is read that is not there. */
static void test_frames_that_are_cut(void **state)
{
    const struct rss rss = suite_rss(RSS_SUPPORTED_TYPES);
    uint32_t seed = 1;
    struct made made;

    for (unsigned i = 0; i < 20000; i++) {
        uint32_t hash;
        uint8_t *exact;

        make_mobile(&made, i & 1);
        for (unsigned at = 14; i > 200 && at < made.frame.len; at++) {
            seed = seed * 1664525 + 1013904223;
            if (seed >> 28 == 0)
                made.bytes[at] = (uint8_t)(seed >> 16);
        }
        made.frame.len = 14 + i % (made.frame.len - 13);
        exact = malloc(made.frame.len); /* so that a sanitizer sees its end */
        memcpy(exact, made.bytes, made.frame.len);
        finish(&made, MAX_BYTES);
        made.segments[0].iov_base = exact;
        assert_in_range(rss_hash(&rss, &made.frame, &hash), 0, RSS_TYPES);
        flow_hash(&made.frame);
        free(exact);
    }
}

/* A window that reaches behind the key sees zeroes. */
static void test_short_key(void **state)
{
    static const uint8_t one[1] = {0x80}, input[5] = {0x80, 0, 0, 0, 0x80};
    struct rss_key key;

    rss_key_set(&key, one, 1);
    assert_int_equal(rss_toeplitz(&key, input, 1), 0x80000000);
    assert_int_equal(rss_toeplitz(&key, input, 5), 0x80000000);
    rss_key_set(&key, one, 0);
    assert_int_equal(rss_toeplitz(&key, input, 5), 0);
}

/* --- The hash of both directions ------------------------------------------------------------------------- */

static void test_both_directions_are_one_flow(void **state)
{
    static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP};
    struct made there, back;

    for (unsigned i = 0; i < NUM_SUITE; i++) {
        for (unsigned j = 0; j < 3; j++) {
            make(&there, &suite[i].source, &suite[i].destination, protocols[j]);
            make(&back, &suite[i].destination, &suite[i].source, protocols[j]);
            assert_int_equal(flow_hash(&there.frame), flow_hash(&back.frame));
        }
        make(&there, &suite[i].source, &suite[i].destination, IPPROTO_TCP);
        back = there;
        put16(back.bytes + back.frame.len - 20, suite[i].source.port + 1);
        assert_int_not_equal(flow_hash(&there.frame), flow_hash(finish(&back, MAX_BYTES)));
    }
}

static void test_what_is_not_ip_goes_by_its_ends(void **state)
{
    struct made there, back, other;

    begin(&there);
    add_type(&there, 0x88cc);
    append(&there, "hello", 5);
    begin(&back);
    memcpy(back.bytes, there.bytes + 6, 6);
    memcpy(back.bytes + 6, there.bytes, 6);
    add_type(&back, 0x88cc);
    begin(&other);
    add_type(&other, 0x0806);
    assert_int_equal(flow_hash(finish(&there, 3)), flow_hash(finish(&back, MAX_BYTES)));
    assert_int_not_equal(flow_hash(&there.frame), flow_hash(finish(&other, MAX_BYTES)));
}

/* Each frame of a burst is hashed once. */
static void test_burst_remembers_hashes(void **state)
{
    static struct burst burst;
    struct made made;
    uint32_t hash;

    burst.frames[3] = *make(&made, &suite[0].source, &suite[0].destination, IPPROTO_TCP);
    hash = burst_flow_hash(&burst, 3);
    assert_int_equal(hash, flow_hash(&made.frame));
    assert_int_equal(burst.hashed, 1u << 3);
    made.bytes[35] ^= 1;
    assert_int_equal(burst_flow_hash(&burst, 3), hash);
    burst.hashed = 0;
    assert_int_not_equal(burst_flow_hash(&burst, 3), hash);
}

/* --- The table -------------------------------------------------------------------------------------------- */

static uint32_t random32(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (uint32_t)(*seed >> 16);
}

/* A flow between two guests of one network: what differs are ports and a byte of the addresses. */
static uint32_t random_flow(uint64_t *seed, struct made *made)
{
    char source[32], destination[32];
    struct end from = {source, 1024 + random32(seed) % 64000};
    struct end to = {destination, random32(seed) % 2 ? 80 : 443};

    snprintf(source, sizeof(source), "10.0.0.%u", random32(seed) % 16 + 1);
    snprintf(destination, sizeof(destination), "10.0.1.%u", random32(seed) % 16 + 1);
    return flow_hash(make(made, &from, &to, IPPROTO_TCP));
}

static void test_unknown_flows_spread(void **state)
{
    unsigned counts[4] = {0}, num = 10000;
    struct steering *steering;
    uint64_t seed = 88172645463325252u;
    struct made made;

    assert_int_equal(steering_create(&steering), 0);
    for (unsigned i = 0; i < num; i++) {
        unsigned queue = steering_choose(steering, random_flow(&seed, &made), 4);

        assert_in_range(queue, 0, 3);
        counts[queue]++;
    }
    for (unsigned i = 0; i < 4; i++)
        assert_in_range(counts[i], num / 4 * 9 / 10, num / 4 * 11 / 10);
    steering_destroy(steering);
}

static void test_flows_return(void **state)
{
    struct steering *steering;
    uint64_t seed = 1234567;
    uint32_t hashes[1000];
    struct made made;

    assert_int_equal(steering_create(&steering), 0);
    for (unsigned i = 0; i < 1000; i++) {
        hashes[i] = random_flow(&seed, &made);
        steering_learn(steering, hashes[i], i % 4, 7);
    }
    for (unsigned i = 0; i < 1000; i++) {
        /* The same flow may have come up twice: the last one counts. */
        unsigned expected = i % 4;

        for (unsigned j = i + 1; j < 1000; j++)
            expected = hashes[j] == hashes[i] ? j % 4 : expected;
        assert_int_equal(steering_choose(steering, hashes[i], 4), expected);
    }
    steering_learn(steering, hashes[5], 3, 8); /* it moved */
    assert_int_equal(steering_choose(steering, hashes[5], 4), 3);
    assert_in_range(steering_choose(steering, hashes[5], 2), 0, 1); /* that pair is gone */
    steering_clear(steering);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(steering_choose(steering, hashes[i], 4), (uint64_t)hashes[i] * 4 >> 32);
    steering_destroy(steering);
}

/* In a bucket that is full, the flow that was not seen for the longest time makes room. */
static void test_oldest_flow_makes_room(void **state)
{
    struct steering *steering;

    assert_int_equal(steering_create(&steering), 0);
    for (uint32_t i = 0; i < 8; i++)
        steering_learn(steering, i << 16, 3, 65530 + i); /* the seconds wrap on the way */
    steering_learn(steering, 0, 3, 65539);
    steering_learn(steering, 8 << 16, 3, 65540);
    assert_int_equal(steering_choose(steering, 0, 4), 3);
    assert_int_equal(steering_choose(steering, 1 << 16, 4), 0);
    for (uint32_t i = 2; i <= 8; i++)
        assert_int_equal(steering_choose(steering, i << 16, 4), 3);
    steering_destroy(steering);
}

static void test_rss_table(void **state)
{
    struct rss rss = {.steers = true, .mask = 3, .unclassified = 9, .queues = {5, 6, 7, 8}};

    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(rss_choose(&rss, 0xabcd0000 | i, 1), 5 + i % 4);
    assert_int_equal(rss_choose(&rss, 0, RSS_REPORT_NONE), 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verification_suite),
        cmocka_unit_test(test_hash_types_that_are_off),
        cmocka_unit_test(test_tags_and_pieces),
        cmocka_unit_test(test_fragments_go_by_addresses),
        cmocka_unit_test(test_ipv4_options),
        cmocka_unit_test(test_extension_headers),
        cmocka_unit_test(test_frames_that_are_cut),
        cmocka_unit_test(test_short_key),
        cmocka_unit_test(test_both_directions_are_one_flow),
        cmocka_unit_test(test_what_is_not_ip_goes_by_its_ends),
        cmocka_unit_test(test_burst_remembers_hashes),
        cmocka_unit_test(test_unknown_flows_spread),
        cmocka_unit_test(test_flows_return),
        cmocka_unit_test(test_oldest_flow_makes_room),
        cmocka_unit_test(test_rss_table),
    };

    return cmocka_run_group_tests_name("steering", tests, NULL, NULL);
}
