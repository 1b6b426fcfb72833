/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest memory: what may be mapped, what is refused, and where addresses lead to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/area.h"
#include "memory/memory.h"

#define PAGE   UINT64_C(4096)
#define GUEST  UINT64_C(0x100000000)
#define USER   UINT64_C(0x7f0000000000)
#define HUGE_2 (UINT64_C(2) << 20)

struct fixture {
    struct shunt_memory *memory;
    struct ring_area area; /* 16 pages; byte n of it is n / 16 */
};

static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof(*f));

    assert_int_equal(shunt_memory_create(&f->memory), 0);
    area_create(&f->area, 16 * PAGE, GUEST, USER);
    for (uint64_t i = 0; i < f->area.size; i++)
        f->area.base[i] = (uint8_t)(i / 16);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    shunt_memory_destroy(f->memory);
    area_destroy(&f->area);
    test_free(f);
    return 0;
}

static struct shunt_memory_region region_of(uint64_t guest_addr, uint64_t user_addr, uint64_t size,
                                            uint64_t fd_offset)
{
    return (struct shunt_memory_region){guest_addr, user_addr, size, fd_offset};
}

static int add(struct fixture *f, uint64_t guest_addr, uint64_t user_addr, uint64_t size,
               uint64_t fd_offset)
{
    struct shunt_memory_region region = region_of(guest_addr, user_addr, size, fd_offset);
    struct shunt_error error = {0};
    int result = shunt_memory_add(f->memory, &region, f->area.fd, &error);

    assert_int_equal(error.code, result);
    assert_int_equal(error.text[0] != '\0', result < 0);
    return result;
}

static uint8_t *at_guest(struct fixture *f, uint64_t addr)
{
    uint64_t contiguous;

    return shunt_memory_at_guest(f->memory, addr, 1, &contiguous);
}

static bool is_mapped(const void *pointer)
{
    unsigned char resident;
    uintptr_t page = (uintptr_t)pointer & ~(uintptr_t)(PAGE - 1);

    return mincore((void *)page, PAGE, &resident) == 0;
}

/* How many mappings of areas the process has. */
static unsigned count_mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    unsigned num = 0;

    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps))
        num += strstr(line, "memfd:guest") != NULL;
    fclose(maps);
    return num;
}

/* --- Adding and removing ---------------------------------------------------------------------------- */

static void test_add_maps_the_file(void **state)
{
    struct fixture *f = *state;
    uint8_t *start;

    assert_int_equal(add(f, GUEST, USER, 4 * PAGE, 0), 0);
    assert_int_equal(shunt_memory_num_regions(f->memory), 1);
    start = at_guest(f, GUEST);
    assert_non_null(start);
    assert_memory_equal(start, f->area.base, 4 * PAGE);
    start[5] = 0xaa; /* shared both ways */
    assert_int_equal(f->area.base[5], 0xaa);
    f->area.base[4 * PAGE - 1] = 0xbb;
    assert_int_equal(start[4 * PAGE - 1], 0xbb);
}

static void test_the_descriptor_stays_the_callers(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region region = region_of(GUEST, USER, PAGE, 0);
    int fd = dup(f->area.fd);

    assert_int_equal(shunt_memory_add(f->memory, &region, fd, NULL), 0);
    assert_int_equal(fcntl(fd, F_GETFD) >= 0, 1);
    assert_int_equal(close(fd), 0);
    assert_memory_equal(at_guest(f, GUEST), f->area.base, PAGE);
}

static void test_remove_unmaps(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region first = region_of(GUEST, USER, PAGE, 0);
    struct shunt_memory_region second = region_of(GUEST + PAGE, USER + PAGE, PAGE, PAGE);
    uint8_t *gone, *kept;

    assert_int_equal(shunt_memory_add(f->memory, &first, f->area.fd, NULL), 0);
    assert_int_equal(shunt_memory_add(f->memory, &second, f->area.fd, NULL), 0);
    gone = at_guest(f, GUEST);
    kept = at_guest(f, GUEST + PAGE);
    assert_int_equal(shunt_memory_remove(f->memory, &first, NULL), 0);
    assert_false(is_mapped(gone));
    assert_int_equal(shunt_memory_num_regions(f->memory), 1);
    assert_null(at_guest(f, GUEST));
    assert_ptr_equal(at_guest(f, GUEST + PAGE), kept);
    assert_memory_equal(kept, f->area.base + PAGE, PAGE);
    assert_int_equal(shunt_memory_remove(f->memory, &first, NULL), -ENOENT);
}

