/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The port that is the driver of another back-end's device: what it carries, and how much of it.
 * The back-end is our own port for guests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cable.h"
#include "port/virtio_user.h"
#include "virtio_net/header.h"
#include "virtqueue/driver_queue.h"

static const struct cable_variant variant_split = {"", ""};
static const struct cable_variant variant_packed = {"packed on", ""};
static const struct cable_variant variant_whole = {"mergeable off", ""};
static const struct cable_variant variant_packed_whole = {"packed on mergeable off", ""};
static const struct cable_variant variant_server = {"mode server", "mode client"};
static const struct cable_variant variant_odd = {"packed on size 100", ""};
static const struct cable_variant variant_small = {"size 8", ""};
static const struct cable_variant variant_small_packed = {"size 8 packed on", ""};
static const struct cable_variant variant_pairs = {"queues 4", "queues 4"};
static const struct cable_variant variant_pairs_packed = {"queues 4 packed on", "queues 4"};
static const struct cable_variant variant_fewer = {"queues 4", "queues 2"};

/* --- All sizes -------------------------------------------------------------------------------- */

static uint32_t next_size(uint32_t size)
{
    static const uint32_t edges[] = {1514, 1518, 1587, 1588, 1589, 3187, 3188, 3189, 9014, 65549};
    uint32_t next = size < 80 ? size + 1 : size + size / 9;

    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
        if (edges[i] > size && edges[i] < next)
            next = edges[i];
    return next > FRAME_MAX_BYTES && size < FRAME_MAX_BYTES ? FRAME_MAX_BYTES : next;
}

static void pass_all_sizes(struct cable *cable, struct port *from, struct port *to,
                           struct cable_way *way)
{
    static const uint32_t pieces[] = {UINT16_MAX * 2, 64, 1000, 4096};
    uint64_t bytes = 0;

    for (uint32_t size = ETHERNET_HEADER_BYTES; size <= FRAME_MAX_BYTES; size = next_size(size)) {
        for (unsigned i = 0; i < 2; i++)
            cable_add_frame(cable, way, size, pieces[(way->num_sent) % 4]);
        cable_send_burst(cable, from);
        assert_int_equal(cable_receive(cable, to, way), 2);
        bytes += 2 * size;
    }
    cable_expect_counters(from, false, way->num_sent, 0);
    cable_expect_counters(to, true, way->num_sent, 0);
    assert_int_equal(cable_counters(from, false).bytes, bytes);
    assert_int_equal(cable_counters(to, true).bytes, bytes);
}

static void test_all_sizes(void **state)
{
    struct cable *cable = *state;

    pass_all_sizes(cable, cable->near, cable->far, &cable->out);
    pass_all_sizes(cable, cable->far, cable->near, &cable->in);
}

/* Bursts go round the rings many times; several frames of many buffers are in one burst. */
static void test_bursts(void **state)
{
    struct cable *cable = *state;

    for (unsigned i = 0; i < 200; i++) {
        unsigned num = 1 + i % BURST_MAX_FRAMES;

        for (unsigned k = 0; k < num; k++)
            cable_add_frame(cable, &cable->out, k % 7 == 3 ? 5000 : 60 + k, UINT16_MAX);
        cable_send_burst(cable, cable->near);
        assert_int_equal(cable_receive(cable, cable->far, &cable->out), num);
        for (unsigned k = 0; k < num; k++)
            cable_add_frame(cable, &cable->in, k % 7 == 3 ? 5000 : 60 + k, UINT16_MAX);
        cable_send_burst(cable, cable->far);
        assert_int_equal(cable_receive(cable, cable->near, &cable->in), num);
    }
    cable_expect_counters(cable->near, true, cable->in.num_sent, 0);
    cable_expect_counters(cable->near, false, cable->out.num_sent, 0);
}

/*
 * The burst is lent from the memory that the back-end wrote to, and each buffer comes again in its
 * turn.
 */
static void test_order_of_buffers(void **state)
{
    struct cable *cable = *state;
    struct port_queue *queue = &cable->near->queues[0];
    unsigned size = virtio_user_rx_of(queue)->ring->size, at = 0;
    const void **places = calloc(size, sizeof(*places));

    for (unsigned i = 0; i < 4 * size / 16; i++) {
        cable_send(cable, cable->far, &cable->in, 16, 100);
        assert_int_equal(virtio_user_lend(queue, &cable->lent), 16);
        for (unsigned k = 0; k < 16; k++, at = (at + 1) % size) {
            const void *place = cable->lent.frames[k].segments->iov_base;

            cable_expect_frame(&cable->in, &cable->lent.frames[k]);
            if (places[at])
                assert_ptr_equal(places[at], place);
            places[at] = place;
        }
        virtio_user_give_back(queue, &cable->lent);
    }
    free(places);
}

