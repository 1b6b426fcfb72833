/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest memory as a front-end shares it with a back-end: the table, the slots, and memory that is not shared. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/pair.h"
#include "lib/process.h"

#define PAGE_BYTES UINT64_C(4096)
#define ALL        UINT64_MAX
#define MAX_SLOTS  128
/* Where nothing is, for the guest and for the front-end. */
#define ELSEWHERE      UINT64_C(0x100000000)
#define USER_ELSEWHERE (DRIVER_USER_ADDR + ELSEWHERE)

/* --- The table -------------------------------------------------------------------------------------- */

static void test_table(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    struct frontend_region regions[FRONTEND_MAX_REGIONS];
    int fds[FRONTEND_MAX_REGIONS];

    for (unsigned num = FRONTEND_MAX_REGIONS; num-- > 0;) {
        for (unsigned i = 0; i < num; i++) {
            regions[i] = (struct frontend_region){
                .guest_addr = i * PAGE_BYTES,
                .size = PAGE_BYTES,
                .user_addr = DRIVER_USER_ADDR + i * PAGE_BYTES,
                .fd_offset = i * PAGE_BYTES,
            };
            fds[i] = pair->driver.area.fd;
        }
        assert_int_equal(frontend_set_memory(frontend, regions, fds, num), 0);
        assert_int_equal(frontend_sync(frontend), 0);
        assert_int_equal(pair_num_regions(pair), num);
    }
}

/* Some front-ends always send the table with all its places. */
static void test_table_of_full_length(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    struct {
        uint32_t num, padding;
        struct frontend_region regions[FRONTEND_MAX_REGIONS];
    } table = {.num = 1, .regions = {driver_region(&pair->driver)}};

    assert_int_equal(frontend_call(frontend, FRONTEND_SET_MEM_TABLE, &table, sizeof(table),
                                   &pair->driver.area.fd, 1),
                     0);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_int_equal(pair_num_regions(pair), 1);
}

static void refuses_table(struct pair *pair, uint32_t num, uint32_t size, unsigned num_fds,
                          const char *text)
{
    int fds[FRONTEND_MAX_REGIONS];
    struct {
        uint32_t num, padding;
        struct frontend_region regions[FRONTEND_MAX_REGIONS];
    } table = {.num = num};

    for (unsigned i = 0; i < FRONTEND_MAX_REGIONS; i++) {
        fds[i] = pair->driver.area.fd;
        table.regions[i] = (struct frontend_region){.guest_addr = i * PAGE_BYTES,
                                                    .size = PAGE_BYTES,
                                                    .user_addr = i * PAGE_BYTES};
    }
    frontend_call(pair_connect(pair), FRONTEND_SET_MEM_TABLE, &table, size, fds, num_fds);
    pair_assert_disconnected(pair, text);
}

static void test_table_of_other_size(void **state)
{
    refuses_table(*state, 9, 264, 8, "9 memory regions, more than 8");
    refuses_table(*state, UINT32_MAX, 264, 8, "more than 8");
    refuses_table(*state, 2, 8 + 32, 2, "2 memory regions in 40 bytes");
    refuses_table(*state, 2, 8 + 63, 2, "2 memory regions in 71 bytes");
    refuses_table(*state, 2, 72, 1, "2 memory regions with 1 file descriptors");
    refuses_table(*state, 2, 72, 3, "2 memory regions with 3 file descriptors");
    refuses_table(*state, 0, 8, 1, "0 memory regions with 1 file descriptors");
}

/* --- What a region may be --------------------------------------------------------------------------- */

static void refuses_region(struct pair *pair, const struct frontend_region *region, int fd,
                           const char *text)
{
    struct frontend *frontend = pair_connect(pair);

    frontend->wants_acks = true;
    assert_int_equal(frontend_add_region(frontend, region, fd), -EREMOTEIO);
    pair_assert_disconnected(pair, text);
    pair_assert_disconnected(pair, "ADD_MEM_REG");
    frontend_set_memory(pair_connect(pair), region, &fd, 1);
    pair_assert_disconnected(pair, text);
    pair_assert_disconnected(pair, "SET_MEM_TABLE");
}

static void test_bad_region(void **state)
{
    struct pair *pair = *state;
    const struct frontend_region good = {.guest_addr = ELSEWHERE,
                                         .size = PAGE_BYTES,
                                         .user_addr = USER_ELSEWHERE,
                                         .fd_offset = PAGE_BYTES};
    int fd = pair->driver.area.fd;
    struct frontend_region bad = good;

    bad.size = 0;
    refuses_region(pair, &bad, fd, "has size 0");
    bad.size = PAIR_MEMORY_BYTES;
    refuses_region(pair, &bad, fd, "reach beyond its file");
    bad = good;
    bad.fd_offset = PAIR_MEMORY_BYTES;
    refuses_region(pair, &bad, fd, "reach beyond its file");
    bad.fd_offset = UINT64_MAX - PAGE_BYTES + 1;
    refuses_region(pair, &bad, fd, "reach beyond its file");
    bad = good;
    bad.guest_addr = UINT64_MAX - PAGE_BYTES + 2;
    refuses_region(pair, &bad, fd, "wraps around");
    bad = good;
    bad.user_addr = UINT64_MAX;
    refuses_region(pair, &bad, fd, "wraps around");
    bad.size = UINT64_MAX;
    refuses_region(pair, &bad, fd, "wraps around");
}

