/* SPDX-License-Identifier: BSD-3-Clause */
/* Three guests on a bridge: who gets what, what is learned, what is dropped, and that it all adds up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "socket/frame.h"
#include "socket/guest.h"
#include "socket/lab.h"

#define TIMEOUT_MS 3000
#define NUM_GUESTS 3

struct fixture {
    struct lab *lab;
    struct guest guests[NUM_GUESTS];
};

static const char *const names[NUM_GUESTS] = {"a", "b", "c"};
static uint8_t frame[FRAME_BYTES];
static uint32_t number;

static int setup(void **state)
{
    static struct fixture fixture;

    if (lab_setup(state) < 0)
        return -1;
    fixture.lab = *state;
    *state = &fixture;
    for (unsigned i = 0; i < NUM_GUESTS; i++) {
        lab_add_port(fixture.lab, names[i], 1);
        guest_create(&fixture.guests[i], &guest_modern);
        guest_attach(&fixture.guests[i], fixture.lab, names[i]);
    }
    return 0;
}

/* Whatever the test did, it balances. */
static int teardown(void **state)
{
    struct fixture *fixture = *state;

    lab_assert_balance(fixture->lab);
    for (unsigned i = 0; i < NUM_GUESTS; i++)
        guest_destroy(&fixture->guests[i]);
    *state = fixture->lab;
    return lab_teardown(state);
}

static void send_frame(struct guest *from, const uint8_t to[6], uint32_t len)
{
    frame_fill(frame, len, to, from->mac, ++number);
    guest_must_send(from, 0, frame, len);
}

/* The last frame that was sent. */
static void expect(struct guest *to, uint32_t len)
{
    uint32_t there;

    assert_true(guest_receive(to, 0, frame, &there, TIMEOUT_MS));
    assert_int_equal(there, len);
    assert_true(frame_is(frame, len, number));
}

static void send_and_expect(struct guest *from, struct guest *to, uint32_t len)
{
    send_frame(from, to->mac, len);
    expect(to, len);
}

/* All know where all are. */
static void introduce(struct fixture *fixture)
{
    for (unsigned i = 0; i < NUM_GUESTS; i++) {
        send_frame(&fixture->guests[i], frame_broadcast, 60);
        expect(&fixture->guests[(i + 1) % NUM_GUESTS], 60);
        expect(&fixture->guests[(i + 2) % NUM_GUESTS], 60);
    }
}

/* The port at which the address is in the table, "" if it is not there. */
static void find_address(const struct fixture *fixture, const uint8_t mac[6], char *port,
                         size_t bytes)
{
    json_t *addresses = lab_ask(fixture->lab, "fdb show"), *address;
    char text[32];
    size_t i;

    snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
             mac[4], mac[5]);
    port[0] = '\0';
    json_array_foreach (addresses, i, address) {
        const char *there = json_string_value(json_object_get(address, "mac"));

        if (there && strcmp(there, text) == 0)
            snprintf(port, bytes, "%s", json_string_value(json_object_get(address, "port")));
    }
    json_decref(addresses);
}

static void assert_address(const struct fixture *fixture, const uint8_t mac[6], const char *port)
{
    char there[64];

    find_address(fixture, mac, there, sizeof(there));
    assert_string_equal(there, port);
}

/* --- Flooding and learning -------------------------------------------------------------------------- */

static void test_broadcast(void **state)
{
    struct fixture *fixture = *state;

    introduce(fixture);
    for (unsigned i = 0; i < NUM_GUESTS; i++) {
        guest_assert_quiet(&fixture->guests[i]);
        assert_int_equal(lab_counter(fixture->lab, names[i], "rx", "copies"), 1);
        assert_int_equal(lab_counter(fixture->lab, names[i], "rx", "packets"), 1);
        assert_int_equal(lab_counter(fixture->lab, names[i], "tx", "packets"), 2);
    }
}