/* QEMU up to 7.2 adds and removes each region once for each queue pair. */
static void test_the_same_region_again(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region region = region_of(GUEST, USER, PAGE, PAGE);
    struct ring_area other;
    uint8_t *start;

    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(shunt_memory_add(f->memory, &region, f->area.fd, NULL), 0);
    assert_int_equal(shunt_memory_num_regions(f->memory), 1);
    start = at_guest(f, GUEST);
    /* Another file, or another part of it, is not the same. */
    area_create(&other, f->area.size, GUEST, USER);
    assert_int_equal(shunt_memory_add(f->memory, &region, other.fd, NULL), -EEXIST);
    assert_int_equal(add(f, GUEST, USER, PAGE, 0), -EEXIST);
    area_destroy(&other);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(shunt_memory_remove(f->memory, &region, NULL), 0);
        assert_ptr_equal(at_guest(f, GUEST), start);
        assert_memory_equal(start, f->area.base + PAGE, PAGE);
    }
    assert_int_equal(shunt_memory_remove(f->memory, &region, NULL), 0);
    assert_false(is_mapped(start));
    assert_int_equal(shunt_memory_num_regions(f->memory), 0);
    assert_int_equal(shunt_memory_remove(f->memory, &region, NULL), -ENOENT);
}

/* A table names each region once, however often it was added before. */
static void test_replace_counts_anew(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region region = region_of(GUEST, USER, PAGE, 0);

    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(shunt_memory_add(f->memory, &region, f->area.fd, NULL), 0);
    assert_int_equal(shunt_memory_replace(f->memory, &region, &f->area.fd, 1, NULL), 0);
    assert_int_equal(shunt_memory_remove(f->memory, &region, NULL), 0);
    assert_int_equal(shunt_memory_num_regions(f->memory), 0);
}

static void test_remove_wants_all_of_it(void **state)
{
    struct fixture *f = *state;
    const struct shunt_memory_region others[] = {
        region_of(GUEST + PAGE, USER, 2 * PAGE, 0),
        region_of(GUEST, USER + PAGE, 2 * PAGE, 0),
        region_of(GUEST, USER, PAGE, 0),
    };
    /* QEMU does not say where in the file it was when it removes a region. */
    struct shunt_memory_region own = region_of(GUEST, USER, 2 * PAGE, 7 * PAGE);

    assert_int_equal(add(f, GUEST, USER, 2 * PAGE, PAGE), 0);
    for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct shunt_error error = {0};

        assert_int_equal(shunt_memory_remove(f->memory, &others[i], &error), -ENOENT);
        assert_int_equal(error.code, -ENOENT);
        assert_non_null(strstr(error.text, "0x10000"));
    }
    assert_int_equal(shunt_memory_remove(f->memory, &own, NULL), 0);
    assert_int_equal(shunt_memory_num_regions(f->memory), 0);
}

static void test_regions_are_listed_by_guest_address(void **state)
{
    struct fixture *f = *state;
    static const uint64_t order[] = {3, 1, 4, 0, 2};

    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(add(f, GUEST + order[i] * 8 * PAGE, USER - order[i] * PAGE, PAGE,
                             order[i] * PAGE),
                         0);
    assert_int_equal(shunt_memory_num_regions(f->memory), 5);
    for (unsigned i = 0; i < 5; i++) {
        struct shunt_memory_region region;

        shunt_memory_get_region(f->memory, i, &region);
        assert_int_equal(region.guest_addr, GUEST + i * 8 * PAGE);
        assert_int_equal(region.user_addr, USER - i * PAGE);
        assert_int_equal(region.size, PAGE);
        assert_int_equal(region.fd_offset, i * PAGE);
        assert_memory_equal(at_guest(f, region.guest_addr), f->area.base + i * PAGE, PAGE);
    }
}

static void test_destroy_unmaps_all(void **state)
{
    struct fixture *f = *state;
    unsigned before = count_mappings();

    for (unsigned i = 0; i < 16; i += 2)
        assert_int_equal(add(f, GUEST + i * PAGE, USER + i * PAGE, PAGE, i * PAGE), 0);
    assert_int_equal(count_mappings(), before + 8);
    shunt_memory_destroy(f->memory);
    assert_int_equal(count_mappings(), before);
    shunt_memory_destroy(NULL);
    assert_int_equal(shunt_memory_create(&f->memory), 0);
}

/* --- What is refused -------------------------------------------------------------------------------- */