/* --- Limits ----------------------------------------------------------------------------------- */

static void test_ring_full(void **state)
{
    struct cable *cable = *state;
    unsigned size = virtio_user_tx_of(&cable->near->queues[0])->ring->size;

    for (unsigned round = 1; round <= 3; round++) {
        cable_send(cable, cable->near, &cable->out, size + 5, 60);
        cable_expect_counters(cable->near, false, (uint64_t)round * size, 5 * round);
        assert_int_equal(cable_counters(cable->near, false).drops[DROP_RING_FULL], 5 * round);
        cable->out.num_sent -= 5;
        assert_int_equal(cable_receive(cable, cable->far, &cable->out), size);
    }
}

/* A frame that the ring has no slots left for goes not, nor does what is behind it. */
static void test_ring_nearly_full(void **state)
{
    struct cable *cable = *state;

    cable_send(cable, cable->near, &cable->out, 6, 60);
    cable_add_frame(cable, &cable->out, 60, 60);
    cable_add_frame(cable, &cable->out, 3000, 3000);
    cable_add_frame(cable, &cable->out, 60, 60);
    cable_send_burst(cable, cable->near);
    cable_expect_counters(cable->near, false, 7, 2);
    assert_int_equal(cable_counters(cable->near, false).drops[DROP_RING_FULL], 2);
    cable->out.num_sent -= 2;
    assert_int_equal(cable_receive(cable, cable->far, &cable->out), 7);
}

/* 8 buffers of 1,600 bytes, less a header. */
static void test_too_big(void **state)
{
    struct cable *cable = *state;
    const uint32_t most = 8 * VIRTIO_USER_BUFFER_BYTES - NET_HEADER_BYTES;

    cable_send(cable, cable->near, &cable->out, 1, most);
    assert_int_equal(cable_receive(cable, cable->far, &cable->out), 1);
    cable_send(cable, cable->near, &cable->out, 1, most + 1);
    assert_int_equal(cable_receive(cable, cable->far, &cable->out), 0);
    assert_int_equal(cable_counters(cable->near, false).drops[DROP_TOO_BIG], 1);
    cable_expect_counters(cable->near, false, 1, 1);
    cable_send(cable, cable->far, &cable->in, 1, most);
    assert_int_equal(cable_receive(cable, cable->near, &cable->in), 1);
    cable_send(cable, cable->far, &cable->in, 1, most + 1);
    assert_int_equal(cable_counters(cable->far, false).drops[DROP_NO_BUFFERS], 1);
    cable->in.num_sent--;
    cable_send(cable, cable->far, &cable->in, 8, 60);
    assert_int_equal(cable_receive(cable, cable->near, &cable->in), 8);
}

/* --- Several pairs ---------------------------------------------------------------------------- */

/*
 * The queue on which each flow arrives, or -1; frames of 64 flows are sent in one direction and
 * taken.
 */
static void map_flows(struct cable *cable, struct port *from, struct port *to, unsigned num_queues,
                      int queue_of[64])
{
    struct cable_way way = {0};
    unsigned num;

    for (unsigned flow = 0; flow < 64; flow++)
        queue_of[flow] = -1;
    cable_send(cable, from, &way, 64, 100);
    for (unsigned i = 0; i < num_queues; i++) {
        while ((num = to->class->lend(&to->queues[i], &cable->lent)) > 0) {
            for (unsigned k = 0; k < num; k++) {
                uint8_t flow = cable->lent.frames[k].ethernet.source[5];

                assert_int_equal(queue_of[flow], -1);
                queue_of[flow] = (int)i;
            }
            to->class->give_back(&to->queues[i], &cable->lent);
        }
    }
}

static void check_flows(struct cable *cable, unsigned num_queues)
{
    int first[64], second[64], back[64];
    unsigned counts[PORT_MAX_QUEUES] = {0};

    map_flows(cable, cable->near, cable->far, num_queues, first);
    map_flows(cable, cable->near, cable->far, num_queues, second);
    map_flows(cable, cable->far, cable->near, num_queues, back);
    for (unsigned flow = 0; flow < 64; flow++) {
        assert_true(first[flow] >= 0 && back[flow] >= 0);
        assert_int_equal(first[flow], second[flow]);
        counts[first[flow]]++;
    }
    for (unsigned i = 0; i < num_queues; i++)
        assert_true(counts[i] > 0);
    cable_expect_counters(cable->near, false, 128, 0);
    cable_expect_counters(cable->near, true, 64, 0);
}

static void test_pairs(void **state)
{
    check_flows(*state, 4);
}

