/* SPDX-License-Identifier: BSD-3-Clause */
/* Eventfds that somebody else has, too: nothing that we do with them waits for anybody. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/event.h"

static void test_take(void **state)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    (void)state;
    assert_false(event_take(-1));
    assert_false(event_take(fd));
    event_signal(fd);
    event_signal(fd);
    assert_true(event_take(fd));
    assert_false(event_take(fd));
    close(fd);
}

/* The peer made it blocking. */
static void test_take_from_blocking(void **state)
{
    int fd = eventfd(0, EFD_CLOEXEC);

    (void)state;
    alarm(60); /* instead of waiting for ever */
    assert_false(event_take(fd));
    event_signal(fd);
    assert_true(event_take(fd));
    assert_false(event_take(fd));
    alarm(0);
    close(fd);
}

/* A counter full to the brim: the signal is there already. */
static void test_signal_full(void **state)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    uint64_t brim = UINT64_MAX - 1;

    (void)state;
    assert_int_equal(write(fd, &brim, sizeof(brim)), sizeof(brim));
    event_signal(fd);
    assert_true(event_take(fd));
    assert_false(event_take(fd));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_take_from_blocking),
        cmocka_unit_test(test_signal_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
