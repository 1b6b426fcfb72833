/* SPDX-License-Identifier: BSD-3-Clause */
/* The frames of the generator: what is in them, and that every change of one is noticed. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gen/frame.h"

static uint8_t buffer[NET_HEADER_BYTES + FRAME_LIMIT_BYTES];
static uint8_t *const frame = buffer + NET_HEADER_BYTES;

static struct frame_route route_of(uint16_t gso_bytes, uint32_t num_macs)
{
    return (struct frame_route){
        .from = frame_address_of((struct frame_origin){3, 1}),
        .to = frame_address_of((struct frame_origin){3, 2}),
        .num_macs = num_macs,
        .gso_bytes = gso_bytes,
    };
}

static struct frame_stamp make(uint32_t size, uint32_t flow, uint16_t gso_bytes)
{
    struct frame_route route = route_of(gso_bytes, 1);
    struct frame_stamp stamp = {
        .origin = {3, 1},
        .stream = flow,
        .sequence = 4711,
        .time = 815,
        .has_content = true,
        .has_time = true,
    };
    uint32_t trailer = 0;

    frame_build(buffer, size, &route, 0xa5);
    frame_set_headers(buffer, &route, size, flow);
    frame_set_stamp(buffer, size, &stamp, 0xa5, &trailer);
    return stamp;
}

static uint32_t sum_of(const uint8_t *at, unsigned bytes)
{
    uint32_t sum = 0;

    for (unsigned i = 0; i < bytes; i += 2)
        sum += (uint32_t)at[i] << 8 | at[i + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

static void test_headers(void **state)
{
    static const uint8_t expected[] = {
        2,    3, 2, 0,  0, 1, 2, 3, 1,  0,  0, 1, 8, 0, /* addresses end with the flow's number */
        0x45, 0, 0, 86, 0, 0, 0, 0, 64, 17,
    };
    struct frame_route route = route_of(0, 2);

    frame_build(buffer, 100, &route, 1);
    frame_set_headers(buffer, &route, 100, 5);
    assert_memory_equal(frame, expected, sizeof(expected));
    assert_int_equal(sum_of(frame + 14, 20), 0xffff);
    assert_int_equal(frame[26], 10);
    assert_int_equal(frame[27], 1);
    assert_int_equal(frame[31], 2);
    assert_int_equal(frame[38] << 8 | frame[39], 100 - 34);
    for (unsigned i = 0; i < NET_HEADER_BYTES; i++)
        assert_int_equal(buffer[i], 0);
}

/* Flows differ in what a switch looks at, and are the same for the same number. */
static void test_flows_differ(void **state)
{
    struct frame_route route = route_of(0, 1000);
    uint8_t first[60], again[60];

    frame_build(buffer, 60, &route, 1);
    frame_set_headers(buffer, &route, 60, 32768);
    memcpy(first, frame, 60);
    frame_set_headers(buffer, &route, 60, 0);
    assert_memory_not_equal(frame + 26, first + 26,
                            4); /* the address, where the port is the same */
    frame_set_headers(buffer, &route, 60, 32769);
    assert_memory_not_equal(frame + 34, first + 34, 2);
    assert_memory_not_equal(frame, first, 6);
    frame_set_headers(buffer, &route, 60, 32768);
    memcpy(again, frame, 60);
    assert_memory_equal(first, again, 60);
}

static void test_stamp_comes_back(void **state)
{
    static const uint32_t sizes[] = {60, 61, 63, 64, 67, 68, 1514, 9018, FRAME_LIMIT_BYTES};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct frame_stamp sent = make(sizes[i], 77, 0), found;

        assert_true(frame_get_stamp(frame, sizes[i], &found));
        assert_memory_equal(&found.origin, &sent.origin, sizeof(sent.origin));
        assert_int_equal(found.stream, sent.stream);
        assert_int_equal(found.sequence, sent.sequence);
        assert_int_equal(found.time, sent.time);
        assert_true(found.has_content && found.has_time);
        assert_true(frame_is_intact(frame, sizes[i], &found));
        assert_int_equal(frame_destination(frame, 3), 2);
        assert_int_equal(frame_destination(frame, 4), -1);
    }
}

static bool is_accepted(uint32_t size)
{
    struct frame_stamp stamp;

    return frame_get_stamp(frame, size, &stamp) && frame_is_intact(frame, size, &stamp);
}

