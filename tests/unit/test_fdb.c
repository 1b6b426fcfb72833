/* SPDX-License-Identifier: BSD-3-Clause */
/* The forwarding table, with a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/fdb.h"

#define NUM_SLOTS 64u
#define AGEING_S  300u
#define LIMIT     4096u

struct mac {
    uint8_t bytes[6];
};

/* A unicast address, another one for each pair of numbers. */
static struct mac mac_of(unsigned group, unsigned number)
{
    return (struct mac){{0x02, (uint8_t)group, (uint8_t)(number >> 24), (uint8_t)(number >> 16),
                         (uint8_t)(number >> 8), (uint8_t)number}};
}

static int setup(void **state)
{
    struct fdb *fdb = fdb_create(NUM_SLOTS, AGEING_S);

    assert_non_null(fdb);
    for (uint16_t slot = 0; slot < NUM_SLOTS; slot++)
        fdb_set_limit(fdb, slot, LIMIT);
    *state = fdb;
    return 0;
}

static int teardown(void **state)
{
    fdb_destroy(*state);
    return 0;
}

static void learn(struct fdb *fdb, unsigned group, unsigned number, uint16_t slot, uint32_t now_s)
{
    struct mac mac = mac_of(group, number);

    fdb_learn(fdb, mac.bytes, slot, now_s);
}

static uint16_t lookup(struct fdb *fdb, unsigned group, unsigned number, uint32_t now_s)
{
    struct mac mac = mac_of(group, number);

    return fdb_lookup(fdb, mac.bytes, now_s);
}

/* How many of the addresses 0 … num - 1 of the group are known on `slot`. */
static unsigned count_known(struct fdb *fdb, unsigned group, unsigned num, uint16_t slot,
                            uint32_t now_s)
{
    unsigned known = 0;

    for (unsigned i = 0; i < num; i++)
        known += lookup(fdb, group, i, now_s) == slot;
    return known;
}

static void expect_stats(struct fdb *fdb, uint64_t addresses, uint64_t learned, uint64_t moves,
                         uint64_t expired, uint64_t evictions)
{
    struct fdb_stats stats = fdb_stats(fdb);

    assert_int_equal(stats.addresses, addresses);
    assert_int_equal(stats.learned, learned);
    assert_int_equal(stats.moves, moves);
    assert_int_equal(stats.expired, expired);
    assert_int_equal(stats.evictions, evictions);
}

/* --- Learning and looking up ------------------------------------------------------------------------ */

static void test_empty(void **state)
{
    struct fdb *fdb = *state;

    assert_int_equal(lookup(fdb, 0, 0, 0), FDB_NO_SLOT);
    assert_int_equal(fdb_lookup(fdb, (const uint8_t[6]){0}, 0), FDB_NO_SLOT);
    expect_stats(fdb, 0, 0, 0, 0, 0);
    fdb_age(fdb, 1000);
    expect_stats(fdb, 0, 0, 0, 0, 0);
    fdb_destroy(NULL);
}

static void test_learn_and_lookup(void **state)
{
    struct fdb *fdb = *state;

    for (unsigned i = 0; i < 1000; i++)
        learn(fdb, 0, i, (uint16_t)(i % NUM_SLOTS), 10);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(lookup(fdb, 0, i, 10), i % NUM_SLOTS);
    assert_int_equal(lookup(fdb, 0, 1000, 10), FDB_NO_SLOT);
    assert_int_equal(lookup(fdb, 1, 0, 10), FDB_NO_SLOT);
    expect_stats(fdb, 1000, 1000, 0, 0, 0);
    learn(fdb, 0, 5, 5, 10); /* again */
    learn(fdb, 0, 5, 5, 11);
    expect_stats(fdb, 1000, 1000, 0, 0, 0);
}

/* All 48 bits count. */
static void test_addresses_that_differ_in_a_bit(void **state)
{
    struct fdb *fdb = *state;

    for (uint16_t bit = 0; bit < 48; bit++) {
        uint8_t mac[6] = {0x02, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa};

        mac[bit / 8] ^= (uint8_t)(1u << bit % 8);
        fdb_learn(fdb, mac, bit, 10);
        assert_int_equal(fdb_lookup(fdb, mac, 10), mac[0] & 1 ? FDB_NO_SLOT : bit);
    }
    expect_stats(fdb, 47, 47, 0, 0, 0);
    assert_int_equal(fdb_lookup(fdb, (const uint8_t[6]){0x02, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa}, 10),
                     FDB_NO_SLOT);
}

