/* SPDX-License-Identifier: BSD-3-Clause */
/* IOTLB messages: what they change, and that each is answered. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/pair.h"

#define ACCESS_PLATFORM (UINT64_C(1) << 33)
#define READ_WRITE      3
#define MISS            1
#define UPDATE          2
#define INVALIDATE      3
#define ACCESS_FAIL     4

struct entry {
    uint64_t io_addr;
    uint64_t size;
    uint64_t addr;
    uint8_t access;
    uint8_t type;
    uint8_t padding[6];
};

static struct frontend *connect_with(struct pair *pair, uint64_t protocol_features)
{
    pair->features |= ACCESS_PLATFORM;
    return pair_connect_with(pair, protocol_features);
}

/* Zero: it was done. */
static uint64_t ask(struct frontend *frontend, const struct entry *entry, uint32_t size)
{
    struct frontend_message answer;
    uint64_t result;

    assert_int_equal(frontend_ask(frontend, FRONTEND_IOTLB_MSG, entry, size, &answer), 0);
    assert_int_equal(answer.size, sizeof(result));
    memcpy(&result, answer.payload, sizeof(result));
    return result;
}

static uint64_t change(struct frontend *frontend, uint8_t type, uint64_t io_addr, uint64_t addr)
{
    struct entry entry = {
        .io_addr = io_addr,
        .size = PAIR_MEMORY_BYTES,
        .addr = addr,
        .access = READ_WRITE,
        .type = type,
    };

    return ask(frontend, &entry, sizeof(entry));
}

/* The driver names rings by what are user addresses elsewhere, and buffers by guest addresses. */
static void map_rings(struct frontend *frontend, uint64_t target)
{
    assert_int_equal(change(frontend, UPDATE, DRIVER_USER_ADDR, target), 0);
}

static void map_buffers(struct frontend *frontend, uint64_t target)
{
    assert_int_equal(change(frontend, UPDATE, DRIVER_GUEST_ADDR, target), 0);
}

static void test_update(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = connect_with(pair, FRONTEND_PROTOCOL_USUAL);

    map_rings(frontend, DRIVER_USER_ADDR);
    map_buffers(frontend, DRIVER_USER_ADDR);
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
}

/* With GPA_ADDRESSES, an entry leads to a guest address. */
static void test_guest_target(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = connect_with(pair, FRONTEND_PROTOCOL_USUAL |
                                                       FRONTEND_PROTOCOL_F_GPA_ADDRESSES);

    assert_int_not_equal(change(frontend, UPDATE, DRIVER_USER_ADDR, DRIVER_USER_ADDR), 0);
    map_rings(frontend, DRIVER_GUEST_ADDR);
    map_buffers(frontend, DRIVER_GUEST_ADDR);
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
}

/* A ring may start before it is known where it lies. */
static void test_ring_waits(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = connect_with(pair, FRONTEND_PROTOCOL_USUAL);

    map_buffers(frontend, DRIVER_USER_ADDR);
    assert_int_equal(driver_start(&pair->driver, 0), 0);
    device_run(&pair->device);
    assert_false(device_is_started(&pair->device, 0));
    map_rings(frontend, DRIVER_USER_ADDR);
    device_run(&pair->device);
    assert_true(device_is_started(&pair->device, 0));
    pair_assert_works(pair, 0);
}

static void test_invalidate(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = connect_with(pair, FRONTEND_PROTOCOL_USUAL);
    struct ring_buffer buffers[2] = {driver_buffer(&pair->driver, 0, 8, false),
                                     driver_buffer(&pair->driver, 8, 8, true)};
    struct ring_used used;

    map_rings(frontend, DRIVER_USER_ADDR);
    map_buffers(frontend, DRIVER_USER_ADDR);
    pair_start(pair, 0);
    assert_int_equal(change(frontend, INVALIDATE, DRIVER_GUEST_ADDR, 0), 0);
    assert_true(driver_add(&pair->driver, 0, buffers, 2) >= 0);
    assert_int_equal(device_echo(&pair->device, 0), -EAGAIN);
    device_run(&pair->device);
    map_buffers(frontend, DRIVER_USER_ADDR);
    assert_int_equal(device_echo(&pair->device, 0), 1);
    assert_true(ring_take_used(&pair->driver.rings[0], &used));
    assert_int_equal(used.len, 8);
}

