/* SPDX-License-Identifier: BSD-3-Clause */
/* Sequence numbers that are lost, come twice, or out of order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gen/tracker.h"

#define OWN_ID 1

static struct tracker tracker;

static int set_up(void **state)
{
    tracker_init(&tracker, OWN_ID);
    return 0;
}

static int tear_down(void **state)
{
    tracker_destroy(&tracker);
    return 0;
}

static void see(uint8_t id, uint32_t stream, uint32_t sequence)
{
    struct frame_stamp stamp = {.origin = {id, 0},
                                .stream = stream,
                                .sequence = sequence,
                                .has_content = true};

    tracker_see(&tracker, &stamp);
}

static void expect(uint64_t lost, uint64_t duplicated, uint64_t reordered)
{
    assert_int_equal(tracker.counts.lost, lost);
    assert_int_equal(tracker.counts.duplicated, duplicated);
    assert_int_equal(tracker.counts.reordered, reordered);
}

static void test_in_order(void **state)
{
    for (uint32_t i = 0; i < 1000; i++)
        see(OWN_ID, i % 3, i / 3);
    expect(0, 0, 0);
    assert_int_equal(tracker.counts.verified, 1000);
    assert_int_equal(tracker_next(&tracker, (struct frame_origin){OWN_ID, 0}, 0), 334);
    assert_int_equal(tracker_next(&tracker, (struct frame_origin){OWN_ID, 0}, 99), 0);
    assert_int_equal(tracker_next(&tracker, (struct frame_origin){2, 0}, 0), 0);
}

static void test_lost(void **state)
{
    see(OWN_ID, 0, 0);
    see(OWN_ID, 0, 5);
    expect(4, 0, 0);
    see(OWN_ID, 0, 1000);
    expect(4 + 994, 0, 0);
}

/* Ours are counted from 0 on, those of others from the first that we see. */
static void test_beginning(void **state)
{
    see(2, 0, 500);
    expect(0, 0, 0);
    see(OWN_ID, 0, 3);
    expect(3, 0, 0);
}

static void test_reordered(void **state)
{
    see(OWN_ID, 0, 0);
    see(OWN_ID, 0, 3);
    see(OWN_ID, 0, 2);
    see(OWN_ID, 0, 1);
    expect(0, 0, 2);
    see(OWN_ID, 0, 4);
    expect(0, 0, 2);
}

static void test_duplicated(void **state)
{
    for (uint32_t i = 0; i < TRACKER_WINDOW + 10; i++)
        see(OWN_ID, 0, i);
    see(OWN_ID, 0, TRACKER_WINDOW + 9);
    see(OWN_ID, 0, 10); /* the oldest that is remembered */
    expect(0, 2, 0);
    see(OWN_ID, 0, 9);
    expect(0, 2, 1);
}

/* After a gap as wide as the window, nothing old is taken for seen. */
static void test_window_is_cleared(void **state)
{
    for (uint32_t i = 0; i < TRACKER_WINDOW; i++)
        see(OWN_ID, 0, i);
    see(OWN_ID, 0, 2 * TRACKER_WINDOW - 1);
    expect(TRACKER_WINDOW - 1, 0, 0);
    for (uint32_t i = TRACKER_WINDOW; i < 2 * TRACKER_WINDOW - 1; i++)
        see(OWN_ID, 0, i);
    expect(0, 0, TRACKER_WINDOW - 1);
}

static void test_numbers_wrap(void **state)
{
    for (uint32_t i = UINT32_MAX - 5; i != 5; i++)
        see(2, 7, i);
    expect(0, 0, 0);
    see(2, 7, UINT32_MAX);
    expect(0, 1, 0);
    assert_int_equal(tracker_next(&tracker, (struct frame_origin){2, 0}, 7), 5);
}

static void test_many_streams(void **state)
{
    for (uint32_t stream = 0; stream < 100000; stream += 7)
        see(OWN_ID, stream, 0);
    for (uint32_t stream = 0; stream < 100000; stream += 7)
        see(OWN_ID, stream, 1);
    expect(0, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_beginning, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reordered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_duplicated, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_window_is_cleared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_numbers_wrap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_streams, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
