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

/* A chain of descriptors that the driver makes up, as they are. */
static void offer_chain(struct driver *driver, const struct ring_descriptor *chain, unsigned num)
{
    assert_true(ring_add_descriptors(&driver->rings[TRANSMITQ], chain, num) >= 0);
    ring_publish(&driver->rings[TRANSMITQ]);
    driver_kick(driver, TRANSMITQ);
}

static void offer_descriptor(struct driver *driver, uint64_t addr, uint32_t len, uint16_t flags)
{
    offer_chain(driver, &(struct ring_descriptor){addr, len, flags}, 1);
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

    ring_set_descriptor(&driver->rings[TRANSMITQ], 0, somewhere(driver), 100, NEXT, 256);
    offer(driver, 0);
    hostile_assert_broken(*state, "next lies beyond its table");
}

static void test_loop(void **state)
{
    struct driver *driver = hostile_attach(*state);

    ring_set_descriptor(&driver->rings[TRANSMITQ], 0, somewhere(driver), 1, NEXT, 0);
    offer(driver, 0);
    hostile_assert_broken(*state, "a loop");
    ring_set_descriptor(&driver->rings[TRANSMITQ], 0, somewhere(driver), 1, NEXT, 1);
    ring_set_descriptor(&driver->rings[TRANSMITQ], 1, somewhere(driver), 1, NEXT, 0);
    offer(driver, 0);
    hostile_assert_broken(*state, "a loop");
}

/* All descriptors of the ring, and no end. */
static void test_chain_without_end(void **state)
{
    struct driver *driver = hostile_attach(*state);
    struct ring_descriptor chain[256];

    for (unsigned i = 0; i < 256; i++)
        chain[i] = (struct ring_descriptor){somewhere(driver), 1, NEXT};
    offer_chain(driver, chain, 256);
    hostile_assert_broken(*state, "a loop");
}

/* --- Buffers ---------------------------------------------------------------------------------------- */

static void test_zero_length(void **state)
{
    struct driver *driver = hostile_attach(*state);

    offer_descriptor(driver, somewhere(driver), 0, 0);
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
        offer_descriptor(driver, buffers[i].addr, buffers[i].len, 0);
        hostile_assert_broken(*state, "outside of guest memory");
    }
}

/* All of the memory, so often that the sum of lengths wraps. */
static void test_huge_chain(void **state)
{
    struct driver *driver = hostile_attach(*state);
    struct ring_descriptor chain[256];

    for (unsigned i = 0; i < 256; i++)
        chain[i] = (struct ring_descriptor){DRIVER_GUEST_ADDR, (uint32_t)driver->area.size,
                                            i < 255 ? NEXT : 0};
    offer_chain(driver, chain, 256);
    hostile_assert_broken(*state, "4 GiB");
}

/* As long as may be, and far too long for a frame. */
static void test_long_chain(void **state)
{
    struct hostile *hostile = *state;
    struct driver *driver = hostile_attach(hostile);
    struct ring_descriptor chain[256];
    struct ring_used used;

    for (unsigned i = 0; i < 256; i++)
        chain[i] = (struct ring_descriptor){somewhere(driver), 1000, i < 255 ? NEXT : 0};
    for (unsigned i = 0; i < 20; i++) {
        offer_chain(driver, chain, 256);
        lab_wait_counter(hostile->lab, "evil", "rx", "oversize", i + 1);
        assert_true(ring_take_used(&driver->rings[TRANSMITQ], &used));
    }
    guest_reset(&hostile->evil);
    hostile_assert_unharmed(hostile);
}

static void test_readable_after_writable(void **state)
{
    struct driver *driver = hostile_attach(*state);
    struct ring_descriptor chain[] = {{somewhere(driver), 100, NEXT | WRITE},
                                      {somewhere(driver), 100, 0}};

    offer_chain(driver, chain, 2);
    hostile_assert_broken(*state, "a readable buffer follows a writable one");
}

/* --- Indirect tables -------------------------------------------------------------------------------- */

