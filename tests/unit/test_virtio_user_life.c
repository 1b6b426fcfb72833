/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The port that is the driver of another back-end's device, and back-ends that come, go and
 * misbehave. Where one has to, it is not our own port for guests, but one of the test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <shunt/backend.h>
#include <string.h>

#include "lib/cable.h"
#include "lib/plug.h"
#include "port/virtio_user.h"
#include "virtio_net/header.h"
#include "virtqueue/driver_queue.h"

static const struct cable_variant variant_split = {"", ""};
static const struct cable_variant variant_packed = {"packed on", ""};
static const struct cable_variant variant_whole = {"mergeable off", ""};

/* --- Back-ends that come and go --------------------------------------------------------------- */

/* What the dead back-end had not read goes to the next one; meanwhile frames are dropped. */
static void test_next_gets_the_rest(void **state)
{
    struct cable *cable = *state;

    cable_send(cable, cable->near, &cable->out, 40, 2000);
    cable_close_far(cable);
    cable_wait_near(cable, PORT_CONNECTING);
    assert_true(strlen(cable->near->reason) > 0);
    assert_false(cable->near->queues[0].is_running);
    cable_send(cable, cable->near, &cable->out, 3, 60);
    cable->out.num_sent -= 3;
    cable_expect_counters(cable->near, false, 40, 3);
    assert_int_equal(cable_counters(cable->near, false).drops[DROP_PORT_DOWN], 3);
    cable_open_far(cable, "");
    cable_wait_up(cable);
    assert_string_equal(cable->near->reason, "");
    assert_int_equal(cable_receive(cable, cable->far, &cable->out), 40);
    cable_send(cable, cable->near, &cable->out, 100, 60);
    assert_int_equal(cable_receive(cable, cable->far, &cable->out), 100);
    cable_expect_counters(cable->near, false, 140, 3);
}

/*
 * What the dead back-end had sent is lent when the next one is there, before what that one sends.
 */
static void test_rest_of_the_last(void **state)
{
    struct cable *cable = *state;

    for (unsigned i = 0; i < 10; i++) {
        cable_send(cable, cable->far, &cable->in, 20, 3000);
        cable_close_far(cable);
        cable_wait_near(cable, PORT_CONNECTING);
        cable_open_far(cable, "");
        cable_wait_up(cable);
        cable_send(cable, cable->far, &cable->in, 30, 200);
        assert_int_equal(cable_receive(cable, cable->near, &cable->in), 50);
    }
    cable_expect_counters(cable->near, true, 500, 0);
}

/* It does not matter who is there first, or how often. */
static void test_near_first(void **state)
{
    struct cable *cable = *state;

    cable_open_near(cable, "");
    for (unsigned i = 0; i < 20; i++)
        plug_dispatch(&cable->near, 1, 10);
    assert_int_equal(cable->near->state, PORT_CONNECTING);
    assert_non_null(strstr(cable->near->reason, "trying again"));
    cable_open_far(cable, "");
    cable_wait_up(cable);
    cable_send(cable, cable->near, &cable->out, 10, 60);
    assert_int_equal(cable_receive(cable, cable->far, &cable->out), 10);
}

/* The other end outlives us. */
static void test_near_goes(void **state)
{
    struct cable *cable = *state;

    for (unsigned i = 0; i < 5; i++) {
        cable_send(cable, cable->far, &cable->in, 5, 60);
        port_destroy(cable->near);
        cable->near = NULL;
        cable_wait_far(cable, PORT_CONNECTING);
        cable_open_near(cable, i % 2 ? "" : "packed on");
        cable_wait_up(cable);
        cable->in.num_received = cable->in.num_sent;
        cable_send(cable, cable->far, &cable->in, 5, 60);
        assert_int_equal(cable_receive(cable, cable->near, &cable->in), 5);
    }
}

/* --- Back-ends that misbehave ----------------------------------------------------------------- */

static const struct shunt_backend_ops no_ops = {0};

static struct shunt_backend *make_stranger(const struct cable *cable, uint64_t features)
{
    struct shunt_backend_config config = {
        .name = "stranger",
        .socket_path = cable->path,
        .fd = -1,
        .features = features,
        .num_virtqueues = 2,
        .queue_num = 1,
    };
    struct shunt_backend *stranger;
    struct shunt_error error;

