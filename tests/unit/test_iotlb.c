/* SPDX-License-Identifier: BSD-3-Clause */
/* The IOTLB: what it finds, what it forgets, and against a model that knows every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "lib/area.h"
#include "memory/iotlb.h"

#define PAGE  UINT64_C(4096)
#define GUEST UINT64_C(0x100000000)
#define USER  UINT64_C(0x7f0000000000)
#define IO    UINT64_C(0xfff00000)
#define READ  MEMORY_READ
#define WRITE MEMORY_WRITE
#define BOTH  (MEMORY_READ | MEMORY_WRITE)

#define AREA_PAGES UINT64_C(64)

struct fixture {
    struct shunt_memory *memory; /* pages 0 to 31 of the area, at GUEST and USER */
    struct ring_area area;
    struct iotlb *iotlb;
};

static struct shunt_memory_region pages(uint64_t guest_page, uint64_t user_page, uint64_t num,
                                        uint64_t file_page)
{
    return (struct shunt_memory_region){GUEST + guest_page * PAGE, USER + user_page * PAGE,
                                        num * PAGE, file_page * PAGE};
}

static void set_regions(struct fixture *f, const struct shunt_memory_region *regions, unsigned num)
{
    int fds[SHUNT_MEMORY_MAX_REGIONS];

    for (unsigned i = 0; i < num; i++)
        fds[i] = f->area.fd;
    assert_int_equal(shunt_memory_replace(f->memory, regions, fds, num, NULL), 0);
    iotlb_remap(f->iotlb);
}

static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof(*f));
    struct shunt_memory_region region = pages(0, 0, 32, 0);

    assert_int_equal(shunt_memory_create(&f->memory), 0);
    area_create(&f->area, AREA_PAGES * PAGE, GUEST, USER);
    assert_int_equal(iotlb_create(f->memory, &f->iotlb), 0);
    set_regions(f, &region, 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    iotlb_destroy(f->iotlb);
    iotlb_destroy(NULL);
    shunt_memory_destroy(f->memory);
    area_destroy(&f->area);
    test_free(f);
    return 0;
}

static int update(struct fixture *f, uint64_t io_addr, uint64_t size, uint64_t target,
                  unsigned access)
{
    struct shunt_error error = {0};
    int result = iotlb_update(f->iotlb, io_addr, size, target, access, &error);

    assert_int_equal(error.code, result);
    assert_int_equal(error.text[0] != '\0', result < 0);
    return result;
}

static void *at_user(const struct fixture *f, uint64_t user_addr)
{
    uint64_t contiguous;

    return shunt_memory_at_user(f->memory, user_addr, 1, &contiguous);
}

static unsigned num_entries(const struct fixture *f)
{
    return iotlb_stats(f->iotlb).num_entries;
}

/* The entry that holds `io_addr` is exactly this one. */
static void expect(const struct fixture *f, uint64_t io_addr, uint64_t start, uint64_t size,
                   const void *host, unsigned access)
{
    const struct memory_range *range = iotlb_find(f->iotlb, io_addr);

    assert_non_null(range);
    assert_int_equal(range->addr, start);
    assert_int_equal(range->size, size);
    assert_ptr_equal(range->host, host);
    assert_int_equal(range->access, access);
}

static void expect_none(const struct fixture *f, uint64_t io_addr)
{
    assert_null(iotlb_find(f->iotlb, io_addr));
}

/* --- One entry -------------------------------------------------------------------------------------- */

static void test_empty(void **state)
{
    struct fixture *f = *state;

    expect_none(f, 0);
    expect_none(f, IO);
    expect_none(f, UINT64_MAX);
    iotlb_invalidate(f->iotlb, 0, 0);
    iotlb_invalidate(f->iotlb, IO, PAGE);
    iotlb_remap(f->iotlb);
    assert_int_equal(num_entries(f), 0);
    assert_int_equal(iotlb_stats(f->iotlb).bytes, 0);
}

