/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Forwarding between in-process ports, without workers: the test itself takes bursts, so it knows what was
 * forwarded when.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/bridge.h"
#include "lib/inproc.h"

#define MAX_PORTS 40u
#define AGEING_S  300u

/* Destinations beyond the ports' own numbers. */
#define BROADCAST 0xffu
#define UNKNOWN   0xfeu

struct fixture {
    struct bridge *bridge;
    unsigned num_ports;
    struct port *ports[MAX_PORTS];
    struct bridge_port *members[MAX_PORTS];
    struct burst burst;
    uint32_t now_s;
};

static struct fixture *begin(enum bridge_mode mode, unsigned num_ports)
{
    struct fixture *f = test_calloc(1, sizeof(*f));

    f->now_s = 1000;
    assert_int_equal(burst_init(&f->burst), 0);
    assert_int_equal(bridge_create("br0", mode, AGEING_S, &f->bridge, NULL), 0);
    for (unsigned i = 0; i < num_ports; i++) {
        f->ports[i] = inproc_create(&inproc_class, "port", 1, NULL, NULL);
        assert_int_equal(bridge_add_port(f->bridge, f->ports[i], BRIDGE_DEFAULT_MAX_ADDRESSES,
                                         &f->members[i], NULL),
                         0);
    }
    f->num_ports = num_ports;
    return f;
}

static int setup(void **state)
{
    *state = begin(BRIDGE_LEARN, 4);
    return 0;
}

static int setup_patch(void **state)
{
    *state = begin(BRIDGE_PATCH, 2);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < f->num_ports; i++) {
        if (f->members[i])
            bridge_remove_port(f->members[i]);
        port_destroy(f->ports[i]);
    }
    assert_int_equal(bridge_num_ports(f->bridge), 0);
    bridge_destroy(f->bridge);
    burst_fini(&f->burst);
    test_free(f);
    return 0;
}

/* --- Frames ----------------------------------------------------------------------------------------- */

static void mac_of(unsigned number, uint8_t mac[6])
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const uint8_t own[6] = {0x02, 0, 0, 0, 0, (uint8_t)number};

    memcpy(mac, number == BROADCAST ? broadcast : own, 6);
}

/* A frame that can be told from others by its tag. */
static void make_frame(uint8_t *frame, uint32_t len, const uint8_t destination[6],
                       const uint8_t source[6], uint32_t tag)
{
    for (uint32_t i = 0; i < len; i++)
        frame[i] = (uint8_t)(tag + i * 3);
    memcpy(frame, destination, 6);
    memcpy(frame + 6, source, 6);
    memcpy(frame + 14, &tag, sizeof(tag));
}

static uint32_t tag_of(const struct inproc_frame *frame)
{
    uint32_t tag;

    memcpy(&tag, frame->bytes + 14, sizeof(tag));
    return tag;
}

static void send_raw(struct fixture *f, unsigned from, const uint8_t destination[6],
                     const uint8_t source[6], uint32_t tag)
{
    uint8_t frame[60];

    make_frame(frame, sizeof(frame), destination, source, tag);
    assert_true(inproc_send(f->ports[from], 0, frame, sizeof(frame), tag % 20));
}

/* From the host behind port `from`, to the one behind port `to`. */
static void send_to(struct fixture *f, unsigned from, unsigned to, uint32_t tag)
{
    uint8_t destination[6], source[6];

    mac_of(to, destination);
    mac_of(from, source);
    send_raw(f, from, destination, source, tag);
}

/* Takes one burst, which is to be of `num` frames. */
static void forward(struct fixture *f, unsigned from, unsigned num)
{
    assert_int_equal(bridge_forward(f->members[from], &f->ports[from]->queues[0], &f->burst,
                                    f->now_s),
                     num);
    assert_true(inproc_num_pending(f->ports[from], 0) == 0 || num == BURST_MAX_FRAMES);
}