static void test_ranges(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(add(f, GUEST, USER, 0, 0), -EINVAL);
    assert_int_equal(add(f, UINT64_MAX - PAGE + 2, USER, PAGE, 0), -EINVAL);
    assert_int_equal(add(f, GUEST, UINT64_MAX - PAGE + 2, PAGE, 0), -EINVAL);
    assert_int_equal(add(f, GUEST, USER, UINT64_MAX, 0), -EINVAL);
    assert_int_equal(add(f, 0, 0, UINT64_MAX, 0), -EINVAL);
    assert_int_equal(shunt_memory_num_regions(f->memory), 0);
    /* The last byte may be the last that there is. */
    assert_int_equal(add(f, UINT64_MAX - PAGE + 1, UINT64_MAX - PAGE + 1, PAGE, PAGE), 0);
    assert_int_equal(*at_guest(f, UINT64_MAX), f->area.base[2 * PAGE - 1]);
    assert_int_equal(add(f, 0, 0, PAGE, 0), 0);
    assert_int_equal(*at_guest(f, 0), f->area.base[0]);
}

static void test_file_bounds(void **state)
{
    struct fixture *f = *state;
    uint64_t size = f->area.size;

    assert_int_equal(add(f, GUEST, USER, size + 1, 0), -EINVAL);
    assert_int_equal(add(f, GUEST, USER, size, 1), -EINVAL);
    assert_int_equal(add(f, GUEST, USER, 1, size), -EINVAL);
    assert_int_equal(add(f, GUEST, USER, PAGE, size + PAGE), -EINVAL);
    assert_int_equal(add(f, GUEST, USER, PAGE, UINT64_MAX), -EINVAL);
    assert_int_equal(add(f, GUEST, USER, PAGE, UINT64_MAX - PAGE + 1), -EINVAL);
    assert_int_equal(shunt_memory_num_regions(f->memory), 0);
    assert_int_equal(add(f, GUEST, USER, 1, size - 1), 0);
    assert_int_equal(*at_guest(f, GUEST), f->area.base[size - 1]);
}

static void expect_refused(struct fixture *f, int fd, int code)
{
    struct shunt_memory_region region = region_of(GUEST, USER, PAGE, 0);
    struct shunt_error error = {0};

    assert_int_equal(shunt_memory_add(f->memory, &region, fd, &error), code);
    assert_int_equal(error.code, code);
    assert_non_null(strstr(error.text, "0x100000000"));
    assert_int_equal(shunt_memory_num_regions(f->memory), 0);
}

static void test_only_files_are_mapped(void **state)
{
    struct fixture *f = *state;
    int pipe_fds[2], sockets[2], device, folder, read_only;

    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    device = open("/dev/zero", O_RDWR | O_CLOEXEC);
    folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    expect_refused(f, pipe_fds[0], -EINVAL);
    expect_refused(f, sockets[0], -EINVAL);
    expect_refused(f, device, -EINVAL);
    expect_refused(f, folder, -EINVAL);
    expect_refused(f, -1, -EBADF);
    close(pipe_fds[0]);
    expect_refused(f, pipe_fds[0], -EBADF);
    /* One that we may not write to. */
    read_only = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    expect_refused(f, read_only, -EACCES);
    close(read_only);
    close(folder);
    close(device);
    close(sockets[0]);
    close(sockets[1]);
    close(pipe_fds[1]);
}

static void test_overlaps(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int64_t guest_pages, user_pages, num_pages;
        int result;
    } cases[] = {
        /* by guest address: at its end, its begin, within, around, exactly */
        {13, 30, 2, -EEXIST},
        {9, 30, 2, -EEXIST},
        {11, 30, 1, -EEXIST},
        {8, 30, 8, -EEXIST},
        {10, 30, 4, -EEXIST},
        /* by user address */
        {30, 13, 2, -EEXIST},
        {30, 9, 2, -EEXIST},
        {30, 11, 1, -EEXIST},
        {30, 8, 8, -EEXIST},
        {30, 10, 4, -EEXIST},
        /* neighbours on all sides */
        {9, 14, 1, 0},
        {14, 9, 1, 0},
        {8, 8, 1, 0},
        {15, 15, 1, 0},
    };

    assert_int_equal(add(f, GUEST + 10 * PAGE, USER + 10 * PAGE, 4 * PAGE, 0), 0);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(add(f, GUEST + (uint64_t)cases[i].guest_pages * PAGE,
                             USER + (uint64_t)cases[i].user_pages * PAGE,
                             (uint64_t)cases[i].num_pages * PAGE, 0),
                         cases[i].result);
    assert_int_equal(shunt_memory_num_regions(f->memory), 5);
}