static void test_borders(void **state)
{
    struct fixture *f = *state;
    uint8_t *host = at_user(f, USER + 100);

    assert_int_equal(update(f, IO + 3, 5000, USER + 100, WRITE), 0);
    expect_none(f, IO + 2);
    expect(f, IO + 3, IO + 3, 5000, host, WRITE);
    expect(f, IO + 5002, IO + 3, 5000, host, WRITE);
    expect_none(f, IO + 5003);
    expect_none(f, 0);
    expect_none(f, UINT64_MAX);
}

static void test_access(void **state)
{
    struct fixture *f = *state;

    for (unsigned access = 0; access <= BOTH; access++)
        assert_int_equal(update(f, IO + access * PAGE, PAGE, USER + access * PAGE, access), 0);
    assert_int_equal(num_entries(f), 4);
    for (unsigned access = 0; access <= BOTH; access++)
        expect(f, IO + access * PAGE, IO + access * PAGE, PAGE, at_user(f, USER + access * PAGE),
               access);
    assert_int_equal(update(f, IO, PAGE, USER, 4), -EINVAL);
    assert_int_equal(update(f, IO, PAGE, USER, 0xff), -EINVAL);
    /* The guest grants more, or less, of the same page. */
    assert_int_equal(update(f, IO, PAGE, USER, BOTH), 0);
    expect(f, IO, IO, PAGE, at_user(f, USER), BOTH);
    assert_int_equal(update(f, IO + 3 * PAGE, PAGE, USER + 3 * PAGE, READ), 0);
    expect(f, IO + 3 * PAGE, IO + 3 * PAGE, PAGE, at_user(f, USER + 3 * PAGE), READ);
}

static void test_ends_of_the_address_space(void **state)
{
    struct fixture *f = *state;
    uint64_t last_page = UINT64_MAX - PAGE + 1;

    assert_int_equal(update(f, 0, PAGE, USER, BOTH), 0);
    assert_int_equal(update(f, last_page, PAGE, USER + PAGE, BOTH), 0);
    expect(f, 0, 0, PAGE, at_user(f, USER), BOTH);
    expect(f, UINT64_MAX, last_page, PAGE, at_user(f, USER + PAGE), BOTH);
    expect_none(f, PAGE);
    expect_none(f, last_page - 1);
    iotlb_invalidate(f->iotlb, UINT64_MAX, 1);
    expect_none(f, UINT64_MAX);
    expect(f, last_page, last_page, PAGE - 1, at_user(f, USER + PAGE), BOTH);
    /* Over the end of it is up to the end of it. */
    iotlb_invalidate(f->iotlb, last_page + 10, UINT64_MAX);
    expect(f, last_page, last_page, 10, at_user(f, USER + PAGE), BOTH);
    expect(f, 0, 0, PAGE, at_user(f, USER), BOTH);
}

/* --- What is refused -------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint64_t io_addr, size, target;
    } cases[] = {
        {IO, 0, USER},
        {0, 0, 0},
        {UINT64_MAX, 2, USER},
        {UINT64_MAX - PAGE + 2, PAGE, USER},
        {IO, UINT64_MAX, USER},
        {IO, PAGE, UINT64_MAX - PAGE + 2},
        {IO, PAGE, USER - 1},
        {IO, PAGE, USER - PAGE},
        {IO, PAGE, USER + 32 * PAGE},
        {IO, PAGE + 1, USER + 31 * PAGE},
        {IO, 33 * PAGE, USER},
        {IO, PAGE, GUEST},
        {IO, PAGE, 0},
    };

    assert_int_equal(update(f, IO, 4 * PAGE, USER, READ), 0);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(update(f, cases[i].io_addr, cases[i].size, cases[i].target, BOTH),
                         -EINVAL);
        assert_int_equal(num_entries(f), 1);
        expect(f, IO + PAGE, IO, 4 * PAGE, at_user(f, USER), READ);
    }
    assert_int_equal(iotlb_stats(f->iotlb).updates, 1);
}

static void test_refused_says_where(void **state)
{
    struct fixture *f = *state;
    struct shunt_error error = {0};

    assert_int_equal(iotlb_update(f->iotlb, IO, 2 * PAGE, USER + 31 * PAGE, BOTH, &error), -EINVAL);
    assert_non_null(strstr(error.text, "user address 0x7f0000020000 is in no memory region"));
    assert_int_equal(iotlb_update(f->iotlb, IO, 2 * PAGE, USER + 31 * PAGE, BOTH, NULL), -EINVAL);
}

/* --- Overlaps --------------------------------------------------------------------------------------- */

