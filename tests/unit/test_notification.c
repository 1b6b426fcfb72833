/* SPDX-License-Identifier: BSD-3-Clause */
/* Who wakes whom, and how often: both ways, with EVENT_IDX and with flags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/rig.h"

#define SIZE 64u

struct fixture {
    struct rig rig;
    unsigned num_slept; /* of the thread that is the device */
};

static int setup(void **state, uint64_t features)
{
    struct fixture *f = test_calloc(1, sizeof(*f));

    rig_init_started(&f->rig, SIZE, features);
    *state = f;
    return 0;
}

static int setup_flags(void **state)
{
    return setup(state, 0);
}

static int setup_event_idx(void **state)
{
    return setup(state, RIG_F_EVENT_IDX);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    rig_fini(&f->rig);
    test_free(f);
    return 0;
}

static void add(struct fixture *f, unsigned num)
{
    struct ring_buffer buffer = {RIG_BUFFERS, 100, true};

    for (unsigned i = 0; i < num; i++)
        assert_true(ring_add(&f->rig.ring, &buffer, 1) >= 0);
    ring_publish(&f->rig.ring);
}

/* The device takes and returns `num` chains; the driver does not look yet. */
static void process(struct fixture *f, unsigned num)
{
    struct shunt_chain chain;
    struct iovec iov;

    for (unsigned i = 0; i < num; i++) {
        assert_int_equal(shunt_virtqueue_pop(f->rig.queue, &chain, &iov, 1), 1);
        shunt_virtqueue_push(f->rig.queue, &chain, 0);
    }
    shunt_virtqueue_publish(f->rig.queue);
}

static void take_used(struct fixture *f, unsigned num)
{
    struct split_used_element used;

    assert_int_equal(ring_num_used(&f->rig.ring), num);
    while (ring_take_used(&f->rig.ring, &used))
        ;
}

static uint64_t num_calls(struct fixture *f)
{
    return rig_signals(f->rig.call_fd);
}

/* --- The driver is notified ------------------------------------------------------------------------- */

static void test_flags_once_a_publish(void **state)
{
    struct fixture *f = *state;

    shunt_virtqueue_publish(f->rig.queue); /* of nothing */
    assert_int_equal(num_calls(f), 0);
    for (unsigned num = 1; num <= SIZE; num++) {
        add(f, num);
        assert_int_equal(num_calls(f), 0);
        process(f, num);
        assert_int_equal(num_calls(f), 1);
        shunt_virtqueue_publish(f->rig.queue);
        assert_int_equal(num_calls(f), 0);
        take_used(f, num);
    }
    assert_int_equal(f->rig.queue->stats.notified, SIZE);
    assert_int_equal(f->rig.queue->stats.suppressed, 0);
}

static void test_flags_suppressed(void **state)
{
    struct fixture *f = *state;

    ring_want_calls(&f->rig.ring, false);
    for (unsigned i = 0; i < 10; i++) {
        add(f, 2);
        process(f, 2);
        take_used(f, 2);
    }
    assert_int_equal(num_calls(f), 0);
    assert_int_equal(f->rig.queue->stats.notified, 0);
    assert_int_equal(f->rig.queue->stats.suppressed, 10);
    ring_want_calls(&f->rig.ring, true);
    add(f, 1);
    process(f, 1);
    assert_int_equal(num_calls(f), 1);
    assert_int_equal(f->rig.queue->stats.notified, 1);
}

/* A driver without EVENT_IDX may leave anything where the event would be, and the other way round. */
static void test_only_the_negotiated_way_counts(void **state)
{
    struct fixture *f = *state;

    ring_set_used_event(&f->rig.ring, 0x7777);
    add(f, 1);
    process(f, 1);
    assert_int_equal(num_calls(f), 1);
    take_used(f, 1);
    virtqueue_stop(f->rig.queue);
    f->rig.features = RIG_F_EVENT_IDX;
    assert_int_equal(rig_start(&f->rig), 0);
    f->rig.ring.available->flags = AVAILABLE_F_NO_INTERRUPT;
    ring_set_used_event(&f->rig.ring, 1);
    add(f, 1);
    process(f, 1);
    assert_int_equal(num_calls(f), 1);
}

