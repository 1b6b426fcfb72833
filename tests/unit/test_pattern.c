/* SPDX-License-Identifier: BSD-3-Clause */
/* Which frames a generator sends: sizes, shares, flows and queues. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gen/pattern.h"

static struct pattern_sizes sizes_of(const char *text)
{
    struct shunt_error error = {0};
    struct pattern_sizes sizes;
    struct pattern_mix mix;

    assert_int_equal(pattern_parse(text, &mix, &error), 0);
    assert_int_equal(pattern_sizes_create(&mix, &sizes, &error), 0);
    return sizes;
}

static uint32_t count(const struct pattern_sizes *sizes, uint32_t size)
{
    uint32_t num = 0;

    for (uint32_t i = 0; i < sizes->num; i++)
        num += sizes->sizes[i] == size;
    return num;
}

static void test_bad_sizes(void **state)
{
    static const char *const bad[] = {"",      "x",        "64-",      "64-60",      "64,",
                                      "64:",   "64:0",     "-64",      "64 ",        "64:1:2",
                                      "imixx", "64-66-68", "64:99999", "99999999999"};
    struct pattern_mix mix;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct shunt_error error = {0};

        assert_int_equal(pattern_parse(bad[i], &mix, &error), -EINVAL);
        assert_non_null(strstr(error.text, bad[i]));
    }
}

static void test_bounds(void **state)
{
    struct pattern_mix mix;

    assert_int_equal(pattern_parse("100-200:3,64,1514", &mix, NULL), 0);
    assert_int_equal(pattern_least(&mix), 64);
    assert_int_equal(pattern_most(&mix), 1514);
}

static void test_one_size(void **state)
{
    struct pattern_sizes sizes = sizes_of("64:7");

    assert_int_equal(sizes.num, 1);
    assert_int_equal(sizes.sizes[0], 64);
    pattern_sizes_destroy(&sizes);
}

static void test_imix(void **state)
{
    struct pattern_sizes sizes = sizes_of("imix");

    assert_int_equal(sizes.num, 12);
    assert_int_equal(count(&sizes, 60), 7);
    assert_int_equal(count(&sizes, 590), 4);
    assert_int_equal(count(&sizes, 1514), 1);
    pattern_sizes_destroy(&sizes);
}

/* Each size of a range comes as often as any other, whatever the weights are. */
static void test_range_with_weight(void **state)
{
    struct pattern_sizes sizes = sizes_of("60-69:3,1000:2");

    assert_int_equal(sizes.num % 50, 0);
    for (uint32_t size = 60; size < 70; size++)
        assert_int_equal(count(&sizes, size), sizes.num * 3 / 50);
    assert_int_equal(count(&sizes, 1000), sizes.num * 2 / 5);
    pattern_sizes_destroy(&sizes);
}

static void test_too_long_a_mix(void **state)
{
    struct shunt_error error = {0};
    struct pattern_sizes sizes;
    struct pattern_mix mix;

    assert_int_equal(pattern_parse("60-60060:7919,100-65100:7907", &mix, &error), 0);
    assert_int_equal(pattern_sizes_create(&mix, &sizes, &error), -EINVAL);
}

/* Each stream is one queue's, and takes its turn. */
static void test_flows_of_queues(void **state)
{
    enum { FLOWS = 10, DESTINATIONS = 3, QUEUES = 4 };
    struct pattern_sizes sizes = sizes_of("60");
    unsigned owner[FLOWS * DESTINATIONS], times[FLOWS * DESTINATIONS] = {0};

    for (uint32_t queue = 0; queue < QUEUES; queue++) {
        uint32_t own_flows = FLOWS / QUEUES + (queue < FLOWS % QUEUES);
        struct pattern pattern;

        assert_true(pattern_init(&pattern, &sizes, FLOWS, DESTINATIONS, queue, QUEUES));
        for (uint32_t i = 0; i < 2 * own_flows * DESTINATIONS; i++) {
            struct pattern_frame frame = pattern_next(&pattern);

            assert_int_equal(frame.stream, frame.flow * DESTINATIONS + frame.destination);
            assert_true(times[frame.stream] == 0 || owner[frame.stream] == queue);
            owner[frame.stream] = queue;
            times[frame.stream]++;
        }
    }
    for (unsigned stream = 0; stream < FLOWS * DESTINATIONS; stream++)
        assert_int_equal(times[stream], 2);
    pattern_sizes_destroy(&sizes);
}

static void test_constant(void **state)
{
    static const struct {
        const char *sizes;
        uint32_t flows, destinations, queues;
        bool is_constant;
    } cases[] = {
        {"60", 1, 1, 1, true},  {"60", 4, 1, 4, true},     {"60", 5, 1, 4, false},
        {"60", 1, 2, 1, false}, {"60,61", 1, 1, 1, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pattern_sizes sizes = sizes_of(cases[i].sizes);
        struct pattern pattern;

        assert_true(pattern_init(&pattern, &sizes, cases[i].flows, cases[i].destinations, 0,
                                 cases[i].queues));
        assert_int_equal(pattern_is_constant(&pattern), cases[i].is_constant);
        pattern_sizes_destroy(&sizes);
    }
}

static void test_queue_without_flow(void **state)
{
    struct pattern_sizes sizes = sizes_of("60");
    struct pattern pattern;

    assert_false(pattern_init(&pattern, &sizes, 2, 1, 2, 4));
    assert_false(pattern_init(&pattern, &sizes, 2, 0, 0, 4));
    pattern_sizes_destroy(&sizes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_sizes),          cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_one_size),           cmocka_unit_test(test_imix),
        cmocka_unit_test(test_range_with_weight),  cmocka_unit_test(test_too_long_a_mix),
        cmocka_unit_test(test_flows_of_queues),    cmocka_unit_test(test_constant),
        cmocka_unit_test(test_queue_without_flow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