/* A table of which something is not good. */
static void offer_table(struct hostile *hostile, const struct ring_descriptor *table,
                        const uint16_t *next, uint32_t len, const char *reason)
{
    struct driver *driver = &hostile->evil.driver;
    uint8_t *there = area_at(&driver->area, somewhere(driver));

    for (unsigned i = 0; i < TABLE_SIZE; i++)
        ring_set_entry(&driver->rings[TRANSMITQ], there + 16 * i, &table[i], next ? next[i] : 0);
    offer_descriptor(driver, somewhere(driver), len, INDIRECT);
    hostile_assert_broken(hostile, reason);
}

static void test_indirect(void **state)
{
    struct driver *driver = hostile_attach_as(*state, &with_indirect);
    struct ring_descriptor table[TABLE_SIZE] = {{somewhere(driver) + 4096, 100, 0}};

    offer_table(*state, table, NULL, 0, "no multiple of 16");
    offer_table(*state, table, NULL, 15, "no multiple of 16");
    offer_table(*state, table, NULL, 17, "no multiple of 16");
    offer_table(*state, table, NULL, UINT32_MAX, "no multiple of 16");
    table[0] = (struct ring_descriptor){.addr = 1, .len = 100};
    offer_table(*state, table, NULL, 16, "outside of guest memory");
    table[0] = (struct ring_descriptor){.addr = somewhere(driver)};
    offer_table(*state, table, NULL, 16, "has length 0");
}

/* Tables of a split ring are linked; what is said there is no flag in those of a packed one. */
static void test_indirect_links(void **state)
{
    struct driver *driver = hostile_attach_as(*state, &with_indirect);
    uint64_t good = somewhere(driver) + 4096;
    struct ring_descriptor table[TABLE_SIZE] = {{good, 100, INDIRECT}};

    offer_table(*state, table, NULL, 16, "inside an indirect table");
    table[0].flags = NEXT;
    offer_table(*state, table, (const uint16_t[TABLE_SIZE]){4}, 64, "next lies beyond its table");
    offer_table(*state, table, NULL, 64, "a loop");
}

static void test_indirect_table_elsewhere(void **state)
{
    struct driver *driver = hostile_attach_as(*state, &with_indirect);
    uint64_t end = memory_end(driver);

    offer_descriptor(driver, 0, 16, INDIRECT);
    hostile_assert_broken(*state, "outside of guest memory");
    offer_descriptor(driver, end - 8, 16, INDIRECT);
    hostile_assert_broken(*state, "outside of guest memory");
    offer_descriptor(driver, UINT64_MAX - 15, 32, INDIRECT);
    hostile_assert_broken(*state, "outside of guest memory");
    offer_descriptor(driver, somewhere(driver), 16, INDIRECT | NEXT);
    hostile_assert_broken(*state, "indirect");
}

static void test_indirect_not_negotiated(void **state)
{
    struct driver *driver = hostile_attach(*state);

    offer_descriptor(driver, somewhere(driver), 16, INDIRECT);
    hostile_assert_broken(*state, "without INDIRECT_DESC");
}

/* --- Frames ----------------------------------------------------------------------------------------- */

