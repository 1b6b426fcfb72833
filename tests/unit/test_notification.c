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
#include "lib/variant.h"

#define SIZE 64u

struct fixture {
    struct rig rig;
    unsigned num_slept; /* of the thread that is the device */
};

static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof(*f));

    rig_init_started(&f->rig, SIZE, variant_features(state));
    *state = f;
    return 0;
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
    struct iovec iov[3];

    for (unsigned i = 0; i < num; i++) {
        assert_int_equal(shunt_virtqueue_pop(f->rig.queue, &chain, iov, 3), 1);
        shunt_virtqueue_push(f->rig.queue, &chain, iov, 0);
    }
    shunt_virtqueue_publish(f->rig.queue);
}

static void take_used(struct fixture *f, unsigned num)
{
    struct ring_used used;

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

    f->rig.ring.available->ring[SIZE] = 0x7777;
    add(f, 1);
    process(f, 1);
    assert_int_equal(num_calls(f), 1);
    take_used(f, 1);
    virtqueue_stop(f->rig.queue);
    f->rig.features = RIG_F_EVENT_IDX;
    assert_int_equal(rig_start(&f->rig), 0);
    f->rig.ring.available->flags = AVAILABLE_F_NO_INTERRUPT;
    ring_want_call_past(&f->rig.ring, 1);
    add(f, 1);
    process(f, 1);
    assert_int_equal(num_calls(f), 1);
}

/* Packed: the position means nothing while all events are wanted, or none. */
static void test_position_without_descriptor_event(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 3 * SIZE; i++) {
        f->rig.ring.driver_event->flags = i % 3 ? PACKED_EVENT_DISABLE : PACKED_EVENT_ENABLE;
        f->rig.ring.driver_event->position = (uint16_t)(i * 0x1357);
        add(f, 1);
        process(f, 1);
        take_used(f, 1);
        assert_int_equal(num_calls(f), i % 3 == 0);
    }
}

/*
 * Packed: a descriptor event without EVENT_IDX, and the value that is reserved, are not valid. A driver that
 * says them loses no wake-up.
 */
static void test_flags_that_are_not_valid(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 2 * SIZE; i++) {
        f->rig.ring.driver_event->flags = i % 2 ? 2 : 3;
        f->rig.ring.driver_event->position = (uint16_t)(i * 0x1357);
        add(f, 1);
        process(f, 1);
        take_used(f, 1);
        assert_int_equal(num_calls(f), 1);
    }
}

/* For each distance of the event and each number of entries: one call if it is crossed, else none. */
static void test_event_is_crossed(void **state)
{
    struct fixture *f = *state;
    struct ring *ring = &f->rig.ring;

    for (unsigned num = 1; num <= 8; num++) {
        for (int event = -2; event <= 9; event++) {
            bool is_crossed = event >= 0 && event < (int)num;

            ring_want_call_past(ring, ring_step(ring, ring->last_used, event));
            add(f, num);
            process(f, num);
            assert_int_equal(num_calls(f), is_crossed);
            take_used(f, num);
        }
    }
    assert_int_equal(f->rig.queue->stats.notified, 8 * 9 / 2);
    assert_int_equal(f->rig.queue->stats.suppressed, 8 * 12 - 8 * 9 / 2);
}

/* The event is met in each descriptor of a chain that is used: a place in the ring is passed. */
static void test_event_within_a_chain(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer buffers[] = {{RIG_BUFFERS, 1, true},
                                    {RIG_BUFFERS, 1, true},
                                    {RIG_BUFFERS, 1, true}};
    struct ring *ring = &f->rig.ring;

    for (unsigned i = 0; i < 5 * SIZE; i++) {
        int event = (int)(i % 8) - 2;

        ring_want_call_past(ring, ring_step(ring, ring->last_used, event));
        assert_true(ring_add(ring, buffers, 3) >= 0);
        ring_publish(ring);
        process(f, 1);
        assert_int_equal(num_calls(f), event >= 0 && event < 3);
        take_used(f, 1);
    }
}

/* A driver that asks for each 29th entry gets exactly these, also where the indices wrap. */
static void test_events_over_the_wrap(void **state)
{
    struct fixture *f = *state;
    struct ring *ring = &f->rig.ring;
    uint32_t total = 0, event = 28, num = 1, calls = 0;

    ring_want_call_past(ring, ring_step(ring, ring->last_used, 28));
    while (total < 200000) {
        add(f, num);
        process(f, num);
        take_used(f, num);
        total += num;
        if (total > event) {
            calls++;
            assert_int_equal(num_calls(f), 1);
            event += 29;
            ring_want_call_past(ring, ring_step(ring, ring->last_used, (int)(event - total)));
        } else {
            assert_int_equal(num_calls(f), 0);
        }
        num = num % 13 + 1;
    }
    assert_int_equal(calls, total / 29);
    assert_int_equal(f->rig.queue->stats.notified, calls);
}

/* Split: a driver that wants none sets the event behind and leaves it there: it is met once in 65536. */
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

/* --- NOTIFY_ON_EMPTY -------------------------------------------------------------------------------- */

/*
 * The driver hears of it when nothing is available any more, though it wants to hear of nothing. A feature of
 * legacy drivers, who know no packed ring.
 */
static void test_notify_on_empty(void **state)
{
    struct fixture *f = *state;

    ring_want_calls(&f->rig.ring, false);
    for (unsigned num = 1; num < SIZE; num++) {
        add(f, num);
        for (unsigned i = 1; i < num; i++) {
            process(f, 1);
            assert_int_equal(num_calls(f), 0);
        }
        process(f, 1);
        assert_int_equal(num_calls(f), 1);
        shunt_virtqueue_publish(f->rig.queue); /* of nothing */
        assert_int_equal(num_calls(f), 0);
        take_used(f, num);
    }
}

