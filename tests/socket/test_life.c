/* SPDX-License-Identifier: BSD-3-Clause */
/* Guests and ports that come and go, and a switch that changes, while others talk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/process.h"
#include "socket/frame.h"
#include "socket/guest.h"
#include "socket/lab.h"
#include "socket/talk.h"

#define TIMEOUT_MS 3000

static uint8_t frame[FRAME_BYTES];

struct fixture {
    struct lab *lab;
    struct talk talk;
    struct guest c, d;
    bool has_deleted; /* ports, and their counters with them */
};

static int setup_with(void **state, uint64_t features)
{
    static struct fixture fixture;
    struct guest_config config = guest_modern;

    fixture.has_deleted = false;
    if (lab_setup(state) < 0)
        return -1;
    fixture.lab = *state;
    *state = &fixture;
    talk_begin(&fixture.talk, fixture.lab);
    config.features |= features;
    guest_create(&fixture.c, &config);
    guest_create(&fixture.d, &config);
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, 0);
}

static int setup_packed(void **state)
{
    return setup_with(state, GUEST_F_PACKED);
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    guest_destroy(&fixture->c);
    guest_destroy(&fixture->d);
    if (fixture->lab->pid) {
        talk_wait(&fixture->talk, 100);
        talk_end(&fixture->talk);
        if (!fixture->has_deleted)
            lab_assert_balance(fixture->lab);
    } else {
        talk_kill(&fixture->talk);
    }
    *state = fixture->lab;
    return lab_teardown(state);
}

/* What comes to `to` from `from`; what others flood is passed over. */
static void expect(struct guest *to, const struct guest *from, uint32_t number)
{
    uint32_t len;

    do
        assert_true(guest_receive(to, 0, frame, &len, TIMEOUT_MS));
    while (memcmp(frame + 6, from->mac, 6) != 0);
    assert_true(frame_is(frame, len, number));
}

static void assert_passes(struct guest *from, struct guest *to, uint32_t number)
{
    frame_fill(frame, 1000, to->mac, from->mac, number);
    guest_must_send(from, 0, frame, 1000);
    expect(to, from, number);
}

static void test_ports_come_and_go(void **state)
{
    struct fixture *fixture = *state;

    fixture->has_deleted = true;
    for (unsigned i = 0; i < 20; i++) {
        lab_add_port(fixture->lab, "c", 1);
        lab_add_port(fixture->lab, "d", 2);
        guest_attach(&fixture->c, fixture->lab, "c");
        guest_attach(&fixture->d, fixture->lab, "d");
        assert_passes(&fixture->c, &fixture->d, i);
        assert_passes(&fixture->d, &fixture->c, i);
        if (i % 2)
            guest_detach(&fixture->c);
        lab_control(fixture->lab, "port del c");
        if (i % 2 == 0)
            assert_int_equal(frontend_wait_closed(&fixture->c.driver.frontend), 0);
        lab_control(fixture->lab, "port del d");
        assert_int_equal(frontend_wait_closed(&fixture->d.driver.frontend), 0);
        guest_detach(&fixture->c);
        guest_detach(&fixture->d);
    }
}

/* The port goes from under a guest that sends as fast as it can, and receives nothing. */
static void test_port_removed_under_load(void **state)
{
    struct fixture *fixture = *state;

    fixture->has_deleted = true;
    lab_add_port(fixture->lab, "d", 1);
    guest_attach(&fixture->d, fixture->lab, "d");
    for (unsigned i = 0; i < 10; i++) {
        lab_add_port(fixture->lab, "c", 1);
        guest_attach(&fixture->c, fixture->lab, "c");
        assert_passes(&fixture->d, &fixture->c, i);
        assert_passes(&fixture->c, &fixture->d, i);
        frame_fill(frame, 200, fixture->d.mac, fixture->c.mac, i);
        for (unsigned j = 0; j < 5000; j++)
            guest_send(&fixture->c, 0, frame, 200);
        lab_control(fixture->lab, "port del c");
        guest_detach(&fixture->c);
        guest_detach(&fixture->d);
        guest_attach(&fixture->d, fixture->lab, "d");
    }
}