/* Chains that hold no frame are dropped one by one, and returned. */
static void test_runts(void **state)
{
    struct hostile *hostile = *state;
    struct driver *driver = hostile_attach(hostile);

    for (uint32_t len = 1; len < 26; len++)
        offer_descriptor(driver, somewhere(driver), len, 0);
    lab_wait_counter(hostile->lab, "evil", "rx", "runt", 25);
    offer_descriptor(driver, somewhere(driver), 1000, WRITE);
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
        offer_descriptor(driver, somewhere(driver), 1000, 0);
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

/* Changes all descriptors of the receiveq, in either format, while the device has them; 0: not this. */
static void spoil_receive_buffers(struct driver *driver, uint64_t addr, uint32_t len, bool clears)
{
    struct ring *ring = &driver->rings[RECEIVEQ];

    for (unsigned i = 0; i < ring->size; i++) {
        bool is_packed = ring->format == RING_PACKED;
        uint16_t *flags = is_packed ? &ring->packed[i].flags : &ring->descriptors[i].flags;

        if (addr)
            *(is_packed ? &ring->packed[i].addr : &ring->descriptors[i].addr) = addr;
        if (len)
            *(is_packed ? &ring->packed[i].len : &ring->descriptors[i].len) = len;
        if (clears)
            *flags &= (uint16_t)~WRITE;
    }
}

static void test_receive_buffer_not_writable(void **state)
{
    struct hostile *hostile = *state;
    struct driver *driver = hostile_attach(hostile);

    spoil_receive_buffers(driver, 0, 0, true);
    shower(hostile, 100);
    hostile_assert_broken(hostile, "may not write to");
}

static void test_receive_buffer_unmapped(void **state)
{
    struct hostile *hostile = *state;
    struct driver *driver = hostile_attach(hostile);

    spoil_receive_buffers(driver, memory_end(driver) - 100, 0, false);
    shower(hostile, 1000);
    hostile_assert_broken(hostile, "outside of guest memory");
}

/* Mergeable buffers of a byte each: a frame of 1,000 does not fit into all of them. */
static void test_receive_buffers_of_a_byte(void **state)
{
    struct hostile *hostile = *state;
    struct driver *driver = hostile_attach(hostile);

    spoil_receive_buffers(driver, 0, 1, false);
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

/* A descriptor of either format; the last two are what they have in different places. */
static void scribble_descriptor(struct ring *ring, unsigned idx, const struct ring_descriptor *from,
                                uint16_t next_or_id)
{
    if (ring->format == RING_PACKED) {
        volatile struct packed_descriptor *slot = &ring->packed[idx];

        slot->addr = from->addr;
        slot->len = from->len;
        slot->id = next_or_id;
        slot->flags = from->flags;
    } else {
        volatile struct split_descriptor *slot = &ring->descriptors[idx];

        slot->addr = from->addr;
        slot->len = from->len;
        slot->flags = from->flags;
        slot->next = next_or_id;
    }
}

/* Changes all that the device reads, all the time; what it takes is available in one lap or the other. */
static void *scribble(void *ctx)
{
    struct scribbler *scribbler = ctx;
    struct ring *ring = &scribbler->driver->rings[TRANSMITQ];
    uint32_t seed = 1;

    while (!atomic_load(&scribbler->is_ending)) {
        uint16_t lap = 0, flags;

        seed = seed * 1664525u + 1013904223u;
        flags = (uint16_t)(seed >> 20 & (seed & 0x10000 ? 7 : 0));
        if (ring->format == RING_PACKED)
            lap = ring_available_flags((uint16_t)(seed << 15));
        scribble_descriptor(ring, seed >> 8 & 63,
                            &(struct ring_descriptor){
                                .addr = seed & 1 ? scribbler->good : scribbler->good - 20,
                                .len = seed & 2 ? 65536 : seed >> 16,
                                .flags = (uint16_t)(flags ^ lap),
                            },
                            (uint16_t)(seed >> 25));
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
        for (unsigned i = 0; i < 2000; i++) {
            if (hostile->features & GUEST_F_PACKED)
                driver_kick(scribbler.driver, TRANSMITQ);
            else
                offer(scribbler.driver, (uint16_t)(i % 64));
        }
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

#define TEST_OF(name, setup, format)                                                               \
    {                                                                                              \
#name "/" format, name, setup, hostile_teardown, NULL                                      \
    }
#define SPLIT(name) TEST_OF(name, hostile_setup, "split")
#define BOTH(name)  SPLIT(name), TEST_OF(name, hostile_setup_packed, "packed")

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPLIT(test_available_index),
        SPLIT(test_head),
        SPLIT(test_next),
        SPLIT(test_loop),
        SPLIT(test_indirect_links),
        BOTH(test_chain_without_end),
        BOTH(test_zero_length),
        BOTH(test_unmapped),
        BOTH(test_huge_chain),
        BOTH(test_long_chain),
        BOTH(test_readable_after_writable),
        BOTH(test_indirect),
        BOTH(test_indirect_table_elsewhere),
        BOTH(test_indirect_not_negotiated),
        BOTH(test_runts),
        BOTH(test_offloads),
        BOTH(test_receive_buffer_not_writable),
        BOTH(test_receive_buffer_unmapped),
        BOTH(test_receive_buffers_of_a_byte),
        BOTH(test_scribbling),
        SPLIT(test_many_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