/* The back-end has fewer pairs than we would use. */
static void test_fewer_pairs(void **state)
{
    struct cable *cable = *state;

    assert_int_equal(atomic_load(&cable->near->num_tx_queues), 2);
    assert_true(cable->near->queues[1].is_running);
    assert_false(cable->near->queues[2].is_running);
    check_flows(cable, 2);
}

/* --- Sleeping --------------------------------------------------------------------------------- */

static bool is_signalled(struct port_queue *queue)
{
    struct pollfd fd = {virtio_user_wake_fd(queue), POLLIN, 0};
    uint64_t num;

    return poll(&fd, 1, 0) > 0 && read(fd.fd, &num, sizeof(num)) == sizeof(num);
}

static void test_sleep(void **state)
{
    struct cable *cable = *state;
    struct port_queue *queue = &cable->near->queues[0];

    is_signalled(queue); /* by the start */
    virtio_user_disarm(queue);
    cable_send(cable, cable->far, &cable->in, 1, 60);
    assert_false(is_signalled(queue));
    assert_false(virtio_user_arm(queue));
    assert_int_equal(cable_receive(cable, cable->near, &cable->in), 1);
    assert_true(virtio_user_arm(queue));
    cable_send(cable, cable->far, &cable->in, 1, 60);
    assert_true(is_signalled(queue));
    virtio_user_disarm(queue);
    assert_int_equal(cable_receive(cable, cable->near, &cable->in), 1);
}

/* --- What is told ----------------------------------------------------------------------------- */

static bool has_name(const json_t *names, const char *name)
{
    const json_t *item;
    size_t i;

    json_array_foreach (names, i, item) {
        if (strcmp(json_string_value(item), name) == 0)
            return true;
    }
    return false;
}

static void check_description(struct cable *cable, const char *format, bool is_mergeable)
{
    json_t *object = port_describe(cable->near), *ring, *features;

    ring = json_array_get(json_object_get(object, "rings"), 1);
    features = json_object_get(object, "features");
    assert_string_equal(json_string_value(json_object_get(object, "role")), "client");
    assert_string_equal(json_string_value(json_object_get(object, "socket")), cable->path);
    assert_int_equal(json_integer_value(json_object_get(object, "peer_pid")), getpid());
    assert_int_equal(json_array_size(json_object_get(object, "rings")), 2);
    assert_string_equal(json_string_value(json_object_get(ring, "use")), "transmitq");
    assert_string_equal(json_string_value(json_object_get(ring, "state")), "running");
    assert_string_equal(json_string_value(json_object_get(ring, "format")), format);
    assert_true(has_name(features, "VERSION_1"));
    assert_int_equal(has_name(features, "MRG_RXBUF"), is_mergeable);
    assert_int_equal(has_name(features, "RING_PACKED"), strcmp(format, "packed") == 0);
    assert_true(has_name(json_object_get(object, "protocol_features"), "REPLY_ACK"));
    assert_int_equal(json_array_size(json_object_get(object, "memory")), 2);
    json_decref(object);
}

static void test_description(void **state)
{
    check_description(*state, "split", true);
}

static void test_description_of_packed(void **state)
{
    check_description(*state, "packed", false);
}

#define TEST(test, variant)                                                                        \
    {                                                                                              \
#test "/" #variant, test, cable_setup, cable_teardown,                                     \
            (void *)(uintptr_t)&variant_##variant                                                  \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all_sizes, split),
        TEST(test_all_sizes, packed),
        TEST(test_all_sizes, whole),
        TEST(test_all_sizes, packed_whole),
        TEST(test_all_sizes, server),
        TEST(test_all_sizes, odd),
        TEST(test_bursts, split),
        TEST(test_bursts, packed),
        TEST(test_bursts, whole),
        TEST(test_bursts, odd),
        TEST(test_order_of_buffers, split),
        TEST(test_order_of_buffers, packed),
        TEST(test_order_of_buffers, packed_whole),
        TEST(test_ring_full, split),
        TEST(test_ring_full, packed),
        TEST(test_ring_full, odd),
        TEST(test_ring_nearly_full, small),
        TEST(test_ring_nearly_full, small_packed),
        TEST(test_too_big, small),
        TEST(test_too_big, small_packed),
        TEST(test_pairs, pairs),
        TEST(test_pairs, pairs_packed),
        TEST(test_fewer_pairs, fewer),
        TEST(test_sleep, split),
        TEST(test_sleep, packed),
        TEST(test_description, split),
        TEST(test_description_of_packed, packed_whole),
    };

    return cmocka_run_group_tests_name("virtio_user_port", tests, NULL, NULL);
}