static void test_group_addresses(void **state)
{
    struct fdb *fdb = *state;
    static const uint8_t groups[][6] = {
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
        {0x01, 0x00, 0x5e, 0x00, 0x00, 0x01},
        {0x33, 0x33, 0x00, 0x00, 0x00, 0x01},
        {0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e},
    };

    for (unsigned i = 0; i < 4; i++) {
        fdb_learn(fdb, groups[i], 1, 10);
        assert_int_equal(fdb_lookup(fdb, groups[i], 10), FDB_NO_SLOT);
        assert_int_equal(fdb_add_static(fdb, groups[i], 1, 10), -EINVAL);
    }
    expect_stats(fdb, 0, 0, 0, 0, 0);
}

static void test_moves(void **state)
{
    struct fdb *fdb = *state;

    learn(fdb, 0, 1, 3, 10);
    for (uint16_t slot = 4; slot < 10; slot++) {
        learn(fdb, 0, 1, slot, 10);
        assert_int_equal(lookup(fdb, 0, 1, 10), slot);
    }
    expect_stats(fdb, 1, 1, 6, 0, 0);
    assert_int_equal(fdb_flush(fdb, 3, false), 0);
    assert_int_equal(fdb_flush(fdb, 9, false), 1);
    assert_int_equal(lookup(fdb, 0, 1, 10), FDB_NO_SLOT);
}

/* --- Ageing ----------------------------------------------------------------------------------------- */

static void test_ageing(void **state)
{
    struct fdb *fdb = *state;

    learn(fdb, 0, 1, 3, 1000);
    learn(fdb, 0, 2, 3, 1001);
    assert_int_equal(lookup(fdb, 0, 1, 1000 + AGEING_S), 3);
    assert_int_equal(lookup(fdb, 0, 1, 1000 + AGEING_S + 1), FDB_NO_SLOT);
    assert_int_equal(lookup(fdb, 0, 2, 1000 + AGEING_S + 1), 3);
    fdb_age(fdb, 1000 + AGEING_S);
    expect_stats(fdb, 2, 2, 0, 0, 0);
    fdb_age(fdb, 1000 + AGEING_S + 1);
    expect_stats(fdb, 1, 2, 0, 1, 0);
    fdb_age(fdb, 1000 + AGEING_S + 2);
    expect_stats(fdb, 0, 2, 0, 2, 0);
    assert_int_equal(lookup(fdb, 0, 2, 1001), FDB_NO_SLOT);
}

static void test_being_seen_keeps_alive(void **state)
{
    struct fdb *fdb = *state;

    for (uint32_t now_s = 1000; now_s < 5000; now_s += AGEING_S) {
        learn(fdb, 0, 1, 3, now_s);
        fdb_age(fdb, now_s + AGEING_S);
        assert_int_equal(lookup(fdb, 0, 1, now_s + AGEING_S), 3);
    }
    expect_stats(fdb, 1, 1, 0, 0, 0);
}

/* One that has aged and was not forgotten yet comes back to life by being seen. */
static void test_seen_after_ageing(void **state)
{
    struct fdb *fdb = *state;

    learn(fdb, 0, 1, 3, 1000);
    assert_int_equal(lookup(fdb, 0, 1, 2000), FDB_NO_SLOT);
    learn(fdb, 0, 1, 3, 2000);
    assert_int_equal(lookup(fdb, 0, 1, 2000), 3);
    fdb_age(fdb, 2000);
    expect_stats(fdb, 1, 1, 0, 0, 0);
}

static void test_ageing_is_live(void **state)
{
    struct fdb *fdb = *state;

    assert_int_equal(fdb_ageing(fdb), AGEING_S);
    learn(fdb, 0, 1, 3, 1000);
    fdb_set_ageing(fdb, 10);
    assert_int_equal(fdb_ageing(fdb), 10);
    assert_int_equal(lookup(fdb, 0, 1, 1010), 3);
    assert_int_equal(lookup(fdb, 0, 1, 1011), FDB_NO_SLOT);
    fdb_set_ageing(fdb, 0);
    assert_int_equal(lookup(fdb, 0, 1, 1000 + 2000000000), 3);
    fdb_age(fdb, 1000 + 2000000000);
    expect_stats(fdb, 1, 1, 0, 0, 0);
}

