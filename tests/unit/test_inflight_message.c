/* SPDX-License-Identifier: BSD-3-Clause */
/* The area of chains in flight, on its way between back-end and front-end. */
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

struct inflight {
    uint64_t size;
    uint64_t offset;
    uint16_t num_queues;
    uint16_t queue_size;
    uint8_t padding[4];
};

/* The area that the back-end makes; its descriptor. */
static int get_area(struct frontend *frontend, struct inflight *inflight, uint16_t queue_size)
{
    struct frontend_message answer;
    int fd;

    *inflight = (struct inflight){.num_queues = PAIR_NUM_QUEUES, .queue_size = queue_size};
    assert_int_equal(frontend_ask_fd(frontend, FRONTEND_GET_INFLIGHT_FD, inflight,
                                     sizeof(*inflight), &answer, &fd),
                     0);
    assert_int_equal(answer.size, sizeof(*inflight));
    memcpy(inflight, answer.payload, sizeof(*inflight));
    assert_true(fd >= 0);
    return fd;
}

static void set_area(struct frontend *frontend, const struct inflight *inflight, int fd)
{
    frontend_call(frontend, FRONTEND_SET_INFLIGHT_FD, inflight, sizeof(*inflight), &fd, 1);
}

/* What the specification's structures take, each queue's part rounded up to a cache line. */
static uint64_t expected_bytes(const struct pair *pair, uint64_t queue_size)
{
    bool is_packed = pair->features & PAIR_F_PACKED;
    uint64_t bytes = is_packed ? 32 + 32 * queue_size : 16 + 16 * queue_size;

    return PAIR_NUM_QUEUES * ((bytes + 63) & ~UINT64_C(63));
}

static void test_get(void **state)
{
    static const uint8_t zeroes[64];
    struct pair *pair = *state;
    struct inflight inflight;
    int fd = get_area(pair_connect(pair), &inflight, PAIR_RING_SIZE);
    uint8_t bytes[64];

    assert_int_equal(inflight.offset, 0);
    assert_int_equal(inflight.size, expected_bytes(pair, PAIR_RING_SIZE));
    assert_int_equal(inflight.num_queues, PAIR_NUM_QUEUES);
    assert_int_equal(inflight.queue_size, PAIR_RING_SIZE);
    assert_true(lseek(fd, 0, SEEK_END) >= (off_t)inflight.size);
    for (off_t at = 0; at < (off_t)inflight.size; at += 64) {
        assert_int_equal(pread(fd, bytes, 64, at), 64);
        assert_memory_equal(bytes, zeroes, 64);
    }
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(errno, EPERM);
    close(fd);
}

static void test_get_bad_numbers(void **state)
{
    static const struct inflight bad[] = {
        {0, 0, 0, 16, {0}},
        {0, 0, PAIR_NUM_QUEUES + 1, 16, {0}},
        {0, 0, 1, 0, {0}},
        {0, 0, 1, 32769, {0}},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        frontend_call(pair_connect(*state), FRONTEND_GET_INFLIGHT_FD, &bad[i], sizeof(bad[i]), NULL,
                      0);
        pair_assert_disconnected(*state, "GET_INFLIGHT_FD: an area for");
    }
}

static void take_one(struct pair *pair)
{
    struct shunt_virtqueue *queue = pair_virtqueue(pair, 0);
    struct shunt_chain chain;
    struct iovec iov[4];

    shunt_virtqueue_lock(queue);
    assert_int_equal(shunt_virtqueue_pop(queue, &chain, iov, 4), 1);
    shunt_virtqueue_unlock(queue);
}

