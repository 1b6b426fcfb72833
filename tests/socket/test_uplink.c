/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two shuntd, each with a guest, joined by a virtio-user port of the one at a vhost-user port of
 * the other:
 *
 *     guest ── shuntd a ── "up": virtio-user ═══ "down": vhost-user ── shuntd b ── guest
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "socket/frame.h"
#include "socket/guest.h"
#include "socket/lab.h"

#define TIMEOUT_MS 10000

struct variant {
    const char *up, *down;
};

static const struct variant variant_split = {"", ""};
static const struct variant variant_packed = {" packed on", ""};
static const struct variant variant_whole = {" mergeable off", ""};
static const struct variant variant_server = {" mode server", " mode client"};
static const struct variant variant_pairs = {" queues 4 size 512", " queues 2"};

struct site {
    struct lab lab;
    struct guest guest;
};

struct fixture {
    const struct variant *variant;
    char socket[128]; /* in the folder of whoever listens there */
    struct site a, b;
    uint32_t number; /* of the next frame */
};

static uint8_t frame[FRAME_BYTES + 1];

/* --- The two switches ------------------------------------------------------------------------- */

static void join_a(struct fixture *fixture)
{
    lab_control(&fixture->a.lab, "port add up type virtio-user socket %s%s", fixture->socket,
                fixture->variant->up);
    lab_add_port(&fixture->a.lab, "guest", 1);
    guest_attach(&fixture->a.guest, &fixture->a.lab, "guest");
}

static void join_b(struct fixture *fixture)
{
    lab_control(&fixture->b.lab, "port add down type vhost-user socket %s%s", fixture->socket,
                fixture->variant->down);
    lab_add_port(&fixture->b.lab, "guest", 1);
    guest_attach(&fixture->b.guest, &fixture->b.lab, "guest");
}

static void wait_joined(const struct fixture *fixture)
{
    lab_wait_state(&fixture->a.lab, "up", "up");
    lab_wait_state(&fixture->b.lab, "down", "up");
}

static int setup(void **state)
{
    static struct fixture fixture;
    bool is_a_server;

    fixture = (struct fixture){.variant = *state};
    *state = &fixture;
    if (lab_begin(&fixture.a.lab) < 0 || lab_begin(&fixture.b.lab) < 0)
        return -1;
    is_a_server = fixture.variant == &variant_server;
    lab_socket(is_a_server ? &fixture.a.lab : &fixture.b.lab, fixture.socket,
               sizeof(fixture.socket), "link");
    guest_create(&fixture.a.guest, &guest_modern);
    guest_create(&fixture.b.guest, &guest_modern);
    join_a(&fixture);
    join_b(&fixture);
    wait_joined(&fixture);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    guest_destroy(&fixture->a.guest);
    guest_destroy(&fixture->b.guest);
    return lab_finish(&fixture->a.lab) | lab_finish(&fixture->b.lab);
}

/* --- Frames ----------------------------------------------------------------------------------- */

static uint32_t send_frame(struct fixture *fixture, struct site *from, const struct site *to,
                           uint32_t size)
{
    frame_fill(frame, size, to->guest.mac, from->guest.mac, fixture->number);
    guest_must_send(&from->guest, 0, frame, size);
    return fixture->number++;
}

/* The frame comes, perhaps after older ones that a dead switch left behind. */
static void expect_frame(struct site *to, uint32_t size, uint32_t number)
{
    uint32_t len;

    do {
        if (!guest_receive_any(&to->guest, frame, &len, TIMEOUT_MS))
            fail_msg("frame %u of %u bytes did not come", number, size);
    } while (len >= 18 && frame_number(frame) < number);
    assert_int_equal(len, size);
    assert_true(frame_is(frame, len, number));
}

static void pass(struct fixture *fixture, struct site *from, struct site *to, uint32_t size)
{
    expect_frame(to, size, send_frame(fixture, from, to, size));
}

static void pass_some(struct fixture *fixture)
{
    for (unsigned i = 0; i < 100; i++) {
        pass(fixture, &fixture->a, &fixture->b, 100 + 60 * i);
        pass(fixture, &fixture->b, &fixture->a, 100 + 60 * i);
    }
}