/* Workers read their clocks apart: a step back is no age. The clock itself may wrap. */
static void test_clock_steps_and_wraps(void **state)
{
    struct fdb *fdb = *state;

    learn(fdb, 0, 1, 3, 1000);
    assert_int_equal(lookup(fdb, 0, 1, 990), 3);
    fdb_age(fdb, 990);
    expect_stats(fdb, 1, 1, 0, 0, 0);
    learn(fdb, 0, 2, 3, UINT32_MAX - 5);
    assert_int_equal(lookup(fdb, 0, 2, AGEING_S - 6), 3);
    assert_int_equal(lookup(fdb, 0, 2, AGEING_S - 5), FDB_NO_SLOT);
}

/* --- Static addresses ------------------------------------------------------------------------------- */

static void test_static(void **state)
{
    struct fdb *fdb = *state;
    struct mac mac = mac_of(0, 1);

    assert_int_equal(fdb_add_static(fdb, mac.bytes, 3, 1000), 0);
    learn(fdb, 0, 1, 4, 1001);
    assert_int_equal(lookup(fdb, 0, 1, 1001), 3);
    assert_int_equal(lookup(fdb, 0, 1, 1000 + 10 * AGEING_S), 3);
    fdb_age(fdb, 1000 + 10 * AGEING_S);
    assert_int_equal(fdb_flush(fdb, 3, false), 0);
    assert_int_equal(lookup(fdb, 0, 1, 1001), 3);
    expect_stats(fdb, 1, 0, 0, 0, 0);
    assert_int_equal(fdb_add_static(fdb, mac.bytes, 5, 1000), 0); /* elsewhere */
    assert_int_equal(lookup(fdb, 0, 1, 1001), 5);
    expect_stats(fdb, 1, 0, 0, 0, 0);
    assert_int_equal(fdb_flush(fdb, 3, true), 0);
    assert_int_equal(fdb_flush(fdb, 5, true), 1);
    assert_int_equal(lookup(fdb, 0, 1, 1001), FDB_NO_SLOT);
}

static void test_static_instead_of_learned(void **state)
{
    struct fdb *fdb = *state;
    struct mac mac = mac_of(0, 1);

    learn(fdb, 0, 1, 4, 1000);
    assert_int_equal(fdb_add_static(fdb, mac.bytes, 3, 1000), 0);
    assert_int_equal(lookup(fdb, 0, 1, 9000), 3);
    expect_stats(fdb, 1, 1, 0, 0, 0);
    assert_int_equal(fdb_remove(fdb, mac.bytes), 0);
    assert_int_equal(fdb_remove(fdb, mac.bytes), -ENOENT);
    assert_int_equal(lookup(fdb, 0, 1, 1000), FDB_NO_SLOT);
    learn(fdb, 0, 1, 4, 1000);
    assert_int_equal(lookup(fdb, 0, 1, 1000), 4);
    assert_int_equal(fdb_remove(fdb, mac.bytes), 0);
    expect_stats(fdb, 0, 2, 0, 0, 0);
}

static void test_static_does_not_count_against_the_limit(void **state)
{
    struct fdb *fdb = *state;

    fdb_set_limit(fdb, 3, 10);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(fdb_add_static(fdb, mac_of(1, i).bytes, 3, 1000), 0);
    for (unsigned i = 0; i < 100; i++)
        learn(fdb, 0, i, 3, 1000);
    assert_int_equal(count_known(fdb, 1, 20, 3, 1000), 20);
    assert_int_equal(count_known(fdb, 0, 100, 3, 1000), 10);
    expect_stats(fdb, 30, 100, 0, 0, 90);
    /* One that becomes static makes room for a learned one. */
    assert_int_equal(fdb_add_static(fdb, mac_of(0, 99).bytes, 3, 1000), 0);
    learn(fdb, 0, 100, 3, 1000);
    expect_stats(fdb, 31, 101, 0, 0, 90);
}

/* --- Limits ----------------------------------------------------------------------------------------- */

/* Evicts by one more learn each, and expects them to go in this order. */
static void expect_evicted(struct fdb *fdb, const unsigned *order, unsigned num, uint32_t now_s)
{
    for (unsigned i = 0; i < num; i++) {
        assert_int_equal(lookup(fdb, 0, order[i], now_s), 3);
        learn(fdb, 1, now_s * 1000 + i, 3, now_s);
        assert_int_equal(lookup(fdb, 0, order[i], now_s), FDB_NO_SLOT);
    }
}