/* The port got frames with these tags, in this order, and no others; then they are forgotten. */
static void expect_tags(struct fixture *f, unsigned at, const uint32_t *tags, unsigned num)
{
    unsigned received;
    const struct inproc_frame *frames = inproc_received(f->ports[at], 0, &received);

    assert_int_equal(received, num);
    for (unsigned i = 0; i < num; i++) {
        uint8_t expected[60];

        assert_int_equal(frames[i].len, 60);
        assert_int_equal(tag_of(&frames[i]), tags[i]);
        make_frame(expected, 60, frames[i].bytes, frames[i].bytes + 6, tags[i]);
        assert_memory_equal(frames[i].bytes, expected, 60);
    }
    inproc_forget(f->ports[at]);
}

static void expect_one(struct fixture *f, unsigned at, uint32_t tag)
{
    expect_tags(f, at, &tag, 1);
}

static void expect_none(struct fixture *f, unsigned at)
{
    expect_tags(f, at, NULL, 0);
}

/* Each host says something, so that it is known. */
static void learn_all(struct fixture *f)
{
    for (unsigned i = 0; i < f->num_ports; i++) {
        send_to(f, i, UNKNOWN, 0);
        forward(f, i, 1);
    }
    for (unsigned i = 0; i < f->num_ports; i++)
        inproc_forget(f->ports[i]);
}

static struct counters rx_of(struct fixture *f, unsigned at)
{
    struct counters rx, tx;

    port_sum_counters(f->ports[at], &rx, &tx);
    return rx;
}

static struct counters tx_of(struct fixture *f, unsigned at)
{
    struct counters rx, tx;

    port_sum_counters(f->ports[at], &rx, &tx);
    return tx;
}

/* --- Learning --------------------------------------------------------------------------------------- */

static void test_unknown_floods_and_known_does_not(void **state)
{
    struct fixture *f = *state;

    send_to(f, 0, 1, 10);
    forward(f, 0, 1);
    expect_none(f, 0);
    for (unsigned i = 1; i < 4; i++)
        expect_one(f, i, 10);
    send_to(f, 1, 0, 11);
    forward(f, 1, 1);
    expect_one(f, 0, 11);
    expect_none(f, 1);
    expect_none(f, 2);
    expect_none(f, 3);
    send_to(f, 0, 1, 12);
    forward(f, 0, 1);
    expect_one(f, 1, 12);
    expect_none(f, 2);
    assert_int_equal(rx_of(f, 0).packets, 2);
    assert_int_equal(rx_of(f, 0).bytes, 120);
    assert_int_equal(rx_of(f, 0).copies, 2);
    assert_int_equal(rx_of(f, 1).copies, 0);
    assert_int_equal(tx_of(f, 1).packets, 2);
    assert_int_equal(tx_of(f, 1).bytes, 120);
    assert_int_equal(tx_of(f, 2).packets, 1);
}

static void test_nothing_to_forward(void **state)
{
    struct fixture *f = *state;

    forward(f, 0, 0);
    assert_int_equal(rx_of(f, 0).packets, 0);
    assert_int_equal(inproc_stats(f->ports[0], 0).empty_lends, 1);
}

/* Within a burst, what one frame teaches the next one knows. */
static void test_learned_within_a_burst(void **state)
{
    struct fixture *f = *state;
    uint8_t a[6], b[6];

    mac_of(50, a);
    mac_of(51, b);
    send_raw(f, 0, b, a, 1); /* b is unknown: flooded */
    send_raw(f, 0, a, b, 2); /* a was seen on this port */
    send_raw(f, 0, b, a, 3); /* now b, too */
    forward(f, 0, 3);
    for (unsigned i = 1; i < 4; i++)
        expect_one(f, i, 1);
    assert_int_equal(rx_of(f, 0).drops[DROP_SAME_PORT], 2);
    assert_int_equal(rx_of(f, 0).packets, 3);
    assert_int_equal(rx_of(f, 0).copies, 2);
}

