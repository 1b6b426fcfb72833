/* SPDX-License-Identifier: BSD-3-Clause */
/* The log of a migration: what the device writes is marked in it, and nothing else. */
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

#define LOG_ALL    (UINT64_C(1) << 26)
#define PAGE       UINT64_C(4096)
#define LOG_BYTES  ((DRIVER_GUEST_ADDR + PAIR_MEMORY_BYTES) / PAGE / 8 + 64)
#define FILE_BYTES (4 * PAGE + LOG_BYTES)
#define USED_RING  (DRIVER_GUEST_ADDR + PAIR_MEMORY_BYTES) /* as logged: outside of the memory */

struct log {
    int fd;
    uint8_t *bytes;
    uint64_t offset; /* where it begins in the file */
};

static struct log make_log(void)
{
    struct log log = {.fd = memfd_create("log", MFD_CLOEXEC)};

    assert_true(log.fd >= 0);
    assert_int_equal(ftruncate(log.fd, (off_t)FILE_BYTES), 0);
    log.bytes = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, log.fd, 0);
    assert_true(log.bytes != MAP_FAILED);
    return log;
}

static void drop_log(struct log *log)
{
    munmap(log->bytes, FILE_BYTES);
    close(log->fd);
}

/* Marks in the file; what is marked is cleared. */
static unsigned take_marks(struct log *log)
{
    unsigned num = 0;

    for (uint64_t i = 0; i < FILE_BYTES; i++) {
        num += (unsigned)__builtin_popcount(log->bytes[i]);
        log->bytes[i] = 0;
    }
    return num;
}

static bool is_marked(const struct log *log, uint64_t guest_addr)
{
    uint64_t page = guest_addr / PAGE;

    return log->bytes[log->offset + page / 8] >> page % 8 & 1;
}

static void send_log(struct frontend *frontend, const struct log *log, uint64_t size,
                     uint64_t offset)
{
    uint64_t description[2] = {size, offset};

    assert_int_equal(frontend_send(frontend, FRONTEND_SET_LOG_BASE, FRONTEND_VERSION,
                                   sizeof(description), description, sizeof(description), &log->fd,
                                   1),
                     0);
}

/* QEMU waits for an answer, and looks only at what it answers. */
static void set_log(struct frontend *frontend, struct log *log, uint64_t size, uint64_t offset)
{
    struct frontend_message answer;
    uint64_t result;

    send_log(frontend, log, size, offset);
    assert_int_equal(frontend_receive(frontend, &answer), 0);
    assert_int_equal(answer.request, FRONTEND_SET_LOG_BASE);
    assert_int_equal(answer.flags, FRONTEND_VERSION | FRONTEND_REPLY);
    assert_int_equal(answer.size, sizeof(result));
    memcpy(&result, answer.payload, sizeof(result));
    assert_int_equal(result, 0);
    log->offset = offset;
}

static void set_log_all(struct pair *pair, bool is_on)
{
    struct frontend *frontend = &pair->driver.frontend;

    assert_int_equal(frontend_set_features(frontend, pair->features | (is_on ? LOG_ALL : 0)), 0);
    assert_int_equal(frontend_sync(frontend), 0);
}

/* SET_VRING_ADDR of a ring that runs: that is how the log of the ring itself is switched. */
static void set_ring_logged(struct pair *pair, unsigned idx, bool is_on)
{
    struct frontend_ring ring = driver_ring(&pair->driver, idx);
    struct frontend_addresses addresses = {
        .idx = idx,
        .flags = is_on,
        .descriptor = ring.descriptor,
        .used = ring.used,
        .available = ring.available,
        .log = USED_RING,
    };

    assert_int_equal(frontend_call(&pair->driver.frontend, FRONTEND_SET_VRING_ADDR, &addresses,
                                   sizeof(addresses), NULL, 0),
                     0);
    assert_int_equal(frontend_sync(&pair->driver.frontend), 0);
}

static uint64_t data_addr(const struct pair *pair)
{
    return driver_buffer(&pair->driver, 0, 16, false).addr;
}

