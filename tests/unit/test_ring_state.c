/* SPDX-License-Identifier: BSD-3-Clause */
/* The states of a back-end's rings (vhost-user, "Ring states"), and the moves between them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/pair.h"

#define ALL UINT64_MAX

/* --- Starting a ring -------------------------------------------------------------------------------- */

static void test_first_kick_starts(void **state)
{
    struct pair *pair = *state;
    struct frontend_ring ring = driver_ring(&pair->driver, 0);
    struct frontend *frontend = &pair->driver.frontend;

    pair_connect(pair);
    assert_int_equal(frontend_setup_ring(frontend, 0, &ring), 0);
    assert_int_equal(frontend_enable(frontend, 0, true), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_false(device_is_started(&pair->device, 0));
    assert_int_equal(device_echo(&pair->device, 0), -ENOTCONN);
    assert_int_equal(shunt_virtqueue_kick_fd(pair_virtqueue(pair, 0)), -1);
    driver_kick(&pair->driver, 0);
    device_run(&pair->device);
    assert_true(device_is_started(&pair->device, 0));
    assert_int_equal(shunt_virtqueue_size(pair_virtqueue(pair, 0)), PAIR_RING_SIZE);
    assert_true(shunt_virtqueue_kick_fd(pair_virtqueue(pair, 0)) >= 0);
    pair_assert_works(pair, 0);
}

/* A descriptor that has been signalled before it came, as QEMU does it. */
static void test_kicked_before(void **state)
{
    struct pair *pair = *state;
    struct frontend_ring ring = driver_ring(&pair->driver, 0);

    pair_connect(pair);
    driver_kick(&pair->driver, 0);
    assert_int_equal(frontend_setup_ring(&pair->driver.frontend, 0, &ring), 0);
    assert_int_equal(frontend_sync(&pair->driver.frontend), 0);
    device_run(&pair->device);
    assert_true(device_is_started(&pair->device, 0));
    pair_assert_works(pair, 0);
}

static void test_without_kick_descriptor(void **state)
{
    struct pair *pair = *state;
    struct frontend_ring ring = driver_ring(&pair->driver, 0);

    ring.kick_fd = -1;
    ring.call_fd = -1;
    pair_connect(pair);
    assert_int_equal(frontend_setup_ring(&pair->driver.frontend, 0, &ring), 0);
    assert_int_equal(frontend_sync(&pair->driver.frontend), 0);
    assert_true(device_is_started(&pair->device, 0));
    assert_int_equal(shunt_virtqueue_kick_fd(pair_virtqueue(pair, 0)), -1);
    pair_assert_works(pair, 0);
    shunt_virtqueue_lock(pair_virtqueue(pair, 0));
    assert_false(shunt_virtqueue_arm(pair_virtqueue(pair, 0)));
    shunt_virtqueue_unlock(pair_virtqueue(pair, 0));
}

/* As after a migration, or a restart of ours: the driver kicked long ago. */
static void resume_at(struct pair *pair, uint32_t start)
{
    struct ring *ring = &pair->driver.rings[0];
    struct frontend_ring told;
    uint32_t base;

    ring_set_base(ring, start);
    told = driver_ring(&pair->driver, 0);
    assert_int_equal(told.base, start);
    assert_int_equal(frontend_setup_ring(&pair->driver.frontend, 0, &told), 0);
    assert_int_equal(frontend_sync(&pair->driver.frontend), 0);
    assert_true(device_is_started(&pair->device, 0));
    for (unsigned j = 0; j < 1000; j++)
        pair_assert_works(pair, 0);
    assert_int_equal(frontend_get_base(&pair->driver.frontend, 0, &base), 0);
    assert_int_equal(base, ring_base(ring));
    /* Each chain has two descriptors. */
    assert_int_equal((uint16_t)base,
                     ring_step(ring, (uint16_t)start, ring->format == RING_PACKED ? 2000 : 1000));
}

static void test_resumed(void **state)
{
    static const uint32_t indices[] = {65000, 130000 % 65536, 195000 % 65536};
    static const uint32_t positions[] = {0x80038003, 0x000f000f, 0x00010001};
    struct pair *pair = *state;

    pair_connect(pair);
    for (unsigned i = 0; i < 3; i++)
        resume_at(pair, pair->features & PAIR_F_PACKED ? positions[i] : indices[i]);
}

/* The ring goes on waiting: memory may still come. */
static void test_kick_before_memory(void **state)
{
    struct pair *pair = *state;
    struct frontend_region region = driver_region(&pair->driver);
    struct frontend_ring ring = driver_ring(&pair->driver, 0);
    struct frontend *frontend = pair_open(pair);

    assert_int_equal(frontend_negotiate(frontend, pair->features, ALL), 0);
    assert_int_equal(frontend_setup_ring(frontend, 0, &ring), 0);
    driver_kick(&pair->driver, 0);
    assert_int_equal(frontend_sync(frontend), 0);
    device_run(&pair->device);
    pair_assert_reason(pair, "the front-end shared no memory");
    assert_false(device_is_started(&pair->device, 0));

    assert_int_equal(frontend_set_memory(frontend, &region, &pair->driver.area.fd, 1), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    ring_add(&pair->driver.rings[0], &(struct ring_buffer){DRIVER_GUEST_ADDR, 8, true}, 1);
    ring_publish(&pair->driver.rings[0]);
    driver_kick(&pair->driver, 0);
    device_run(&pair->device);
    assert_true(device_is_started(&pair->device, 0));
    pair_assert_no_reason(pair);
}

static void test_polled_before_addresses(void **state)
{
    struct pair *pair = *state;

    pair_connect(pair);
    frontend_set_state(&pair->driver.frontend, FRONTEND_SET_VRING_NUM, 0, PAIR_RING_SIZE);
    frontend_set_fd(&pair->driver.frontend, FRONTEND_SET_VRING_KICK, 0, -1);
    assert_int_equal(frontend_wait_closed(&pair->driver.frontend), 0);
    pair_assert_reason(pair, "SET_VRING_KICK: virtqueue 0");
    pair_assert_reason(pair, "the ring is started without addresses");
}

/* --- Enabled and disabled --------------------------------------------------------------------------- */

static void test_enabled(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = &pair->driver.frontend;
    struct frontend_ring ring = driver_ring(&pair->driver, 0);
    unsigned before;

    pair_connect(pair);
    assert_int_equal(frontend_setup_ring(frontend, 0, &ring), 0);
    driver_kick(&pair->driver, 0);
    assert_int_equal(frontend_sync(frontend), 0);
    device_run(&pair->device);
    assert_true(device_is_started(&pair->device, 0));
    assert_false(device_is_enabled(&pair->device, 0));
    for (unsigned i = 0; i < 4; i++) {
        before = pair->device.num_queue_changed[0];
        assert_int_equal(frontend_enable(frontend, 0, i % 2 == 0), 0);
        assert_int_equal(frontend_sync(frontend), 0);
        assert_int_equal(device_is_enabled(&pair->device, 0), i % 2 == 0);
        assert_true(device_is_started(&pair->device, 0));
        assert_int_equal(pair->device.num_queue_changed[0], before + 1);
    }
}

static void test_enabled_before_addresses(void **state)
{
    struct pair *pair = *state;
    struct frontend_ring ring = driver_ring(&pair->driver, 0);

    pair_connect(pair);
    assert_int_equal(frontend_enable(&pair->driver.frontend, 0, true), 0);
    assert_int_equal(frontend_setup_ring(&pair->driver.frontend, 0, &ring), 0);
    driver_kick(&pair->driver, 0);
    assert_int_equal(frontend_sync(&pair->driver.frontend), 0);
    device_run(&pair->device);
    assert_true(device_is_enabled(&pair->device, 0));
    pair_assert_works(pair, 0);
}

/* Front-ends of old know no SET_VRING_ENABLE: their rings are enabled by being started. */
static void test_without_protocol_features(void **state)
{
    struct pair *pair = *state;

    assert_int_equal(driver_connect(&pair->driver, pair->device.path,
                                    pair->features & ~FRONTEND_F_PROTOCOL_FEATURES, 0),
                     0);
    for (unsigned i = 0; i < 3; i++) {
        pair_start(pair, 0);
        pair_assert_works(pair, 0);
        assert_int_equal(driver_stop(&pair->driver, 0), 0);
    }
}

/* --- A ring while it runs --------------------------------------------------------------------------- */

static void test_get_base_twice(void **state)
{
    struct pair *pair = *state;
    uint32_t base, before = ring_base(&pair->driver.rings[0]);

    pair_connect(pair);
    assert_int_equal(frontend_get_base(&pair->driver.frontend, 0, &base), 0);
    assert_true(base == 0 || base == before); /* nobody has said which format it will have */
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
    pair_assert_works(pair, 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(frontend_get_base(&pair->driver.frontend, 0, &base), 0);
        assert_int_equal(base, ring_base(&pair->driver.rings[0]));
        assert_false(device_is_started(&pair->device, 0));
        assert_int_equal(shunt_virtqueue_kick_fd(pair_virtqueue(pair, 0)), -1);
    }
}

/* The driver's reload: stopped, emptied, and started again on the same connection. */
static void test_restarted(void **state)
{
    struct pair *pair = *state;

    pair_connect(pair);
    for (unsigned i = 0; i < 10; i++) {
        pair_start(pair, 0);
        pair_start(pair, 1);
        pair_assert_works(pair, 0);
        pair_assert_works(pair, 1);
        assert_int_equal(driver_stop(&pair->driver, 0), 0);
        assert_int_equal(driver_stop(&pair->driver, 1), 0);
    }
}

/* What was returned while there was no call descriptor is notified when it comes. */
static void test_late_call_descriptor(void **state)
{
    struct pair *pair = *state;
    struct frontend_ring ring = driver_ring(&pair->driver, 0);
    struct frontend *frontend = &pair->driver.frontend;

    pair_connect(pair);
    ring.call_fd = -1;
    assert_int_equal(frontend_setup_ring(frontend, 0, &ring), 0);
    driver_kick(&pair->driver, 0);
    assert_int_equal(frontend_sync(frontend), 0);
    pair_assert_works(pair, 0);
    assert_int_equal(frontend_set_fd(frontend, FRONTEND_SET_VRING_CALL, 0,
                                     pair->driver.call_fds[0]),
                     0);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_int_equal(frontend_wait_event(pair->driver.call_fds[0], 0), 0);
    pair_assert_works(pair, 0);
    assert_int_equal(frontend_wait_event(pair->driver.call_fds[0], 0), 0);
}

static void test_full_call_descriptor(void **state)
{
    struct pair *pair = *state;
    uint64_t count = UINT64_MAX - 1;

    pair_connect(pair);
    pair_start(pair, 0);
    assert_int_equal(write(pair->driver.call_fds[0], &count, sizeof(count)), sizeof(count));
    pair_assert_works(pair, 0);
    pair_assert_works(pair, 0);
}

/* Another kick descriptor for a ring that runs: it goes on where it was. */
static void test_kick_replaced(void **state)
{
    struct pair *pair = *state;
    int before;

    pair_connect(pair);
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
    before = pair->driver.kick_fds[0];
    pair->driver.kick_fds[0] = eventfd(0, EFD_CLOEXEC);
    frontend_set_fd(&pair->driver.frontend, FRONTEND_SET_VRING_KICK, 0, pair->driver.kick_fds[0]);
    close(before);
    assert_int_equal(frontend_sync(&pair->driver.frontend), 0);
    assert_true(device_is_started(&pair->device, 0));
    assert_true(device_is_enabled(&pair->device, 0));
    pair_assert_works(pair, 0);
}

static void assert_refused_while_running(struct pair *pair, uint32_t request, uint32_t num,
                                         const char *text)
{
    driver_disconnect(&pair->driver);
    driver_reset_ring(&pair->driver, 0);
    device_run(&pair->device);
    pair_connect(pair);
    pair_start(pair, 0);
    frontend_set_state(&pair->driver.frontend, request, 0, num);
    assert_int_equal(frontend_wait_closed(&pair->driver.frontend), 0);
    pair_assert_reason(pair, text);
}

static void test_changed_while_running(void **state)
{
    assert_refused_while_running(*state, FRONTEND_SET_VRING_NUM, 8, "set while the ring runs");
    assert_refused_while_running(*state, FRONTEND_SET_VRING_BASE, 8, "set while the ring runs");
}

static void test_features_while_running(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = &pair->driver.frontend;
    unsigned before;

    pair_connect(pair);
    pair_start(pair, 0);
    before = pair->device.num_features_changed;
    assert_int_equal(frontend_set_features(frontend, pair->features), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_int_equal(pair->device.num_features_changed, before);
    pair_assert_works(pair, 0);
    frontend_set_features(frontend, pair->features | DEVICE_FEATURE);
    assert_int_equal(frontend_wait_closed(frontend), 0);
    pair_assert_reason(pair, "while rings run");
}

static void test_reset_owner(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = &pair->driver.frontend;

    pair_connect(pair);
    pair_start(pair, 0);
    pair_start(pair, 1);
    assert_int_equal(frontend_call(frontend, FRONTEND_RESET_OWNER, NULL, 0, NULL, 0), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(device_is_started(&pair->device, i));
        assert_false(device_is_enabled(&pair->device, i));
        assert_int_equal(frontend_enable(frontend, i, true), 0);
        assert_int_equal(frontend_sync(frontend), 0);
        pair_assert_works(pair, i);
    }
}

/* A front-end without protocol features has no other way to enable what it disabled by RESET_OWNER. */
static void test_reset_owner_without_protocol_features(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend;

    pair->features &= ~FRONTEND_F_PROTOCOL_FEATURES;
    frontend = pair_connect_with(pair, 0);
    pair_start(pair, 0);
    assert_int_equal(frontend_call(frontend, FRONTEND_RESET_OWNER, NULL, 0, NULL, 0), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_false(device_is_enabled(&pair->device, 0));
    assert_int_equal(frontend_set_features(frontend, pair->features), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_true(device_is_enabled(&pair->device, 0));
    pair_assert_works(pair, 0);
}

static void test_protocol_features_while_running(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    uint64_t features = frontend->protocol_features;

    pair_start(pair, 0);
    assert_int_equal(frontend_set_protocol_features(frontend, features), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    frontend_set_protocol_features(frontend, features & ~FRONTEND_PROTOCOL_F_STATUS);
    pair_assert_disconnected(pair, "while rings run");
}

/* --- A ring that breaks ----------------------------------------------------------------------------- */

static void test_broken(void **state)
{
    struct pair *pair = *state;
    unsigned before;

    pair_connect(pair);
    pair_start(pair, 0);
    pair_start(pair, 1);
    before = pair->device.num_queue_changed[0];
    pair_break_queue(pair, 0);
    assert_int_equal(pair->device.num_queue_changed[0], before + 1);
    pair_assert_reason(pair, "broke virtqueue 0");
    pair_assert_reason(pair, "0x10");
    assert_false(device_is_started(&pair->device, 0));
    assert_true(shunt_backend_is_connected(pair->device.backend));
    assert_int_equal(device_echo(&pair->device, 0), -EPROTO);
    pair_assert_works(pair, 1);

    assert_int_equal(driver_stop(&pair->driver, 0), 0);
    pair_start(pair, 0);
    pair_assert_no_reason(pair);
    pair_assert_works(pair, 0);
    pair_break_queue(pair, 0);
    pair_assert_reason(pair, "broke virtqueue 0");
}

/* The reason of one that is broken outlives the start of another. */
static void test_broken_while_another_starts(void **state)
{
    struct pair *pair = *state;

    pair_connect(pair);
    pair_start(pair, 0);
    pair_break_queue(pair, 0);
    pair_start(pair, 1);
    pair_assert_reason(pair, "broke virtqueue 0");
    pair_assert_works(pair, 1);
}

static void test_error_descriptor(void **state)
{
    struct pair *pair = *state;
    int fd = frontend_eventfd();

    pair_connect(pair);
    pair_start(pair, 0);
    assert_int_equal(frontend_set_fd(&pair->driver.frontend, FRONTEND_SET_VRING_ERR, 0, fd), 0);
    assert_int_equal(frontend_sync(&pair->driver.frontend), 0);
    assert_int_equal(frontend_wait_event(fd, 0), -ETIMEDOUT);
    pair_break_queue(pair, 0);
    assert_int_equal(frontend_wait_event(fd, 0), 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(test_first_kick_starts),
        PAIR_TEST(test_kicked_before),
        PAIR_TEST(test_without_kick_descriptor),
        PAIR_TEST(test_resumed),
        PAIR_TEST(test_kick_before_memory),
        PAIR_TEST(test_polled_before_addresses),
        PAIR_TEST(test_enabled),
        PAIR_TEST(test_enabled_before_addresses),
        PAIR_TEST(test_without_protocol_features),
        PAIR_TEST(test_get_base_twice),
        PAIR_TEST(test_restarted),
        PAIR_TEST(test_late_call_descriptor),
        PAIR_TEST(test_full_call_descriptor),
        PAIR_TEST(test_kick_replaced),
        PAIR_TEST(test_changed_while_running),
        PAIR_TEST(test_features_while_running),
        PAIR_TEST(test_reset_owner),
        PAIR_TEST_OF(test_reset_owner_without_protocol_features, pair_setup, "split"),
        PAIR_TEST_OF(test_protocol_features_while_running, pair_setup, "split"),
        PAIR_TEST(test_broken),
        PAIR_TEST(test_broken_while_another_starts),
        PAIR_TEST(test_error_descriptor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