static void test_limit_evicts_the_silent_first(void **state)
{
    struct fdb *fdb = *state;
    static const unsigned order[] = {1, 3, 5, 7, 9, 0};

    fdb_set_limit(fdb, 3, 10);
    for (unsigned i = 0; i < 10; i++)
        learn(fdb, 0, i, 3, 1000);
    for (unsigned i = 0; i < 10; i += 2)
        learn(fdb, 0, i, 3, 1001);
    expect_evicted(fdb, order, 6, 1001);
    assert_int_equal(count_known(fdb, 0, 10, 3, 1001), 4);
    expect_stats(fdb, 10, 16, 0, 0, 6);
}

/* All are seen all the time: then the first that was learned goes. */
static void test_limit_with_none_silent(void **state)
{
    struct fdb *fdb = *state;
    static const unsigned order[] = {0, 1, 2, 3, 4};

    fdb_set_limit(fdb, 3, 5);
    for (unsigned i = 0; i < 5; i++)
        learn(fdb, 0, i, 3, 1000);
    for (unsigned i = 0; i < 5; i++)
        learn(fdb, 0, i, 3, 1001);
    expect_evicted(fdb, order, 5, 1001);
}

/* An address that talks every second survives a flood of others that talk once. */
static void test_limit_keeps_who_talks(void **state)
{
    struct fdb *fdb = *state;

    fdb_set_limit(fdb, 3, 10);
    learn(fdb, 0, 0, 3, 1000);
    for (uint32_t now_s = 1001; now_s < 1200; now_s++) {
        learn(fdb, 0, 0, 3, now_s);
        for (unsigned i = 0; i < 9; i++)
            learn(fdb, 1, now_s * 100 + i, 3, now_s);
        assert_int_equal(lookup(fdb, 0, 0, now_s), 3);
    }
    assert_int_equal(fdb_stats(fdb).addresses, 10);
}

static void test_limit_is_each_ports_own(void **state)
{
    struct fdb *fdb = *state;

    fdb_set_limit(fdb, 3, 10);
    fdb_set_limit(fdb, 4, 20);
    for (unsigned i = 0; i < 100; i++) {
        learn(fdb, 3, i, 3, 1000);
        learn(fdb, 4, i, 4, 1000);
    }
    assert_int_equal(count_known(fdb, 3, 100, 3, 1000), 10);
    assert_int_equal(count_known(fdb, 4, 100, 4, 1000), 20);
    /* A move needs room at its new port, and makes room at the old one. */
    learn(fdb, 3, 99, 4, 1000);
    assert_int_equal(count_known(fdb, 4, 100, 4, 1000), 19);
    assert_int_equal(lookup(fdb, 3, 99, 1000), 4);
    learn(fdb, 3, 100, 3, 1000);
    assert_int_equal(count_known(fdb, 3, 101, 3, 1000), 10);
    expect_stats(fdb, 30, 201, 1, 0, 171);
}

static void test_limit_of_none(void **state)
{
    struct fdb *fdb = *state;

    fdb_set_limit(fdb, 3, 0);
    learn(fdb, 0, 1, 3, 1000);
    assert_int_equal(lookup(fdb, 0, 1, 1000), FDB_NO_SLOT);
    learn(fdb, 0, 1, 4, 1000);
    learn(fdb, 0, 1, 3, 1000); /* nor does one move there */
    assert_int_equal(lookup(fdb, 0, 1, 1000), 4);
    assert_int_equal(fdb_add_static(fdb, mac_of(0, 2).bytes, 3, 1000), 0);
    assert_int_equal(lookup(fdb, 0, 2, 1000), 3);
    expect_stats(fdb, 2, 1, 0, 0, 0);
}

static void test_lower_limit(void **state)
{
    struct fdb *fdb = *state;

    for (unsigned i = 0; i < 100; i++)
        learn(fdb, 0, i, 3, 1000 + i);
    learn(fdb, 0, 0, 3, 1200);
    fdb_set_limit(fdb, 3, 10);
    assert_int_equal(count_known(fdb, 0, 100, 3, 1200), 10);
    assert_int_equal(lookup(fdb, 0, 0, 1200), 3); /* seen last */
    for (unsigned i = 91; i < 100; i++)
        assert_int_equal(lookup(fdb, 0, i, 1200), 3);
    expect_stats(fdb, 10, 100, 0, 0, 90);
    fdb_set_limit(fdb, 3, 0);
    expect_stats(fdb, 0, 100, 0, 0, 100);
}

/* --- Fairness --------------------------------------------------------------------------------------- */

/* The thread sanitizer is slow, and has nothing to find where there is one thread. */
#if defined(__SANITIZE_THREAD__)
#define FLOOD 200000u
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FLOOD 200000u
#endif
#endif
#ifndef FLOOD
#define FLOOD 1000000u
#endif