static void test_marks(void **state)
{
    struct pair *pair = *state;
    /* Its descriptors are written by both sides; the ring lies at the beginning of the memory. */
    bool is_packed = pair->features & PAIR_F_PACKED;
    struct frontend *frontend = pair_connect(pair);
    struct log log = make_log();

    pair_start(pair, 0);
    set_log(frontend, &log, LOG_BYTES, 0);
    pair_assert_works(pair, 0);
    assert_int_equal(take_marks(&log), 0);

    set_log_all(pair, true);
    pair_assert_works(pair, 0);
    assert_true(is_marked(&log, data_addr(pair)));
    assert_false(is_marked(&log, USED_RING));
    assert_int_equal(take_marks(&log), 1);

    set_ring_logged(pair, 0, true);
    pair_assert_works(pair, 0);
    assert_true(is_marked(&log, data_addr(pair)));
    assert_true(is_marked(&log, USED_RING));
    assert_int_equal(is_marked(&log, DRIVER_GUEST_ADDR), is_packed);
    assert_int_equal(take_marks(&log), is_packed ? 3 : 2);

    set_ring_logged(pair, 0, false);
    pair_assert_works(pair, 0);
    assert_int_equal(take_marks(&log), 1);

    set_log_all(pair, false);
    pair_assert_works(pair, 0);
    assert_int_equal(take_marks(&log), 0);
    drop_log(&log);
}

/* A log that begins elsewhere in its file, and one that takes the place of another. */
static void test_place(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    struct log first = make_log(), second = make_log();

    pair_start(pair, 0);
    set_log_all(pair, true);
    set_log(frontend, &first, LOG_BYTES, 3 * PAGE);
    pair_assert_works(pair, 0);
    assert_true(is_marked(&first, data_addr(pair)));
    take_marks(&first);
    set_log(frontend, &second, LOG_BYTES + 64, PAGE);
    pair_assert_works(pair, 0);
    assert_int_equal(take_marks(&first), 0);
    assert_true(is_marked(&second, data_addr(pair)));
    drop_log(&first);
    drop_log(&second);
}

static void test_bad_places(void **state)
{
    static const uint64_t places[][2] = {
        {0, 0},
        {LOG_BYTES, FILE_BYTES},
        {FILE_BYTES + 8, 0},
        {UINT64_MAX - 7, 8},
    };
    struct log log = make_log();

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        send_log(pair_connect(*state), &log, places[i][0], places[i][1]);
        pair_assert_disconnected(*state, "SET_LOG_BASE");
    }
    drop_log(&log);
}

static void test_event(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    struct log log = make_log();
    int fd = frontend_eventfd();

    pair_start(pair, 0);
    set_log_all(pair, true);
    set_log(frontend, &log, LOG_BYTES, 0);
    assert_int_equal(frontend_call(frontend, FRONTEND_SET_LOG_FD, NULL, 0, &fd, 1), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_int_equal(frontend_wait_event(fd, 0), -ETIMEDOUT);
    pair_assert_works(pair, 0);
    assert_int_equal(frontend_wait_event(fd, 10000), 0);
    frontend_call(frontend, FRONTEND_SET_LOG_FD, NULL, 0, &log.fd, 1);
    pair_assert_disconnected(pair, "SET_LOG_FD: the descriptor is not an eventfd");
    close(fd);
    drop_log(&log);
}

/* The next front-end has not asked for a log. */
static void test_next_connection(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    struct log log = make_log();

    set_log_all(pair, true);
    set_log(frontend, &log, LOG_BYTES, 0);
    pair->features |= LOG_ALL;
    pair_connect(pair);
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
    assert_int_equal(take_marks(&log), 0);
    drop_log(&log);
}

/* What the device wrote to the third page of the buffers, before it came to a chain that breaks the ring. */
static uint64_t write_and_break(struct pair *pair)
{
    struct ring_buffer buffers[2] = {driver_buffer(&pair->driver, 0, 16, false),
                                     driver_buffer(&pair->driver, 2 * PAGE, 16, true)};

    assert_true(ring_add(&pair->driver.rings[0], buffers, 2) >= 0);
    pair_break_queue(pair, 0);
    return buffers[1].addr;
}

/* Its marks go to the log that was there when it was written, and to no other, which may be smaller. */
static void test_broken_burst(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    struct log first = make_log(), second = make_log(), tiny = make_log();
    uint64_t addr;

    set_log_all(pair, true);
    set_log(frontend, &first, LOG_BYTES, 0);
    pair_start(pair, 0);
    addr = write_and_break(pair);
    set_log(frontend, &second, LOG_BYTES, 0);
    assert_true(is_marked(&first, addr));
    assert_int_equal(driver_stop(&pair->driver, 0), 0);
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
    assert_int_equal(take_marks(&second), 1);

    write_and_break(pair);
    frontend = pair_connect(pair);
    driver_reset_ring(&pair->driver, 0);
    set_log_all(pair, true);
    set_log(frontend, &tiny, 1, 0);
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
    assert_int_equal(take_marks(&tiny), 0);
    drop_log(&first);
    drop_log(&second);
    drop_log(&tiny);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(test_marks), PAIR_TEST(test_broken_burst),
        PAIR_TEST(test_place), PAIR_TEST_OF(test_bad_places, pair_setup, "split"),
        PAIR_TEST(test_event), PAIR_TEST(test_next_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