static void test_overlap_by_one_byte(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(add(f, GUEST + 100, USER + 100, 100, 0), 0);
    assert_int_equal(add(f, GUEST + 199, USER + 900, 100, 0), -EEXIST);
    assert_int_equal(add(f, GUEST + 1, USER + 900, 100, 0), -EEXIST);
    assert_int_equal(add(f, GUEST + 200, USER + 199, 100, 0), -EEXIST);
    assert_int_equal(add(f, GUEST, USER + 1, 100, 0), -EEXIST);
    assert_int_equal(add(f, GUEST + 200, USER, 100, 0), 0);
    assert_int_equal(add(f, GUEST, USER + 200, 100, 0), 0);
}

static void test_limit_of_regions(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < SHUNT_MEMORY_MAX_REGIONS; i++)
        assert_int_equal(add(f, GUEST + i * PAGE, USER + i * PAGE, PAGE, (i % 16) * PAGE), 0);
    assert_int_equal(add(f, 0, 0, PAGE, 0), -ENOSPC);
    assert_int_equal(shunt_memory_num_regions(f->memory), SHUNT_MEMORY_MAX_REGIONS);
    for (unsigned i = 0; i < SHUNT_MEMORY_MAX_REGIONS; i++)
        assert_memory_equal(at_guest(f, GUEST + i * PAGE), f->area.base + (i % 16) * PAGE, PAGE);
}

/* --- Replacing -------------------------------------------------------------------------------------- */

static void test_replace_keeps_what_is_the_same(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region now[] = {
        region_of(GUEST + 8 * PAGE, USER + 8 * PAGE, PAGE, 0), /* new, and before the others */
        region_of(GUEST, USER, PAGE, 0),                       /* as it was */
        region_of(GUEST + PAGE, USER + PAGE, PAGE, 9 * PAGE),  /* elsewhere in the file */
    };
    int fds[3] = {f->area.fd, dup(f->area.fd), f->area.fd}; /* as it was, by another descriptor */
    unsigned before = count_mappings();
    uint8_t *kept, *gone;

    assert_int_equal(add(f, GUEST, USER, PAGE, 0), 0);
    assert_int_equal(add(f, GUEST + PAGE, USER + PAGE, PAGE, PAGE), 0);
    assert_int_equal(add(f, GUEST + 4 * PAGE, USER + 4 * PAGE, PAGE, 4 * PAGE), 0);
    kept = at_guest(f, GUEST);
    gone = at_guest(f, GUEST + 4 * PAGE);
    assert_int_equal(shunt_memory_replace(f->memory, now, fds, 3, NULL), 0);
    assert_false(is_mapped(gone));
    assert_int_equal(shunt_memory_num_regions(f->memory), 3);
    assert_ptr_equal(at_guest(f, GUEST), kept);
    assert_memory_equal(at_guest(f, GUEST + PAGE), f->area.base + 9 * PAGE, PAGE);
    assert_memory_equal(at_guest(f, GUEST + 8 * PAGE), f->area.base, PAGE);
    assert_null(at_guest(f, GUEST + 4 * PAGE));
    assert_int_equal(count_mappings(), before + 3);
    close(fds[1]);
}

static void test_replace_sees_another_file(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region region = region_of(GUEST, USER, 2 * PAGE, 0);
    struct ring_area other;
    uint8_t *before;

    area_create(&other, 2 * PAGE, GUEST, USER);
    memset(other.base, 0x5a, 2 * PAGE);
    assert_int_equal(shunt_memory_add(f->memory, &region, f->area.fd, NULL), 0);
    before = at_guest(f, GUEST);
    assert_memory_equal(before, f->area.base, 2 * PAGE);
    assert_int_equal(shunt_memory_replace(f->memory, &region, &other.fd, 1, NULL), 0);
    assert_int_equal(shunt_memory_num_regions(f->memory), 1);
    assert_memory_equal(at_guest(f, GUEST), other.base, 2 * PAGE);
    area_destroy(&other);
}

/* A region that moved only in one of the address spaces is another one. */
static void test_replace_sees_other_addresses(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region moved = region_of(GUEST, USER + 5 * PAGE, PAGE, 0);
    uint64_t contiguous;

    assert_int_equal(add(f, GUEST, USER, PAGE, 0), 0);
    assert_int_equal(shunt_memory_replace(f->memory, &moved, &f->area.fd, 1, NULL), 0);
    assert_null(shunt_memory_at_user(f->memory, USER, 1, &contiguous));
    assert_ptr_equal(shunt_memory_at_user(f->memory, USER + 5 * PAGE, 1, &contiguous),
                     at_guest(f, GUEST));
}