/* Pages 10 to 19 are there; others come over them. What is there afterwards, from page 8 to 21, by name. */
static void test_overlaps(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint64_t first, num; /* pages */
        const char *updated, *invalidated;
        unsigned num_updated, num_invalidated; /* entries */
    } cases[] = {
        {8, 2, "bbaaaaaaaaaa..", "..aaaaaaaaaa..", 2, 1},   /* before */
        {20, 2, "..aaaaaaaaaabb", "..aaaaaaaaaa..", 2, 1},  /* behind */
        {9, 2, ".bbaaaaaaaaa..", "...aaaaaaaaa..", 2, 1},   /* over the begin */
        {19, 2, "..aaaaaaaaabb.", "..aaaaaaaaa...", 2, 1},  /* over the end */
        {10, 1, "..baaaaaaaaa..", "...aaaaaaaaa..", 2, 1},  /* the first */
        {19, 1, "..aaaaaaaaab..", "..aaaaaaaaa...", 2, 1},  /* the last */
        {13, 3, "..aaabbbaaaa..", "..aaa...aaaa..", 3, 2},  /* in the midst */
        {10, 10, "..bbbbbbbbbb..", "..............", 1, 0}, /* exactly */
        {8, 14, "bbbbbbbbbbbbbb", "..............", 1, 0},  /* around */
    };

    for (unsigned i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        bool is_update = i % 2 == 0;
        uint64_t at = IO + cases[i / 2].first * PAGE, size = cases[i / 2].num * PAGE;
        const char *wanted = is_update ? cases[i / 2].updated : cases[i / 2].invalidated;

        iotlb_clear(f->iotlb);
        assert_int_equal(update(f, IO + 10 * PAGE, 10 * PAGE, USER + 10 * PAGE, READ), 0);
        if (is_update)
            assert_int_equal(update(f, at, size, USER, WRITE), 0);
        else
            iotlb_invalidate(f->iotlb, at, size);
        for (uint64_t page = 8; page < 22; page++) {
            uint64_t addr = IO + page * PAGE + 5;
            const struct memory_range *range = iotlb_find(f->iotlb, addr);
            char name = wanted[page - 8];
            uint64_t user = name == 'a' ? USER + (addr - IO) : USER + (addr - at);

            assert_int_equal(range != NULL, name != '.');
            if (!range)
                continue;
            assert_int_equal(range->access, name == 'a' ? READ : WRITE);
            assert_ptr_equal(range->host + (addr - range->addr), at_user(f, user));
        }
        assert_int_equal(num_entries(f),
                         is_update ? cases[i / 2].num_updated : cases[i / 2].num_invalidated);
    }
}

static void test_over_many(void **state)
{
    struct fixture *f = *state;

    for (uint64_t i = 0; i < 20; i++)
        assert_int_equal(update(f, IO + 2 * i * PAGE, PAGE, USER + i * PAGE, BOTH), 0);
    assert_int_equal(num_entries(f), 20);
    assert_int_equal(update(f, IO + 4 * PAGE + 1, 20 * PAGE, USER + 7, READ), 0);
    assert_int_equal(num_entries(f), 2 + 1 + 1 + 1 + 7);
    expect(f, IO + 4 * PAGE, IO + 4 * PAGE, 1, at_user(f, USER + 2 * PAGE), BOTH);
    expect(f, IO + 9 * PAGE, IO + 4 * PAGE + 1, 20 * PAGE, at_user(f, USER + 7), READ);
    expect(f, IO + 24 * PAGE + 1, IO + 24 * PAGE + 1, PAGE - 1, at_user(f, USER + 12 * PAGE + 1),
           BOTH);
    expect(f, IO + 26 * PAGE, IO + 26 * PAGE, PAGE, at_user(f, USER + 13 * PAGE), BOTH);
}