static void test_disconnect_in_mid_burst(void **state)
{
    struct fixture *fixture = *state;

    lab_add_port(fixture->lab, "c", 1);
    lab_add_port(fixture->lab, "d", 1);
    guest_attach(&fixture->d, fixture->lab, "d");
    for (unsigned i = 0; i < 40; i++) {
        guest_attach(&fixture->c, fixture->lab, "c");
        assert_passes(&fixture->d, &fixture->c, i);
        assert_passes(&fixture->c, &fixture->d, i);
        for (unsigned j = 0; j < 200; j++) {
            frame_fill(frame, 1000, j % 32 ? fixture->d.mac : frame_broadcast, fixture->c.mac, j);
            guest_queue_frame(&fixture->c, 0, frame, 1000);
        }
        guest_flush(&fixture->c, 0);
        guest_detach(&fixture->c);
        guest_detach(&fixture->d);
        guest_attach(&fixture->d, fixture->lab, "d");
    }
    lab_wait_state(fixture->lab, "c", "connecting");
    lab_wait_reason(fixture->lab, "c", "waiting for a front-end");
}

/* As when a guest's driver is loaded again. */
static void test_driver_reloaded(void **state)
{
    struct fixture *fixture = *state;

    lab_add_port(fixture->lab, "c", 1);
    lab_add_port(fixture->lab, "d", 1);
    guest_attach(&fixture->c, fixture->lab, "c");
    guest_attach(&fixture->d, fixture->lab, "d");
    for (unsigned i = 0; i < 100; i++) {
        guest_reset(i % 2 ? &fixture->c : &fixture->d);
        lab_wait_state(fixture->lab, i % 2 ? "c" : "d", "up");
        assert_passes(&fixture->c, &fixture->d, i);
        assert_passes(&fixture->d, &fixture->c, i);
    }
}

/* Until its driver starts, the guest's port says why it is not up. */
static void test_states(void **state)
{
    struct fixture *fixture = *state;
    struct driver *driver = &fixture->c.driver;
    char path[128];

    lab_add_port(fixture->lab, "c", 1);
    lab_wait_state(fixture->lab, "c", "connecting");
    lab_wait_reason(fixture->lab, "c", "waiting for a front-end to connect");
    lab_socket(fixture->lab, path, sizeof(path), "c");
    assert_int_equal(driver_connect(driver, path, fixture->c.config.features, UINT64_MAX), 0);
    lab_wait_reason(fixture->lab, "c", "the guest's driver has not started");
    guest_detach(&fixture->c);
    guest_attach(&fixture->c, fixture->lab, "c");
    lab_wait_reason(fixture->lab, "c", "");
    assert_int_equal(frontend_enable(&driver->frontend, 0, false), 0);
    lab_wait_state(fixture->lab, "c", "connecting");
    assert_int_equal(frontend_enable(&driver->frontend, 0, true), 0);
    lab_wait_state(fixture->lab, "c", "up");
}

/* What is sent on a disabled queue is taken and discarded. */
static void test_disabled(void **state)
{
    struct fixture *fixture = *state;

    lab_add_port(fixture->lab, "c", 1);
    lab_add_port(fixture->lab, "d", 1);
    guest_attach(&fixture->c, fixture->lab, "c");
    guest_attach(&fixture->d, fixture->lab, "d");
    assert_passes(&fixture->c, &fixture->d, 0);
    assert_int_equal(frontend_enable(&fixture->c.driver.frontend, 1, false), 0);
    assert_int_equal(frontend_sync(&fixture->c.driver.frontend), 0);
    frame_fill(frame, 100, fixture->d.mac, fixture->c.mac, 1);
    for (unsigned i = 0; i < 50; i++)
        guest_must_send(&fixture->c, 0, frame, 100);
    guest_wait_sent(&fixture->c, 0);
    assert_int_equal(lab_counter(fixture->lab, "c", "rx", "queue-disabled"), 50);
    assert_int_equal(frontend_enable(&fixture->c.driver.frontend, 1, true), 0);
    assert_int_equal(frontend_sync(&fixture->c.driver.frontend), 0);
    assert_passes(&fixture->c, &fixture->d, 2);
}