    assert_int_equal(shunt_backend_create(&config, &no_ops, NULL, &stranger, &error), 0);
    return stranger;
}

static void turn(struct cable *cable, struct shunt_backend *stranger)
{
    plug_dispatch(&cable->near, 1, 1);
    shunt_backend_dispatch(stranger);
}

/* One of the test's, at whose socket our port is up. */
static struct shunt_backend *join_stranger(struct cable *cable, const char *options)
{
    struct shunt_backend *stranger = make_stranger(cable, NET_FEATURE(MRG_RXBUF));

    if (!cable->near)
        cable_open_near(cable, options);
    for (unsigned i = 0; i < 20000 && cable->near->state != PORT_UP; i++)
        turn(cable, stranger);
    assert_int_equal(cable->near->state, PORT_UP);
    shunt_backend_dispatch(stranger);
    return stranger;
}

/* Returns a receive buffer with these first bytes, as one of `len` bytes and with another id. */
static void return_buffer(struct shunt_backend *stranger, struct net_header header, uint32_t len,
                          unsigned id_offset)
{
    struct shunt_virtqueue *queue = shunt_backend_virtqueue(stranger, 0);
    struct shunt_chain chain;
    struct iovec piece;

    shunt_virtqueue_lock(queue);
    assert_int_equal(shunt_virtqueue_pop(queue, &chain, &piece, 1), 1);
    memset(piece.iov_base, 0, 64);
    memcpy(piece.iov_base, &header, NET_HEADER_BYTES);
    chain.id = (uint16_t)(chain.id + id_offset);
    shunt_virtqueue_push(queue, &chain, &piece, len);
    shunt_virtqueue_publish(queue);
    shunt_virtqueue_unlock(queue);
}

static void expect_no_frame(struct cable *cable)
{
    assert_int_equal(virtio_user_lend(&cable->near->queues[0], &cable->lent), 0);
}

/*
 * A frame that cannot be is dropped under the reason that fits best, and its buffer is there again.
 */
static void test_bad_frames(void **state)
{
    static const struct {
        struct net_header header;
        uint32_t len;
        enum drop drop;
    } cases[] = {
        {{.num_buffers = 0}, 72, DROP_RUNT},
        {{.num_buffers = 1}, 0, DROP_RUNT},
        {{.num_buffers = 1}, 11, DROP_RUNT},
        {{.num_buffers = 1}, 25, DROP_RUNT},
        {{.num_buffers = 17}, 72, DROP_OVERSIZE},
        {{.num_buffers = 65535}, 72, DROP_OVERSIZE},
        {{.num_buffers = 1, .flags = NET_HEADER_F_NEEDS_CSUM}, 72, DROP_BAD_OFFLOAD},
        {{.num_buffers = 1, .gso_type = 1}, 72, DROP_BAD_OFFLOAD},
    };
    struct cable *cable = *state;
    struct shunt_backend *stranger = join_stranger(cable, "size 16");
    uint64_t num = 0;

    for (unsigned round = 0; round < 5; round++) {
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            struct counters before = cable_counters(cable->near, true);

            return_buffer(stranger, cases[i].header, cases[i].len, 0);
            expect_no_frame(cable);
            assert_int_equal(cable_counters(cable->near, true).drops[cases[i].drop],
                             before.drops[cases[i].drop] + 1);
            cable_expect_counters(cable->near, true, num + 1, num + 1);
            num++;
        }
    }
    assert_int_equal(virtio_user_rx_of(&cable->near->queues[0])->ring->num_free, 0);
    shunt_backend_destroy(stranger);
}

