/* SPDX-License-Identifier: BSD-3-Clause */
/* The log of dirty pages: which bits are set and which bytes touched, by whom, and who is told of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memory/dirty_log.h"

#define PAGE       DIRTY_LOG_PAGE_BYTES
#define FILE_BYTES UINT64_C(16384)
#define AROUND     0x5a /* what the front-end has around the log */

struct fixture {
    struct dirty_log log;
    struct dirty_marks marks;
    int fd;
    uint8_t *file;   /* as the front-end has it mapped */
    uint64_t offset; /* of the log in it */
    uint8_t *wanted; /* what the file should be: the naive model */
    int event_fd;    /* our own descriptor of it */
};

static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof(*f));

    f->fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(f->fd >= 0);
    assert_int_equal(ftruncate(f->fd, (off_t)FILE_BYTES), 0);
    f->file = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
    assert_ptr_not_equal(f->file, MAP_FAILED);
    f->wanted = test_calloc(1, FILE_BYTES);
    f->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    dirty_log_init(&f->log);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    dirty_log_fini(&f->log);
    munmap(f->file, FILE_BYTES);
    close(f->fd);
    close(f->event_fd);
    test_free(f->wanted);
    test_free(f);
    return 0;
}

/* A log of `bytes` bytes, all clear, in the midst of what is not the log's. */
static void map_log(struct fixture *f, uint64_t offset, uint64_t bytes)
{
    memset(f->file, AROUND, FILE_BYTES);
    memset(f->file + offset, 0, bytes);
    memcpy(f->wanted, f->file, FILE_BYTES);
    f->offset = offset;
    assert_int_equal(dirty_log_map(&f->log, f->fd, offset, bytes, NULL), 0);
    assert_true(dirty_log_is_mapped(&f->log));
}

/* As the specification says it, one page after the other. */
static void model_mark(struct fixture *f, uint64_t addr, uint64_t len)
{
    uint64_t page = addr / PAGE, last;

    if (len == 0)
        return;
    last = len - 1 > UINT64_MAX - addr ? UINT64_MAX / PAGE : (addr + len - 1) / PAGE;
    for (; page <= last && page < 8 * f->log.num_bytes; page++)
        f->wanted[f->offset + page / 8] |= (uint8_t)(1 << page % 8);
}

static void mark(struct fixture *f, uint64_t addr, uint64_t len)
{
    dirty_log_mark(&f->log, &f->marks, addr, len);
    model_mark(f, addr, len);
}

static void expect_as_wanted(struct fixture *f)
{
    dirty_log_flush(&f->log, &f->marks);
    assert_memory_equal(f->file, f->wanted, FILE_BYTES);
}

static bool log_is_clear(const struct fixture *f)
{
    for (uint64_t i = 0; i < f->log.num_bytes; i++) {
        if (f->file[f->offset + i] != 0)
            return false;
    }
    return true;
}

/* --- Bits ------------------------------------------------------------------------------------------- */

static void test_one_page(void **state)
{
    struct fixture *f = *state;

    map_log(f, 0, FILE_BYTES);
    dirty_log_mark(&f->log, &f->marks, 13 * PAGE + 7, 1);
    dirty_log_flush(&f->log, &f->marks);
    /* Written out once, so that the model is not the only witness. */
    assert_int_equal(f->file[0], 0);
    assert_int_equal(f->file[1], 0x20);
    assert_int_equal(f->file[2], 0);
}

static void test_borders(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint64_t addr, len;
    } cases[] = {
        {0, 1},
        {PAGE - 1, 1},
        {PAGE - 1, 2},
        {PAGE, PAGE},
        {PAGE, PAGE + 1},
        {5 * PAGE, 0},
        {0, 64 * PAGE},
        {63 * PAGE, 1},
        {63 * PAGE + 4095, 2},
        {1, 64 * PAGE},
        {64 * PAGE, 128 * PAGE},
        {60 * PAGE, 200 * PAGE + 1},
        {8 * 1000 * PAGE - 1, 1},
        {8 * 1000 * PAGE - 1, 2},
        {8 * 1000 * PAGE, 1},
        {8 * 1000 * PAGE, UINT64_MAX},
        {8 * 1000 * PAGE - 1, UINT64_MAX},
        {UINT64_MAX, 1},
        {UINT64_MAX, UINT64_MAX},
        {UINT64_MAX - PAGE, 2 * PAGE},
        {7990 * PAGE, UINT64_MAX - 7990 * PAGE + 1},
        {0, UINT64_MAX},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        map_log(f, 0, 1000);
        mark(f, cases[i].addr, cases[i].len);
        expect_as_wanted(f);
    }
    assert_int_equal(f->file[999], 0xff);
    assert_int_equal(f->file[1000], AROUND);
}