static void test_invalidate_all(void **state)
{
    struct fixture *f = *state;
    static const uint64_t sizes[] = {0, UINT64_MAX};

    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(update(f, 0, PAGE, USER, BOTH), 0);
        assert_int_equal(update(f, IO, PAGE, USER, BOTH), 0);
        assert_int_equal(update(f, UINT64_MAX - PAGE + 1, PAGE, USER, BOTH), 0);
        assert_int_equal(num_entries(f), 3);
        iotlb_invalidate(f->iotlb, IO, 0); /* nothing */
        assert_int_equal(num_entries(f), 3);
        iotlb_invalidate(f->iotlb, 0, sizes[i]);
        assert_int_equal(num_entries(f), 0);
        expect_none(f, UINT64_MAX);
    }
    assert_int_equal(iotlb_stats(f->iotlb).invalidations, 2);
}

/* --- Neighbours ------------------------------------------------------------------------------------- */

/* However the guest maps its pages one by one, the end is one entry. */
static void test_neighbours_become_one(void **state)
{
    struct fixture *f = *state;
    static const uint64_t steps[] = {1, 31, 7, 13}; /* upwards, downwards, anyhow */

    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        iotlb_clear(f->iotlb);
        for (uint64_t n = 0; n < 32; n++) {
            uint64_t page = n * steps[i] % 32;

            assert_int_equal(update(f, IO + page * PAGE, PAGE, USER + page * PAGE, BOTH), 0);
            assert_int_equal(iotlb_stats(f->iotlb).bytes, (n + 1) * PAGE);
        }
        assert_int_equal(num_entries(f), 1);
        expect(f, IO + 17 * PAGE, IO, 32 * PAGE, at_user(f, USER), BOTH);
    }
}

static void test_neighbours_that_differ(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(update(f, IO, PAGE, USER, BOTH), 0);
    assert_int_equal(update(f, IO + PAGE, PAGE, USER + PAGE, READ), 0);     /* access */
    assert_int_equal(update(f, IO + 2 * PAGE, PAGE, USER, READ), 0);        /* place */
    assert_int_equal(update(f, IO + 4 * PAGE, PAGE, USER + PAGE, READ), 0); /* a gap */
    assert_int_equal(num_entries(f), 4);
    /* The same again does not add up. */
    assert_int_equal(update(f, IO, PAGE, USER, BOTH), 0);
    assert_int_equal(num_entries(f), 4);
    expect(f, IO, IO, PAGE, at_user(f, USER), BOTH);
}

/* What is one range for the front-end may be two mappings for us. */
static void test_over_regions(void **state)
{
    struct fixture *f = *state;
    const struct shunt_memory_region regions[] = {
        pages(0, 0, 4, 0),   /* neighbours by user address … */
        pages(40, 4, 4, 40), /* … not by guest address */
        pages(20, 8, 4, 4),
    };

    set_regions(f, regions, 3);
    assert_int_equal(update(f, IO, 12 * PAGE, USER, BOTH), 0);
    assert_int_equal(num_entries(f), 3);
    for (unsigned i = 0; i < 3; i++)
        expect(f, IO + 4 * i * PAGE + 1, IO + 4 * i * PAGE, 4 * PAGE,
               at_user(f, USER + 4 * i * PAGE), BOTH);
    assert_int_equal(update(f, IO, 13 * PAGE, USER, BOTH), -EINVAL);
    /* Page by page is the same. */
    iotlb_clear(f->iotlb);
    for (uint64_t page = 0; page < 12; page++)
        assert_int_equal(update(f, IO + page * PAGE, PAGE, USER + page * PAGE, BOTH), 0);
    assert_int_equal(num_entries(f), 3);
}