/* A back-end returned half a frame, and died: the next one's frames are whole. */
static void test_half_a_frame(void **state)
{
    struct cable *cable = *state;

    for (unsigned i = 0; i < 6; i++) {
        struct shunt_backend *stranger = join_stranger(cable, "size 16");

        return_buffer(stranger, (struct net_header){.num_buffers = 3}, 1600, 0);
        return_buffer(stranger, (struct net_header){.num_buffers = 1}, 1600, 0);
        if (i % 2) /* the worker has seen it, or has not */
            expect_no_frame(cable);
        shunt_backend_destroy(stranger);
        cable_wait_near(cable, PORT_CONNECTING);
        cable_open_far(cable, "");
        cable_wait_up(cable);
        cable_send(cable, cable->far, &cable->in, 16, 60);
        if (i % 2 == 0) /* the two buffers come back when the worker looks */
            cable->in.num_sent -= 2;
        assert_int_equal(cable_receive(cable, cable->near, &cable->in), i % 2 ? 16 : 14);
        cable_send(cable, cable->far, &cable->in, 16, 60);
        assert_int_equal(cable_receive(cable, cable->near, &cable->in), 16);
        cable_close_far(cable);
        cable_wait_near(cable, PORT_CONNECTING);
    }
}

/*
 * A used entry that cannot be takes the port down, with its reason; the next back-end takes it up.
 */
static void test_broken_ring(void **state)
{
    struct cable *cable = *state;
    struct shunt_backend *stranger = join_stranger(cable, "size 16");

    return_buffer(stranger, (struct net_header){.num_buffers = 1}, 72, 5000);
    expect_no_frame(cable);
    cable_wait_near(cable, PORT_DOWN);
    assert_non_null(strstr(cable->near->reason, "virtqueue 0"));
    assert_non_null(strstr(cable->near->reason, "0x1388"));
    assert_false(cable->near->queues[0].is_running);
    cable_send(cable, cable->near, &cable->out, 1, 60);
    assert_int_equal(cable_counters(cable->near, false).drops[DROP_PORT_DOWN], 1);
    shunt_backend_destroy(stranger);
    stranger = join_stranger(cable, "");
    assert_string_equal(cable->near->reason, "");
    return_buffer(stranger, (struct net_header){.num_buffers = 1}, 72, 0);
    assert_int_equal(virtio_user_lend(&cable->near->queues[0], &cable->lent), 1);
    assert_int_equal(cable->lent.frames[0].len, 60);
    virtio_user_give_back(&cable->near->queues[0], &cable->lent);
    shunt_backend_destroy(stranger);
}

/* --- What was asked for ------------------------------------------------------------------------ */

/* A back-end that lacks it is not used, and the reason says so; one that has it is. */
static void test_lacking(void **state)
{
    struct cable *cable = *state;
    struct shunt_backend *stranger = make_stranger(cable, 0);

    cable_open_near(cable, "mergeable on packed on size 24");
    for (unsigned i = 0; i < 20000 && !strstr(cable->near->reason, "lacks features 0x8000"); i++)
        turn(cable, stranger);
    assert_non_null(strstr(cable->near->reason, "lacks features 0x8000"));
    assert_int_equal(cable->near->state, PORT_CONNECTING);
    shunt_backend_destroy(stranger);
    cable_open_far(cable, "");
    cable_wait_up(cable);
    cable_send(cable, cable->near, &cable->out, 10, 60);
    assert_int_equal(cable_receive(cable, cable->far, &cable->out), 10);
}

static void test_refused(void **state)
{
    const struct cable *cable = *state;

    assert_non_null(
        strstr(plug_refused("virtio-user", "socket %s size 24", cable->path), "power of two"));
    assert_non_null(
        strstr(plug_refused("virtio-user", "socket /absent/sock mode server"), "/absent/sock"));
}

#define TEST(test, variant)                                                                        \
    {                                                                                              \
#test "/" #variant, test, cable_setup, cable_teardown,                                     \
            (void *)(uintptr_t)&variant_##variant                                                  \
    }
#define TEST_ALONE(test) cmocka_unit_test_setup_teardown(test, cable_setup_alone, cable_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_next_gets_the_rest, split),
        TEST(test_next_gets_the_rest, packed),
        TEST(test_rest_of_the_last, split),
        TEST(test_rest_of_the_last, packed),
        TEST(test_rest_of_the_last, whole),
        TEST(test_near_goes, split),
        TEST_ALONE(test_near_first),
        TEST_ALONE(test_bad_frames),
        TEST_ALONE(test_half_a_frame),
        TEST_ALONE(test_broken_ring),
        TEST_ALONE(test_lacking),
        TEST_ALONE(test_refused),
    };

    return cmocka_run_group_tests_name("virtio_user_life", tests, NULL, NULL);
}