/* What the device had when the connection broke, its successor gets from the area. */
static void test_round_trip(void **state)
{
    struct pair *pair = *state;
    struct ring_buffer buffer = driver_buffer(&pair->driver, 0, 8, true);
    struct frontend *frontend = pair_connect(pair);
    struct inflight inflight;
    int id, fd = get_area(frontend, &inflight, PAIR_RING_SIZE);
    struct ring_used used;

    set_area(frontend, &inflight, fd);
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
    id = driver_add(&pair->driver, 0, &buffer, 1);
    device_run(&pair->device);
    take_one(pair);
    assert_int_equal(device_echo(&pair->device, 0), 0);
    set_area(pair_connect(pair), &inflight, fd);
    pair_start(pair, 0);
    assert_int_equal(device_echo(&pair->device, 0), 1);
    assert_true(ring_take_used(&pair->driver.rings[0], &used));
    assert_int_equal(used.id, id);
    pair_assert_works(pair, 0);
    close(fd);
}

static void assert_set_refused(struct pair *pair, const struct inflight *inflight, int fd,
                               const char *text)
{
    set_area(pair_connect(pair), inflight, fd);
    pair_assert_disconnected(pair, "SET_INFLIGHT_FD: ");
    pair_assert_disconnected(pair, text);
}

static void test_set_refused(void **state)
{
    struct pair *pair = *state;
    struct inflight good, bad;
    int fd = get_area(pair_connect(pair), &good, PAIR_RING_SIZE), other;

    bad = good;
    bad.size -= 64;
    assert_set_refused(pair, &bad, fd, "the in-flight area has");
    bad = good;
    bad.offset = UINT64_C(1) << 20;
    assert_set_refused(pair, &bad, fd, "the in-flight area");
    bad = good;
    bad.offset = UINT64_MAX - 63;
    assert_set_refused(pair, &bad, fd, "the in-flight area");
    bad = good;
    bad.size = 0;
    assert_set_refused(pair, &bad, fd, "the in-flight area");
    bad = good;
    bad.num_queues = PAIR_NUM_QUEUES + 1;
    assert_set_refused(pair, &bad, fd, "an area for 5 queues instead of 1 to 4");
    bad = good;
    bad.queue_size = 0;
    assert_set_refused(pair, &bad, fd, "an area for queues of 0 entries");
    other = memfd_create("unsealed", MFD_CLOEXEC);
    assert_true(other >= 0);
    assert_int_equal(ftruncate(other, 1 << 20), 0);
    assert_set_refused(pair, &good, other, "sealed against shrinking");
    close(other);
    close(fd);
}

/* A file that is not sealed yet is sealed: it could be shrunk under our hands. */
static void test_seal(void **state)
{
    struct pair *pair = *state;
    struct inflight inflight = {.num_queues = PAIR_NUM_QUEUES, .queue_size = PAIR_RING_SIZE};
    int fd = memfd_create("to be sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct frontend *frontend = pair_connect(pair);

    inflight.offset = 4096 + 64;
    inflight.size = expected_bytes(pair, PAIR_RING_SIZE);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    set_area(frontend, &inflight, fd);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK);
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
    close(fd);
}

static void test_while_running(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    struct inflight inflight;
    int fd = get_area(frontend, &inflight, PAIR_RING_SIZE);

    pair_start(pair, 3);
    set_area(frontend, &inflight, fd);
    pair_assert_disconnected(pair, "SET_INFLIGHT_FD: rings run");
    close(fd);
}

/* The front-end hears of a ring that is larger than its part of the area. */
static void test_larger_ring(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    struct inflight inflight;
    int fd = get_area(frontend, &inflight, PAIR_RING_SIZE / 4);

    set_area(frontend, &inflight, fd);
    driver_start(&pair->driver, 0);
    device_run(&pair->device);
    pair_assert_disconnected(pair, "in");
    pair_assert_disconnected(pair, "virtqueue 0");
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(test_get),         PAIR_TEST(test_get_bad_numbers),
        PAIR_TEST(test_round_trip),  PAIR_TEST(test_set_refused),
        PAIR_TEST(test_seal),        PAIR_TEST(test_while_running),
        PAIR_TEST(test_larger_ring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
