/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two switches in one process, each with workers of its own, joined by a virtio-user port of the
 * one and a vhost-user port of the other:
 *
 *     test ── inproc ── near switch ── virtio-user ═══ vhost-user ── far switch ── inproc ── test
 *
 * Their workers sleep and wake, and ends are unplugged while frames pass.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "lib/plug.h"
#include "lib/rack.h"

#define FRAME_BYTES 200u
#define PATIENCE_MS 30000u
#define HOST        0u /* the place of the in-process port, which is plugged in first */
#define LINK        1u /* … and of the one that leads to the other switch */

struct variant {
    enum worker_mode mode;
    unsigned num_workers;
    const char *near_options, *far_options;
};

static const struct variant variant_adaptive = {WORKER_ADAPTIVE, 1, "", ""};
static const struct variant variant_interrupt = {WORKER_INTERRUPT, 1, "", ""};
static const struct variant variant_packed = {WORKER_INTERRUPT, 1, "packed on", ""};
static const struct variant variant_server = {WORKER_ADAPTIVE, 1, "mode server", "mode client"};
static const struct variant variant_pairs = {WORKER_ADAPTIVE, 2, "queues 4", "queues 4"};

struct link {
    const struct variant *variant;
    char folder[32], path[64];
    struct rack near, far;
    uint64_t near_sent, far_sent;
};

/* --- The two switches ------------------------------------------------------------------------- */

static void dispatch(struct link *link)
{
    plug_dispatch((struct port *[]){link->near.ports[LINK], link->far.ports[LINK]}, 2, 0);
}

/*
 * One end may not have noticed yet that the other one is new: the new one is up when both are
 * connected.
 */
static void wait_up(struct link *link)
{
    struct port *near = link->near.ports[LINK], *far = link->far.ports[LINK];

    plug_wait_state((struct port *[]){far, near}, 2, PORT_UP);
    plug_wait_state((struct port *[]){near, far}, 2, PORT_UP);
    plug_wait_state((struct port *[]){far, near}, 2, PORT_UP);
}

static void plug_near(struct link *link)
{
    rack_plug_port(&link->near,
                   plug_create("virtio-user", "near", &rack_events, &link->near, "socket %s %s",
                               link->path, link->variant->near_options));
}

static void plug_far(struct link *link)
{
    rack_plug_port(&link->far, plug_create("vhost-user", "far", &rack_events, &link->far,
                                           "socket %s %s", link->path, link->variant->far_options));
}

static void make_switch(struct link *link, struct rack *rack)
{
    struct worker_config config = rack_workers(link->variant->mode, link->variant->num_workers);

    rack_init(rack, BRIDGE_PATCH, &config);
    assert_int_equal(rack_plug(rack, &inproc_class, 1), HOST);
    inproc_set_capture(rack->ports[HOST], false);
}

static int setup(void **state)
{
    struct link *link = calloc(1, sizeof(*link));

    if (!link)
        return -1;
    link->variant = *state;
    *state = link;
    strcpy(link->folder, "/tmp/link.XXXXXX");
    if (!mkdtemp(link->folder))
        return -1;
    snprintf(link->path, sizeof(link->path), "%s/sock", link->folder);
    make_switch(link, &link->near);
    make_switch(link, &link->far);
    plug_far(link);
    plug_near(link);
    wait_up(link);
    return 0;
}

static int teardown(void **state)
{
    struct link *link = *state;

    rack_fini(&link->near);
    rack_fini(&link->far);
    if (rmdir(link->folder) < 0)
        return -1;
    free(link);
    return 0;
}

/* --- Frames ----------------------------------------------------------------------------------- */

/* A frame of one of 16 flows. False: the switch is behind. */
static bool send_one(struct rack *rack, uint64_t *num_sent)
{
    uint8_t frame[FRAME_BYTES] = {2, [6] = 2, [11] = (uint8_t)(*num_sent % 16), [12] = 0x88, 0xb5};

    if (!inproc_send(rack->ports[HOST], 0, frame, sizeof(frame), 0))
        return false;
    (*num_sent)++;
    return true;
}

static void expect_balance(const struct rack *rack)
{
    struct rack_balance balance = rack_balance(rack);

    assert_int_equal(balance.in, balance.out);
}