static void test_region_of_no_file(void **state)
{
    const struct frontend_region region = {.guest_addr = ELSEWHERE,
                                           .size = PAGE_BYTES,
                                           .user_addr = USER_ELSEWHERE};
    int pair[2];

    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    refuses_region(*state, &region, pair[0], "is not backed by a file");
    close(pair[0]);
    close(pair[1]);
    pair[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
    refuses_region(*state, &region, pair[0], "is not backed by a file");
    close(pair[0]);
}

/* A descriptor that may only be read cannot be guest memory. */
static void test_region_read_only(void **state)
{
    struct frontend_region region = {.guest_addr = ELSEWHERE,
                                     .size = PAGE_BYTES,
                                     .user_addr = USER_ELSEWHERE};
    struct pair *pair = *state;
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", pair->driver.area.fd);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    refuses_region(pair, &region, fd, "cannot be mapped");
    close(fd);
}

/* --- Slots ------------------------------------------------------------------------------------------ */

static struct frontend_region slot(unsigned idx)
{
    return (struct frontend_region){
        .guest_addr = ELSEWHERE + 2 * idx * PAGE_BYTES,
        .size = PAGE_BYTES,
        .user_addr = USER_ELSEWHERE + 2 * idx * PAGE_BYTES,
        .fd_offset = idx * PAGE_BYTES,
    };
}

/* The driver's own region is one, the others are added to it; each can be used. */
static void test_slots(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    struct ring_area slots;

    area_create(&slots, MAX_SLOTS * PAGE_BYTES, 0, 0);
    frontend->wants_acks = true;
    pair_start(pair, 0);
    for (unsigned i = 1; i < MAX_SLOTS; i++) {
        struct frontend_region region = slot(i);

        assert_int_equal(frontend_add_region(frontend, &region, slots.fd), 0);
    }
    assert_int_equal(pair_num_regions(pair), MAX_SLOTS);
    for (unsigned i = 1; i < MAX_SLOTS; i++) {
        pair_assert_sees(pair, 0, slot(i).guest_addr + 100, slots.base + i * PAGE_BYTES + 100);
        driver_stop(&pair->driver, 0);
        pair_start(pair, 0);
    }
    for (unsigned i = 1; i < MAX_SLOTS; i += 2) {
        struct frontend_region region = slot(i);

        assert_int_equal(frontend_remove_region(frontend, &region), 0);
    }
    assert_int_equal(pair_num_regions(pair), MAX_SLOTS / 2);
    pair_assert_sees(pair, 0, slot(2).guest_addr, slots.base + 2 * PAGE_BYTES);
    area_destroy(&slots);
}

static void test_one_slot_too_many(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    struct ring_area slots;

    area_create(&slots, 2 * MAX_SLOTS * PAGE_BYTES, 0, 0);
    for (unsigned i = 1; i <= MAX_SLOTS; i++) {
        struct frontend_region region = slot(i);

        frontend_add_region(frontend, &region, slots.fd);
    }
    pair_assert_disconnected(pair, "more than 128 memory regions");
    area_destroy(&slots);
}

static void test_slot_overlaps(void **state)
{
    struct pair *pair = *state;
    struct frontend_region region = driver_region(&pair->driver);
    int fd = pair->driver.area.fd;

    region.size -= PAGE_BYTES;
    frontend_add_region(pair_connect(pair), &region, fd);
    pair_assert_disconnected(pair, "overlaps");
    region.size += PAGE_BYTES;
    region.user_addr = USER_ELSEWHERE;
    region.guest_addr += PAIR_MEMORY_BYTES - 1;
    frontend_add_region(pair_connect(pair), &region, fd);
    pair_assert_disconnected(pair, "overlaps");
    region.guest_addr = ELSEWHERE;
    region.user_addr = DRIVER_USER_ADDR - PAIR_MEMORY_BYTES + 1;
    frontend_add_region(pair_connect(pair), &region, fd);
    pair_assert_disconnected(pair, "overlaps");
    region.user_addr -= 1;
    frontend_add_region(pair_connect(pair), &region, fd);
    assert_int_equal(frontend_sync(&pair->driver.frontend), 0);
}

/* QEMU up to 7.2 sends each region once for each queue pair, and takes it back as often. */
static void test_slot_for_each_pair(void **state)
{
    struct pair *pair = *state;
    struct frontend_region region = driver_region(&pair->driver);
    struct frontend *frontend = pair_connect(pair);

    region.guest_addr = ELSEWHERE;
    region.user_addr = USER_ELSEWHERE;
    for (unsigned i = 0; i < 2; i++)
        frontend_add_region(frontend, &region, pair->driver.area.fd);
    for (unsigned i = 0; i < 2; i++)
        frontend_remove_region(frontend, &region);
    assert_int_equal(frontend_sync(frontend), 0);
    frontend_remove_region(frontend, &region);
    pair_assert_disconnected(pair, "there is no memory region");
}

static void test_slot_absent(void **state)
{
    struct pair *pair = *state;
    struct frontend_region region = driver_region(&pair->driver);

    region.size -= PAGE_BYTES;
    frontend_remove_region(pair_connect(pair), &region);
    pair_assert_disconnected(pair, "there is no memory region");
    region = slot(0);
    frontend_remove_region(pair_connect(pair), &region);
    pair_assert_disconnected(pair, "there is no memory region");
}

static void test_slot_without_descriptor(void **state)
{
    struct {
        uint64_t padding;
        struct frontend_region region;
    } payload = {.region = slot(0)};

    frontend_call(pair_connect(*state), FRONTEND_ADD_MEM_REG, &payload, sizeof(payload), NULL, 0);
    pair_assert_disconnected(*state, "guest memory is not shared");
}

/* Some front-ends send the descriptor of the region that goes. It is closed (see teardown). */
static void test_slot_removed_with_descriptor(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    struct {
        uint64_t padding;
        struct frontend_region region;
    } payload = {.region = driver_region(&pair->driver)};

    frontend_call(frontend, FRONTEND_REM_MEM_REG, &payload, sizeof(payload), &pair->driver.area.fd,
                  1);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_int_equal(pair_num_regions(pair), 0);
}

/* --- Changes under running rings -------------------------------------------------------------------- */

/* The same addresses in another file: as it is with a front-end that moved its memory. */
static void test_replaced(void **state)
{
    struct pair *pair = *state;
    struct driver *driver = &pair->driver;
    struct frontend *frontend = pair_connect(pair);
    struct frontend_region region = driver_region(driver);

    pair_start(pair, 0);
    for (unsigned i = 0; i < 5; i++) {
        struct ring_area fresh;

        pair_assert_works(pair, 0);
        area_create(&fresh, PAIR_MEMORY_BYTES, DRIVER_GUEST_ADDR, DRIVER_USER_ADDR);
        memcpy(fresh.base, driver->area.base, PAIR_MEMORY_BYTES);
        assert_int_equal(frontend_set_memory(frontend, &region, &fresh.fd, 1), 0);
        assert_int_equal(frontend_sync(frontend), 0);
        /* The test's own mapping stays where it is, and becomes one of the other file. */
        assert_ptr_equal(mmap(driver->area.base, PAIR_MEMORY_BYTES, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_FIXED, fresh.fd, 0),
                         driver->area.base);
        assert_int_equal(dup3(fresh.fd, driver->area.fd, O_CLOEXEC), driver->area.fd);
        area_destroy(&fresh);
        assert_true(device_is_started(&pair->device, 0));
    }
    pair_assert_works(pair, 0);
}

/* The same table again, and one more region: what was there is not mapped anew. */
static void test_extended(void **state)
{
    struct pair *pair = *state;
    struct driver *driver = &pair->driver;
    struct frontend *frontend = pair_connect(pair);
    struct frontend_region regions[2] = {driver_region(driver), slot(1)};
    int fds[2] = {driver->area.fd, driver->area.fd};
    uint64_t contiguous;
    void *before, *after;

    pair_start(pair, 0);
    before = shunt_memory_at_guest(shunt_backend_memory(pair->device.backend), DRIVER_GUEST_ADDR, 1,
                                   &contiguous);
    for (unsigned num = 1; num <= 2; num++) {
        assert_int_equal(frontend_set_memory(frontend, regions, fds, num), 0);
        assert_int_equal(frontend_sync(frontend), 0);
        after = shunt_memory_at_guest(shunt_backend_memory(pair->device.backend), DRIVER_GUEST_ADDR,
                                      1, &contiguous);
        assert_ptr_equal(before, after);
        pair_assert_works(pair, 0);
    }
}

/* The memory goes from under one of two rings: it breaks, the other one works on. */
static void test_ring_unmapped(void **state)
{
    struct pair *pair = *state;
    struct driver *driver = &pair->driver;
    struct frontend *frontend = pair_connect(pair);
    struct frontend_region first = driver_region(driver), second = first;
    int fd = driver->area.fd;

    first.size = PAGE_BYTES;
    second.size -= PAGE_BYTES;
    second.guest_addr += PAGE_BYTES;
    second.user_addr += PAGE_BYTES;
    second.fd_offset += PAGE_BYTES;
    assert_int_equal(frontend_set_memory(frontend, &first, &fd, 1), 0);
    assert_int_equal(frontend_add_region(frontend, &second, fd), 0);
    pair_start(pair, 0);
    pair_start(pair, 1);
    pair_assert_works(pair, 0);
    assert_int_equal(frontend_remove_region(frontend, &first), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    device_run(&pair->device);
    assert_int_equal(device_echo(&pair->device, 0), -EPROTO);
    pair_assert_reason(pair, "broke virtqueue 0: the ring no longer lies in guest memory");
    pair_assert_works(pair, 1);

    assert_int_equal(frontend_add_region(frontend, &first, fd), 0);
    assert_int_equal(driver_stop(driver, 0), 0);
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
}

/* A buffer in memory that is gone breaks the queue when it is taken, not when the memory goes. */
static void test_buffer_unmapped(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    struct frontend_region region = slot(1);
    struct ring_buffer buffer = {.addr = region.guest_addr, .len = 100, .is_writable = true};

    assert_int_equal(frontend_add_region(frontend, &region, pair->driver.area.fd), 0);
    pair_start(pair, 0);
    driver_add(&pair->driver, 0, &buffer, 1);
    assert_int_equal(device_echo(&pair->device, 0), 1);
    driver_add(&pair->driver, 0, &buffer, 1);
    assert_int_equal(frontend_remove_region(frontend, &region), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_true(device_is_started(&pair->device, 0));
    assert_int_equal(device_echo(&pair->device, 0), -EPROTO);
}

/* --- Private memory --------------------------------------------------------------------------------- */

/* As a front-end without share=on maps it: its own writes are for nobody else. */
static void make_private(struct driver *driver)
{
    assert_ptr_equal(mmap(driver->area.base, PAIR_MEMORY_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_FIXED, driver->area.fd, 0),
                     driver->area.base);
}

static void test_private(void **state)
{
    struct pair *pair = *state;
    struct ring_buffer buffer = driver_buffer(&pair->driver, 0, 100, true);

    make_private(&pair->driver);
    pair_connect(pair);
    assert_int_equal(driver_start(&pair->driver, 0), 0);
    device_run(&pair->device);
    pair_assert_no_reason(pair);
    driver_add(&pair->driver, 0, &buffer, 1);
    driver_kick(&pair->driver, 0);
    device_run(&pair->device);
    pair_assert_reason(pair, "guest memory is not shared");
    pair_assert_reason(pair, "virtqueue 0");
    pair_assert_reason(pair, "share=on");
    assert_true(shunt_backend_is_connected(pair->device.backend));

    driver_disconnect(&pair->driver);
    device_run(&pair->device);
    pair_assert_reason(pair, "waiting for a front-end to connect");
}

/* Kicks for nothing, as some drivers send them, are no sign of it when other rings moved. */
static void test_empty_kicks(void **state)
{
    struct pair *pair = *state;

    pair_connect(pair);
    pair_start(pair, 0);
    pair_start(pair, 1);
    pair_assert_works(pair, 0);
    driver_kick(&pair->driver, 0);
    device_run(&pair->device);
    for (unsigned i = 0; i < 5; i++) {
        driver_kick(&pair->driver, 1);
        device_run(&pair->device);
        pair_assert_no_reason(pair);
    }
}

/* While the back-end looks for the ring to move, it takes no kick away from the program. */
static void test_kicks_are_the_programs(void **state)
{
    struct pair *pair = *state;
    struct pollfd kick = {.events = POLLIN};
    uint64_t count;

    pair_connect(pair);
    pair_start(pair, 0);
    kick.fd = shunt_virtqueue_kick_fd(shunt_backend_virtqueue(pair->device.backend, 0));
    assert_int_equal(read(kick.fd, &count, sizeof(count)), sizeof(count));
    driver_kick(&pair->driver, 0);
    device_run(&pair->device);
    assert_int_equal(poll(&kick, 1, 0), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_table),
        TEST(test_table_of_full_length),
        TEST(test_table_of_other_size),
        TEST(test_bad_region),
        TEST(test_region_of_no_file),
        TEST(test_region_read_only),
        TEST(test_slots),
        TEST(test_one_slot_too_many),
        TEST(test_slot_overlaps),
        TEST(test_slot_for_each_pair),
        TEST(test_slot_absent),
        TEST(test_slot_without_descriptor),
        TEST(test_slot_removed_with_descriptor),
        TEST(test_replaced),
        TEST(test_extended),
        TEST(test_ring_unmapped),
        TEST(test_buffer_unmapped),
        TEST(test_private),
        TEST(test_empty_kicks),
        TEST(test_kicks_are_the_programs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
