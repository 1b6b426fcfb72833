/* SPDX-License-Identifier: BSD-3-Clause */
/* A guest whose driver breaks the rules of the ring: it stops its own port, and nobody else's. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "socket/frame.h"
#include "socket/hostile.h"

#define TRANSMITQ  1
#define RECEIVEQ   0
#define NEXT       DESCRIPTOR_F_NEXT
#define WRITE      DESCRIPTOR_F_WRITE
#define INDIRECT   DESCRIPTOR_F_INDIRECT
#define TABLE_SIZE 4

static const struct guest_config with_indirect = {
    .features = GUEST_F_MODERN | GUEST_F_INDIRECT | GUEST_F_EVENT_IDX,
    .num_pairs = 1,
    .ring_size = 64,
    .rx_bytes = 4096,
};

static uint64_t memory_end(const struct driver *driver)
{
    return driver->area.guest_addr + driver->area.size;
}

/* Some good place of 64 KiB. */
static uint64_t somewhere(const struct driver *driver)
{
    return memory_end(driver) - 0x10000;
}

static void offer(struct driver *driver, uint16_t head)
{
    ring_offer(&driver->rings[TRANSMITQ], head);
    ring_publish(&driver->rings[TRANSMITQ]);
    driver_kick(driver, TRANSMITQ);
}

/* A chain of one descriptor that the driver makes up. */
static void offer_descriptor(struct driver *driver, uint64_t addr, uint32_t len, uint16_t flags,
                             uint16_t next)
{
    ring_set_descriptor(&driver->rings[TRANSMITQ], 0, addr, len, flags, next);
    offer(driver, 0);
}

/* --- Indices ---------------------------------------------------------------------------------------- */

static void test_available_index(void **state)
{
    struct hostile *hostile = *state;
    static const uint16_t steps[] = {257, 32768, 65535};

    for (unsigned i = 0; i < 3; i++) {
        struct driver *driver = hostile_attach(hostile);
        struct ring *ring = &driver->rings[TRANSMITQ];

        ring_set_available_idx(ring, (uint16_t)(ring->next_available + steps[i]));
        driver_kick(driver, TRANSMITQ);
        hostile_assert_broken(hostile, "available index");
    }
}

static void test_head(void **state)
{
    static const uint16_t heads[] = {256, 257, 65535};

    for (unsigned i = 0; i < 3; i++) {
        offer(hostile_attach(*state), heads[i]);
        hostile_assert_broken(*state, "names a descriptor beyond the ring");
    }
}

static void test_next(void **state)
{
    struct driver *driver = hostile_attach(*state);

    offer_descriptor(driver, somewhere(driver), 100, NEXT, 256);
    hostile_assert_broken(*state, "next lies beyond its table");
}

static void test_loop(void **state)
{
    struct driver *driver = hostile_attach(*state);

    offer_descriptor(driver, somewhere(driver), 1, NEXT, 0);
    hostile_assert_broken(*state, "a loop");
    ring_set_descriptor(&driver->rings[TRANSMITQ], 1, somewhere(driver), 1, NEXT, 0);
    offer_descriptor(driver, somewhere(driver), 1, NEXT, 1);
    hostile_assert_broken(*state, "a loop");
}

/* --- Buffers ---------------------------------------------------------------------------------------- */

static void test_zero_length(void **state)
{
    struct driver *driver = hostile_attach(*state);

    offer_descriptor(driver, somewhere(driver), 0, 0, 0);
    hostile_assert_broken(*state, "has length 0");
}

static void test_unmapped(void **state)
{
    struct driver *driver = hostile_attach(*state);
    uint64_t end = memory_end(driver);
    const struct {
        uint64_t addr;
        uint32_t len;
    } buffers[] = {
        {0, 100},
        {end, 1},
        {end - 10, 11},
        {end - 10, UINT32_MAX},
        {DRIVER_GUEST_ADDR - 1, 2},
        {DRIVER_USER_ADDR, 100},
        {UINT64_MAX, 1},
        {UINT64_MAX - 10, 100},
    };

    for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++) {
        offer_descriptor(driver, buffers[i].addr, buffers[i].len, 0, 0);
        hostile_assert_broken(*state, "outside of guest memory");
    }
}