/* Any byte may be the first, any the last: the page below the offset is mapped, nothing around touched. */
static void test_any_offset_and_size(void **state)
{
    struct fixture *f = *state;
    static const uint64_t offsets[] = {0, 1, 7, 8, 4090, 4096, 4103, 12000};
    static const uint64_t sizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 23, 64, 4093};

    for (unsigned i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        for (unsigned j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
            map_log(f, offsets[i], sizes[j]);
            mark(f, 3 * PAGE, 1);
            mark(f, 8 * sizes[j] * PAGE - 1, 1);
            expect_as_wanted(f);
            mark(f, 0, UINT64_MAX);
            expect_as_wanted(f);
        }
    }
}

static void test_the_end_of_the_file(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ftruncate(f->fd, 5003), 0);
    memset(f->file, 0, 5003);
    assert_int_equal(dirty_log_map(&f->log, f->fd, 4999, 4, NULL), 0);
    dirty_log_mark(&f->log, &f->marks, 0, UINT64_MAX);
    dirty_log_flush(&f->log, &f->marks);
    assert_int_equal(ftruncate(f->fd, (off_t)FILE_BYTES), 0);
    assert_memory_equal(f->file + 4998, "\0\xff\xff\xff\xff\0", 6);
}

static void test_bits_that_are_set_stay(void **state)
{
    struct fixture *f = *state;

    map_log(f, 4096 + 3, 100);
    memset(f->file + f->offset, 0x81, 100);
    memset(f->wanted + f->offset, 0x81, 100);
    mark(f, 8 * PAGE, PAGE);
    mark(f, 70 * PAGE, 100 * PAGE);
    expect_as_wanted(f);
}

/* --- When they are written -------------------------------------------------------------------------- */

static void test_a_word_at_a_time(void **state)
{
    struct fixture *f = *state;

    map_log(f, 0, 4096);
    mark(f, 3 * PAGE, 1);
    mark(f, 60 * PAGE, 2 * PAGE);
    assert_true(log_is_clear(f));
    mark(f, 64 * PAGE, 1); /* the next word: now the first is written */
    assert_memory_equal(f->file, f->wanted, 8);
    assert_int_equal(f->file[8], 0);
    expect_as_wanted(f);
    assert_int_equal(f->marks.bits, 0);
}

static void test_flush_of_nothing(void **state)
{
    struct fixture *f = *state;

    dirty_log_flush(&f->log, &f->marks); /* not even a log */
    dirty_log_mark(&f->log, &f->marks, 0, UINT64_MAX);
    dirty_log_flush(&f->log, &f->marks);
    map_log(f, 8, 8);
    mark(f, 64 * PAGE, PAGE); /* behind the end */
    mark(f, 0, 0);
    expect_as_wanted(f);
    assert_true(log_is_clear(f));
}

/* The front-end fetches and clears; what is written after that is new again. */
static void test_fetched_and_cleared(void **state)
{
    struct fixture *f = *state;
    uint64_t *word;

    map_log(f, 0, 4096);
    word = (uint64_t *)(void *)f->file;
    for (unsigned i = 0; i < 3; i++) {
        dirty_log_mark(&f->log, &f->marks, 5 * PAGE, 1);
        dirty_log_flush(&f->log, &f->marks);
        assert_int_equal(__atomic_exchange_n(word, 0, __ATOMIC_SEQ_CST), 0x20);
    }
}

/* What is set already is not written again: a log that may not be written to any more shows it. */
static void test_no_write_for_nothing(void **state)
{
    struct fixture *f = *state;
    static const uint64_t offsets[] = {0, 3};

    for (unsigned i = 0; i < 2; i++) {
        map_log(f, offsets[i], 4);
        mark(f, PAGE, 9 * PAGE);
        expect_as_wanted(f);
        map_log(f, offsets[i] + 8, 16);
        mark(f, PAGE, 99 * PAGE);
        expect_as_wanted(f);
        assert_int_equal(mprotect(f->log.mapping.pages, f->log.mapping.num_bytes, PROT_READ), 0);
        mark(f, 2 * PAGE, 90 * PAGE);
        expect_as_wanted(f);
    }
}