/* For each distance of the event and each number of entries: one call if it is crossed, else none. */
static void test_event_is_crossed(void **state)
{
    struct fixture *f = *state;
    uint16_t before = 0;

    for (unsigned num = 1; num <= 8; num++) {
        for (int event = -2; event <= 9; event++) {
            bool is_crossed = event >= 0 && event < (int)num;

            ring_set_used_event(&f->rig.ring, (uint16_t)(before + event));
            add(f, num);
            process(f, num);
            assert_int_equal(num_calls(f), is_crossed);
            take_used(f, num);
            before = (uint16_t)(before + num);
        }
    }
    assert_int_equal(f->rig.queue->stats.notified, 8 * 9 / 2);
    assert_int_equal(f->rig.queue->stats.suppressed, 8 * 12 - 8 * 9 / 2);
}

/* A driver that asks for each 97th entry gets exactly these, also where the indices wrap. */
static void test_events_over_the_wrap(void **state)
{
    struct fixture *f = *state;
    uint32_t total = 0, event = 96, num = 1, calls = 0;

    ring_set_used_event(&f->rig.ring, (uint16_t)event);
    while (total < 200000) {
        add(f, num);
        process(f, num);
        take_used(f, num);
        total += num;
        if (total > event) {
            calls++;
            assert_int_equal(num_calls(f), 1);
            event += 97;
            ring_set_used_event(&f->rig.ring, (uint16_t)event);
        } else {
            assert_int_equal(num_calls(f), 0);
        }
        num = num % 13 + 1;
    }
    assert_int_equal(calls, total / 97);
    assert_int_equal(f->rig.queue->stats.notified, calls);
}

/* A driver that wants none sets the event behind and leaves it there: it is met once in 65536. */
static void test_no_events_for_as_long_as_possible(void **state)
{
    struct fixture *f = *state;
    uint32_t calls = 0;

    ring_want_calls(&f->rig.ring, false);
    for (unsigned i = 0; i < 65535 / 5; i++) {
        add(f, 5);
        process(f, 5);
        take_used(f, 5);
        calls += (uint32_t)num_calls(f);
    }
    assert_int_equal(calls, 0);
    add(f, 5);
    process(f, 5);
    assert_int_equal(num_calls(f), 1);
}

static void test_without_call_descriptor(void **state)
{
    struct fixture *f = *state;

    virtqueue_replace_fd(&f->rig.queue->call_fd, -1);
    add(f, 3);
    process(f, 3);
    take_used(f, 3);
    assert_int_equal(num_calls(f), 0);
}

/* A counter that is full is a wake-up that waits; nobody waits for the driver to read it. */
static void test_full_call_descriptor(void **state)
{
    struct fixture *f = *state;
    uint64_t most = UINT64_MAX - 1;

    assert_int_equal(write(f->rig.call_fd, &most, sizeof(most)), sizeof(most));
    for (unsigned i = 0; i < 3; i++) {
        add(f, 1);
        process(f, 1);
        take_used(f, 1);
    }
    assert_int_equal(num_calls(f), most);
    add(f, 1);
    process(f, 1);
    assert_int_equal(num_calls(f), 1);
}

/* --- The device is notified ------------------------------------------------------------------------- */

static bool published_needs_kick(struct fixture *f, unsigned num)
{
    add(f, num);
    return ring_needs_kick(&f->rig.ring);
}