static void test_replace_by_nothing(void **state)
{
    struct fixture *f = *state;
    unsigned before = count_mappings();

    assert_int_equal(add(f, GUEST, USER, PAGE, 0), 0);
    assert_int_equal(shunt_memory_replace(f->memory, NULL, NULL, 0, NULL), 0);
    assert_int_equal(shunt_memory_num_regions(f->memory), 0);
    assert_null(at_guest(f, GUEST));
    assert_int_equal(count_mappings(), before);
}

/* The set of `num` regions is refused, and nothing changed. */
static void expect_unchanged(struct fixture *f, const struct shunt_memory_region *regions,
                             const int *fds, unsigned num, int code)
{
    uint8_t *first = at_guest(f, GUEST), *second = at_guest(f, GUEST + PAGE);
    unsigned before = count_mappings();
    struct shunt_error error = {0};

    assert_int_equal(shunt_memory_replace(f->memory, regions, fds, num, &error), code);
    assert_int_equal(error.code, code);
    assert_int_not_equal(error.text[0], '\0');
    assert_int_equal(shunt_memory_num_regions(f->memory), 2);
    assert_ptr_equal(at_guest(f, GUEST), first);
    assert_ptr_equal(at_guest(f, GUEST + PAGE), second);
    assert_memory_equal(first, f->area.base, PAGE);
    assert_memory_equal(second, f->area.base + PAGE, PAGE);
    assert_int_equal(count_mappings(), before);
}

static void test_replace_is_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region kept = region_of(GUEST, USER, PAGE, 0);
    struct shunt_memory_region fresh = region_of(GUEST + 99 * PAGE, USER + 99 * PAGE, PAGE, 0);
    const struct shunt_memory_region bad[] = {
        region_of(GUEST + 3 * PAGE, USER + 3 * PAGE, 0, 0),
        region_of(GUEST + 3 * PAGE, UINT64_MAX, PAGE, 0),
        region_of(GUEST + 3 * PAGE, USER + 3 * PAGE, f->area.size + 1, 0),
    };
    int fds[3] = {f->area.fd, f->area.fd, f->area.fd};

    assert_int_equal(add(f, GUEST, USER, PAGE, 0), 0);
    assert_int_equal(add(f, GUEST + PAGE, USER + PAGE, PAGE, PAGE), 0);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct shunt_memory_region last[] = {kept, fresh, bad[i]};
        struct shunt_memory_region first[] = {bad[i], fresh, kept};

        expect_unchanged(f, last, fds, 3, -EINVAL);
        expect_unchanged(f, first, fds, 3, -EINVAL);
    }
    fds[1] = -1;
    expect_unchanged(f, (struct shunt_memory_region[]){kept, fresh}, fds, 2, -EBADF);
    fds[0] = -1; /* not even a look at what is there already may go wrong */
    expect_unchanged(f, (struct shunt_memory_region[]){kept, fresh}, fds, 2, -EBADF);
}

static void test_replace_by_overlapping(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region kept = region_of(GUEST, USER, PAGE, 0);
    struct shunt_memory_region over = region_of(GUEST, USER + 9 * PAGE, PAGE, 0);
    int fds[2] = {f->area.fd, f->area.fd};

    assert_int_equal(add(f, GUEST, USER, PAGE, 0), 0);
    assert_int_equal(add(f, GUEST + PAGE, USER + PAGE, PAGE, PAGE), 0);
    expect_unchanged(f, (struct shunt_memory_region[]){kept, kept}, fds, 2, -EEXIST);
    expect_unchanged(f, (struct shunt_memory_region[]){kept, over}, fds, 2, -EEXIST);
    expect_unchanged(f, (struct shunt_memory_region[]){over, kept}, fds, 2, -EEXIST);
}

static void test_replace_by_too_many(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region regions[SHUNT_MEMORY_MAX_REGIONS + 1];
    int fds[SHUNT_MEMORY_MAX_REGIONS + 1];

    for (unsigned i = 0; i <= SHUNT_MEMORY_MAX_REGIONS; i++) {
        regions[i] = region_of(GUEST + i * PAGE, USER + i * PAGE, PAGE, (i % 16) * PAGE);
        fds[i] = f->area.fd;
    }
    assert_int_equal(add(f, GUEST, USER, PAGE, 0), 0);
    assert_int_equal(add(f, GUEST + PAGE, USER + PAGE, PAGE, PAGE), 0);
    expect_unchanged(f, regions, fds, SHUNT_MEMORY_MAX_REGIONS + 1, -ENOSPC);
    assert_int_equal(shunt_memory_replace(f->memory, regions, fds, SHUNT_MEMORY_MAX_REGIONS, NULL),
                     0);
    assert_int_equal(shunt_memory_num_regions(f->memory), SHUNT_MEMORY_MAX_REGIONS);
}

