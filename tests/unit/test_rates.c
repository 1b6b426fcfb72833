/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/field.h"
#include "cli/rates.h"

static json_t *sample(const char *json)
{
    json_t *object = json_loads(json, 0, NULL);

    assert_non_null(object);
    return object;
}

/* The rates over two seconds. */
static json_t *rates(const char *before, const char *after)
{
    json_t *old = sample(before), *new = sample(after);
    json_t *result = rates_between(old, new, 2);

    json_decref(old);
    json_decref(new);
    return result;
}

static json_t *port(const json_t *rates, size_t idx)
{
    return json_array_get(json_object_get(rates, "ports"), idx);
}

static void expect(const json_t *object, const char *key, double expected)
{
    assert_float_equal((float)field_real(object, key), (float)expected, 1e-6f);
}

static const char before[] =
    "{\"ports\": [{\"name\": \"a\", \"rx\": {\"packets\": 100, \"bytes\": 1000, \"drops\": {}},"
    "              \"tx\": {\"packets\": 5, \"bytes\": 50, \"drops\": {\"ring-full\": 7}}}],"
    " \"workers\": [{\"id\": 0, \"busy_cycles\": 100, \"idle_cycles\": 100, \"frames\": 10}]}";

static void test_divides_what_has_grown_by_time(void **state)
{
    json_t *result = rates(
        before,
        "{\"ports\": [{\"name\": \"a\", \"bridge\": \"br0\", \"state\": \"up\","
        "              \"rx\": {\"packets\": 300, \"bytes\": 2000, \"drops\": {\"runt\": 2}},"
        "              \"tx\": {\"packets\": 5, \"bytes\": 50, \"drops\": {\"ring-full\": 17}}}],"
        " \"workers\": [{\"id\": 0, \"busy_cycles\": 400, \"idle_cycles\": 200, \"frames\": 30}]}");
    const json_t *rx = json_object_get(port(result, 0), "rx");
    const json_t *worker = json_array_get(json_object_get(result, "workers"), 0);

    expect(rx, "packets", 100);
    expect(rx, "bits", 4000);
    expect(json_object_get(port(result, 0), "tx"), "packets", 0);
    expect(port(result, 0), "drops", 6);
    assert_string_equal(field_text(port(result, 0), "reason"), "ring-full");
    assert_string_equal(field_text(port(result, 0), "bridge"), "br0");
    expect(worker, "busy", 0.75);
    expect(worker, "cycles_per_frame", 15);
    expect(worker, "frames", 10);
    expect(json_object_get(json_object_get(result, "total"), "rx"), "bits", 4000);
    expect(json_object_get(result, "total"), "drops", 6);
    json_decref(result);
}

static void test_counts_what_is_new_from_zero(void **state)
{
    json_t *result = rates(
        before, "{\"ports\": [{\"name\": \"b\", \"rx\": {\"packets\": 8}},"
                "             {\"name\": \"a\", \"rx\": {\"packets\": 4}}], \"workers\": []}");

    expect(json_object_get(port(result, 0), "rx"), "packets", 4);
    /* It was deleted and added again in between. */
    expect(json_object_get(port(result, 1), "rx"), "packets", 2);
    json_decref(result);
}

static void test_tells_nothing_of_an_idle_worker(void **state)
{
    json_t *result = rates(before, before);
    const json_t *worker = json_array_get(json_object_get(result, "workers"), 0);

    expect(worker, "busy", 0);
    assert_true(json_is_null(json_object_get(worker, "cycles_per_frame")));
    assert_string_equal(field_text(port(result, 0), "reason"), "");
    json_decref(result);
}

static void expect_busy(const char *after, double expected)
{
    json_t *result = rates(before, after);

    expect(json_array_get(json_object_get(result, "workers"), 0), "busy", expected);
    json_decref(result);
}

static void test_measures_how_busy_a_worker_is_by_the_clock(void **state)
{
    /* It slept for long before, which it has only counted now. */
    expect_busy("{\"ports\": [], \"workers\": [{\"busy_cycles\": 600, \"idle_cycles\": 99999,"
                " \"cycles_per_second\": 1000}]}",
                0.25);
    /* Both clocks are a little off. */
    expect_busy("{\"ports\": [], \"workers\": [{\"busy_cycles\": 2105, \"idle_cycles\": 100,"
                " \"cycles_per_second\": 1000}]}",
                1);
}

static void expect_order(json_t *rates, enum rates_order order, const char *names)
{
    rates_sort(rates, order);
    for (size_t i = 0; i < 3; i++) {
        const char name[] = {names[i], '\0'};

        assert_string_equal(field_text(port(rates, i), "name"), name);
    }
}

static void test_sorts(void **state)
{
    json_t *result = sample(
        "{\"ports\": ["
        "  {\"name\": \"c\", \"rx\": {\"bits\": 5}, \"tx\": {\"bits\": 2}, \"drops\": 3},"
        "  {\"name\": \"a\", \"rx\": {\"bits\": 1}, \"tx\": {\"bits\": 9}, \"drops\": 0},"
        "  {\"name\": \"b\", \"rx\": {\"bits\": 5}, \"tx\": {\"bits\": 4}, \"drops\": 8}]}");

    expect_order(result, RATES_BY_NAME, "abc");
    expect_order(result, RATES_BY_RX, "bca");
    expect_order(result, RATES_BY_TX, "abc");
    expect_order(result, RATES_BY_DROPS, "bca");
    json_decref(result);
}

static void test_sorts_numbers_in_names(void **state)
{
    json_t *result = sample("{\"ports\": [{\"name\": \"vm10\"}, {\"name\": \"vm9\"}]}");

    rates_sort(result, RATES_BY_NAME);
    assert_string_equal(field_text(port(result, 0), "name"), "vm9");
    json_decref(result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_divides_what_has_grown_by_time),
        cmocka_unit_test(test_counts_what_is_new_from_zero),
        cmocka_unit_test(test_tells_nothing_of_an_idle_worker),
        cmocka_unit_test(test_measures_how_busy_a_worker_is_by_the_clock),
        cmocka_unit_test(test_sorts),
        cmocka_unit_test(test_sorts_numbers_in_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
