/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory nodes: on a machine with one, that nothing is done and nothing fails; with several, that pages are
 * where they should be, as the kernel says it for the whole process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memory/numa.h"

#define MAX_NODES 64
#define NUM_PAGES 150u /* more than are handed to the kernel at a time */

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* The numbers of the nodes that we may use, as procfs lists them: "0-1,3". */
static unsigned parse_nodes(const char *list, int nodes[MAX_NODES])
{
    unsigned num = 0;
    char *end;

    for (;;) {
        long first = strtol(list, &end, 10), last = first;

        if (end == list)
            return num;
        if (*end == '-')
            last = strtol(end + 1, &end, 10);
        for (long node = first; node <= last && num < MAX_NODES; node++)
            nodes[num++] = (int)node;
        list = *end == ',' ? end + 1 : "";
    }
}

static unsigned list_nodes(int nodes[MAX_NODES])
{
    static const char label[] = "Mems_allowed_list:";
    FILE *file = fopen("/proc/self/status", "r");
    char line[1024];
    unsigned num = 0;

    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, label, sizeof(label) - 1) == 0)
            num = parse_nodes(line + sizeof(label) - 1, nodes);
    }
    fclose(file);
    return num;
}

/* Two nodes, or the test is skipped. */
static void need_two_nodes(int nodes[MAX_NODES])
{
    unsigned num = list_nodes(nodes);

    if (num < 2) {
        print_message("there are %u memory node(s) for us here, the test needs 2\n", num);
        skip();
    }
    /* A number of 1 would make the tests below pass for nothing. */
    assert_int_equal(numa_num_nodes(), num);
}

/* Fresh pages, all of which are on that node and written to. */
static uint8_t *pages_on(int node, unsigned num, int flags)
{
    unsigned long mask = 1ul << node;
    size_t bytes = num * page_bytes();
    uint8_t *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(pages, MAP_FAILED);
    assert_int_equal(syscall(SYS_mbind, pages, bytes, MPOL_BIND, &mask, MAX_NODES + 1, 0), 0);
    for (size_t i = 0; i < bytes; i++)
        pages[i] = (uint8_t)(i % 251);
    assert_int_equal(syscall(SYS_mbind, pages, bytes, MPOL_DEFAULT, NULL, 0, 0), 0);
    return pages;
}

/* What the kernel says of where a page is, by another call than the one that is tested. */
static int place_of(void *page)
{
    int place = -1;

    assert_int_equal(syscall(SYS_move_pages, 0, 1ul, &page, NULL, &place, 0), 0);
    return place;
}

static unsigned num_on(uint8_t *pages, unsigned num, int node)
{
    unsigned num_there = 0;

    for (unsigned i = 0; i < num; i++)
        num_there += place_of(pages + i * page_bytes()) == node;
    return num_there;
}

static void expect_contents(const uint8_t *pages, unsigned num)
{
    for (size_t i = 0; i < num * page_bytes(); i++)
        assert_int_equal(pages[i], i % 251);
}

/* --- One node --------------------------------------------------------------------------------------- */

static void test_num_nodes(void **state)
{
    int nodes[MAX_NODES];
    unsigned num = list_nodes(nodes);

    assert_true(numa_num_nodes() >= 1);
    if (num == 0) {
        print_message("the kernel does not tell of memory nodes here\n");
        skip();
    }
    assert_in_range(numa_num_nodes(), 1, num); /* 1 where we may not ask */
}

static void test_node_of(void **state)
{
    uint8_t *page = mmap(NULL, page_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                         -1, 0);
    int nodes[MAX_NODES], node;
    unsigned num = list_nodes(nodes);
    bool is_known = false;

    assert_ptr_not_equal(page, MAP_FAILED);
    page[0] = 1;
    node = numa_node_of(page);
    if (num == 0 || node == -EPERM || node == -ENOSYS) {
        print_message("the kernel does not tell of memory nodes here\n");
        munmap(page, page_bytes());
        skip();
    }
    for (unsigned i = 0; i < num; i++)
        is_known |= node == nodes[i];
    assert_true(is_known);
    munmap(page, page_bytes());
    assert_int_equal(numa_node_of(page), -EFAULT);
}

/* Wherever it runs: memory of the heap, of any length and alignment, keeps what is in it. */
static void test_contents_are_kept(void **state)
{
    static const size_t offsets[] = {0, 1, 4095, 5000};
    static const size_t sizes[] = {0, 1, 4096, 20000};
    uint8_t *own = malloc(30000), *like = malloc(1);

    assert_non_null(own);
    assert_non_null(like);
    *like = 1;
    for (unsigned i = 0; i < 16; i++) {
        memset(own, 0x33 + (int)i, 30000);
        assert_int_equal(numa_follow(own + offsets[i / 4], sizes[i % 4], like), 0);
        for (unsigned n = 0; n < 30000; n++)
            assert_int_equal(own[n], 0x33 + i);
    }
    free(like);
    free(own);
}

/* --- Several nodes ---------------------------------------------------------------------------------- */