/* --- Translation ------------------------------------------------------------------------------------ */

typedef void *translate_fn(const struct shunt_memory *memory, uint64_t addr, uint64_t len,
                           uint64_t *contiguous);

/* `page` is where in the area it should lead to, -1 for nowhere. */
static void expect_at(struct fixture *f, translate_fn *translate, uint64_t addr, uint64_t len,
                      int64_t offset, uint64_t expected)
{
    uint64_t contiguous = 12345;
    const uint8_t *pointer = translate(f->memory, addr, len, &contiguous);

    assert_int_equal(contiguous, expected);
    if (offset < 0) {
        assert_null(pointer);
        return;
    }
    assert_non_null(pointer);
    assert_memory_equal(pointer, f->area.base + offset, expected);
}

/* Two regions of 2 and 3 pages with a hole of one page between them, at offsets 4 and 8 of the file. */
static void expect_borders(struct fixture *f, translate_fn *translate, uint64_t start)
{
    uint64_t end = start + 2 * PAGE, next = end + PAGE, last = next + 3 * PAGE;
    int64_t first_at = 4 * PAGE, second_at = 8 * PAGE;

    expect_at(f, translate, start - 1, 1, -1, 0);
    expect_at(f, translate, start - 1, PAGE, -1, 0);
    expect_at(f, translate, start, 1, first_at, 1);
    expect_at(f, translate, start, 2 * PAGE, first_at, 2 * PAGE);
    expect_at(f, translate, start, 2 * PAGE + 1, first_at, 2 * PAGE);
    expect_at(f, translate, start, UINT64_MAX, first_at, 2 * PAGE);
    expect_at(f, translate, start + 100, PAGE, first_at + 100, PAGE);
    expect_at(f, translate, end - 1, 1, first_at + 2 * (int64_t)PAGE - 1, 1);
    expect_at(f, translate, end - 1, 2, first_at + 2 * (int64_t)PAGE - 1, 1);
    expect_at(f, translate, end, 1, -1, 0);
    expect_at(f, translate, end, 2 * PAGE, -1, 0);
    expect_at(f, translate, next - 1, 2, -1, 0);
    expect_at(f, translate, next, 3 * PAGE, second_at, 3 * PAGE);
    expect_at(f, translate, last - 10, 20, second_at + 3 * (int64_t)PAGE - 10, 10);
    expect_at(f, translate, last, 1, -1, 0);
    expect_at(f, translate, 0, 1, -1, 0);
    expect_at(f, translate, UINT64_MAX, UINT64_MAX, -1, 0);
}

static void test_borders(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(add(f, GUEST + 3 * PAGE, USER + 3 * PAGE, 3 * PAGE, 8 * PAGE), 0);
    assert_int_equal(add(f, GUEST, USER, 2 * PAGE, 4 * PAGE), 0);
    expect_borders(f, shunt_memory_at_guest, GUEST);
    expect_borders(f, shunt_memory_at_user, USER);
}

static void test_empty_memory(void **state)
{
    struct fixture *f = *state;

    expect_at(f, shunt_memory_at_guest, 0, 1, -1, 0);
    expect_at(f, shunt_memory_at_guest, GUEST, UINT64_MAX, -1, 0);
    expect_at(f, shunt_memory_at_user, USER, 1, -1, 0);
}

/* Neighbours for the guest lie apart for us: each piece ends where its region does. */
static void test_adjacent_regions_come_in_pieces(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(add(f, GUEST, USER + 10 * PAGE, PAGE, 7 * PAGE), 0);
    assert_int_equal(add(f, GUEST + PAGE, USER, 100, 3 * PAGE), 0);
    assert_int_equal(add(f, GUEST + PAGE + 100, USER + 5 * PAGE, PAGE, 11 * PAGE), 0);
    expect_at(f, shunt_memory_at_guest, GUEST + PAGE - 8, 500, 8 * (int64_t)PAGE - 8, 8);
    expect_at(f, shunt_memory_at_guest, GUEST + PAGE, 492, 3 * (int64_t)PAGE, 100);
    expect_at(f, shunt_memory_at_guest, GUEST + PAGE + 100, 392, 11 * (int64_t)PAGE, 392);
}