static void test_flags_disarmed_and_armed(void **state)
{
    struct fixture *f = *state;
    struct shunt_virtqueue *queue = f->rig.queue;

    assert_int_equal(f->rig.ring.used->flags, USED_F_NO_NOTIFY);
    assert_false(published_needs_kick(f, 1));
    process(f, 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(shunt_virtqueue_arm(queue));
        assert_int_equal(f->rig.ring.used->flags, 0);
        assert_true(published_needs_kick(f, 1));
        assert_true(published_needs_kick(f, 1)); /* until it is disarmed */
        assert_false(shunt_virtqueue_arm(queue));
        shunt_virtqueue_disarm(queue);
        assert_int_equal(f->rig.ring.used->flags, USED_F_NO_NOTIFY);
        assert_false(published_needs_kick(f, 1));
        process(f, 3);
    }
}

/* Flags that need not change are not written: the line is the driver's to read. */
static void test_flags_are_written_once(void **state)
{
    struct fixture *f = *state;

    f->rig.ring.used->flags = 0x55;
    shunt_virtqueue_disarm(f->rig.queue);
    assert_int_equal(f->rig.ring.used->flags, 0x55);
}

static void test_start_disarms(void **state)
{
    struct fixture *f = *state;

    assert_true(shunt_virtqueue_arm(f->rig.queue));
    virtqueue_stop(f->rig.queue);
    assert_int_equal(rig_start(&f->rig), 0);
    assert_int_equal(f->rig.ring.used->flags, USED_F_NO_NOTIFY);
}

static void test_event_idx_disarmed_and_armed(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 3; i++) {
        assert_true(shunt_virtqueue_arm(f->rig.queue));
        assert_int_equal(ring_avail_event(&f->rig.ring), 7 * i);
        assert_true(published_needs_kick(f, 2));
        assert_false(published_needs_kick(f, 1)); /* once is enough */
        shunt_virtqueue_disarm(f->rig.queue);
        assert_false(published_needs_kick(f, 1));
        process(f, 4);
        assert_false(published_needs_kick(f, 3));
        process(f, 3);
    }
    assert_int_equal(f->rig.ring.used->flags, 0); /* "MUST" (2.7.7.2) */
}

/* Polling all the time, a device is notified of the first entry and of none of the next 65535. */
static void test_event_idx_while_polling(void **state)
{
    struct fixture *f = *state;
    unsigned kicks = 0;

    for (unsigned i = 0; i < 65536; i++) {
        kicks += published_needs_kick(f, 1);
        process(f, 1);
        take_used(f, 1);
    }
    assert_int_equal(kicks, 1);
}

/* Armed before each pause, it is notified of the first entry after it, and of nothing else. */
static void test_kicks_over_the_wrap(void **state)
{
    struct fixture *f = *state;
    unsigned num = 1, total = 0;

    while (total < 150000) {
        assert_true(shunt_virtqueue_arm(f->rig.queue));
        assert_true(published_needs_kick(f, num));
        assert_false(shunt_virtqueue_arm(f->rig.queue));
        shunt_virtqueue_disarm(f->rig.queue);
        process(f, num);
        assert_false(published_needs_kick(f, 1));
        process(f, 1);
        take_used(f, num + 1);
        total += num + 1;
        num = num % (SIZE - 1) + 1;
    }
}

/* What came before the wish was visible is found by the look after it. */
static void test_arm_sees_what_came_before(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 1000; i++) {
        assert_true(shunt_virtqueue_arm(f->rig.queue));
        shunt_virtqueue_disarm(f->rig.queue);
        add(f, 1);
        assert_false(shunt_virtqueue_arm(f->rig.queue));
        shunt_virtqueue_disarm(f->rig.queue);
        process(f, 1);
        take_used(f, 1);
    }
}

static void test_arm_without_kick_descriptor(void **state)
{
    struct fixture *f = *state;

    virtqueue_replace_fd(&f->rig.queue->kick_fd, -1);
    assert_int_equal(shunt_virtqueue_kick_fd(f->rig.queue), -1);
    assert_false(shunt_virtqueue_arm(f->rig.queue));
}

static void test_arm_of_a_stopped_queue(void **state)
{
    struct fixture *f = *state;

    virtqueue_stop(f->rig.queue);
    assert_true(shunt_virtqueue_arm(f->rig.queue));
    shunt_virtqueue_disarm(f->rig.queue);
}