static void flood(struct fdb *fdb, uint16_t slot, uint32_t now_s)
{
    for (unsigned i = 0; i < FLOOD; i++)
        learn(fdb, 0xff, i, slot, now_s);
}

/*
 * Where an address may lie is up to a key that is drawn for each table, so once in a hundred runs of what
 * follows one has to give way to another's.
 */
#define LUCK 3u

/* Addresses that slots 0 … num_slots - 1 have lost of `each` on each. */
static unsigned count_lost(struct fdb *fdb, uint16_t num_slots, unsigned each)
{
    unsigned lost = 0;

    for (uint16_t slot = 0; slot < num_slots; slot++)
        lost += each - count_known(fdb, slot, each, slot, 1000);
    return lost;
}

static void fill(struct fdb *fdb, uint16_t num_slots, unsigned each)
{
    for (unsigned i = 0; i < each; i++)
        for (uint16_t slot = 0; slot < num_slots; slot++)
            learn(fdb, slot, i, slot, 1000);
    expect_stats(fdb, num_slots * each, num_slots * each, 0, 0, 0);
}

/* A guest that sends from a million addresses forgets its own, in a table that is nearly empty … */
static void test_flooder_in_an_empty_table(void **state)
{
    struct fdb *fdb = *state;

    fill(fdb, 10, 1000);
    flood(fdb, 10, 1000);
    assert_int_equal(count_lost(fdb, 10, 1000), 0);
    expect_stats(fdb, 10000 + LIMIT, 10000 + FLOOD, 0, 0, FLOOD - LIMIT);
}

/* … and in one in which there is hardly any place left. */
static void test_flooder_in_a_crowded_table(void **state)
{
    struct fdb *fdb = *state;
    unsigned lost;

    fill(fdb, 30, LIMIT);
    flood(fdb, 30, 1000);
    lost = count_lost(fdb, 30, LIMIT);
    assert_true(lost <= LUCK);
    assert_in_range(fdb_stats(fdb).addresses, 31 * LIMIT - LUCK, 31 * LIMIT);
    assert_in_range(fdb_stats(fdb).evictions, FLOOD - LIMIT + lost, FLOOD - LIMIT + LUCK);
}

/* With no limit of its own, it has what the others leave of the table. */
static void test_flooder_in_a_full_table(void **state)
{
    struct fdb *fdb = *state;

    fill(fdb, 20, LIMIT);
    fdb_set_limit(fdb, 20, UINT32_MAX);
    flood(fdb, 20, 1000);
    assert_true(count_lost(fdb, 20, LIMIT) <= LUCK);
    assert_in_range(fdb_stats(fdb).addresses, FDB_MAX_ADDRESSES - LUCK, FDB_MAX_ADDRESSES);
    /* A newcomer gets its place from who has the most. */
    for (unsigned i = 0; i < 1000; i++)
        learn(fdb, 21, i, 21, 1000);
    assert_in_range(count_known(fdb, 21, 1000, 21, 1000), 1000 - LUCK, 1000);
    assert_true(count_lost(fdb, 20, LIMIT) <= LUCK);
    assert_in_range(fdb_stats(fdb).addresses, FDB_MAX_ADDRESSES - LUCK, FDB_MAX_ADDRESSES);
    assert_in_range(fdb_flush(fdb, 20, false), FDB_MAX_ADDRESSES - 20 * LIMIT - 1000 - LUCK,
                    FDB_MAX_ADDRESSES - 20 * LIMIT - 1000 + LUCK);
    assert_in_range(fdb_stats(fdb).addresses, 20 * LIMIT + 1000 - LUCK, 20 * LIMIT + 1000);
}

/* Addresses make place for others in the buckets, and stay where they are in the lists of their ports. */
static void test_lists_of_a_crowded_table(void **state)
{
    struct fdb *fdb = fdb_create(4096, AGEING_S);
    unsigned lost = 0;

    assert_non_null(fdb);
    for (unsigned i = 0; i < 30; i++) {
        for (uint16_t slot = 0; slot < 4096; slot++) {
            fdb_set_limit(fdb, slot, 30);
            learn(fdb, slot >> 8, i << 8 | (slot & 0xff), slot, 1000 + i);
        }
    }
    assert_in_range(fdb_stats(fdb).addresses, 30 * 4096 - LUCK, 30 * 4096);
    /* The oldest is the first of its list: it goes when another one comes. */
    for (uint16_t slot = 0; slot < 4096; slot++) {
        learn(fdb, slot >> 8, 30 << 8 | (slot & 0xff), slot, 1030);
        lost += lookup(fdb, slot >> 8, slot & 0xff, 1030) == slot;
        lost += lookup(fdb, slot >> 8, 1 << 8 | (slot & 0xff), 1030) != slot;
    }
    assert_true(lost <= 2 * LUCK);
    for (uint16_t slot = 0; slot < 4096; slot++)
        lost += 30 - fdb_flush(fdb, slot, true);
    assert_true(lost <= 3 * LUCK);
    assert_int_equal(fdb_stats(fdb).addresses, 0);
    fdb_destroy(fdb);
}