static void test_finding_regions(void **state)
{
    struct fixture *f = *state;
    const struct memory_region *regions = f->memory->regions;

    assert_int_equal(add(f, GUEST, USER + 9 * PAGE, PAGE, 0), 0);
    assert_int_equal(add(f, GUEST + PAGE, USER, 2 * PAGE, 5 * PAGE), 0);
    assert_ptr_equal(memory_find_guest(f->memory, GUEST + PAGE - 1), &regions[0]);
    assert_ptr_equal(memory_find_guest(f->memory, GUEST + PAGE), &regions[1]);
    assert_null(memory_find_guest(f->memory, GUEST + 3 * PAGE));
    assert_ptr_equal(memory_find_user(f->memory, USER + 9 * PAGE), &regions[0]);
    assert_ptr_equal(memory_find_user(f->memory, USER + 2 * PAGE - 1), &regions[1]);
    assert_null(memory_find_user(f->memory, USER - 1));
    assert_null(memory_find_user(f->memory, USER + 2 * PAGE));
    assert_int_equal(regions[1].range.addr, GUEST + PAGE);
    assert_int_equal(regions[1].range.size, 2 * PAGE);
    assert_int_equal(regions[1].range.access, MEMORY_READ | MEMORY_WRITE);
    assert_ptr_equal(regions[1].range.host, at_guest(f, GUEST + PAGE));
}

/* From our pointers back to the guest's addresses, to the first and last byte of each region. */
static void test_guest_address_of(void **state)
{
    struct fixture *f = *state;
    static const uint64_t guests[] = {0, GUEST, UINT64_MAX - PAGE + 1, GUEST + PAGE, 77 * PAGE + 5};
    uint64_t addr = 12345;
    int local;

    assert_false(memory_guest_addr_of(f->memory, f->area.base, &addr));
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(add(f, guests[i], USER + i * PAGE, PAGE, (i + 3) * PAGE), 0);
    for (unsigned i = 0; i < 5; i++) {
        static const uint64_t offsets[] = {0, 1, PAGE - 1};

        for (unsigned j = 0; j < 3; j++) {
            uint64_t wanted = guests[i] + offsets[j];

            assert_true(memory_guest_addr_of(f->memory, at_guest(f, wanted), &addr));
            assert_int_equal(addr, wanted);
        }
    }
    addr = 12345;
    assert_false(memory_guest_addr_of(f->memory, &local, &addr));
    assert_false(memory_guest_addr_of(f->memory, f->area.base, &addr)); /* the test's own mapping */
    assert_false(memory_guest_addr_of(f->memory, NULL, &addr));
    assert_int_equal(addr, 12345);
}

static void test_offset_within_a_page(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region region = region_of(GUEST + 7, USER + 9, PAGE + 3, PAGE + 1234);
    uint8_t *start;

    assert_int_equal(shunt_memory_add(f->memory, &region, f->area.fd, NULL), 0);
    start = at_guest(f, GUEST + 7);
    assert_memory_equal(start, f->area.base + PAGE + 1234, PAGE + 3);
    expect_at(f, shunt_memory_at_user, USER + 9 + PAGE, 10, 2 * (int64_t)PAGE + 1234, 3);
    assert_int_equal(shunt_memory_remove(f->memory, &region, NULL), 0);
    assert_false(is_mapped(start));
    assert_false(is_mapped(start + PAGE + 2));
}

static void test_file_on_disk(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region region = region_of(GUEST, USER, 5000, 100);
    char bytes[5100];
    FILE *file = tmpfile();

    assert_non_null(file);
    memset(bytes, 0x77, sizeof(bytes));
    assert_int_equal(fwrite(bytes, sizeof(bytes), 1, file), 1);
    assert_int_equal(fflush(file), 0);
    assert_int_equal(shunt_memory_add(f->memory, &region, fileno(file), NULL), 0);
    assert_memory_equal(at_guest(f, GUEST), bytes, 5000);
    region.guest_addr += 2 * PAGE;
    region.user_addr += 2 * PAGE;
    region.size++;
    assert_int_equal(shunt_memory_add(f->memory, &region, fileno(file), NULL), -EINVAL);
    fclose(file);
}

/* Mappings of hugetlbfs begin and end at its own pages, wherever the region does. */
static void test_huge_pages(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region region = region_of(GUEST, USER, HUGE_2 + PAGE, PAGE);
    int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
    unsigned before = shunt_memory_num_regions(f->memory);
    uint8_t *at;

    if (fd < 0 || ftruncate(fd, 2 * HUGE_2) < 0) {
        print_message("no hugetlbfs here: %s\n", strerror(errno));
        skip();
    }
    assert_int_equal(shunt_memory_add(f->memory, &region, fd, NULL), 0);
    at = at_guest(f, GUEST);
    assert_int_equal((uintptr_t)at % HUGE_2, PAGE);
    assert_ptr_equal(at_guest(f, GUEST + HUGE_2), at + HUGE_2);
    assert_int_equal(shunt_memory_remove(f->memory, &region, NULL), 0);
    assert_false(is_mapped(at));
    assert_false(is_mapped(at + HUGE_2));
    assert_int_equal(shunt_memory_num_regions(f->memory), before);
    close(fd);
}