static void test_multicast(void **state)
{
    static const uint8_t group[6] = {0x33, 0x33, 0, 0, 0, 1};
    struct fixture *fixture = *state;

    send_frame(&fixture->guests[0], group, 1514);
    expect(&fixture->guests[1], 1514);
    expect(&fixture->guests[2], 1514);
    guest_assert_quiet(&fixture->guests[0]);
    assert_address(fixture, group, "");
}

static void test_unknown_unicast(void **state)
{
    struct fixture *fixture = *state;
    struct guest *a = &fixture->guests[0], *b = &fixture->guests[1], *c = &fixture->guests[2];

    assert_address(fixture, a->mac, "");
    send_frame(a, b->mac, 100);
    expect(b, 100);
    expect(c, 100);
    assert_address(fixture, a->mac, "a");
    assert_address(fixture, b->mac, "");
    send_and_expect(b, a, 100);
    guest_assert_quiet(c);
    assert_address(fixture, b->mac, "b");
    send_and_expect(a, b, 100);
    guest_assert_quiet(c);
}

/* An address appears elsewhere, as after a migration: frames follow it at once. */
static void test_move(void **state)
{
    struct fixture *fixture = *state;
    struct guest *a = &fixture->guests[0], *b = &fixture->guests[1], *c = &fixture->guests[2];

    introduce(fixture);
    memcpy(c->mac, b->mac, 6);
    send_and_expect(c, a, 64);
    assert_address(fixture, b->mac, "c");
    send_frame(a, b->mac, 64);
    expect(c, 64);
    guest_assert_quiet(b);
}

static void test_flush(void **state)
{
    struct fixture *fixture = *state;

    introduce(fixture);
    lab_control(fixture->lab, "fdb flush port b");
    assert_address(fixture, fixture->guests[1].mac, "");
    assert_address(fixture, fixture->guests[0].mac, "a");
    send_frame(&fixture->guests[0], fixture->guests[1].mac, 64);
    expect(&fixture->guests[1], 64);
    expect(&fixture->guests[2], 64);
}

/* A burst that goes everywhere at once: each destination gets its frames, in their order. */
static void test_mixed_burst(void **state)
{
    struct fixture *fixture = *state;
    struct guest *a = &fixture->guests[0];
    uint32_t first, len;

    introduce(fixture);
    first = number + 1;
    for (unsigned i = 0; i < 30; i++) {
        const uint8_t *to = i % 3 ? fixture->guests[i % 3].mac : frame_broadcast;

        frame_fill(frame, 60 + i, to, a->mac, ++number);
        assert_true(guest_queue_frame(a, 0, frame, 60 + i));
    }
    guest_flush(a, 0);
    for (unsigned i = 0; i < 30; i++) {
        for (unsigned j = 1; j < NUM_GUESTS; j++) {
            if (i % 3 && i % 3 != j)
                continue;
            assert_true(guest_receive(&fixture->guests[j], 0, frame, &len, TIMEOUT_MS));
            assert_int_equal(len, 60 + i);
            assert_true(frame_is(frame, len, first + i));
        }
    }
    guest_assert_quiet(a);
}

/* --- Drops ------------------------------------------------------------------------------------------ */

static void test_link_local(void **state)
{
    static const uint8_t spanning_tree[6] = {0x01, 0x80, 0xc2, 0, 0, 0};
    struct fixture *fixture = *state;

    send_frame(&fixture->guests[0], spanning_tree, 60);
    guest_wait_sent(&fixture->guests[0], 0);
    assert_int_equal(lab_counter(fixture->lab, "a", "rx", "link-local"), 1);
    guest_assert_quiet(&fixture->guests[1]);
}

static void test_same_port(void **state)
{
    struct fixture *fixture = *state;
    struct guest *a = &fixture->guests[0];
    uint8_t other[6];

    frame_mac(other, 4711);
    introduce(fixture);
    frame_fill(frame, 60, fixture->guests[1].mac, other, ++number);
    guest_must_send(a, 0, frame, 60);
    expect(&fixture->guests[1], 60);
    send_frame(a, other, 60);
    guest_wait_sent(a, 0);
    assert_int_equal(lab_counter(fixture->lab, "a", "rx", "same-port"), 1);
}