static void test_by_guest_address(void **state)
{
    struct fixture *f = *state;
    const struct shunt_memory_region regions[] = {pages(0, 40, 4, 0), pages(4, 20, 4, 4)};
    uint64_t contiguous;

    set_regions(f, regions, 2);
    assert_int_equal(update(f, IO, PAGE, USER + 40 * PAGE, BOTH), 0);
    iotlb_set_target(f->iotlb, IOTLB_TARGET_USER); /* no change */
    assert_int_equal(num_entries(f), 1);
    iotlb_set_target(f->iotlb, IOTLB_TARGET_GUEST);
    assert_int_equal(num_entries(f), 0);
    assert_int_equal(update(f, IO, PAGE, USER + 40 * PAGE, BOTH), -EINVAL);
    assert_int_equal(update(f, IO, 6 * PAGE, GUEST + 2 * PAGE, BOTH), 0);
    expect(f, IO + PAGE, IO, 2 * PAGE,
           shunt_memory_at_guest(f->memory, GUEST + 2 * PAGE, 1, &contiguous), BOTH);
    expect(f, IO + 3 * PAGE, IO + 2 * PAGE, 4 * PAGE,
           shunt_memory_at_guest(f->memory, GUEST + 4 * PAGE, 1, &contiguous), BOTH);
    set_regions(f, &regions[1], 1);
    assert_int_equal(num_entries(f), 1);
    expect_none(f, IO + PAGE);
    expect(f, IO + 3 * PAGE, IO + 2 * PAGE, 4 * PAGE,
           shunt_memory_at_guest(f->memory, GUEST + 4 * PAGE, 1, &contiguous), BOTH);
}

/* --- Regions that change ---------------------------------------------------------------------------- */

static void test_remap(void **state)
{
    struct fixture *f = *state;
    const struct shunt_memory_region halves[] = {pages(0, 0, 16, 0), pages(16, 16, 16, 32)};
    const struct shunt_memory_region holes[] = {pages(4, 4, 4, 4), pages(20, 20, 2, 20)};
    const struct shunt_memory_region whole = pages(0, 0, 32, 0);

    assert_int_equal(update(f, IO, 32 * PAGE, USER, BOTH), 0);
    set_regions(f, halves, 2); /* the second half elsewhere in the file */
    assert_int_equal(num_entries(f), 2);
    expect(f, IO + 15 * PAGE, IO, 16 * PAGE, at_user(f, USER), BOTH);
    expect(f, IO + 16 * PAGE, IO + 16 * PAGE, 16 * PAGE, at_user(f, USER + 16 * PAGE), BOTH);
    set_regions(f, &whole, 1); /* together again */
    assert_int_equal(num_entries(f), 1);
    expect(f, IO + 16 * PAGE, IO, 32 * PAGE, at_user(f, USER), BOTH);
    set_regions(f, holes, 2); /* only the middles are left */
    assert_int_equal(num_entries(f), 2);
    expect(f, IO + 4 * PAGE, IO + 4 * PAGE, 4 * PAGE, at_user(f, USER + 4 * PAGE), BOTH);
    expect(f, IO + 21 * PAGE, IO + 20 * PAGE, 2 * PAGE, at_user(f, USER + 20 * PAGE), BOTH);
    assert_int_equal(iotlb_stats(f->iotlb).bytes, 6 * PAGE);
    set_regions(f, NULL, 0);
    assert_int_equal(num_entries(f), 0);
    set_regions(f, &whole, 1); /* what is forgotten stays so */
    assert_int_equal(num_entries(f), 0);
}

/* --- Many entries ----------------------------------------------------------------------------------- */

/* Each page but every other one, going on by `step` of them, which is odd where `num` is a power of two. */
static void fill(struct fixture *f, uint64_t num, uint64_t step)
{
    for (uint64_t i = 0; i < num; i++) {
        uint64_t page = i * step % num;

        assert_int_equal(update(f, 2 * page * PAGE, PAGE, USER + page % 32 * PAGE, BOTH), 0);
    }
    assert_int_equal(num_entries(f), num);
}