static void expect_follows(int from, int to, int like_flags)
{
    uint8_t *own = pages_on(from, NUM_PAGES, MAP_PRIVATE);
    uint8_t *like = pages_on(to, 3, like_flags);

    assert_int_equal(num_on(own, NUM_PAGES, from), NUM_PAGES);
    assert_int_equal(numa_node_of(like), to);
    assert_int_equal(numa_follow(own, NUM_PAGES * page_bytes(), like + 5000), 0);
    assert_int_equal(num_on(own, NUM_PAGES, to), NUM_PAGES);
    assert_int_equal(num_on(like, 3, to), 3);
    expect_contents(own, NUM_PAGES);
    /* Again, as at each start of a ring. */
    assert_int_equal(numa_follow(own, NUM_PAGES * page_bytes(), like), 0);
    assert_int_equal(num_on(own, NUM_PAGES, to), NUM_PAGES);
    munmap(own, NUM_PAGES * page_bytes());
    munmap(like, 3 * page_bytes());
}

static void test_follows(void **state)
{
    int nodes[MAX_NODES];

    need_two_nodes(nodes);
    expect_follows(nodes[0], nodes[1], MAP_PRIVATE);
    expect_follows(nodes[1], nodes[0], MAP_PRIVATE);
    expect_follows(nodes[0], nodes[1], MAP_SHARED); /* as guest memory is */
    expect_follows(nodes[1], nodes[0], MAP_SHARED);
}

/* Only pages that hold a byte of it go; one byte is enough. */
static void test_only_its_own_pages(void **state)
{
    int nodes[MAX_NODES];
    uint8_t *own, *like;

    need_two_nodes(nodes);
    own = pages_on(nodes[0], 5, MAP_PRIVATE);
    like = pages_on(nodes[1], 1, MAP_PRIVATE);
    assert_int_equal(numa_follow(own + 2 * page_bytes() - 1, page_bytes() + 2, like), 0);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(place_of(own + i * page_bytes()), nodes[i >= 1 && i <= 3]);
    expect_contents(own, 5);
    munmap(own, 5 * page_bytes());
    munmap(like, page_bytes());
}

/* What was never written to is not there to be moved, and that is no failure. */
static void test_pages_that_are_not_there(void **state)
{
    int nodes[MAX_NODES];
    uint8_t *own, *like;

    need_two_nodes(nodes);
    own = pages_on(nodes[0], 8, MAP_PRIVATE);
    like = pages_on(nodes[1], 1, MAP_PRIVATE);
    assert_int_equal(madvise(own + 2 * page_bytes(), 4 * page_bytes(), MADV_DONTNEED), 0);
    assert_int_equal(own[3 * page_bytes()], 0); /* the zero page */
    assert_int_equal(numa_follow(own, 8 * page_bytes(), like), 0);
    assert_int_equal(num_on(own, 2, nodes[1]), 2);
    assert_int_equal(num_on(own + 6 * page_bytes(), 2, nodes[1]), 2);
    munmap(own, 8 * page_bytes());
    munmap(like, page_bytes());
}

static void test_nothing_to_follow(void **state)
{
    int nodes[MAX_NODES];
    uint8_t *own, *like;

    need_two_nodes(nodes);
    own = pages_on(nodes[0], 2, MAP_PRIVATE);
    like = pages_on(nodes[1], 1, MAP_PRIVATE);
    munmap(like, page_bytes());
    assert_int_equal(numa_follow(own, 2 * page_bytes(), like), -EFAULT);
    assert_int_equal(num_on(own, 2, nodes[0]), 2);
    munmap(own, 2 * page_bytes());
}

struct counter {
    _Atomic(uint64_t) *value;
    atomic_bool is_ending;
    uint64_t num_added;
};

static void *count(void *arg)
{
    struct counter *counter = arg;

    while (!atomic_load(&counter->is_ending)) {
        atomic_fetch_add(counter->value, 1);
        counter->num_added++;
    }
    return NULL;
}

/* Pages move under the hands of whoever uses them. */
static void test_moves_while_in_use(void **state)
{
    int nodes[MAX_NODES];
    struct counter counter = {0};
    uint8_t *own, *likes[2];
    pthread_t thread;

    need_two_nodes(nodes);
    own = pages_on(nodes[0], 1, MAP_PRIVATE);
    memset(own, 0, page_bytes());
    counter.value = (_Atomic(uint64_t) *)(void *)own;
    for (unsigned i = 0; i < 2; i++)
        likes[i] = pages_on(nodes[i], 1, MAP_PRIVATE);
    assert_int_equal(pthread_create(&thread, NULL, count, &counter), 0);
    for (unsigned i = 1; i <= 50; i++) {
        uint64_t before = atomic_load(counter.value);
        int result = numa_follow(own, page_bytes(), likes[i % 2]);

        assert_true(result == 0 || result == -EBUSY);
        if (result == 0)
            assert_int_equal(place_of(own), nodes[i % 2]);
        while (atomic_load(counter.value) == before) /* it goes on */
            sched_yield();
    }
    atomic_store(&counter.is_ending, true);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(counter.value), counter.num_added);
    munmap(own, page_bytes());
    for (unsigned i = 0; i < 2; i++)
        munmap(likes[i], page_bytes());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_num_nodes),          cmocka_unit_test(test_node_of),
        cmocka_unit_test(test_contents_are_kept),  cmocka_unit_test(test_follows),
        cmocka_unit_test(test_only_its_own_pages), cmocka_unit_test(test_pages_that_are_not_there),
        cmocka_unit_test(test_nothing_to_follow),  cmocka_unit_test(test_moves_while_in_use),
    };

    return cmocka_run_group_tests_name("numa", tests, NULL, NULL);
}
