/* SPDX-License-Identifier: BSD-3-Clause */
/* Which log lines go where, and how many of those that a guest can provoke. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

/* The last line, and how many there were. */
struct capture {
    unsigned num;
    enum shunt_log_level level;
    char tag[64];
    char text[2048];
};

static void take_line(void *ctx, enum shunt_log_level level, const char *tag, const char *text)
{
    struct capture *capture = ctx;

    capture->num++;
    capture->level = level;
    snprintf(capture->tag, sizeof(capture->tag), "%s", tag);
    snprintf(capture->text, sizeof(capture->text), "%s", text);
}

static int teardown(void **state)
{
    shunt_log_set(SHUNT_LOG_WARNING, NULL, NULL);
    return 0;
}

/* --- Lines ------------------------------------------------------------------------------------------ */

static void test_a_line(void **state)
{
    struct capture capture = {0};

    shunt_log_set(SHUNT_LOG_INFO, take_line, &capture);
    log_warning("vm1", "%d of %s", 3, "four");
    assert_int_equal(capture.num, 1);
    assert_int_equal(capture.level, SHUNT_LOG_WARNING);
    assert_string_equal(capture.tag, "vm1");
    assert_string_equal(capture.text, "3 of four");
}

static void test_levels(void **state)
{
    for (int level = SHUNT_LOG_ERROR; level <= SHUNT_LOG_DEBUG; level++) {
        struct capture capture = {0};

        shunt_log_set((enum shunt_log_level)level, take_line, &capture);
        for (int line = SHUNT_LOG_ERROR; line <= SHUNT_LOG_DEBUG; line++)
            assert_int_equal(log_is_enabled((enum shunt_log_level)line), line <= level);
        log_error("a", "error");
        assert_int_equal(capture.num, 1);
        log_warning("a", "warning");
        assert_int_equal(capture.num, level >= SHUNT_LOG_WARNING ? 2 : 1);
        log_info("a", "info");
        assert_int_equal(capture.num, level >= SHUNT_LOG_INFO ? 3 : level + 1);
        log_debug("a", "debug");
        assert_int_equal(capture.num, level + 1);
        assert_int_equal(capture.level, level);
    }
}

/* What a debug line is made of is not computed for nothing. */
static void test_debug_arguments_are_lazy(void **state)
{
    struct capture capture = {0};
    int num = 0;

    shunt_log_set(SHUNT_LOG_INFO, take_line, &capture);
    log_debug("a", "%d", ++num);
    assert_int_equal(num, 0);
    shunt_log_set(SHUNT_LOG_DEBUG, take_line, &capture);
    log_debug("a", "%d", ++num);
    assert_int_equal(num, 1);
    assert_string_equal(capture.text, "1");
}

static void test_long_lines_are_cut(void **state)
{
    struct capture capture = {0};
    char text[4096];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    shunt_log_set(SHUNT_LOG_INFO, take_line, &capture);
    log_info("a", "%s", text);
    assert_int_equal(capture.num, 1);
    assert_int_equal(strlen(capture.text), 1023);
    assert_memory_equal(capture.text, text, 1023);
}

/* What `write` sends to standard error. */
static void capture_stderr(void (*write)(void), char *text, size_t max)
{
    int file = memfd_create("stderr", MFD_CLOEXEC), before = dup(STDERR_FILENO);
    ssize_t len;

    fflush(stderr);
    dup2(file, STDERR_FILENO);
    write();
    fflush(stderr);
    dup2(before, STDERR_FILENO);
    close(before);
    len = pread(file, text, max - 1, 0);
    close(file);
    assert_true(len >= 0);
    text[len] = '\0';
}

static void write_each_level(void)
{
    log_error("vm1", "one");
    log_warning("vm2", "two");
    log_info("vm3", "three");
    log_debug("vm4", "four");
}

static void test_standard_error(void **state)
{
    char text[256];

    capture_stderr(write_each_level, text, sizeof(text));
    assert_string_equal(text, "error: vm1: one\nwarning: vm2: two\n");
    shunt_log_set(SHUNT_LOG_DEBUG, NULL, NULL);
    capture_stderr(write_each_level, text, sizeof(text));
    assert_string_equal(text, "error: vm1: one\nwarning: vm2: two\ninfo: vm3: three\n"
                              "debug: vm4: four\n");
}

/* --- The limit -------------------------------------------------------------------------------------- */

/* The time that passes for the limit. */
static void pass(struct log_limit *limit, uint64_t ms)
{
    limit->spent_ms -= ms;
}

/* How many of `num` lines are allowed now. */
static unsigned count_allowed(struct log_limit *limit, unsigned num)
{
    unsigned allowed = 0;

    for (unsigned i = 0; i < num; i++)
        allowed += log_limit_allows(limit, "vm1");
    return allowed;
}

/* True if the machine was so slow that the limit's clock went on by itself. */
static bool was_slow(uint64_t start_ms)
{
    return clock_ms() - start_ms > 400;
}

static void test_limit(void **state)
{
    struct capture capture;
    struct log_limit limit;
    uint64_t start_ms;
    unsigned first, none, after_1s, after_3s, after_an_hour;

    shunt_log_set(SHUNT_LOG_INFO, take_line, &capture);
    do {
        start_ms = clock_ms();
        capture = (struct capture){0};
        limit = (struct log_limit){0};
        first = count_allowed(&limit, 15);
        none = count_allowed(&limit, 100);
        pass(&limit, 1000);
        after_1s = count_allowed(&limit, 20);
        pass(&limit, 3000);
        after_3s = count_allowed(&limit, 20);
        pass(&limit, 3600000);
        after_an_hour = count_allowed(&limit, 20);
    } while (was_slow(start_ms));
    assert_int_equal(first, LOG_LIMIT_BURST);
    assert_int_equal(none, 0);
    assert_int_equal(after_1s, 1);
    assert_int_equal(after_3s, 3);
    assert_int_equal(after_an_hour, LOG_LIMIT_BURST);
    assert_int_equal(capture.num, 3); /* after each gap */
}

static void test_limit_says_what_it_left_out(void **state)
{
    struct capture capture;
    struct log_limit limit;
    uint64_t start_ms;

    shunt_log_set(SHUNT_LOG_INFO, take_line, &capture);
    do {
        start_ms = clock_ms();
        limit = (struct log_limit){0};
        count_allowed(&limit, LOG_LIMIT_BURST);
        capture = (struct capture){0};
        count_allowed(&limit, 42);
        pass(&limit, 1000);
    } while (was_slow(start_ms));
    assert_int_equal(capture.num, 0);
    assert_true(log_limit_allows(&limit, "vm1"));
    assert_int_equal(capture.num, 1);
    assert_int_equal(capture.level, SHUNT_LOG_WARNING);
    assert_string_equal(capture.tag, "vm1");
    assert_string_equal(capture.text, "42 lines like the next one were left out");
    pass(&limit, 1000);
    assert_true(log_limit_allows(&limit, "vm1"));
    assert_int_equal(capture.num, 1);
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_line),
        TEST(test_levels),
        TEST(test_debug_arguments_are_lazy),
        TEST(test_long_lines_are_cut),
        TEST(test_standard_error),
        TEST(test_limit),
        TEST(test_limit_says_what_it_left_out),
    };

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