/* --- The device is notified ------------------------------------------------------------------------- */

static bool published_needs_kick(struct fixture *f, unsigned num)
{
    add(f, num);
    return ring_needs_kick(&f->rig.ring);
}

static void expect_wanted(const struct fixture *f, bool is_wanted)
{
    const struct ring *ring = &f->rig.ring;

    if (ring->format == RING_PACKED)
        assert_int_equal(ring->device_event->flags,
                         is_wanted ? PACKED_EVENT_ENABLE : PACKED_EVENT_DISABLE);
    else
        assert_int_equal(ring->used->flags, is_wanted ? 0 : USED_F_NO_NOTIFY);
}

static void test_flags_disarmed_and_armed(void **state)
{
    struct fixture *f = *state;
    struct shunt_virtqueue *queue = f->rig.queue;

    expect_wanted(f, false);
    assert_false(published_needs_kick(f, 1));
    process(f, 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(shunt_virtqueue_arm(queue));
        expect_wanted(f, true);
        assert_true(published_needs_kick(f, 1));
        assert_true(published_needs_kick(f, 1)); /* until it is disarmed */
        assert_false(shunt_virtqueue_arm(queue));
        shunt_virtqueue_disarm(queue);
        expect_wanted(f, false);
        assert_false(published_needs_kick(f, 1));
        process(f, 3);
    }
}

/* Flags that need not change are not written: the line is the driver's to read. */
static void test_flags_are_written_once(void **state)
{
    struct fixture *f = *state;

    uint16_t *flags = f->rig.ring.format == RING_PACKED ? &f->rig.ring.device_event->flags
                                                        : &f->rig.ring.used->flags;

    *flags = 0x55;
    shunt_virtqueue_disarm(f->rig.queue);
    assert_int_equal(*flags, 0x55);
}

static void test_start_disarms(void **state)
{
    struct fixture *f = *state;

    assert_true(shunt_virtqueue_arm(f->rig.queue));
    virtqueue_stop(f->rig.queue);
    assert_int_equal(rig_start(&f->rig), 0);
    expect_wanted(f, false);
}

static void test_event_idx_disarmed_and_armed(void **state)
{
    struct fixture *f = *state;
    struct ring *ring = &f->rig.ring;
    uint16_t place, first = ring->next_available;

    for (unsigned i = 0; i < 50; i++) {
        assert_true(shunt_virtqueue_arm(f->rig.queue));
        assert_true(ring_device_event(ring, &place));
        assert_int_equal(place, ring_step(ring, first, (int)(7 * i)));
        assert_true(published_needs_kick(f, 2));
        assert_false(published_needs_kick(f, 1)); /* once is enough */
        shunt_virtqueue_disarm(f->rig.queue);
        assert_false(published_needs_kick(f, 1));
        process(f, 4);
        take_used(f, 4);
        assert_false(published_needs_kick(f, 3));
        process(f, 3);
        take_used(f, 3);
    }
    if (ring->format == RING_SPLIT)
        assert_int_equal(ring->used->flags, 0); /* "MUST" (2.7.7.2) */
}

/* Polling all the time, a device is notified once in 65536 entries, or never. */
static void test_event_idx_while_polling(void **state)
{
    struct fixture *f = *state;
    unsigned kicks = 0;

    for (unsigned i = 0; i < 65536; i++) {
        kicks += published_needs_kick(f, 1);
        process(f, 1);
        take_used(f, 1);
    }
    assert_int_equal(kicks, f->rig.ring.format == RING_SPLIT ? 1 : 0);
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
            shunt_virtqueue_push(f->rig.queue, &chain, &iov, num++);
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
        struct ring_used used;

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

static const uint64_t variant_split_on_empty = RING_FEATURE(NOTIFY_ON_EMPTY);
static const uint64_t variant_split_event_idx_on_empty = RING_FEATURE(NOTIFY_ON_EMPTY) |
                                                         RING_FEATURE(EVENT_IDX);

#define ONLY(variant, name) VARIANT(name, variant, setup, teardown)
#define FLAGS(name)         BOTH_FORMATS(name, setup, teardown)
#define EVENT_IDX(name)     BOTH_FORMATS_EVENT_IDX(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FLAGS(test_flags_once_a_publish),
        FLAGS(test_flags_suppressed),
        ONLY(split, test_only_the_negotiated_way_counts),
        ONLY(packed, test_position_without_descriptor_event),
        ONLY(packed_event_idx, test_position_without_descriptor_event),
        ONLY(packed, test_flags_that_are_not_valid),
        EVENT_IDX(test_event_is_crossed),
        ONLY(packed_event_idx, test_event_within_a_chain),
        EVENT_IDX(test_events_over_the_wrap),
        ONLY(split_event_idx, test_no_events_for_as_long_as_possible),
        FLAGS(test_without_call_descriptor),
        FLAGS(test_full_call_descriptor),
        ONLY(split_on_empty, test_notify_on_empty),
        ONLY(split_event_idx_on_empty, test_notify_on_empty),
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
        EVENT_IDX(test_arm_of_a_stopped_queue),
        FLAGS(test_no_wakeup_is_lost),
        EVENT_IDX(test_no_wakeup_is_lost),
    };

    return cmocka_run_group_tests_name("notification", tests, NULL, NULL);
}