static void expect_balance(const struct fixture *fixture)
{
    lab_assert_balance(&fixture->a.lab);
    lab_assert_balance(&fixture->b.lab);
}

static void test_all_sizes(void **state)
{
    struct fixture *fixture = *state;
    uint32_t num = 0;

    for (uint32_t size = FRAME_MIN_BYTES; size <= FRAME_BYTES; size += 1 + size / 13, num++) {
        pass(fixture, &fixture->a, &fixture->b, size);
        pass(fixture, &fixture->b, &fixture->a, size);
    }
    pass(fixture, &fixture->a, &fixture->b, FRAME_BYTES);
    pass(fixture, &fixture->b, &fixture->a, FRAME_BYTES);
    lab_wait_counter(&fixture->a.lab, "up", "tx", "packets", num + 1);
    lab_wait_counter(&fixture->a.lab, "up", "rx", "packets", num + 1);
    expect_balance(fixture);
}

/* --- Switches that die under traffic ---------------------------------------------------------- */

/*
 * Both guests send, and nobody takes anything from the one at `dying`, whose switch then is gone.
 */
static void kill_under_traffic(struct fixture *fixture, struct site *dying, struct site *other)
{
    for (unsigned i = 0; i < 400; i++) {
        uint32_t len;

        send_frame(fixture, dying, other, 200);
        send_frame(fixture, other, dying, 2000);
        while (guest_receive_any(&other->guest, frame, &len, 0))
            ;
    }
    lab_kill(&dying->lab);
    guest_detach(&dying->guest);
}

/* What the guest at `site` sends while there is no other switch is dropped, under a name. */
static void send_into_the_void(struct fixture *fixture, struct site *site, const struct site *gone)
{
    for (unsigned i = 0; i < 50; i++)
        send_frame(fixture, site, gone, 300);
    guest_wait_sent(&site->guest, 0);
    lab_assert_balance(&site->lab);
}

static void test_back_end_dies(void **state)
{
    struct fixture *fixture = *state;

    for (unsigned i = 0; i < 3; i++) {
        kill_under_traffic(fixture, &fixture->b, &fixture->a);
        lab_wait_state(&fixture->a.lab, "up", "connecting");
        send_into_the_void(fixture, &fixture->a, &fixture->b);
        assert_int_equal(lab_start(&fixture->b.lab), 0);
        join_b(fixture);
        wait_joined(fixture);
        pass_some(fixture);
        expect_balance(fixture);
    }
}

static void test_front_end_dies(void **state)
{
    struct fixture *fixture = *state;

    for (unsigned i = 0; i < 3; i++) {
        kill_under_traffic(fixture, &fixture->a, &fixture->b);
        lab_wait_state(&fixture->b.lab, "down", "connecting");
        send_into_the_void(fixture, &fixture->b, &fixture->a);
        assert_int_equal(lab_start(&fixture->a.lab), 0);
        join_a(fixture);
        wait_joined(fixture);
        pass_some(fixture);
        expect_balance(fixture);
    }
}

/* The reason says whom it waits for; a port that is made anew finds its way back. */
static void test_port_goes(void **state)
{
    struct fixture *fixture = *state;

    lab_control(&fixture->b.lab, "port del down");
    lab_wait_reason(&fixture->a.lab, "up", "link.sock");
    lab_control(&fixture->b.lab, "port add down type vhost-user socket %s", fixture->socket);
    wait_joined(fixture);
    pass_some(fixture);
    lab_control(&fixture->a.lab, "port set up size 64");
    wait_joined(fixture);
    pass_some(fixture);
    expect_balance(fixture);
}

#define TEST(test, variant)                                                                        \
    {                                                                                              \
#test "/" #variant, test, setup, teardown, (void *)(uintptr_t)&variant_##variant           \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all_sizes, split),       TEST(test_all_sizes, packed),
        TEST(test_all_sizes, whole),       TEST(test_all_sizes, server),
        TEST(test_all_sizes, pairs),       TEST(test_back_end_dies, split),
        TEST(test_back_end_dies, packed),  TEST(test_back_end_dies, server),
        TEST(test_front_end_dies, split),  TEST(test_front_end_dies, packed),
        TEST(test_front_end_dies, server), TEST(test_port_goes, split),
    };

    return cmocka_run_group_tests_name("uplink", tests, NULL, NULL);
}