static void test_memory_is_private(void **state)
{
    struct fixture *fixture = *state;
    struct driver *driver = &fixture->c.driver;
    struct ring_buffer buffer = driver_buffer(driver, 0, 2000, true);

    lab_add_port(fixture->lab, "c", 1);
    assert_ptr_equal(mmap(driver->area.base, driver->area.size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_FIXED, driver->area.fd, 0),
                     driver->area.base);
    guest_connect(&fixture->c, fixture->lab, "c");
    for (unsigned i = 0; i < 5; i++) {
        driver_add(driver, 0, &buffer, 1);
        driver_kick(driver, 0);
        json_decref(lab_port(fixture->lab, "c"));
    }
    lab_wait_state(fixture->lab, "c", "down");
    lab_wait_reason(fixture->lab, "c", "guest memory is not shared");
}

static void test_workers_change(void **state)
{
    static const char *const settings[] = {"mode poll",      "count 2",       "mode interrupt",
                                           "count 1",        "mode adaptive", "count 2",
                                           "mode interrupt", "count 1",       "mode poll",
                                           "mode adaptive"};
    struct fixture *fixture = *state;

    for (unsigned i = 0; i < 4 * sizeof(settings) / sizeof(settings[0]); i++) {
        lab_control(fixture->lab, "worker set %s",
                    settings[i % (sizeof(settings) / sizeof(settings[0]))]);
        talk_wait(&fixture->talk, 50);
    }
}

/* Nothing of a guest that was there is left in the switch. */
static void test_nothing_leaks(void **state)
{
    struct fixture *fixture = *state;
    unsigned num_fds, num_mappings;

    lab_add_port(fixture->lab, "c", 1);
    lab_add_port(fixture->lab, "d", 1);
    guest_attach(&fixture->d, fixture->lab, "d");
    lab_wait_state(fixture->lab, "c", "connecting");
    num_fds = process_num_fds(fixture->lab->pid);
    num_mappings = process_num_mappings(fixture->lab->pid);
    for (unsigned i = 0; i < 300; i++) {
        guest_connect(&fixture->c, fixture->lab, "c");
        frame_fill(frame, 1000, fixture->d.mac, fixture->c.mac, i);
        guest_must_send(&fixture->c, 0, frame, 1000);
        guest_detach(&fixture->c);
    }
    lab_wait_state(fixture->lab, "c", "connecting");
    assert_int_equal(process_num_fds(fixture->lab->pid), num_fds);
    assert_int_equal(process_num_mappings(fixture->lab->pid), num_mappings);
}

static void test_end_under_traffic(void **state)
{
    struct fixture *fixture = *state;
    struct stat status;
    char path[128];

    lab_add_port(fixture->lab, "c", 1);
    guest_attach(&fixture->c, fixture->lab, "c");
    frame_fill(frame, 1000, frame_broadcast, fixture->c.mac, 0);
    for (unsigned i = 0; i < 200; i++)
        guest_queue_frame(&fixture->c, 0, frame, 1000);
    guest_flush(&fixture->c, 0);
    lab_end(fixture->lab);
    assert_int_equal(frontend_wait_closed(&fixture->c.driver.frontend), 0);
    lab_socket(fixture->lab, path, sizeof(path), "c");
    assert_true(stat(path, &status) < 0);
    lab_socket(fixture->lab, path, sizeof(path), "left");
    assert_true(stat(path, &status) < 0);
}

#define TEST_OF(name, setup, format)                                                               \
    {                                                                                              \
#name "/" format, name, setup, teardown, NULL                                              \
    }
#define SPLIT(name) TEST_OF(name, setup, "split")
#define BOTH(name)  SPLIT(name), TEST_OF(name, setup_packed, "packed")

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_ports_come_and_go),
        BOTH(test_port_removed_under_load),
        BOTH(test_disconnect_in_mid_burst),
        BOTH(test_driver_reloaded),
        BOTH(test_states),
        BOTH(test_disabled),
        BOTH(test_memory_is_private),
        SPLIT(test_workers_change),
        BOTH(test_nothing_leaks),
        BOTH(test_end_under_traffic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