static void test_no_destination(void **state)
{
    struct fixture *fixture = *state;

    guest_detach(&fixture->guests[1]);
    guest_detach(&fixture->guests[2]);
    lab_wait_state(fixture->lab, "b", "connecting");
    lab_wait_state(fixture->lab, "c", "connecting");
    send_frame(&fixture->guests[0], frame_broadcast, 60);
    guest_wait_sent(&fixture->guests[0], 0);
    assert_int_equal(lab_counter(fixture->lab, "a", "rx", "no-destination"), 1);
}

static void test_port_down(void **state)
{
    struct fixture *fixture = *state;

    introduce(fixture);
    guest_detach(&fixture->guests[1]);
    lab_wait_state(fixture->lab, "b", "connecting");
    for (unsigned i = 0; i < 7; i++)
        send_frame(&fixture->guests[0], fixture->guests[1].mac, 60);
    guest_wait_sent(&fixture->guests[0], 0);
    assert_int_equal(lab_counter(fixture->lab, "b", "tx", "port-down"), 7);
}

/* One guest takes nothing out of its ring: what is too much for it is dropped, and for nobody else. */
static void test_ring_full(void **state)
{
    struct fixture *fixture = *state;
    struct guest *a = &fixture->guests[0], *b = &fixture->guests[1], *c = &fixture->guests[2];
    unsigned places = c->config.ring_size;

    for (unsigned i = 0; i < 1000; i++) {
        send_frame(a, frame_broadcast, 60);
        expect(b, 60);
    }
    guest_wait_sent(a, 0);
    lab_wait_counter(fixture->lab, "c", "tx", "packets", places);
    assert_int_equal(lab_counter(fixture->lab, "c", "tx", "ring-full"), 1000 - places);
    assert_int_equal(lab_counter(fixture->lab, "b", "tx", "packets"), 1000);
    c->keeps_buffers = true;
    number -= 1000;
    for (unsigned i = 0; i < places; i++) {
        number++;
        expect(c, 60);
    }
    guest_assert_quiet(c);
    number += 1000 - places;
    guest_refill(c, 0);
    send_and_expect(a, c, 60);
}

/* A frame for which there is no room in the whole ring, however empty. */
static void test_no_buffers(void **state)
{
    struct fixture *fixture = *state;
    struct guest *a = &fixture->guests[0], *b = &fixture->guests[1];
    struct guest_config small = guest_modern;

    guest_destroy(b);
    small.ring_size = 16;
    guest_create(b, &small);
    guest_attach(b, fixture->lab, "b");
    for (unsigned i = 0; i < 5; i++) {
        send_frame(a, b->mac, FRAME_BYTES);
        guest_wait_sent(a, 0);
    }
    send_and_expect(a, b, 16 * 4096 - 12);
    assert_int_equal(lab_counter(fixture->lab, "b", "tx", "no-buffers"), 5);
    assert_int_equal(lab_counter(fixture->lab, "b", "tx", "packets"), 1);
}

/* --- Other bridges ---------------------------------------------------------------------------------- */

static void test_two_bridges(void **state)
{
    struct fixture *fixture = *state;
    struct guest d, e;

    lab_control(fixture->lab, "bridge add br1");
    lab_add_port_to(fixture->lab, "d", 1, "br1");
    lab_add_port_to(fixture->lab, "e", 1, "br1");
    guest_create(&d, &guest_modern);
    guest_create(&e, &guest_modern);
    guest_attach(&d, fixture->lab, "d");
    guest_attach(&e, fixture->lab, "e");
    introduce(fixture);
    send_frame(&d, frame_broadcast, 60);
    expect(&e, 60);
    send_and_expect(&e, &d, 60);
    for (unsigned i = 0; i < NUM_GUESTS; i++)
        guest_assert_quiet(&fixture->guests[i]);
    send_frame(&d, fixture->guests[0].mac, 60);
    expect(&e, 60);
    guest_assert_quiet(&fixture->guests[0]);
    guest_destroy(&d);
    guest_destroy(&e);
}

