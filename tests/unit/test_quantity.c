/* SPDX-License-Identifier: BSD-3-Clause */
/* Quantities on the command line of shunt-gen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gen/quantity.h"

static void test_counts(void **state)
{
    static const struct {
        const char *text;
        uint64_t count;
    } good[] = {{"0", 0}, {"1", 1}, {"64k", 64000}, {"1.5M", 1500000}, {"2G", 2000000000}};
    static const char *const bad[] = {"",    "-1",  "1.5",  "k",    "1kk",
                                      "1 k", "inf", "0x10", "1e99", "1bit"};
    uint64_t count = 7;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(quantity_count(bad[i], &count));
    assert_int_equal(count, 7);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(quantity_count(good[i].text, &count));
        assert_int_equal(count, good[i].count);
    }
}

static void test_rates(void **state)
{
    static const struct {
        const char *text;
        double rate;
        bool is_in_bits;
    } good[] = {{"1000", 1e3, false},
                {"1.5Mpps", 1.5e6, false},
                {"0.5", 0.5, false},
                {"10Gbit", 1e10, true},
                {"64kbit/s", 64e3, true}};
    static const char *const bad[] = {"0", "-5", "fast", "10Gb", "10G bit", "1Mppss"};
    double rate;
    bool is_in_bits;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(quantity_rate(bad[i], &rate, &is_in_bits));
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(quantity_rate(good[i].text, &rate, &is_in_bits));
        assert_float_equal((float)rate, (float)good[i].rate, 0);
        assert_int_equal(is_in_bits, good[i].is_in_bits);
    }
}

static void test_seconds(void **state)
{
    static const struct {
        const char *text;
        float seconds;
    } good[] = {{"10", 10}, {"1.5s", 1.5f}, {"500ms", 0.5f}, {"2min", 120}, {"1h", 3600}, {"0", 0}};
    static const char *const bad[] = {"", "s", "-1", "1m", "1 s", "nan"};
    double seconds;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(quantity_seconds(bad[i], &seconds));
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(quantity_seconds(good[i].text, &seconds));
        assert_float_equal((float)seconds, good[i].seconds, 0.0001f);
    }
}

static void test_numbers(void **state)
{
    unsigned number = 7;

    assert_false(quantity_number("", 0, 10, &number));
    assert_false(quantity_number("11", 0, 10, &number));
    assert_false(quantity_number("1", 2, 10, &number));
    assert_false(quantity_number("+5", 2, 10, &number));
    assert_false(quantity_number("5x", 2, 10, &number));
    assert_false(quantity_number("99999999999999999999999", 2, 10, &number));
    assert_int_equal(number, 7);
    assert_true(quantity_number("10", 2, 10, &number));
    assert_int_equal(number, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_seconds),
        cmocka_unit_test(test_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