/* --- The eventfd ------------------------------------------------------------------------------------ */

static uint64_t num_events(struct fixture *f)
{
    uint64_t num = 0;

    return read(f->event_fd, &num, sizeof(num)) == sizeof(num) ? num : 0;
}

static void test_event_once_a_flush(void **state)
{
    struct fixture *f = *state;

    map_log(f, 0, 4096);
    dirty_log_set_event(&f->log, dup(f->event_fd));
    mark(f, 0, 1);
    assert_int_equal(num_events(f), 0); /* nothing is written yet */
    expect_as_wanted(f);
    assert_int_equal(num_events(f), 1);
    mark(f, 64 * PAGE, 1000 * PAGE); /* many words */
    assert_int_equal(num_events(f), 0);
    expect_as_wanted(f);
    assert_int_equal(num_events(f), 1);
    mark(f, 70 * PAGE, 1000 * PAGE); /* some of it is new */
    expect_as_wanted(f);
    assert_int_equal(num_events(f), 1);
    mark(f, 0, 1); /* nothing is new */
    expect_as_wanted(f);
    dirty_log_flush(&f->log, &f->marks);
    assert_int_equal(num_events(f), 0);
    /* The new is in the first of the words, the last one had it all. */
    mark(f, 5 * PAGE, 1);
    mark(f, 64 * PAGE, 1);
    expect_as_wanted(f);
    assert_int_equal(num_events(f), 1);
}

static void test_event_never_blocks(void **state)
{
    struct fixture *f = *state;
    uint64_t most = UINT64_MAX - 1;

    map_log(f, 0, 4096);
    dirty_log_set_event(&f->log, dup(f->event_fd));
    assert_int_equal(write(f->event_fd, &most, sizeof(most)), sizeof(most));
    mark(f, 0, 1);
    expect_as_wanted(f);
    assert_int_equal(num_events(f), most);
}

static void test_event_is_replaced(void **state)
{
    struct fixture *f = *state;
    int first = dup(f->event_fd), second = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    map_log(f, 0, 4096);
    dirty_log_set_event(&f->log, second);
    dirty_log_set_event(&f->log, first);
    assert_int_equal(fcntl(second, F_GETFD), -1);
    mark(f, 0, 1);
    expect_as_wanted(f);
    assert_int_equal(num_events(f), 1);
    dirty_log_set_event(&f->log, -1);
    assert_int_equal(fcntl(first, F_GETFD), -1);
    mark(f, PAGE, 1);
    expect_as_wanted(f);
    assert_int_equal(num_events(f), 0);
}

/* --- Mapping ---------------------------------------------------------------------------------------- */

static void expect_refused(struct fixture *f, int fd, uint64_t offset, uint64_t bytes, int code)
{
    struct shunt_error error = {0};

    assert_int_equal(dirty_log_map(&f->log, fd, offset, bytes, &error), code);
    assert_int_equal(error.code, code);
    assert_non_null(strstr(error.text, "dirty log"));
    /* The old one is still there. */
    mark(f, 5 * PAGE, 1);
    expect_as_wanted(f);
}

static void test_refused(void **state)
{
    struct fixture *f = *state;
    int sockets[2], read_only;
    char path[64];

    map_log(f, 100, 100);
    expect_refused(f, f->fd, 0, 0, -EINVAL);
    expect_refused(f, f->fd, 0, FILE_BYTES + 1, -EINVAL);
    expect_refused(f, f->fd, 1, FILE_BYTES, -EINVAL);
    expect_refused(f, f->fd, FILE_BYTES, 1, -EINVAL);
    expect_refused(f, f->fd, UINT64_MAX, 1, -EINVAL);
    expect_refused(f, f->fd, UINT64_MAX - 7, 16, -EINVAL);
    expect_refused(f, f->fd, 8, UINT64_MAX, -EINVAL);
    expect_refused(f, -1, 0, 8, -EBADF);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    expect_refused(f, sockets[0], 0, 8, -EINVAL);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
    read_only = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(read_only >= 0);
    expect_refused(f, read_only, 0, 8, -EACCES);
    close(read_only);
    close(sockets[0]);
    close(sockets[1]);
}