/* Everything passes, learned or not; nothing is learned. */
static void test_patch(void **state)
{
    static const uint8_t spanning_tree[6] = {0x01, 0x80, 0xc2, 0, 0, 0};
    struct fixture *fixture = *state;
    struct guest d, e;

    lab_control(fixture->lab, "bridge add wire mode patch");
    lab_add_port_to(fixture->lab, "d", 1, "wire");
    lab_add_port_to(fixture->lab, "e", 1, "wire");
    guest_create(&d, &guest_modern);
    guest_create(&e, &guest_modern);
    guest_attach(&d, fixture->lab, "d");
    guest_attach(&e, fixture->lab, "e");
    send_and_expect(&d, &e, 60);
    send_and_expect(&e, &d, FRAME_BYTES);
    send_frame(&d, spanning_tree, 60);
    expect(&e, 60);
    send_frame(&d, d.mac, 60);
    expect(&e, 60);
    assert_address(fixture, d.mac, "");
    guest_destroy(&d);
    guest_destroy(&e);
}

/* --- All of it -------------------------------------------------------------------------------------- */

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Takes out what is there, whatever it is: each is a frame that somebody sent. */
static uint64_t drain(struct guest *guest)
{
    uint64_t num = 0;
    uint32_t len;

    while (guest_receive(guest, 0, frame, &len, 0)) {
        if (len >= 18)
            assert_true(frame_is(frame, len, frame_number(frame)));
        num++;
    }
    return num;
}

/* Destinations and sizes at random, guests that are slow at random; every frame is accounted for. */
static void test_balance(void **state)
{
    struct fixture *fixture = *state;
    uint64_t num_sent[NUM_GUESTS] = {0}, num_received[NUM_GUESTS] = {0};
    uint32_t seed = 1;

    for (unsigned i = 0; i < 20000; i++) {
        unsigned from = next_random(&seed) % NUM_GUESTS;
        uint32_t kind = next_random(&seed) % 8, len = FRAME_MIN_BYTES + next_random(&seed) % 3000;
        uint8_t to[6];

        if (kind == 0)
            memcpy(to, frame_broadcast, 6);
        else if (kind == 1)
            frame_mac(to, 5000 + next_random(&seed) % 4);
        else
            memcpy(to, fixture->guests[kind % NUM_GUESTS].mac, 6);
        frame_fill(frame, len, to, fixture->guests[from].mac, i);
        guest_must_send(&fixture->guests[from], 0, frame, len);
        num_sent[from]++;
        if (next_random(&seed) % 16 == 0)
            num_received[from] += drain(&fixture->guests[from]);
    }
    for (unsigned i = 0; i < NUM_GUESTS; i++)
        guest_wait_sent(&fixture->guests[i], 0);
    for (unsigned i = 0; i < NUM_GUESTS; i++) {
        num_received[i] += drain(&fixture->guests[i]);
        assert_int_equal(lab_counter(fixture->lab, names[i], "rx", "packets"), num_sent[i]);
        assert_int_equal(lab_counter(fixture->lab, names[i], "tx", "packets"), num_received[i]);
    }
    lab_assert_balance(fixture->lab);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_broadcast),   TEST(test_multicast), TEST(test_unknown_unicast),
        TEST(test_move),        TEST(test_flush),     TEST(test_mixed_burst),
        TEST(test_link_local),  TEST(test_same_port), TEST(test_no_destination),
        TEST(test_port_down),   TEST(test_ring_full), TEST(test_no_buffers),
        TEST(test_two_bridges), TEST(test_patch),     TEST(test_balance),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
