/* SPDX-License-Identifier: BSD-3-Clause */
/* The device's status, and what resets it. */
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

#define FEATURES_OK 8u
#define NEEDS_RESET 64u
#define RUNNING     15u /* ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK */
#define VERSION_1   (UINT64_C(1) << 32)

static void set_status(struct frontend *frontend, uint64_t status)
{
    assert_int_equal(frontend_call(frontend, FRONTEND_SET_STATUS, &status, sizeof(status), NULL, 0),
                     0);
}

static uint64_t get_status(struct frontend *frontend)
{
    uint64_t status;

    assert_int_equal(frontend_ask_u64(frontend, FRONTEND_GET_STATUS, &status), 0);
    return status;
}

static void test_is_kept(void **state)
{
    struct frontend *frontend = pair_connect(*state);

    assert_int_equal(get_status(frontend), 0);
    set_status(frontend, 1);
    assert_int_equal(get_status(frontend), 1);
    set_status(frontend, RUNNING);
    assert_int_equal(get_status(frontend), RUNNING);
    set_status(frontend, 0x100);
    pair_assert_disconnected(*state, "SET_STATUS: a device status has 8 bits: 0x100");
    assert_int_equal(get_status(pair_connect(*state)), 0);
}

/* Features that do not fit together: FEATURES_OK does not stay set (VIRTIO 1.3, 3.1.1). */
static void test_features_that_do_not_fit(void **state)
{
    static const unsigned modern[] = {33, 34, 36, 38};
    struct frontend *frontend = pair_connect(*state);

    for (size_t i = 0; i < sizeof(modern) / sizeof(modern[0]); i++) {
        uint64_t features = PAIR_FEATURES | UINT64_C(1) << modern[i];

        assert_int_equal(frontend_set_features(frontend, features & ~VERSION_1), 0);
        set_status(frontend, 3 | FEATURES_OK);
        assert_int_equal(get_status(frontend), 3);
        assert_int_equal(frontend_set_features(frontend, features), 0);
        set_status(frontend, 3 | FEATURES_OK);
        assert_int_equal(get_status(frontend), 3 | FEATURES_OK);
    }
}

static void assert_is_reset(struct pair *pair)
{
    assert_int_equal(frontend_sync(&pair->driver.frontend), 0);
    assert_int_equal(get_status(&pair->driver.frontend), 0);
    assert_int_equal(pair->device.num_resets, 1);
    assert_int_equal(shunt_backend_features(pair->device.backend), 0);
    for (unsigned i = 0; i < PAIR_NUM_QUEUES; i++) {
        assert_false(device_is_started(&pair->device, i));
        assert_false(device_is_enabled(&pair->device, i));
    }
    assert_int_equal(pair_num_regions(pair), 1);
    assert_true(shunt_backend_is_connected(pair->device.backend));
    assert_int_not_equal(shunt_backend_protocol_features(pair->device.backend), 0);
}

static void assert_works_anew(struct pair *pair)
{
    assert_int_equal(frontend_set_features(&pair->driver.frontend, pair->features), 0);
    driver_reset_ring(&pair->driver, 0);
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
}

static void test_broken_ring(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);

    set_status(frontend, RUNNING);
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
    assert_int_equal(get_status(frontend), RUNNING);
    pair_break_queue(pair, 0);
    assert_int_equal(get_status(frontend), RUNNING | NEEDS_RESET);
    set_status(frontend, 0);
    assert_is_reset(pair);
    assert_works_anew(pair);
}

static void test_reset_device(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);

    set_status(frontend, RUNNING);
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
    assert_int_equal(frontend_call(frontend, FRONTEND_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    assert_is_reset(pair);
    assert_works_anew(pair);
}

/* Where the driver is notified, QEMU says once; it is not the driver's to reset. */
static void test_error_descriptor_stays(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    int fd = frontend_eventfd();

    assert_int_equal(frontend_set_fd(frontend, FRONTEND_SET_VRING_ERR, 0, fd), 0);
    set_status(frontend, 0);
    assert_works_anew(pair);
    pair_break_queue(pair, 0);
    assert_int_equal(frontend_wait_event(fd, 10000), 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(test_is_kept),
        cmocka_unit_test_setup_teardown(test_features_that_do_not_fit, pair_setup, pair_teardown),
        PAIR_TEST(test_broken_ring),
        PAIR_TEST(test_reset_device),
        PAIR_TEST(test_error_descriptor_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