static void test_a_host_moves(void **state)
{
    struct fixture *f = *state;
    uint8_t host[6], unknown[6];

    learn_all(f);
    mac_of(2, host);
    mac_of(UNKNOWN, unknown);
    send_raw(f, 3, unknown, host, 1);
    forward(f, 3, 1);
    for (unsigned i = 0; i < 4; i++)
        inproc_forget(f->ports[i]);
    send_to(f, 0, 2, 5);
    forward(f, 0, 1);
    expect_one(f, 3, 5);
    expect_none(f, 2);
    assert_int_equal(bridge_address_stats(f->bridge).moves, 1);
}

static void test_ageing(void **state)
{
    struct fixture *f = *state;

    learn_all(f);
    f->now_s += AGEING_S;
    send_to(f, 0, 2, 1);
    forward(f, 0, 1);
    expect_none(f, 1);
    expect_one(f, 2, 1);
    f->now_s++;
    send_to(f, 0, 2, 2);
    forward(f, 0, 1);
    for (unsigned i = 1; i < 4; i++)
        expect_one(f, i, 2);
    bridge_age(f->bridge, f->now_s);
    assert_int_equal(bridge_address_stats(f->bridge).addresses, 1); /* port 0 spoke */
    assert_int_equal(bridge_address_stats(f->bridge).expired, 3);
    assert_int_equal(bridge_ageing(f->bridge), AGEING_S);
    bridge_set_ageing(f->bridge, 0);
    assert_int_equal(bridge_ageing(f->bridge), 0);
    f->now_s += 1000000;
    bridge_age(f->bridge, f->now_s);
    assert_int_equal(bridge_address_stats(f->bridge).addresses, 1);
}

/* --- Addresses with a meaning ----------------------------------------------------------------------- */

static void test_group_addresses_are_flooded(void **state)
{
    struct fixture *f = *state;
    static const uint8_t groups[][6] = {
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
        {0x01, 0x00, 0x5e, 0x00, 0x00, 0x01},
        {0x33, 0x33, 0x00, 0x00, 0x00, 0x01},
        {0x01, 0x80, 0xc2, 0x00, 0x00, 0x10}, /* just no longer link-local */
        {0x01, 0x80, 0xc2, 0x00, 0x01, 0x00},
        {0x03, 0x80, 0xc2, 0x00, 0x00, 0x00},
    };
    uint8_t source[6];

    learn_all(f);
    mac_of(0, source);
    for (unsigned i = 0; i < 6; i++) {
        send_raw(f, 0, groups[i], source, i);
        forward(f, 0, 1);
        for (unsigned at = 1; at < 4; at++)
            expect_one(f, at, i);
    }
    /* As a source it is a forgery, and teaches nothing. */
    send_raw(f, 1, source, groups[1], 9);
    forward(f, 1, 1);
    expect_one(f, 0, 9);
    send_raw(f, 0, groups[1], source, 10);
    forward(f, 0, 1);
    for (unsigned at = 1; at < 4; at++)
        expect_one(f, at, 10);
    assert_int_equal(bridge_address_stats(f->bridge).addresses, 4);
}

static void test_link_local_is_dropped(void **state)
{
    struct fixture *f = *state;
    uint8_t source[6], destination[6];

    mac_of(0, source);
    for (unsigned last = 0; last < 16; last++) {
        const uint8_t link_local[6] = {0x01, 0x80, 0xc2, 0, 0, (uint8_t)last};

        send_raw(f, 0, link_local, source, last);
    }
    forward(f, 0, 16);
    for (unsigned i = 0; i < 4; i++)
        expect_none(f, i);
    assert_int_equal(rx_of(f, 0).drops[DROP_LINK_LOCAL], 16);
    assert_int_equal(rx_of(f, 0).packets, 16);
    assert_int_equal(rx_of(f, 0).copies, 0);
    /* Who sent it is known nevertheless. */
    memcpy(destination, source, 6);
    mac_of(1, source);
    send_raw(f, 1, destination, source, 77);
    forward(f, 1, 1);
    expect_one(f, 0, 77);
    expect_none(f, 2);
}