/*
 * Waits until the frames arrived. Not more than half of a ring is under way, so none is dropped;
 * the pauses end about when workers go to sleep.
 */
static void wait_delivered(struct link *link, const struct rack *rack, uint64_t num)
{
    uint64_t start_ms = clock_ms();

    while (rack_delivered(rack, HOST) < num) {
        dispatch(link);
        usleep(20);
        if (clock_ms() - start_ms > PATIENCE_MS)
            fail_msg("%llu of %llu frames arrived", (unsigned long long)rack_delivered(rack, HOST),
                     (unsigned long long)num);
    }
}

/* A few frames each way at a time, so that workers fall asleep in between. */
static void test_frames_wake(void **state)
{
    struct link *link = *state;

    for (unsigned i = 0; i < 300; i++) {
        for (unsigned k = 0; k <= i % 20; k++) {
            assert_true(send_one(&link->near, &link->near_sent));
            assert_true(send_one(&link->far, &link->far_sent));
        }
        wait_delivered(link, &link->far, link->near_sent);
        wait_delivered(link, &link->near, link->far_sent);
    }
    rack_settle(&link->near);
    rack_settle(&link->far);
    assert_int_equal(rack_balance(&link->near).drops + rack_balance(&link->far).drops, 0);
    expect_balance(&link->near);
    expect_balance(&link->far);
}

/* Both sides send all they can for a while. */
static void send_for_a_while(struct link *link, unsigned num)
{
    for (unsigned i = 0; i < num; i++) {
        bool is_sent = send_one(&link->near, &link->near_sent);

        is_sent |= send_one(&link->far, &link->far_sent);
        if (!is_sent || i % 256 == 0)
            dispatch(link);
    }
}

/*
 * One end after the other is unplugged and comes again while frames pass; none is unaccounted for.
 */
static void test_ends_come_and_go(void **state)
{
    struct link *link = *state;

    for (unsigned round = 0; round < 6; round++) {
        send_for_a_while(link, 3000);
        if (round % 2) {
            rack_unplug(&link->far, LINK);
            send_for_a_while(link, 500);
            plug_far(link);
        } else {
            rack_unplug(&link->near, LINK);
            send_for_a_while(link, 500);
            plug_near(link);
        }
        wait_up(link);
        send_for_a_while(link, 1000);
    }
    rack_settle(&link->near);
    rack_settle(&link->far);
    expect_balance(&link->near);
    expect_balance(&link->far);
    assert_true(rack_delivered(&link->near, HOST) > 0);
    assert_true(rack_delivered(&link->far, HOST) > 0);
}

/*
 * What passed before the end is there; nothing is made up: at most a ring is sent twice at each
 * change.
 */
static void test_nothing_is_lost_at_rest(void **state)
{
    struct link *link = *state;

    for (unsigned round = 0; round < 5; round++) {
        for (unsigned k = 0; k < 100; k++) {
            assert_true(send_one(&link->near, &link->near_sent));
            assert_true(send_one(&link->far, &link->far_sent));
        }
        wait_delivered(link, &link->far, link->near_sent);
        wait_delivered(link, &link->near, link->far_sent);
        rack_unplug(&link->far, LINK);
        plug_far(link);
        wait_up(link);
    }
    assert_int_equal(rack_delivered(&link->far, HOST), link->near_sent);
    assert_int_equal(rack_delivered(&link->near, HOST), link->far_sent);
}

#define TEST(test, variant)                                                                        \
    {                                                                                              \
#test "/" #variant, test, setup, teardown, (void *)(uintptr_t)&variant_##variant           \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_frames_wake, adaptive),
        TEST(test_frames_wake, interrupt),
        TEST(test_frames_wake, packed),
        TEST(test_frames_wake, server),
        TEST(test_frames_wake, pairs),
        TEST(test_ends_come_and_go, adaptive),
        TEST(test_ends_come_and_go, packed),
        TEST(test_ends_come_and_go, server),
        TEST(test_ends_come_and_go, pairs),
        TEST(test_nothing_is_lost_at_rest, adaptive),
        TEST(test_nothing_is_lost_at_rest, packed),
    };

    return cmocka_run_group_tests_name("virtio_user_link", tests, NULL, NULL);
}