/*
 * Two pages of a file, `page` bytes each, which two regions share: the border between them is within the
 * first page. Takes over the descriptor; -1: there is no such file here, as errno says.
 */
static void expect_backing(struct fixture *f, int fd, uint64_t page)
{
    uint64_t border = page / 2 + 100, end = 2 * page;
    struct shunt_memory_region first = region_of(GUEST, USER, border, 0);
    struct shunt_memory_region second = region_of(GUEST + border, USER + border, end - border,
                                                  border);
    uint8_t *own = MAP_FAILED;

    /* Without MAP_NORESERVE: it fails if there are no huge pages, where a touch would be a SIGBUS. */
    if (fd >= 0 && ftruncate(fd, (off_t)end) == 0)
        own = mmap(NULL, end, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (own == MAP_FAILED) {
        print_message("no such memory is to be had here: %s\n", strerror(errno));
        if (fd >= 0)
            close(fd);
        skip();
    }
    memset(own + border - 50, 0x11, 50);
    memset(own + border, 0x22, 50);
    own[end - 1] = 0x33;
    assert_int_equal(shunt_memory_add(f->memory, &first, fd, NULL), 0);
    assert_int_equal(shunt_memory_add(f->memory, &second, fd, NULL), 0);
    assert_memory_equal(at_guest(f, GUEST + border - 50), own + border - 50, 50);
    assert_memory_equal(at_guest(f, GUEST + border), own + border, 50);
    assert_int_equal(*at_guest(f, GUEST + end - 1), 0x33);
    *at_guest(f, GUEST + page) = 0x44;
    assert_int_equal(own[page], 0x44);
    assert_int_equal(shunt_memory_remove(f->memory, &first, NULL), 0);
    assert_null(at_guest(f, GUEST + border - 1));
    assert_memory_equal(at_guest(f, GUEST + border), own + border, 50);
    assert_int_equal(shunt_memory_remove(f->memory, &second, NULL), 0);
    munmap(own, end);
    close(fd);
}

/* As QEMU makes it: nobody can take it away under our hands any more. */
static void test_backed_by_sealed_memfd(void **state)
{
    int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)(2 * PAGE)), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL), 0);
    expect_backing(*state, fd, PAGE);
}

static void test_backed_by_shared_memory(void **state)
{
    expect_backing(*state, open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), PAGE);
}

static void test_backed_by_file(void **state)
{
    char path[] = "/tmp/shunt-memory-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);

    if (fd >= 0)
        unlink(path);
    expect_backing(*state, fd, PAGE);
}

static void test_backed_by_huge_pages(void **state)
{
    expect_backing(*state, memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB), HUGE_2);
}

static void test_backed_by_gigantic_pages(void **state)
{
    expect_backing(*state, memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_1GB),
                   UINT64_C(1) << 30);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_add_maps_the_file),
        TEST(test_the_descriptor_stays_the_callers),
        TEST(test_remove_unmaps),
        TEST(test_the_same_region_again),
        TEST(test_replace_counts_anew),
        TEST(test_remove_wants_all_of_it),
        TEST(test_regions_are_listed_by_guest_address),
        TEST(test_destroy_unmaps_all),
        TEST(test_ranges),
        TEST(test_file_bounds),
        TEST(test_only_files_are_mapped),
        TEST(test_overlaps),
        TEST(test_overlap_by_one_byte),
        TEST(test_limit_of_regions),
        TEST(test_replace_keeps_what_is_the_same),
        TEST(test_replace_sees_another_file),
        TEST(test_replace_sees_other_addresses),
        TEST(test_replace_by_nothing),
        TEST(test_replace_is_all_or_nothing),
        TEST(test_replace_by_overlapping),
        TEST(test_replace_by_too_many),
        TEST(test_borders),
        TEST(test_empty_memory),
        TEST(test_adjacent_regions_come_in_pieces),
        TEST(test_finding_regions),
        TEST(test_guest_address_of),
        TEST(test_offset_within_a_page),
        TEST(test_file_on_disk),
        TEST(test_huge_pages),
        TEST(test_backed_by_sealed_memfd),
        TEST(test_backed_by_shared_memory),
        TEST(test_backed_by_file),
        TEST(test_backed_by_huge_pages),
        TEST(test_backed_by_gigantic_pages),
    };

    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