static void test_same_port(void **state)
{
    struct fixture *f = *state;
    uint8_t a[6], b[6];

    mac_of(50, a);
    mac_of(51, b);
    send_raw(f, 0, b, a, 1);
    forward(f, 0, 1);
    send_raw(f, 0, a, b, 2);
    forward(f, 0, 1);
    for (unsigned i = 1; i < 4; i++)
        expect_one(f, i, 1);
    expect_none(f, 0);
    assert_int_equal(rx_of(f, 0).drops[DROP_SAME_PORT], 1);
}

/* --- Ports that are down, or alone ------------------------------------------------------------------ */

static void test_no_destination(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 1; i < 4; i++)
        inproc_set_up(f->ports[i], false);
    send_to(f, 0, UNKNOWN, 1);
    send_to(f, 0, BROADCAST, 2);
    forward(f, 0, 2);
    assert_int_equal(rx_of(f, 0).drops[DROP_NO_DESTINATION], 2);
    assert_int_equal(rx_of(f, 0).copies, 0);
    for (unsigned i = 1; i < 4; i++) {
        expect_none(f, i);
        assert_int_equal(tx_of(f, i).drops[DROP_PORT_DOWN], 0);
    }
    inproc_set_up(f->ports[2], true);
    send_to(f, 0, BROADCAST, 3);
    forward(f, 0, 1);
    expect_one(f, 2, 3);
    assert_int_equal(rx_of(f, 0).copies, 0); /* one delivery needs no further one */
}

static void test_destination_is_down(void **state)
{
    struct fixture *f = *state;

    learn_all(f);
    inproc_set_up(f->ports[2], false);
    send_to(f, 0, 2, 1);
    send_to(f, 0, BROADCAST, 2);
    send_to(f, 0, 2, 3);
    send_to(f, 0, 1, 4);
    forward(f, 0, 4);
    expect_tags(f, 1, (uint32_t[]){2, 4}, 2);
    expect_none(f, 2);
    expect_one(f, 3, 2);
    assert_int_equal(tx_of(f, 2).drops[DROP_PORT_DOWN], 2);
    assert_int_equal(rx_of(f, 0).copies, f->num_ports - 2u + 1u); /* 2 when all were learned */
}

static void test_full_destination_drops(void **state)
{
    struct fixture *f = *state;

    learn_all(f);
    inproc_set_room(f->ports[1], 0, 2);
    for (uint32_t tag = 1; tag <= 5; tag++)
        send_to(f, 0, 1, tag);
    forward(f, 0, 5);
    expect_tags(f, 1, (uint32_t[]){1, 2}, 2);
    assert_int_equal(tx_of(f, 1).drops[DROP_RING_FULL], 3);
}

/* --- Bursts ----------------------------------------------------------------------------------------- */

static void test_order_within_each_destination(void **state)
{
    struct fixture *f = *state;
    uint32_t expected[4][BURST_MAX_FRAMES];
    unsigned num[4] = {0};

    srand(3);
    learn_all(f);
    for (unsigned round = 0; round < 200; round++) {
        memset(num, 0, sizeof(num));
        for (uint32_t tag = 0; tag < BURST_MAX_FRAMES; tag++) {
            unsigned to = (unsigned)rand() % 5;

            if (to == 0) /* the sender's own */
                to = BROADCAST;
            if (to == 4)
                to = UNKNOWN;
            send_to(f, 0, to, tag);
            for (unsigned at = 1; at < 4; at++) {
                if (to >= UNKNOWN || to == at)
                    expected[at][num[at]++] = tag;
            }
        }
        forward(f, 0, BURST_MAX_FRAMES);
        expect_none(f, 0);
        for (unsigned at = 1; at < 4; at++)
            expect_tags(f, at, expected[at], num[at]);
    }
}