/* All of the memory, so often that the sum of lengths wraps. */
static void test_huge_chain(void **state)
{
    struct driver *driver = hostile_attach(*state);

    for (uint16_t i = 0; i < 256; i++)
        ring_set_descriptor(&driver->rings[TRANSMITQ], i, DRIVER_GUEST_ADDR,
                            (uint32_t)driver->area.size, i < 255 ? NEXT : 0, (uint16_t)(i + 1));
    offer(driver, 0);
    hostile_assert_broken(*state, "4 GiB");
}

/* As long as may be, and far too long for a frame. */
static void test_long_chain(void **state)
{
    struct hostile *hostile = *state;
    struct driver *driver = hostile_attach(hostile);

    for (uint16_t i = 0; i < 256; i++)
        ring_set_descriptor(&driver->rings[TRANSMITQ], i, somewhere(driver), 1000,
                            i < 255 ? NEXT : 0, (uint16_t)(i + 1));
    for (unsigned i = 0; i < 100; i++)
        offer(driver, 0);
    lab_wait_counter(hostile->lab, "evil", "rx", "oversize", 100);
    guest_reset(&hostile->evil);
    hostile_assert_unharmed(hostile);
}

static void test_readable_after_writable(void **state)
{
    struct driver *driver = hostile_attach(*state);

    ring_set_descriptor(&driver->rings[TRANSMITQ], 1, somewhere(driver), 100, 0, 0);
    offer_descriptor(driver, somewhere(driver), 100, NEXT | WRITE, 1);
    hostile_assert_broken(*state, "a readable buffer follows a writable one");
}

/* --- Indirect tables -------------------------------------------------------------------------------- */

/* A table that lies in one chain with good descriptors, and is itself not good. */
static void offer_table(struct hostile *hostile, const struct split_descriptor *table, uint32_t len,
                        const char *reason)
{
    struct driver *driver = &hostile->evil.driver;
    uint8_t *there = area_at(&driver->area, somewhere(driver));

    memcpy(there, table, TABLE_SIZE * sizeof(*table));
    offer_descriptor(driver, somewhere(driver), len, INDIRECT, 0);
    hostile_assert_broken(hostile, reason);
}

static void test_indirect(void **state)
{
    struct driver *driver = hostile_attach_as(*state, &with_indirect);
    uint64_t good = somewhere(driver) + 4096;
    struct split_descriptor table[TABLE_SIZE] = {{.addr = good, .len = 100}};

    offer_table(*state, table, 0, "no multiple of 16");
    offer_table(*state, table, 15, "no multiple of 16");
    offer_table(*state, table, 17, "no multiple of 16");
    offer_table(*state, table, UINT32_MAX, "no multiple of 16");
    table[0].flags = INDIRECT;
    offer_table(*state, table, 16, "inside an indirect table");
    table[0].flags = NEXT;
    table[0].next = 4;
    offer_table(*state, table, 64, "next lies beyond its table");
    table[0].next = 0;
    offer_table(*state, table, 64, "a loop");
    table[0] = (struct split_descriptor){.addr = 1, .len = 100};
    offer_table(*state, table, 16, "outside of guest memory");
    table[0] = (struct split_descriptor){.addr = good};
    offer_table(*state, table, 16, "has length 0");
}

static void test_indirect_table_elsewhere(void **state)
{
    struct driver *driver = hostile_attach_as(*state, &with_indirect);
    uint64_t end = memory_end(driver);

    offer_descriptor(driver, 0, 16, INDIRECT, 0);
    hostile_assert_broken(*state, "outside of guest memory");
    offer_descriptor(driver, end - 8, 16, INDIRECT, 0);
    hostile_assert_broken(*state, "outside of guest memory");
    offer_descriptor(driver, UINT64_MAX - 15, 32, INDIRECT, 0);
    hostile_assert_broken(*state, "outside of guest memory");
    offer_descriptor(driver, somewhere(driver), 16, INDIRECT | NEXT, 1);
    hostile_assert_broken(*state, "indirect");
}