/* Whoever administers may put more into the table than learning would. */
static void test_static_in_a_full_table(void **state)
{
    struct fdb *fdb = *state;
    unsigned num = 0;

    fdb_set_limit(fdb, 20, UINT32_MAX);
    flood(fdb, 20, 1000);
    while (num < FDB_MAX_ADDRESSES)
        assert_int_equal(fdb_add_static(fdb, mac_of(1, num++).bytes, 1, 1000), 0);
    assert_int_equal(fdb_stats(fdb).addresses, FDB_MAX_ADDRESSES);
    assert_int_equal(fdb_flush(fdb, 20, false), 0);
    /* Twice as many is what it can hold at the very most. */
    while (num < 3 * FDB_MAX_ADDRESSES && fdb_add_static(fdb, mac_of(1, num).bytes, 1, 1000) == 0)
        num++;
    assert_true(num <= 2 * FDB_MAX_ADDRESSES);
    assert_int_equal(fdb_add_static(fdb, mac_of(1, num).bytes, 1, 1000), -ENOSPC);
    assert_int_equal(fdb_stats(fdb).addresses, num);
    assert_int_equal(count_known(fdb, 1, num, 1, 1000), num);
    assert_int_equal(fdb_flush(fdb, 1, true), num);
    assert_int_equal(fdb_stats(fdb).addresses, 0);
}

/* --- Flushing and walking --------------------------------------------------------------------------- */

static void test_flush(void **state)
{
    struct fdb *fdb = *state;

    for (unsigned i = 0; i < 100; i++) {
        learn(fdb, 3, i, 3, 1000);
        learn(fdb, 4, i, 4, 1000);
    }
    assert_int_equal(fdb_add_static(fdb, mac_of(5, 0).bytes, 3, 1000), 0);
    assert_int_equal(fdb_flush(fdb, 3, false), 100);
    assert_int_equal(fdb_flush(fdb, 3, false), 0);
    assert_int_equal(count_known(fdb, 3, 100, 3, 1000), 0);
    assert_int_equal(count_known(fdb, 4, 100, 4, 1000), 100);
    assert_int_equal(lookup(fdb, 5, 0, 1000), 3);
    assert_int_equal(fdb_flush(fdb, 3, true), 1);
    assert_int_equal(lookup(fdb, 5, 0, 1000), FDB_NO_SLOT);
    expect_stats(fdb, 100, 200, 0, 0, 0);
    /* The limit was made room in, too. */
    for (unsigned i = 0; i < LIMIT; i++)
        learn(fdb, 3, i, 3, 1000);
    expect_stats(fdb, 100 + LIMIT, 200 + LIMIT, 0, 0, 0);
}

struct seen {
    unsigned num;
    unsigned times[100];
};

/* Address n was learned on slot n % 7 at second 1000 + n; each tenth is static. */
static void on_address(void *ctx, const struct fdb_address *address)
{
    struct seen *seen = ctx;
    unsigned n = address->mac[5];
    struct mac mac = mac_of(9, n);

    assert_true(n < 100);
    assert_memory_equal(address->mac, mac.bytes, 6);
    assert_int_equal(address->slot, n % 7);
    assert_int_equal(address->is_static, n % 10 == 0);
    assert_int_equal(address->age_s, n % 10 == 0 || n > 50 ? 0 : 50 - n);
    seen->num++;
    seen->times[n]++;
}

static void test_walk(void **state)
{
    struct fdb *fdb = *state;
    struct seen seen = {0};

    for (unsigned i = 0; i < 100; i++) {
        if (i % 10 == 0)
            assert_int_equal(fdb_add_static(fdb, mac_of(9, i).bytes, (uint16_t)(i % 7), 1000), 0);
        else
            learn(fdb, 9, i, (uint16_t)(i % 7), 1000 + i);
    }
    fdb_walk(fdb, 1050, on_address, &seen);
    assert_int_equal(seen.num, 100);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(seen.times[i], 1);
}