static void test_order_over_bursts(void **state)
{
    struct fixture *f = *state;
    uint32_t expected[200];

    learn_all(f);
    for (uint32_t tag = 0; tag < 200; tag++) {
        expected[tag] = tag;
        send_to(f, 0, tag % 3 ? 1 : BROADCAST, tag);
    }
    for (unsigned i = 0; i < 6; i++)
        forward(f, 0, BURST_MAX_FRAMES);
    forward(f, 0, 200 - 6 * BURST_MAX_FRAMES);
    expect_tags(f, 1, expected, 200);
}

/* As many destinations as frames, and a flood to all of them in between. */
static void test_widest_fanout(void **state)
{
    struct fixture *f = begin(BRIDGE_LEARN, 33);

    learn_all(f);
    for (uint32_t i = 0; i < 32; i++)
        send_to(f, 0, 32 - i, i);
    forward(f, 0, 32);
    for (uint32_t i = 0; i < 32; i++)
        expect_one(f, 32 - i, i);
    for (uint32_t i = 0; i < 32; i++)
        send_to(f, 0, i == 20 ? BROADCAST : 32 - i, i);
    forward(f, 0, 32);
    for (uint32_t i = 0; i < 32; i++) {
        if (i < 20)
            expect_tags(f, 32 - i, (uint32_t[]){i, 20}, 2);
        else if (i == 20)
            expect_one(f, 32 - i, 20);
        else
            expect_tags(f, 32 - i, (uint32_t[]){20, i}, 2);
    }
    teardown((void **)&f);
}