static bool is_mapped(const void *page)
{
    unsigned char resident;

    return mincore((void *)(uintptr_t)page, PAGE, &resident) == 0;
}

static void test_replaced_and_unmapped(void **state)
{
    struct fixture *f = *state;
    const void *first, *second;
    int event = dup(f->event_fd);

    assert_false(dirty_log_is_mapped(&f->log));
    map_log(f, 0, 4096);
    first = f->log.mapping.pages;
    map_log(f, 8192, 4096);
    second = f->log.mapping.pages;
    assert_false(is_mapped(first));
    assert_true(is_mapped(second));
    mark(f, 0, 100 * PAGE);
    expect_as_wanted(f);
    dirty_log_set_event(&f->log, event);
    dirty_log_fini(&f->log);
    assert_false(dirty_log_is_mapped(&f->log));
    assert_false(is_mapped(second));
    assert_int_equal(fcntl(event, F_GETFD), -1);
    dirty_log_mark(&f->log, &f->marks, 0, UINT64_MAX);
    dirty_log_flush(&f->log, &f->marks);
    assert_memory_equal(f->file, f->wanted, FILE_BYTES);
    dirty_log_fini(&f->log);
}

static void test_huge_pages(void **state)
{
    struct fixture *f = *state;
    const uint64_t bytes = UINT64_C(2) << 20;
    int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
    uint8_t *own = MAP_FAILED;

    /* Without MAP_NORESERVE: it fails if there are no pages, where a touch would be a SIGBUS. */
    if (fd >= 0 && ftruncate(fd, (off_t)bytes) == 0)
        own = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (own == MAP_FAILED) {
        print_message("no huge pages are free here: %s\n", strerror(errno));
        if (fd >= 0)
            close(fd);
        skip();
    }
    assert_int_equal(dirty_log_map(&f->log, fd, 4096 * 5 + 1, 9, NULL), 0);
    dirty_log_mark(&f->log, &f->marks, 0, UINT64_MAX);
    dirty_log_flush(&f->log, &f->marks);
    assert_memory_equal(own + 4096 * 5, "\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\0", 11);
    munmap(own, bytes);
    close(fd);
}

/* --- Against the model ------------------------------------------------------------------------------ */

static uint32_t next_random(uint32_t *seed, uint32_t limit)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed % limit;
}

static void test_model(void **state)
{
    struct fixture *f = *state;
    uint32_t seed = 0x1234567;

    for (unsigned i = 0; i < 10000; i++) {
        if (i % 100 == 0) {
            uint32_t bytes = 1 + next_random(&seed, i % 200 ? 50 : 4000);

            expect_as_wanted(f);
            map_log(f, next_random(&seed, (uint32_t)FILE_BYTES - bytes), bytes);
        }
        /* Mostly near each other, as buffers are; within and beyond the log. */
        mark(f, next_random(&seed, (uint32_t)(9 * f->log.num_bytes * PAGE)),
             next_random(&seed, next_random(&seed, 8) ? 9000 : 3000000));
        if (next_random(&seed, 4) == 0)
            expect_as_wanted(f);
    }
}

/* --- Two threads ------------------------------------------------------------------------------------ */

#define ROUNDS 3000u

struct marker {
    pthread_t thread;
    struct fixture *f;
    pthread_barrier_t *barrier;
    unsigned parity;
};

/* Each marks every other page of the same two words; in each round they begin together. */
static void *mark_every_other(void *arg)
{
    struct marker *marker = arg;
    struct dirty_marks marks = {0};

    for (unsigned round = 0; round < ROUNDS; round++) {
        pthread_barrier_wait(marker->barrier);
        for (uint64_t page = marker->parity; page < 128; page += 2) {
            dirty_log_mark(&marker->f->log, &marks, page * PAGE, 1);
            dirty_log_flush(&marker->f->log, &marks);
        }
        pthread_barrier_wait(marker->barrier);
    }
    return NULL;
}

/* As a front-end does: what was there since the last time, while the others go on. */
static void collect(struct fixture *f, uint8_t *seen)
{
    for (unsigned i = 0; i < 16; i++)
        seen[i] |= __atomic_exchange_n(&f->file[f->offset + i], 0, __ATOMIC_SEQ_CST);
}