/* --- Against a simple model ------------------------------------------------------------------------- */

#define MODEL_ADDRESSES 500u

struct model {
    uint16_t slot; /* FDB_NO_SLOT: unknown */
    bool is_static;
    uint32_t seen_s;
};

/* One random thing is done to both. */
static void do_anything(struct fdb *fdb, struct model *model, uint32_t now_s)
{
    unsigned n = (unsigned)rand() % MODEL_ADDRESSES, removed = 0;
    uint16_t slot = (uint16_t)(rand() % 5);
    struct mac mac = mac_of(0, n);
    int what = rand() % 100;

    if (what < 90) {
        fdb_learn(fdb, mac.bytes, slot, now_s);
        if (!model[n].is_static)
            model[n] = (struct model){slot, false, now_s};
    } else if (what < 94) {
        assert_int_equal(fdb_add_static(fdb, mac.bytes, slot, now_s), 0);
        model[n] = (struct model){slot, true, now_s};
    } else if (what < 98) {
        assert_int_equal(fdb_remove(fdb, mac.bytes), model[n].slot == FDB_NO_SLOT ? -ENOENT : 0);
        model[n] = (struct model){FDB_NO_SLOT, false, 0};
    } else {
        for (unsigned i = 0; i < MODEL_ADDRESSES; i++) {
            if (model[i].slot == slot && (what == 99 || !model[i].is_static)) {
                model[i] = (struct model){FDB_NO_SLOT, false, 0};
                removed++;
            }
        }
        assert_int_equal(fdb_flush(fdb, slot, what == 99), removed);
    }
}

static void test_model(void **state)
{
    struct fdb *fdb = *state;
    struct model model[MODEL_ADDRESSES];
    uint32_t now_s = 1000;

    srand(23);
    for (unsigned i = 0; i < MODEL_ADDRESSES; i++)
        model[i] = (struct model){FDB_NO_SLOT, false, 0};
    for (unsigned round = 0; round < 1000; round++) {
        unsigned num = 0;

        for (unsigned i = 0; i < 100; i++)
            do_anything(fdb, model, now_s);
        now_s += (uint32_t)rand() % 60;
        fdb_age(fdb, now_s);
        for (unsigned i = 0; i < MODEL_ADDRESSES; i++) {
            if (!model[i].is_static && now_s - model[i].seen_s > AGEING_S)
                model[i].slot = FDB_NO_SLOT;
            assert_int_equal(lookup(fdb, 0, i, now_s), model[i].slot);
            num += model[i].slot != FDB_NO_SLOT;
        }
        assert_int_equal(fdb_stats(fdb).addresses, num);
    }
}

/* --- Many threads ----------------------------------------------------------------------------------- */

#define NUM_THREADS      2u
#define ROUNDS           60000u
#define SHARED_ADDRESSES 2000u

struct worker {
    struct fdb *fdb;
    unsigned number;
    unsigned num_wrong, num_found;
    uint32_t seed;
    pthread_t thread;
};

static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* Address n is only ever seen on slots n % 8 and n % 8 + 8: a lookup may find nothing else. */
static void *run(void *ctx)
{
    struct worker *worker = ctx;

    for (unsigned i = 0; i < ROUNDS; i++) {
        uint32_t now_s = 1000 + i / 100;
        unsigned n = next_random(&worker->seed) % SHARED_ADDRESSES;
        unsigned other = next_random(&worker->seed) % SHARED_ADDRESSES;
        bool is_away = next_random(&worker->seed) % 16 == 0;
        uint16_t slot;

        learn(worker->fdb, 1, n, (uint16_t)(n % 8 + (is_away ? 8 : 0)), now_s);
        slot = lookup(worker->fdb, 1, other, now_s);
        worker->num_found += slot != FDB_NO_SLOT;
        worker->num_wrong += slot != FDB_NO_SLOT && slot % 8 != other % 8;
    }
    return NULL;
}

static void count_address(void *ctx, const struct fdb_address *address)
{
    unsigned *num = ctx;

    (void)address;
    ++*num;
}