/* --- Both at once ----------------------------------------------------------------------------------- */

#define NUM_CHAINS 30000u

static bool is_readable_in_time(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};

    return poll(&item, 1, 5000) == 1;
}

/* The device: takes chains one by one, and sleeps whenever it may. */
static void *run_device(void *ctx)
{
    struct fixture *f = ctx;
    unsigned num = 0;

    while (num < NUM_CHAINS) {
        struct shunt_chain chain;
        struct iovec iov;

        shunt_virtqueue_lock(f->rig.queue);
        while (shunt_virtqueue_pop(f->rig.queue, &chain, &iov, 1) == 1) {
            shunt_virtqueue_push(f->rig.queue, &chain, num++);
            shunt_virtqueue_publish(f->rig.queue);
        }
        if (num < NUM_CHAINS && shunt_virtqueue_arm(f->rig.queue)) {
            if (!is_readable_in_time(f->rig.kick_fd))
                break; /* a lost wake-up */
            rig_signals(f->rig.kick_fd);
            f->num_slept++;
        }
        shunt_virtqueue_disarm(f->rig.queue);
        shunt_virtqueue_unlock(f->rig.queue);
    }
    return NULL;
}

/* The driver: makes chains available one by one, and sleeps until they are used. */
static unsigned run_driver(struct fixture *f)
{
    unsigned num = 0;

    while (num < NUM_CHAINS) {
        struct split_used_element used;

        add(f, 1);
        if (ring_needs_kick(&f->rig.ring)) {
            uint64_t one = 1;

            assert_int_equal(write(f->rig.kick_fd, &one, sizeof(one)), sizeof(one));
        }
        ring_want_calls(&f->rig.ring, true);
        if (ring_num_used(&f->rig.ring) == 0 && !is_readable_in_time(f->rig.call_fd))
            break; /* a lost wake-up */
        rig_signals(f->rig.call_fd);
        ring_want_calls(&f->rig.ring, false);
        while (ring_take_used(&f->rig.ring, &used)) {
            assert_int_equal(used.len, num);
            num++;
        }
    }
    return num;
}

static void test_no_wakeup_is_lost(void **state)
{
    struct fixture *f = *state;
    pthread_t device;

    assert_int_equal(pthread_create(&device, NULL, run_device, f), 0);
    assert_int_equal(run_driver(f), NUM_CHAINS);
    assert_int_equal(pthread_join(device, NULL), 0);
    assert_true(f->num_slept > 0);
    assert_true(f->rig.queue->stats.notified > 0);
}

#define FLAGS(name)     cmocka_unit_test_setup_teardown(name, setup_flags, teardown)
#define EVENT_IDX(name) cmocka_unit_test_setup_teardown(name, setup_event_idx, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FLAGS(test_flags_once_a_publish),
        FLAGS(test_flags_suppressed),
        FLAGS(test_only_the_negotiated_way_counts),
        EVENT_IDX(test_event_is_crossed),
        EVENT_IDX(test_events_over_the_wrap),
        EVENT_IDX(test_no_events_for_as_long_as_possible),
        FLAGS(test_without_call_descriptor),
        FLAGS(test_full_call_descriptor),
        FLAGS(test_flags_disarmed_and_armed),
        FLAGS(test_flags_are_written_once),
        FLAGS(test_start_disarms),
        EVENT_IDX(test_event_idx_disarmed_and_armed),
        EVENT_IDX(test_event_idx_while_polling),
        EVENT_IDX(test_kicks_over_the_wrap),
        FLAGS(test_arm_sees_what_came_before),
        EVENT_IDX(test_arm_sees_what_came_before),
        FLAGS(test_arm_without_kick_descriptor),
        EVENT_IDX(test_arm_without_kick_descriptor),
        FLAGS(test_arm_of_a_stopped_queue),
        FLAGS(test_no_wakeup_is_lost),
        EVENT_IDX(test_no_wakeup_is_lost),
    };

    return cmocka_run_group_tests_name("notification", tests, NULL, NULL);
}