static void expect_filled(struct fixture *f, uint64_t num)
{
    for (uint64_t page = 0; page < num; page += 97) {
        expect(f, 2 * page * PAGE + 77, 2 * page * PAGE, PAGE, at_user(f, USER + page % 32 * PAGE),
               BOTH);
        expect_none(f, (2 * page + 1) * PAGE);
    }
}

static void test_many(void **state)
{
    struct fixture *f = *state;

    fill(f, 8192, 3333);
    expect_filled(f, 8192);
    iotlb_clear(f->iotlb);
    fill(f, IOTLB_MAX_ENTRIES, 1);
    expect_filled(f, IOTLB_MAX_ENTRIES);
    iotlb_remap(f->iotlb);
    expect_filled(f, IOTLB_MAX_ENTRIES);
    /* Another place for one that is there needs no room. */
    assert_int_equal(update(f, 0, PAGE, USER + 9 * PAGE, BOTH), 0);
    assert_int_equal(num_entries(f), IOTLB_MAX_ENTRIES);
    expect(f, 0, 0, PAGE, at_user(f, USER + 9 * PAGE), BOTH);
}

static void test_one_too_many(void **state)
{
    struct fixture *f = *state;
    uint64_t behind = 2 * (uint64_t)IOTLB_MAX_ENTRIES * PAGE;

    fill(f, IOTLB_MAX_ENTRIES, 1);
    assert_int_equal(update(f, behind, PAGE, USER, BOTH), 0);
    assert_int_equal(num_entries(f), 1);
    expect(f, behind, behind, PAGE, at_user(f, USER), BOTH);
    expect_none(f, 0);
}

static void test_split_of_a_full_one(void **state)
{
    struct fixture *f = *state;

    fill(f, IOTLB_MAX_ENTRIES, 1);
    iotlb_invalidate(f->iotlb, 100, 1);
    assert_int_equal(num_entries(f), 0);
    fill(f, IOTLB_MAX_ENTRIES, 1);
    assert_int_equal(update(f, 100, 1, USER, READ), 0);
    expect(f, 100, 100, 1, at_user(f, USER), READ);
    expect_none(f, 101);
    assert_int_equal(num_entries(f), 1);
}

/* --- Against a model -------------------------------------------------------------------------------- */

#define SPACE      2048u /* I/O addresses that are played with */
#define OPERATIONS 10000u

struct model {
    struct fixture *f;
    uint64_t base;           /* of the addresses */
    uint64_t targets[SPACE]; /* user address of each byte; 0: unknown */
    unsigned access[SPACE];
    uint32_t seed;
};

/* A simple generator, so that a failure can be repeated. */
static uint64_t next_random(struct model *model, uint64_t limit)
{
    model->seed ^= model->seed << 13;
    model->seed ^= model->seed >> 17;
    model->seed ^= model->seed << 5;
    return model->seed % limit;
}

static void expect_byte(const struct model *model, uint64_t n)
{
    uint64_t addr = model->base + n;
    const struct memory_range *range = iotlb_find(model->f->iotlb, addr);

    assert_int_equal(range != NULL, model->targets[n] != 0);
    if (!range)
        return;
    assert_ptr_equal(range->host + (addr - range->addr), at_user(model->f, model->targets[n]));
    assert_int_equal(range->access, model->access[n]);
}

static void expect_all_bytes(const struct model *model)
{
    uint64_t num_bytes = 0;
    unsigned num_pieces = 0;

    for (uint64_t n = 0; n < SPACE; n++) {
        expect_byte(model, n);
        num_bytes += model->targets[n] != 0;
        num_pieces += model->targets[n] != 0 &&
                      (n == 0 || model->targets[n] != model->targets[n - 1] + 1 ||
                       model->access[n] != model->access[n - 1]);
    }
    assert_int_equal(iotlb_stats(model->f->iotlb).bytes, num_bytes);
    /* At most one more entry for each border between regions. */
    assert_in_range(num_entries(model->f), num_pieces, (uint64_t)num_pieces * 3);
}