static void test_indirect_not_negotiated(void **state)
{
    struct driver *driver = hostile_attach(*state);

    offer_descriptor(driver, somewhere(driver), 16, INDIRECT, 0);
    hostile_assert_broken(*state, "without INDIRECT_DESC");
}

/* --- Frames ----------------------------------------------------------------------------------------- */

/* Chains that hold no frame are dropped one by one, and returned. */
static void test_runts(void **state)
{
    struct hostile *hostile = *state;
    struct driver *driver = hostile_attach(hostile);

    for (uint32_t len = 1; len < 26; len++)
        offer_descriptor(driver, somewhere(driver), len, 0, 0);
    lab_wait_counter(hostile->lab, "evil", "rx", "runt", 25);
    offer_descriptor(driver, somewhere(driver), 1000, WRITE, 0);
    lab_wait_counter(hostile->lab, "evil", "rx", "runt", 26);
    assert_int_equal(ring_num_used(&driver->rings[TRANSMITQ]), 26);
    guest_reset(&hostile->evil);
    hostile_assert_unharmed(hostile);
}

/* No offload was negotiated, so none may be asked for. */
static void test_offloads(void **state)
{
    static const uint8_t headers[][2] = {{1, 0},    {0, 1},    {0, 4},
                                         {0, 0x80}, {0, 0xff}, {0xff, 0xff}};
    struct hostile *hostile = *state;
    struct driver *driver = hostile_attach(hostile);
    uint8_t *header = area_at(&driver->area, somewhere(driver));

    for (unsigned i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        memcpy(header, headers[i], 2);
        offer_descriptor(driver, somewhere(driver), 1000, 0, 0);
        lab_wait_counter(hostile->lab, "evil", "rx", "bad-offload", i + 1);
    }
    guest_reset(&hostile->evil);
    hostile_assert_unharmed(hostile);
}

/* --- Receive buffers -------------------------------------------------------------------------------- */

/* Another guest whose broadcasts go to the hostile one's buffers. */
static void shower(struct hostile *hostile, uint32_t len)
{
    static uint8_t frame[FRAME_BYTES];
    struct guest friend;

    lab_add_port(hostile->lab, "friend", 1);
    guest_create(&friend, &guest_modern);
    guest_attach(&friend, hostile->lab, "friend");
    frame_fill(frame, len, frame_broadcast, friend.mac, 0);
    for (unsigned i = 0; i < 64; i++)
        guest_must_send(&friend, 0, frame, len);
    guest_wait_sent(&friend, 0);
    guest_destroy(&friend);
    lab_assert_balance(hostile->lab);
    lab_control(hostile->lab, "port del friend");
    hostile->has_deleted = true;
}

static void test_receive_buffer_not_writable(void **state)
{
    struct hostile *hostile = *state;
    struct driver *driver = hostile_attach(hostile);

    for (uint16_t i = 0; i < 256; i++)
        driver->rings[RECEIVEQ].descriptors[i].flags = 0;
    shower(hostile, 100);
    hostile_assert_broken(hostile, "may not write to");
}

static void test_receive_buffer_unmapped(void **state)
{
    struct hostile *hostile = *state;
    struct driver *driver = hostile_attach(hostile);

    for (uint16_t i = 0; i < 256; i++)
        driver->rings[RECEIVEQ].descriptors[i].addr = memory_end(driver) - 100;
    shower(hostile, 1000);
    hostile_assert_broken(hostile, "outside of guest memory");
}

