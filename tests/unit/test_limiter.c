/* SPDX-License-Identifier: BSD-3-Clause */
/* The limit of a rate, by a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gen/limiter.h"

#define CYCLES_PER_SECOND 2.6e9

/* Frames that are sent within a second, when we look every `step` cycles and send at most `most` at once. */
static uint64_t send_for_a_second(struct limiter *limiter, double from, double step, unsigned most,
                                  uint32_t bytes)
{
    uint64_t num = 0;
    double now = from;

    while (now < from + CYCLES_PER_SECOND) {
        for (unsigned i = 0; i < most && limiter_allows(limiter, now); i++) {
            limiter_spend(limiter, bytes);
            num++;
        }
        now += step;
    }
    return num;
}

static void test_frames_a_second_are_exact(void **state)
{
    static const double rates[] = {1, 7, 1000, 333333, 1e6};
    struct limiter limiter;

    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        uint64_t num;

        limiter_init(&limiter, rates[i], false, 1, CYCLES_PER_SECOND, 0);
        num = send_for_a_second(&limiter, 0, 26000, 64, 60);
        /* What is due behind the last look is not sent any more. */
        assert_in_range(num, (uint64_t)(rates[i] * (1 - 1e-5)), (uint64_t)rates[i] + 1);
    }
}

static void test_bits_a_second_are_exact(void **state)
{
    struct limiter limiter;
    uint64_t num;

    limiter_init(&limiter, 1e9, true, 1, CYCLES_PER_SECOND, 0);
    num = send_for_a_second(&limiter, 0, 26000, 64, 1250);
    assert_in_range(num, 100000, 100001);
}

static void test_who_was_late_catches_up(void **state)
{
    struct limiter limiter;
    uint64_t num;

    limiter_init(&limiter, 1000, false, 1, CYCLES_PER_SECOND, 0);
    num = send_for_a_second(&limiter, 0, 26000, 64, 60);
    /* 50 ms are within the slack. */
    num += send_for_a_second(&limiter, CYCLES_PER_SECOND * 1.05, 26000, 64, 60);
    assert_in_range(num, 2049, 2051);
}

static void test_what_is_older_than_the_slack_is_forgotten(void **state)
{
    struct limiter limiter;
    uint64_t num = 0;

    limiter_init(&limiter, 1000, false, 1, CYCLES_PER_SECOND, 0);
    while (limiter_allows(&limiter, 60 * CYCLES_PER_SECOND)) {
        limiter_spend(&limiter, 60);
        num++;
    }
    assert_in_range(num, (uint64_t)(1000 * LIMITER_SLACK_S),
                    (uint64_t)(1000 * LIMITER_SLACK_S) + 1);
}

static void test_groups_come_whole(void **state)
{
    struct limiter limiter;
    double now = 0;

    limiter_init(&limiter, 1000, false, 8, CYCLES_PER_SECOND, 0);
    for (unsigned group = 0; group < 10; group++) {
        for (unsigned i = 0; i < 8; i++) {
            assert_true(limiter_allows(&limiter, now + 1));
            limiter_spend(&limiter, 60);
        }
        assert_false(limiter_allows(&limiter, now + 7 * CYCLES_PER_SECOND / 1000));
        now += 8 * CYCLES_PER_SECOND / 1000;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_a_second_are_exact),
        cmocka_unit_test(test_bits_a_second_are_exact),
        cmocka_unit_test(test_who_was_late_catches_up),
        cmocka_unit_test(test_what_is_older_than_the_slack_is_forgotten),
        cmocka_unit_test(test_groups_come_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