/* Each bit of a frame of an odd size. */
static void test_every_change_is_noticed(void **state)
{
    enum { SIZE = 131 };

    make(SIZE, 1, 0);
    for (unsigned bit = 0; bit < SIZE * 8; bit++) {
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (is_accepted(SIZE))
            fail_msg("a change of bit %u was not noticed", bit);
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(is_accepted(SIZE));
}

static void test_cut_frame_is_noticed(void **state)
{
    make(200, 1, 0);
    for (uint32_t size = 0; size < 200; size++)
        assert_false(is_accepted(size));
    assert_false(is_accepted(201));
}

/* The end of an older frame from the same buffer does not pass. */
static void test_stale_end_is_noticed(void **state)
{
    uint8_t end[100];

    make(300, 1, 0);
    memcpy(end, frame + 200, sizeof(end));
    struct frame_stamp stamp = make(300, 1, 0);
    uint32_t trailer = 0;

    stamp.sequence++;
    frame_set_stamp(buffer, 300, &stamp, 0xa5, &trailer);
    assert_true(is_accepted(300));
    memcpy(frame + 200, end, sizeof(end));
    assert_false(is_accepted(300));
}

/* A buffer whose frames change their size, up and down. */
static void test_sizes_change(void **state)
{
    static const uint32_t sizes[] = {500, 100, 1514, 60, 499, 1513, 68};
    struct frame_route route = route_of(0, 1);
    struct frame_stamp stamp = {.origin = {3, 1}, .has_content = true};
    uint32_t trailer = 0;

    frame_build(buffer, 1514, &route, 9);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        stamp.sequence = (uint32_t)i + 1000000;
        frame_set_headers(buffer, &route, sizes[i], 0);
        frame_set_stamp(buffer, sizes[i], &stamp, 9, &trailer);
        assert_true(is_accepted(sizes[i]));
    }
}

static void test_echo(void **state)
{
    struct frame_stamp stamp;
    uint8_t before[34];

    make(100, 5, 0);
    memcpy(before, frame, sizeof(before));
    frame_turn(frame, 100);
    assert_memory_equal(frame, before + 6, 6);
    assert_memory_equal(frame + 6, before, 6);
    assert_memory_equal(frame + 26, before + 30, 4);
    assert_int_equal(sum_of(frame + 14, 20), 0xffff);
    assert_true(frame_get_stamp(frame, 100, &stamp));
    assert_true(is_accepted(100));
    frame_turn(frame, 13); /* too short for addresses: left alone */
    assert_true(is_accepted(100));
}

static void test_segments(void **state)
{
    struct net_header header;
    uint32_t pseudo;

    make(30000, 5, 1448);
    memcpy(&header, buffer, NET_HEADER_BYTES);
    assert_int_equal(header.flags, NET_HEADER_F_NEEDS_CSUM);
    assert_int_equal(header.gso_type, 1);
    assert_int_equal(header.gso_size, 1448);
    assert_int_equal(header.hdr_len, 54);
    assert_int_equal(header.csum_start, 34);
    assert_int_equal(header.csum_offset, 16);
    assert_int_equal(frame[23], 6);
    pseudo = sum_of(frame + 26, 8) + 6 + 30000 - 34;
    assert_int_equal((pseudo & 0xffff) + (pseudo >> 16), frame[50] << 8 | frame[51]);
    assert_true(is_accepted(30000));
    /* Whoever completes the sum changes nothing of ours. */
    frame[50] ^= 0x55;
    assert_true(is_accepted(30000));
    /* One segment is none. */
    make(1000, 5, 1448);
    memcpy(&header, buffer, NET_HEADER_BYTES);
    assert_int_equal(header.gso_type, NET_HEADER_GSO_NONE);
}

static void test_foreign_frames(void **state)
{
    struct frame_stamp stamp;

    memset(frame, 0, 100);
    assert_false(frame_get_stamp(frame, 100, &stamp));
    memset(frame, 0xff, 100);
    assert_false(frame_get_stamp(frame, 100, &stamp));
    assert_false(frame_get_stamp(frame, 0, &stamp));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_flows_differ),
        cmocka_unit_test(test_stamp_comes_back),
        cmocka_unit_test(test_every_change_is_noticed),
        cmocka_unit_test(test_cut_frame_is_noticed),
        cmocka_unit_test(test_stale_end_is_noticed),
        cmocka_unit_test(test_sizes_change),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_segments),
        cmocka_unit_test(test_foreign_frames),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