/* What control does meanwhile. */
static void interfere(struct fdb *fdb, unsigned round)
{
    unsigned num = 0;

    fdb_age(fdb, 1000 + round);
    fdb_walk(fdb, 1000 + round, count_address, &num);
    assert_true(num <= SHARED_ADDRESSES);
    fdb_flush(fdb, (uint16_t)(round % 16), true);
    fdb_add_static(fdb, mac_of(1, round % SHARED_ADDRESSES).bytes,
                   (uint16_t)(round % SHARED_ADDRESSES % 8), 1000 + round);
    fdb_set_limit(fdb, (uint16_t)(round % 8), round % 3 == 0 ? 100 : LIMIT);
    fdb_remove(fdb, mac_of(1, round * 7 % SHARED_ADDRESSES).bytes);
    assert_true(fdb_stats(fdb).addresses <= SHARED_ADDRESSES);
}

static void test_threads(void **state)
{
    struct fdb *fdb = *state;
    struct worker workers[NUM_THREADS];
    unsigned num = 0;

    for (unsigned i = 0; i < NUM_THREADS; i++) {
        workers[i] = (struct worker){.fdb = fdb, .number = i, .seed = 12345 + i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
    }
    for (unsigned round = 0; round < 300; round++)
        interfere(fdb, round);
    for (unsigned i = 0; i < NUM_THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_int_equal(workers[i].num_wrong, 0);
        assert_true(workers[i].num_found > ROUNDS / 10);
    }
    /* Lists, counts and buckets still agree. */
    fdb_walk(fdb, 1000, count_address, &num);
    assert_int_equal(num, fdb_stats(fdb).addresses);
    for (uint16_t slot = 0; slot < NUM_SLOTS; slot++)
        num -= fdb_flush(fdb, slot, true);
    assert_int_equal(num, 0);
    expect_stats(fdb, 0, fdb_stats(fdb).learned, fdb_stats(fdb).moves, fdb_stats(fdb).expired,
                 fdb_stats(fdb).evictions);
    for (unsigned i = 0; i < SHARED_ADDRESSES; i++)
        assert_int_equal(lookup(fdb, 1, i, 1000), FDB_NO_SLOT);
}

/* Reads what is always there. */
static void *run_reader(void *ctx)
{
    struct worker *worker = ctx;

    for (unsigned i = 0; i < ROUNDS; i++) {
        uint16_t group = (uint16_t)(next_random(&worker->seed) % 30);
        uint16_t slot = lookup(worker->fdb, group, next_random(&worker->seed) % LIMIT, 1000);

        worker->num_found += slot == group;
        worker->num_wrong += slot != group && slot != FDB_NO_SLOT;
    }
    return NULL;
}

/* Places change under the readers' eyes: they find the right thing, or nothing for a moment. */
static void test_threads_in_a_crowded_table(void **state)
{
    struct fdb *fdb = *state;
    struct worker reader = {.fdb = fdb, .seed = 77};

    fill(fdb, 30, LIMIT);
    assert_int_equal(pthread_create(&reader.thread, NULL, run_reader, &reader), 0);
    for (unsigned i = 0; i < 5 * ROUNDS; i++)
        learn(fdb, 0xff, i, 30, 1000);
    assert_int_equal(pthread_join(reader.thread, NULL), 0);
    assert_int_equal(reader.num_wrong, 0);
    assert_in_range(reader.num_found, ROUNDS - ROUNDS / 1000, ROUNDS);
    assert_true(count_lost(fdb, 30, LIMIT) <= LUCK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_empty),
        TEST(test_learn_and_lookup),
        TEST(test_addresses_that_differ_in_a_bit),
        TEST(test_group_addresses),
        TEST(test_moves),
        TEST(test_ageing),
        TEST(test_being_seen_keeps_alive),
        TEST(test_seen_after_ageing),
        TEST(test_ageing_is_live),
        TEST(test_clock_steps_and_wraps),
        TEST(test_static),
        TEST(test_static_instead_of_learned),
        TEST(test_static_does_not_count_against_the_limit),
        TEST(test_limit_evicts_the_silent_first),
        TEST(test_limit_with_none_silent),
        TEST(test_limit_keeps_who_talks),
        TEST(test_limit_is_each_ports_own),
        TEST(test_limit_of_none),
        TEST(test_lower_limit),
        TEST(test_flooder_in_an_empty_table),
        TEST(test_flooder_in_a_crowded_table),
        TEST(test_flooder_in_a_full_table),
        cmocka_unit_test(test_lists_of_a_crowded_table),
        TEST(test_static_in_a_full_table),
        TEST(test_flush),
        TEST(test_walk),
        TEST(test_model),
        TEST(test_threads),
        TEST(test_threads_in_a_crowded_table),
    };

    return cmocka_run_group_tests_name("fdb", tests, NULL, NULL);
}