/* Refused, and said so; the connection stays. */
static void test_refused(void **state)
{
    static const struct entry bad[] = {
        {0, 4096, DRIVER_USER_ADDR + PAIR_MEMORY_BYTES, READ_WRITE, UPDATE, {0}},
        {0, PAIR_MEMORY_BYTES + 1, DRIVER_USER_ADDR, READ_WRITE, UPDATE, {0}},
        {0, 4096, DRIVER_USER_ADDR - 1, READ_WRITE, UPDATE, {0}},
        {UINT64_MAX - 4094, 4097, DRIVER_USER_ADDR, READ_WRITE, UPDATE, {0}},
        {0, 0, DRIVER_USER_ADDR, READ_WRITE, UPDATE, {0}},
        {0, 4096, DRIVER_USER_ADDR, 4, UPDATE, {0}},
        {0, 4096, DRIVER_USER_ADDR, READ_WRITE, 0, {0}},
        {0, 4096, DRIVER_USER_ADDR, READ_WRITE, MISS, {0}},
        {0, 4096, DRIVER_USER_ADDR, READ_WRITE, ACCESS_FAIL, {0}},
        {0, 4096, DRIVER_USER_ADDR, READ_WRITE, 5, {0}},
    };
    struct pair *pair = *state;
    struct frontend *frontend = connect_with(pair, FRONTEND_PROTOCOL_USUAL);
    struct entry good = {0, 4096, DRIVER_USER_ADDR, READ_WRITE, UPDATE, {0}};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_not_equal(ask(frontend, &bad[i], sizeof(bad[i])), 0);
    assert_int_equal(ask(frontend, &good, 26), 0);
    assert_int_equal(ask(frontend, &good, 32), 0);
}

/* Without ACCESS_PLATFORM there is no IOTLB, nor what an earlier front-end told of it. */
static void test_without_iommu(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = connect_with(pair, FRONTEND_PROTOCOL_USUAL);
    struct entry wrong = {
        DRIVER_GUEST_ADDR, PAIR_MEMORY_BYTES / 2, DRIVER_USER_ADDR + 4096, READ_WRITE, UPDATE, {0},
    };

    assert_int_equal(ask(frontend, &wrong, sizeof(wrong)), 0);
    pair->features &= ~ACCESS_PLATFORM;
    frontend = pair_connect(pair);
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
    frontend_set_features(frontend, pair->features);
    assert_int_equal(frontend_sync(frontend), 0);
}

/* A driver that gives up its IOMMU and takes it again has told nothing of it yet. */
static void test_forgets(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = connect_with(pair, FRONTEND_PROTOCOL_USUAL);

    map_rings(frontend, DRIVER_USER_ADDR);
    map_buffers(frontend, DRIVER_USER_ADDR);
    assert_int_equal(frontend_set_features(frontend, pair->features & ~ACCESS_PLATFORM), 0);
    assert_int_equal(frontend_set_features(frontend, pair->features), 0);
    assert_int_equal(driver_start(&pair->driver, 0), 0);
    device_run(&pair->device);
    assert_false(device_is_started(&pair->device, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(test_update),
        PAIR_TEST(test_guest_target),
        PAIR_TEST(test_ring_waits),
        PAIR_TEST(test_invalidate),
        PAIR_TEST_OF(test_refused, pair_setup, "split"),
        PAIR_TEST(test_without_iommu),
        PAIR_TEST(test_forgets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