/* No bit is lost, by words or by bytes, while a front-end takes them away or leaves them there. */
static void run_threads(struct fixture *f, uint64_t offset, bool is_collected)
{
    struct marker markers[2];
    pthread_barrier_t barrier;

    map_log(f, offset, 16);
    assert_int_equal(pthread_barrier_init(&barrier, NULL, 3), 0);
    for (unsigned i = 0; i < 2; i++) {
        markers[i] = (struct marker){.f = f, .barrier = &barrier, .parity = i};
        assert_int_equal(pthread_create(&markers[i].thread, NULL, mark_every_other, &markers[i]),
                         0);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint8_t seen[16] = {0};

        pthread_barrier_wait(&barrier);
        for (unsigned i = 0; is_collected && i < 20; i++)
            collect(f, seen);
        /* Bytes beside the log are not ours to touch: the thread sanitizer sees it. */
        if (offset > 0)
            f->log.mapping.start[-1] = f->wanted[offset - 1] = (uint8_t)round;
        pthread_barrier_wait(&barrier);
        collect(f, seen);
        for (unsigned i = 0; i < 16; i++)
            assert_int_equal(seen[i], 0xff);
    }
    for (unsigned i = 0; i < 2; i++)
        pthread_join(markers[i].thread, NULL);
    pthread_barrier_destroy(&barrier);
    assert_memory_equal(f->file, f->wanted, FILE_BYTES);
}

static void test_threads(void **state)
{
    run_threads(*state, 0, false);
}

static void test_threads_and_front_end(void **state)
{
    run_threads(*state, 0, true);
}

static void test_threads_on_shared_words(void **state)
{
    run_threads(*state, 4099, false);
}

static void test_threads_on_shared_words_and_front_end(void **state)
{
    run_threads(*state, 4099, true);
}

/*
 * A mark stands for the write that went before it, also where the bit was set and the log is only looked
 * at: whoever takes the bit away sees at least that write.
 */
struct writer {
    struct fixture *f;
    uint64_t page;   /* the guest's page: a number that grows */
    uint64_t marked; /* what it was at the last mark */
};

#define WRITES 200000u

static void *write_page(void *arg)
{
    struct writer *writer = arg;
    struct dirty_marks marks = {0};

    for (uint64_t i = 1; i <= WRITES; i++) {
        __atomic_store_n(&writer->page, i, __ATOMIC_RELAXED);
        dirty_log_mark(&writer->f->log, &marks, 0, 1);
        dirty_log_flush(&writer->f->log, &marks);
        __atomic_store_n(&writer->marked, i, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void test_no_write_is_lost(void **state)
{
    struct fixture *f = *state;
    struct writer writer = {.f = f};
    uint64_t fetched = 0, marked;
    pthread_t thread;

    map_log(f, 0, 8);
    assert_int_equal(pthread_create(&thread, NULL, write_page, &writer), 0);
    do {
        marked = __atomic_load_n(&writer.marked, __ATOMIC_ACQUIRE);
        if (__atomic_exchange_n((uint64_t *)(void *)f->file, 0, __ATOMIC_SEQ_CST))
            fetched = __atomic_load_n(&writer.page, __ATOMIC_RELAXED);
        assert_true(fetched >= marked);
    } while (marked < WRITES);
    pthread_join(thread, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_page),
        TEST(test_borders),
        TEST(test_any_offset_and_size),
        TEST(test_the_end_of_the_file),
        TEST(test_bits_that_are_set_stay),
        TEST(test_a_word_at_a_time),
        TEST(test_flush_of_nothing),
        TEST(test_fetched_and_cleared),
        TEST(test_no_write_for_nothing),
        TEST(test_event_once_a_flush),
        TEST(test_event_never_blocks),
        TEST(test_event_is_replaced),
        TEST(test_refused),
        TEST(test_replaced_and_unmapped),
        TEST(test_huge_pages),
        TEST(test_model),
        TEST(test_threads),
        TEST(test_threads_and_front_end),
        TEST(test_threads_on_shared_words),
        TEST(test_threads_on_shared_words_and_front_end),
        TEST(test_no_write_is_lost),
    };

    return cmocka_run_group_tests_name("dirty_log", tests, NULL, NULL);
}