static void test_long_frames_in_pieces(void **state)
{
    struct fixture *f = *state;
    static uint8_t frame[FRAME_MAX_BYTES];
    static const uint8_t destination[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, source[6] = {2};
    static const uint32_t pieces[] = {0, 14, 4096, 17};

    for (unsigned i = 0; i < 4; i++) {
        make_frame(frame, sizeof(frame), destination, source, i);
        assert_true(inproc_send(f->ports[0], 0, frame, sizeof(frame), pieces[i]));
    }
    forward(f, 0, 4);
    for (unsigned at = 1; at < 4; at++) {
        unsigned num;
        const struct inproc_frame *frames = inproc_received(f->ports[at], 0, &num);

        assert_int_equal(num, 4);
        for (unsigned i = 0; i < 4; i++) {
            make_frame(frame, sizeof(frame), destination, source, i);
            assert_int_equal(frames[i].len, sizeof(frame));
            assert_memory_equal(frames[i].bytes, frame, sizeof(frame));
        }
    }
}

static void test_queues(void **state)
{
    struct fixture *f = *state;
    struct port *many = inproc_create(&inproc_class, "many", 4, NULL, NULL);
    struct port *two = inproc_create(&inproc_class, "two", 2, NULL, NULL);
    struct bridge_port *from, *to;
    uint8_t frame[60];

    assert_int_equal(bridge_add_port(f->bridge, many, 100, &from, NULL), 0);
    assert_int_equal(bridge_add_port(f->bridge, two, 100, &to, NULL), 0);
    for (unsigned i = 0; i < 4; i++) {
        make_frame(frame, 60, (const uint8_t[6]){0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
                   (const uint8_t[6]){2}, i);
        assert_true(inproc_send(many, i, frame, 60, 0));
        assert_int_equal(bridge_forward(from, &many->queues[i], &f->burst, 1000), 1);
    }
    for (unsigned i = 0; i < 2; i++) {
        unsigned num;
        const struct inproc_frame *frames = inproc_received(two, i, &num);

        assert_int_equal(num, 2);
        assert_int_equal(tag_of(&frames[0]), i);
        assert_int_equal(tag_of(&frames[1]), i + 2);
    }
    bridge_remove_port(from);
    bridge_remove_port(to);
    port_destroy(many);
    port_destroy(two);
}

/* --- Patch ------------------------------------------------------------------------------------------ */

static void test_patch(void **state)
{
    struct fixture *f = *state;
    const uint8_t link_local[6] = {0x01, 0x80, 0xc2, 0, 0, 0x0e};
    uint8_t source[6];

    mac_of(0, source);
    send_to(f, 0, UNKNOWN, 1);
    send_to(f, 0, BROADCAST, 2);
    send_to(f, 0, 0, 3); /* its own address: a patch does not look */
    send_raw(f, 0, link_local, source, 4);
    send_raw(f, 0, source, link_local, 5);
    forward(f, 0, 5);
    expect_none(f, 0);
    expect_tags(f, 1, (uint32_t[]){1, 2, 3, 4, 5}, 5);
    send_to(f, 1, 1, 6);
    forward(f, 1, 1);
    expect_one(f, 0, 6);
    assert_int_equal(bridge_address_stats(f->bridge).addresses, 0);
    assert_int_equal(bridge_mode(f->bridge), BRIDGE_PATCH);
}

static void test_patch_has_two_places(void **state)
{
    struct fixture *f = *state;
    struct port *third = inproc_create(&inproc_class, "third", 1, NULL, NULL);
    struct bridge_port *member = NULL;
    struct shunt_error error = {0};

    assert_int_equal(bridge_add_port(f->bridge, third, 100, &member, &error), -ENOSPC);
    assert_int_equal(error.code, -ENOSPC);
    assert_non_null(strstr(error.text, "br0"));
    assert_null(member);
    assert_int_equal(bridge_num_ports(f->bridge), 2);
    bridge_remove_port(f->members[0]);
    assert_int_equal(bridge_add_port(f->bridge, third, 100, &f->members[0], &error), 0);
    send_to(f, 1, 0, 1);
    forward(f, 1, 1);
    expect_none(f, 0);
    assert_int_equal(inproc_num_pending(third, 0), 0);
    assert_int_equal(third->queues[0].tx.packets, 1);
    bridge_remove_port(f->members[0]);
    f->members[0] = NULL;
    port_destroy(third);
}

static void test_patch_without_a_peer(void **state)
{
    struct fixture *f = *state;

    inproc_set_up(f->ports[1], false);
    send_to(f, 0, 1, 1);
    send_to(f, 0, 1, 2);
    forward(f, 0, 2);
    assert_int_equal(tx_of(f, 1).drops[DROP_PORT_DOWN], 2);
    bridge_remove_port(f->members[1]);
    f->members[1] = NULL;
    send_to(f, 0, 1, 3);
    forward(f, 0, 1);
    assert_int_equal(rx_of(f, 0).drops[DROP_NO_DESTINATION], 1);
    expect_none(f, 1);
}

/* --- Ports that come and go ------------------------------------------------------------------------- */

static void test_a_port_leaves(void **state)
{
    struct fixture *f = *state;

    learn_all(f);
    bridge_remove_port(f->members[2]);
    f->members[2] = NULL;
    assert_int_equal(bridge_num_ports(f->bridge), 3);
    assert_int_equal(bridge_address_stats(f->bridge).addresses, 3);
    send_to(f, 0, 2, 1); /* unknown again */
    forward(f, 0, 1);
    expect_one(f, 1, 1);
    expect_none(f, 2);
    expect_one(f, 3, 1);
}

/* Who takes its place does not inherit its addresses, nor its limit. */
static void test_a_port_takes_anothers_place(void **state)
{
    struct fixture *f = *state;
    uint8_t mac[6];

    learn_all(f);
    mac_of(77, mac);
    assert_int_equal(bridge_add_address(f->members[2], mac, f->now_s, NULL), 0);
    bridge_remove_port(f->members[2]);
    assert_int_equal(bridge_add_port(f->bridge, f->ports[2], 1, &f->members[2], NULL), 0);
    assert_int_equal(bridge_address_stats(f->bridge).addresses, 3);
    send_to(f, 0, 77, 1);
    send_to(f, 0, 2, 2);
    forward(f, 0, 2);
    for (unsigned i = 1; i < 4; i++)
        expect_tags(f, i, (uint32_t[]){1, 2}, 2);
    for (unsigned i = 60; i < 70; i++) {
        mac_of(i, mac);
        send_raw(f, 2, mac, mac, i);
    }
    forward(f, 2, 10);
    assert_int_equal(bridge_address_stats(f->bridge).addresses, 4);
    assert_int_equal(bridge_address_stats(f->bridge).evictions, 9);
}

static void test_names(void **state)
{
    struct fixture *f = *state;

    assert_string_equal(bridge_name(f->bridge), "br0");
    assert_int_equal(bridge_mode(f->bridge), BRIDGE_LEARN);
    for (unsigned i = 0; i < 4; i++) {
        assert_ptr_equal(bridge_port_bridge(f->members[i]), f->bridge);
        assert_ptr_equal(bridge_port_port(f->members[i]), f->ports[i]);
    }
    bridge_destroy(NULL);
}

static void test_a_full_bridge(void **state)
{
    struct port *port = inproc_create(&inproc_class, "a", 1, NULL, NULL);
    static struct bridge_port *members[BRIDGE_MAX_PORTS];
    struct bridge_port *more = NULL;
    struct shunt_error error = {0};
    struct bridge *bridge;
    struct burst burst;

    assert_int_equal(bridge_create("br1", BRIDGE_LEARN, 0, &bridge, NULL), 0);
    for (unsigned i = 0; i < BRIDGE_MAX_PORTS; i++)
        assert_int_equal(bridge_add_port(bridge, port, 1, &members[i], NULL), 0);
    assert_int_equal(bridge_add_port(bridge, port, 1, &more, &error), -ENOSPC);
    assert_int_equal(error.code, -ENOSPC);
    assert_int_equal(bridge_num_ports(bridge), BRIDGE_MAX_PORTS);
    /* A flood visits all but the sender. */
    assert_int_equal(burst_init(&burst), 0);
    assert_true(
        inproc_send(port, 0, (const uint8_t[60]){0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 60, 0));
    inproc_set_capture(port, false);
    assert_int_equal(bridge_forward(members[BRIDGE_MAX_PORTS - 1], &port->queues[0], &burst, 1000),
                     1);
    assert_int_equal(port->queues[0].tx.packets, BRIDGE_MAX_PORTS - 1);
    assert_int_equal(port->queues[0].rx.copies, BRIDGE_MAX_PORTS - 2);
    burst_fini(&burst);
    for (unsigned i = 0; i < BRIDGE_MAX_PORTS; i++)
        bridge_remove_port(members[(i * 5 + 3) % BRIDGE_MAX_PORTS]);
    bridge_destroy(bridge);
    port_destroy(port);
}

/* --- The table, by name of port --------------------------------------------------------------------- */

struct found {
    const struct fixture *fixture;
    unsigned num;
    unsigned is_static;
};

static void on_address(void *ctx, const struct bridge_address *address)
{
    struct found *found = ctx;
    const struct fixture *f = found->fixture;

    assert_ptr_equal(address->bridge, f->bridge);
    if (address->is_static) {
        assert_int_equal(address->mac[5], 77);
        assert_ptr_equal(address->port, f->ports[1]);
        assert_int_equal(address->age_s, 0);
        found->is_static++;
    } else {
        assert_ptr_equal(address->port, f->ports[address->mac[5]]);
        assert_int_equal(address->age_s, 25);
    }
    found->num++;
}

static void test_walk(void **state)
{
    struct fixture *f = *state;
    struct found found = {.fixture = f};
    uint8_t mac[6];

    learn_all(f);
    mac_of(77, mac);
    assert_int_equal(bridge_add_address(f->members[1], mac, f->now_s, NULL), 0);
    bridge_walk_addresses(f->bridge, f->now_s + 25, on_address, &found);
    assert_int_equal(found.num, 5);
    assert_int_equal(found.is_static, 1);
}

static void test_static_addresses(void **state)
{
    struct fixture *f = *state;
    struct shunt_error error = {0};
    uint8_t mac[6], group[6];

    mac_of(77, mac);
    mac_of(BROADCAST, group);
    assert_int_equal(bridge_add_address(f->members[1], group, f->now_s, &error), -EINVAL);
    assert_int_equal(error.code, -EINVAL);
    assert_int_equal(bridge_add_address(f->members[1], mac, f->now_s, NULL), 0);
    send_to(f, 0, 77, 1);
    forward(f, 0, 1);
    expect_one(f, 1, 1);
    expect_none(f, 2);
    /* Somebody else pretends to have it. */
    send_raw(f, 3, mac, mac, 2);
    forward(f, 3, 1);
    expect_one(f, 1, 2);
    assert_int_equal(bridge_del_address(f->bridge, mac), 0);
    assert_int_equal(bridge_del_address(f->bridge, mac), -ENOENT);
    send_to(f, 0, 77, 3);
    forward(f, 0, 1);
    for (unsigned i = 1; i < 4; i++)
        expect_one(f, i, 3);
}

static void test_flush(void **state)
{
    struct fixture *f = *state;
    uint8_t mac[6];

    mac_of(77, mac);
    assert_int_equal(bridge_add_address(f->members[1], mac, f->now_s, NULL), 0);
    learn_all(f);
    assert_int_equal(bridge_flush_addresses(f->bridge, f->members[1]), 1);
    assert_int_equal(bridge_flush_addresses(f->bridge, f->members[1]), 0);
    assert_int_equal(bridge_address_stats(f->bridge).addresses, 4);
    assert_int_equal(bridge_flush_addresses(f->bridge, NULL), 3);
    assert_int_equal(bridge_address_stats(f->bridge).addresses, 1); /* the static one */
}

static void test_max_addresses(void **state)
{
    struct fixture *f = *state;
    uint8_t mac[6];

    bridge_port_set_max_addresses(f->members[0], 5);
    for (unsigned i = 60; i < 80; i++) {
        mac_of(i, mac);
        send_raw(f, 0, mac, mac, i);
    }
    forward(f, 0, 20);
    assert_int_equal(bridge_address_stats(f->bridge).addresses, 5);
    bridge_port_set_max_addresses(f->members[0], 2);
    assert_int_equal(bridge_address_stats(f->bridge).addresses, 2);
}

#define TEST(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
#define PATCH(name) cmocka_unit_test_setup_teardown(name, setup_patch, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_unknown_floods_and_known_does_not),
        TEST(test_nothing_to_forward),
        TEST(test_learned_within_a_burst),
        TEST(test_a_host_moves),
        TEST(test_ageing),
        TEST(test_group_addresses_are_flooded),
        TEST(test_link_local_is_dropped),
        TEST(test_same_port),
        TEST(test_no_destination),
        TEST(test_destination_is_down),
        TEST(test_full_destination_drops),
        TEST(test_order_within_each_destination),
        TEST(test_order_over_bursts),
        cmocka_unit_test(test_widest_fanout),
        TEST(test_long_frames_in_pieces),
        TEST(test_queues),
        PATCH(test_patch),
        PATCH(test_patch_has_two_places),
        PATCH(test_patch_without_a_peer),
        TEST(test_a_port_leaves),
        TEST(test_a_port_takes_anothers_place),
        TEST(test_names),
        cmocka_unit_test(test_a_full_bridge),
        TEST(test_walk),
        TEST(test_static_addresses),
        TEST(test_flush),
        TEST(test_max_addresses),
    };

    return cmocka_run_group_tests_name("bridge", tests, NULL, NULL);
}