/* Mergeable buffers of a byte each: a frame of 1,000 does not fit into all of them. */
static void test_receive_buffers_of_a_byte(void **state)
{
    struct hostile *hostile = *state;
    struct driver *driver = hostile_attach(hostile);

    for (uint16_t i = 0; i < 256; i++)
        driver->rings[RECEIVEQ].descriptors[i].len = 1;
    shower(hostile, 1000);
    lab_wait_counter(hostile->lab, "evil", "tx", "no-buffers", 64);
    hostile_assert_unharmed(hostile);
}

/* --- Changes while the device looks ----------------------------------------------------------------- */

struct scribbler {
    struct driver *driver;
    uint64_t good;
    atomic_bool is_ending;
};

/* Changes all that the device reads, all the time. */
static void *scribble(void *ctx)
{
    struct scribbler *scribbler = ctx;
    struct ring *ring = &scribbler->driver->rings[TRANSMITQ];
    uint32_t seed = 1;

    while (!atomic_load(&scribbler->is_ending)) {
        volatile struct split_descriptor *descriptor;

        seed = seed * 1664525u + 1013904223u;
        descriptor = &ring->descriptors[seed >> 8 & 63];
        descriptor->addr = seed & 1 ? scribbler->good : scribbler->good - 20;
        descriptor->len = seed & 2 ? 65536 : seed >> 16;
        descriptor->flags = (uint16_t)(seed >> 20 & (seed & 0x10000 ? 7 : 0));
        descriptor->next = (uint16_t)(seed >> 25);
    }
    return NULL;
}

/* Whatever it comes to, it comes to it alone; most rounds end in a broken queue. */
static void test_scribbling(void **state)
{
    struct hostile *hostile = *state;

    for (unsigned round = 0; round < 10; round++) {
        struct scribbler scribbler = {.driver = hostile_attach_as(hostile, &with_indirect)};
        pthread_t thread;

        scribbler.good = memory_end(scribbler.driver) - 65536;
        pthread_create(&thread, NULL, scribble, &scribbler);
        for (unsigned i = 0; i < 2000; i++)
            offer(scribbler.driver, (uint16_t)(i % 64));
        hostile_assert_others_go_on(hostile);
        atomic_store(&scribbler.is_ending, true);
        pthread_join(thread, NULL);
    }
}

/*
 * Sources without number: the table has its bounds, and the addresses of others stay in it. The frames go
 * nowhere: a flood would fill the rings of the others, as any guest may do.
 */
static void test_many_addresses(void **state)
{
    static const uint8_t link_local[6] = {0x01, 0x80, 0xc2, 0, 0, 0};
    struct hostile *hostile = *state;
    static uint8_t frame[60];
    json_t *addresses;
    uint8_t mac[6];

    hostile_attach(hostile);
    for (uint32_t i = 0; i < 20000; i++) {
        frame_mac(mac, 0x01000000 + i);
        frame_fill(frame, sizeof(frame), link_local, mac, i);
        guest_must_send(&hostile->evil, 0, frame, sizeof(frame));
    }
    guest_wait_sent(&hostile->evil, 0);
    addresses = lab_ask(hostile->lab, "fdb show port evil");
    assert_in_range(json_array_size(addresses), 1, 4096);
    json_decref(addresses);
    for (unsigned i = 0; i < 2; i++) {
        addresses = lab_ask(hostile->lab, "fdb show port %s", i ? "left" : "right");
        assert_int_equal(json_array_size(addresses), 1);
        json_decref(addresses);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, hostile_setup, hostile_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_available_index),
        TEST(test_head),
        TEST(test_next),
        TEST(test_loop),
        TEST(test_zero_length),
        TEST(test_unmapped),
        TEST(test_huge_chain),
        TEST(test_long_chain),
        TEST(test_readable_after_writable),
        TEST(test_indirect),
        TEST(test_indirect_table_elsewhere),
        TEST(test_indirect_not_negotiated),
        TEST(test_runts),
        TEST(test_offloads),
        TEST(test_receive_buffer_not_writable),
        TEST(test_receive_buffer_unmapped),
        TEST(test_receive_buffers_of_a_byte),
        TEST(test_scribbling),
        TEST(test_many_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