/* Small regions, so that much is over their borders: neighbours by user address, holes, other places. */
static const struct shunt_memory_region layouts[][3] = {
    {{GUEST, USER, 1000, 0},
     {GUEST + 5000, USER + 1000, 700, 9000},
     {GUEST + 1000, USER + 2000, 600, 50}},
    {{GUEST, USER, 400, 0},
     {GUEST + 400, USER + 400, 1300, 20000},
     {GUEST + 9000, USER + 1800, 900, 1}},
    {{GUEST, USER + 100, 2500, 7},
     {GUEST + 9000, USER + 9000, 1, 0},
     {GUEST + 9001, USER + 9001, 1, 0}},
};

static void change_regions(struct model *model)
{
    unsigned layout = (unsigned)next_random(model, sizeof(layouts) / sizeof(layouts[0]));

    set_regions(model->f, layouts[layout], 3);
    for (unsigned n = 0; n < SPACE; n++) {
        if (model->targets[n] != 0 && !at_user(model->f, model->targets[n]))
            model->targets[n] = 0;
    }
}

static void update_some(struct model *model)
{
    uint64_t first = next_random(model, SPACE), num = 1 + next_random(model, 300);
    /* Half of them where a simple guest would map it, so that neighbours meet. */
    uint64_t target = USER + (next_random(model, 2) ? first : next_random(model, 2600));
    unsigned access = next_random(model, 4) ? BOTH : (unsigned)next_random(model, 4);
    bool is_inside = true;

    if (num > SPACE - first)
        num = SPACE - first;
    for (uint64_t n = 0; n < num; n++)
        is_inside &= at_user(model->f, target + n) != NULL;
    assert_int_equal(update(model->f, model->base + first, num, target, access),
                     is_inside ? 0 : -EINVAL);
    for (uint64_t n = 0; is_inside && n < num; n++) {
        model->targets[first + n] = target + n;
        model->access[first + n] = access;
    }
}

static void invalidate_some(struct model *model)
{
    uint64_t first = next_random(model, SPACE), num = next_random(model, 200);

    if (num > SPACE - first)
        num = SPACE - first;
    iotlb_invalidate(model->f->iotlb, model->base + first, num);
    for (uint64_t n = 0; n < num; n++)
        model->targets[first + n] = 0;
}

static void operate(struct model *model)
{
    uint64_t what = next_random(model, 100);

    if (what < 65)
        update_some(model);
    else if (what < 98)
        invalidate_some(model);
    else
        change_regions(model);
}

static void play(struct fixture *f, uint64_t base)
{
    struct model *model = test_calloc(1, sizeof(*model));

    *model = (struct model){.f = f, .base = base, .seed = 0x2545f491};
    iotlb_clear(f->iotlb);
    change_regions(model);
    for (unsigned i = 0; i < OPERATIONS; i++) {
        operate(model);
        for (unsigned n = 0; n < 20; n++)
            expect_byte(model, next_random(model, SPACE));
        if (i % 100 == 0)
            expect_all_bytes(model);
    }
    test_free(model);
}

static void test_model(void **state)
{
    play(*state, IO);
}

static void test_model_at_the_begin(void **state)
{
    play(*state, 1); /* address 0 with size 0 would be all */
}

static void test_model_at_the_end(void **state)
{
    play(*state, UINT64_MAX - SPACE + 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_empty),
        TEST(test_borders),
        TEST(test_access),
        TEST(test_ends_of_the_address_space),
        TEST(test_refused),
        TEST(test_refused_says_where),
        TEST(test_overlaps),
        TEST(test_over_many),
        TEST(test_invalidate_all),
        TEST(test_neighbours_become_one),
        TEST(test_neighbours_that_differ),
        TEST(test_over_regions),
        TEST(test_by_guest_address),
        TEST(test_remap),
        TEST(test_many),
        TEST(test_one_too_many),
        TEST(test_split_of_a_full_one),
        TEST(test_model),
        TEST(test_model_at_the_begin),
        TEST(test_model_at_the_end),
    };

    return cmocka_run_group_tests_name("iotlb", tests, NULL, NULL);
}
