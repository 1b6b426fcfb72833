/* SPDX-License-Identifier: BSD-3-Clause */
/* The histogram: quantiles against sorted values, precision, extremes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gen/histogram.h"

static struct histogram histogram;

static int set_up(void **state)
{
    memset(&histogram, 0, sizeof(histogram));
    return 0;
}

static void test_empty(void **state)
{
    assert_int_equal(histogram_quantile(&histogram, 0.5), 0);
    assert_float_equal((float)histogram_mean(&histogram), 0, 0);
}

static void test_small_values_are_exact(void **state)
{
    for (uint64_t value = 1; value <= 50; value++)
        histogram_add(&histogram, value);
    assert_int_equal(histogram_quantile(&histogram, 0.5), 25);
    assert_int_equal(histogram_quantile(&histogram, 0.9), 45);
    assert_int_equal(histogram_quantile(&histogram, 1), 50);
    assert_int_equal(histogram_quantile(&histogram, 0), 1);
    assert_float_equal((float)histogram_mean(&histogram), 25.5f, 0.001f);
}

/* Buckets follow one another without gap, over all 64 bits. */
static void test_buckets(void **state)
{
    unsigned last = 0;

    for (uint64_t value = 0; value < 100000; value++) {
        unsigned bucket = histogram_bucket(value);

        assert_in_range(bucket, last, last + 1);
        last = bucket;
    }
    for (unsigned bit = 17; bit < 64; bit++)
        assert_int_equal(histogram_bucket(UINT64_C(1) << bit),
                         histogram_bucket((UINT64_C(1) << bit) - 1) + 1);
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static int compare(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

    return (one > other) - (one < other);
}

static void test_quantiles_of_random_values(void **state)
{
    enum { NUM = 10000 };
    static const double parts[] = {0.01, 0.5, 0.9, 0.99, 0.999, 1};
    static uint64_t values[NUM];
    uint64_t random = 88172645463325252;

    for (unsigned i = 0; i < NUM; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        values[i] = random >> (4 + random % 56);
        histogram_add(&histogram, values[i]);
    }
    qsort(values, NUM, sizeof(values[0]), compare);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        uint64_t expected = values[(size_t)(parts[i] * NUM + 0.5) - 1];
        uint64_t found = histogram_quantile(&histogram, parts[i]);

        assert_in_range(found, expected, expected + expected / HISTOGRAM_STEPS);
    }
    assert_int_equal(histogram.max, values[NUM - 1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_empty, set_up),
        cmocka_unit_test_setup(test_small_values_are_exact, set_up),
        cmocka_unit_test_setup(test_buckets, set_up),
        cmocka_unit_test_setup(test_quantiles_of_random_values, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
