/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Chains in flight: what a device had taken and not given back when it died comes to its successor, once,
 * and in its old order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "lib/probe.h"

#define SIZE      64u
#define MAX_HELD  32u
#define NUM_STEPS 20000u

static const uint64_t variant_split_indirect = RING_FEATURE(INDIRECT_DESC);
static const uint64_t variant_packed_indirect = RING_FEATURE(PACKED) | RING_FEATURE(INDIRECT_DESC);

struct fixture {
    struct probe *probe;
    void *region;
    uint64_t bytes;
    struct shunt_chain held[MAX_HELD];
    struct iovec pieces[MAX_HELD][4];
    uint64_t numbers[MAX_HELD]; /* of the requests that are held */
    unsigned num_held;
    uint64_t num_sent;
};

static void set_region(struct fixture *f)
{
    virtqueue_set_inflight_region(f->probe->rig.queue, f->region, f->bytes);
}

static void start(struct fixture *f)
{
    set_region(f);
    assert_int_equal(rig_start(&f->probe->rig), 0);
    f->probe->rig.queue->is_enabled = true;
}

static int make(void **state, uint64_t features)
{
    struct fixture *f = calloc(1, sizeof(*f));

    if (!f)
        return -1;
    f->probe = probe_create(SIZE, features);
    virtqueue_stop(f->probe->rig.queue);
    f->bytes = inflight_region_bytes(features & RIG_F_PACKED ? RING_PACKED : RING_SPLIT,
                                     (uint16_t)SIZE);
    f->region = aligned_alloc(64, f->bytes);
    memset(f->region, 0, f->bytes);
    start(f);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return make(state, variant_features(state));
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    probe_destroy(f->probe);
    free(f->region);
    free(f);
    return 0;
}

/* A request of one or two buffers, numbered in its first bytes. */
static bool send_request(struct fixture *f)
{
    uint64_t addr = RIG_BUFFERS + f->num_sent % 256 * 4096;
    struct ring_buffer buffers[2] = {readable(addr, 8), writable(addr + 64, 8)};
    uint64_t *number = rig_at(&f->probe->rig, addr);

    *number = f->num_sent;
    if (ring_add(&f->probe->rig.ring, buffers, 1 + f->num_sent % 2) < 0)
        return false;
    ring_publish(&f->probe->rig.ring);
    f->num_sent++;
    return true;
}

/* Takes the next request, whose number is told. False: there is none. */
static bool take(struct fixture *f)
{
    unsigned at = f->num_held;
    int result = shunt_virtqueue_pop(f->probe->rig.queue, &f->held[at], f->pieces[at], 4);

    assert_true(result >= 0);
    if (result == 0)
        return false;
    memcpy(&f->numbers[at], f->pieces[at][0].iov_base, sizeof(f->numbers[at]));
    f->num_held++;
    return true;
}

/* Gives one back, not yet shown. */
static uint64_t finish(struct fixture *f, unsigned at)
{
    uint64_t number = f->numbers[at];

    shunt_virtqueue_push(f->probe->rig.queue, &f->held[at], f->pieces[at], (uint32_t)number & 7);
    f->num_held--;
    memmove(&f->held[at], &f->held[at + 1], (f->num_held - at) * sizeof(f->held[0]));
    memmove(f->pieces[at], f->pieces[at + 1], (f->num_held - at) * sizeof(f->pieces[0]));
    memmove(&f->numbers[at], &f->numbers[at + 1], (f->num_held - at) * sizeof(f->numbers[0]));
    return number;
}

static unsigned count_used(struct fixture *f)
{
    struct ring_used used;
    unsigned num = 0;

    while (ring_take_used(&f->probe->rig.ring, &used))
        num++;
    return num;
}

/* The device dies without a word; its successor is given the same region. */
static void crash(struct fixture *f)
{
    rig_crash(&f->probe->rig);
    virtqueue_stop(f->probe->rig.queue);
    start(f);
}

static void test_successor_finds_what_was_held(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 6; i++)
        assert_true(send_request(f));
    for (unsigned i = 0; i < 5; i++)
        assert_true(take(f));
    assert_int_equal(finish(f, 3), 3);
    assert_int_equal(finish(f, 1), 1);
    shunt_virtqueue_publish(f->probe->rig.queue);
    assert_int_equal(count_used(f), 2);
    crash(f);
    f->num_held = 0;
    while (take(f))
        ;
    assert_int_equal(f->num_held, 4);
    assert_int_equal(f->numbers[0], 0);
    assert_int_equal(f->numbers[1], 2);
    assert_int_equal(f->numbers[2], 4);
    assert_int_equal(f->numbers[3], 5); /* had not been taken */
    while (f->num_held > 0)
        finish(f, f->num_held - 1);
    shunt_virtqueue_publish(f->probe->rig.queue);
    assert_int_equal(count_used(f), 4);
}

/* What was pushed but not published is as if it had not been. */
static void test_unpublished_is_taken_again(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 3; i++)
        assert_true(send_request(f) && take(f));
    finish(f, 1);
    crash(f);
    f->num_held = 0;
    while (take(f))
        ;
    assert_int_equal(count_used(f), 0);
    assert_int_equal(f->num_held, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(f->numbers[i], i);
}

/* Between the marks of a publish and its end: the ring decides. */
static void test_publish_that_was_cut_short(void **state)
{
    struct fixture *f = *state;
    struct shunt_virtqueue *queue = f->probe->rig.queue;

    for (unsigned i = 0; i < 3; i++)
        assert_true(send_request(f) && take(f));
    finish(f, 0);
    inflight_before_publish(queue);
    if (queue->format == RING_PACKED)
        packed_publish(queue);
    else
        split_publish(queue);
    crash(f); /* the driver sees it, the marks are still there */
    f->num_held = 0;
    while (take(f))
        ;
    assert_int_equal(count_used(f), 1);
    assert_int_equal(f->num_held, 2);
    assert_int_equal(f->numbers[0], 1);
    assert_int_equal(f->numbers[1], 2);
}

static void test_region_of_another_size(void **state)
{
    struct fixture *f = *state;
    struct shunt_virtqueue *queue = f->probe->rig.queue;

    virtqueue_stop(queue);
    virtqueue_set_inflight_region(queue, f->region, f->bytes - 64);
    assert_int_equal(rig_start(&f->probe->rig), -EINVAL);
    set_region(f);
    ((uint16_t *)f->region)[5]++; /* its number of entries */
    assert_int_equal(rig_start(&f->probe->rig), -EINVAL);
    assert_false(shunt_virtqueue_is_started(queue));
}

/* A region full of nonsense is the front-end's own harm, and no one else's. */
static void test_nonsense(void **state)
{
    struct fixture *f = *state;

    for (unsigned round = 0; round < 500; round++) {
        uint16_t *words = f->region;

        for (unsigned i = 6; i < f->bytes / 2; i++)
            words[i] = (uint16_t)rand();
        rig_reset(&f->probe->rig);
        virtqueue_stop(f->probe->rig.queue);
        set_region(f);
        if (rig_start(&f->probe->rig) < 0)
            continue;
        f->num_held = 0;
        for (unsigned i = 0; i < 16; i++) {
            struct shunt_chain chain;

            if (shunt_virtqueue_pop(f->probe->rig.queue, &chain, f->probe->iov, PROBE_PIECES) > 0)
                shunt_virtqueue_push(f->probe->rig.queue, &chain, f->probe->iov, 0);
            shunt_virtqueue_publish(f->probe->rig.queue);
        }
        virtqueue_stop(f->probe->rig.queue);
    }
}

/* The area is the front-end's to change at any time, also between a check of ours and what follows. */
struct meddler {
    pthread_t thread;
    uint16_t *words;
    unsigned num_words;
    atomic_bool is_ending;
};

/* The header's indices: in turn what they may be and what they must not be. */
static void *meddle(void *ctx)
{
    struct meddler *meddler = ctx;

    for (unsigned round = 0; !atomic_load(&meddler->is_ending); round++) {
        uint16_t value = round % 2 ? UINT16_MAX : (uint16_t)(round / 2 % SIZE);

        for (unsigned i = 0; i < meddler->num_words; i++)
            __atomic_store_n(&meddler->words[6 + i], value, __ATOMIC_RELAXED);
        for (volatile unsigned pause = 0; pause < round % 64; pause++)
            ;
    }
    return NULL;
}

/* Behind the region lies nothing, so that what misses it is not missed. */
static void *make_guarded(uint64_t bytes)
{
    const uint64_t beyond = UINT16_MAX * UINT64_C(32);
    uint8_t *pages;

    assert_int_equal(bytes % 16, 0);
    pages = mmap(NULL, 65536 + beyond, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(pages, MAP_FAILED);
    assert_int_equal(mprotect(pages, 65536, PROT_READ | PROT_WRITE), 0);
    return pages + 65536 - bytes;
}

static void test_changed_meanwhile(void **state)
{
    struct fixture *f = *state;
    void *own = f->region;
    bool is_packed = f->probe->rig.ring.format == RING_PACKED;
    bool is_within = true, is_started = true;
    struct meddler meddler = {
        .words = make_guarded(f->bytes),
        .num_words = is_packed ? 4 : 2,
    };

    f->region = meddler.words;
    memset(f->region, 0, f->bytes);
    rig_reset(&f->probe->rig);
    virtqueue_stop(f->probe->rig.queue);
    start(f);
    assert_int_equal(pthread_create(&meddler.thread, NULL, meddle, &meddler), 0);
    for (unsigned round = 0; round < 20000; round++) {
        for (unsigned i = 0; i < 3; i++) {
            struct shunt_chain chain;
            int result;

            send_request(f);
            result = shunt_virtqueue_pop(f->probe->rig.queue, &chain, f->probe->iov, PROBE_PIECES);
            if (result > 0)
                shunt_virtqueue_push(f->probe->rig.queue, &chain, f->probe->iov, 0);
            is_within &= !is_packed || packed_idx(f->probe->rig.queue->next_used) < SIZE;
        }
        shunt_virtqueue_publish(f->probe->rig.queue);
        count_used(f);
        if (round % 2 == 0) {
            rig_reset(&f->probe->rig);
            virtqueue_stop(f->probe->rig.queue);
            set_region(f);
            is_started &= rig_start(&f->probe->rig) == 0;
        }
    }
    atomic_store(&meddler.is_ending, true);
    pthread_join(meddler.thread, NULL);
    virtqueue_stop(f->probe->rig.queue);
    munmap((uint8_t *)meddler.words + f->bytes - 65536, 65536 + UINT16_MAX * UINT64_C(32));
    f->region = own;
    assert_true(is_within);
    assert_true(is_started); /* version and number were not touched */
}

/* How long a chain is was checked at the start; what the area says of it afterwards is not asked. */
static void test_length_changed_after_the_start(void **state)
{
    struct fixture *f = *state;
    struct shunt_virtqueue *queue;
    struct shunt_chain chain;

    assert_true(send_request(f) && take(f));
    assert_true(send_request(f) && take(f));
    crash(f);
    queue = f->probe->rig.queue;
    if (queue->format == RING_PACKED) {
        for (uint64_t entry = 32; entry < f->bytes; entry += 32)
            *(uint16_t *)((uint8_t *)f->region + entry + 6) = 60000;
    }
    shunt_virtqueue_skip(queue, &chain);
    assert_true(chain.num_descriptors <= 2);
    shunt_virtqueue_push(queue, &chain, f->probe->iov, 0);
    assert_int_equal(shunt_virtqueue_pop(queue, &chain, f->probe->iov, PROBE_PIECES), 1);
    assert_true(chain.num_descriptors <= 2);
    shunt_virtqueue_push(queue, &chain, f->probe->iov, 0);
    shunt_virtqueue_publish(queue);
    assert_int_equal(count_used(f), 2);
}

/* A table as long as the ring is what a driver may send, and so what is found again. */
static void test_longest_indirect_table(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer buffers[SIZE];
    struct iovec iov[SIZE];
    struct shunt_chain chain;

    for (unsigned i = 0; i < SIZE; i++)
        buffers[i] = writable(RIG_BUFFERS + 0x10000 + 64 * i, 8);
    assert_true(ring_add_indirect(&f->probe->rig.ring, rig_at(&f->probe->rig, RIG_BUFFERS),
                                  RIG_BUFFERS, buffers, SIZE) >= 0);
    ring_publish(&f->probe->rig.ring);
    assert_int_equal(shunt_virtqueue_pop(f->probe->rig.queue, &chain, iov, SIZE), 1);
    crash(f);
    assert_int_equal(shunt_virtqueue_pop(f->probe->rig.queue, &chain, iov, SIZE), 1);
    assert_int_equal(chain.num_writable, SIZE);
}

/* The whole ring in one batch: its end is where it began. */
static void test_lap_that_was_cut_short(void **state)
{
    struct fixture *f = *state;
    struct shunt_virtqueue *queue = f->probe->rig.queue;
    struct shunt_chain chain;
    struct ring_buffer buffer = readable(RIG_BUFFERS, 8);

    for (unsigned i = 0; i < SIZE; i++)
        assert_true(ring_add(&f->probe->rig.ring, &buffer, 1) >= 0);
    ring_publish(&f->probe->rig.ring);
    for (unsigned i = 0; i < SIZE; i++) {
        assert_int_equal(shunt_virtqueue_pop(queue, &chain, f->probe->iov, PROBE_PIECES), 1);
        shunt_virtqueue_push(queue, &chain, f->probe->iov, 0);
    }
    inflight_before_publish(queue);
    if (queue->format == RING_PACKED)
        packed_publish(queue);
    else
        split_publish(queue);
    crash(f);
    assert_int_equal(count_used(f), SIZE);
    assert_int_equal(probe_pop(f->probe, &chain), 0);
    probe_expect_alive(f->probe);
}

/* Which requests the successor must find, whatever happens in which order. */
static void test_random_life(void **state)
{
    struct fixture *f = *state;
    uint64_t num_done = 0, num_seen = 0;
    unsigned num_unshown = 0;

    srand(7);
    for (unsigned step = 0; step < NUM_STEPS; step++) {
        unsigned what = (unsigned)rand() % 16;

        if (what < 6) {
            send_request(f);
        } else if (what < 10 && f->num_held < MAX_HELD) {
            take(f);
        } else if (what < 13 && f->num_held > 0) {
            finish(f, (unsigned)rand() % f->num_held);
            num_unshown++;
        } else if (what < 15) {
            shunt_virtqueue_publish(f->probe->rig.queue);
            num_done += num_unshown;
            num_unshown = 0;
            num_seen += count_used(f);
            assert_int_equal(num_seen, num_done);
        } else if (num_unshown == 0) {
            uint64_t before[MAX_HELD];
            unsigned num_before = f->num_held;

            memcpy(before, f->numbers, sizeof(before));
            crash(f);
            f->num_held = 0;
            for (unsigned i = 0; i < num_before; i++) {
                assert_true(take(f));
                assert_int_equal(f->numbers[i], before[i]);
            }
        }
    }
    assert_true(num_done > NUM_STEPS / 16);
}

#define BOTH(test) BOTH_FORMATS(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_successor_finds_what_was_held),
        BOTH(test_unpublished_is_taken_again),
        BOTH(test_publish_that_was_cut_short),
        BOTH(test_region_of_another_size),
        BOTH(test_nonsense),
        BOTH(test_changed_meanwhile),
        BOTH(test_length_changed_after_the_start),
        VARIANT(test_longest_indirect_table, split_indirect, setup, teardown),
        VARIANT(test_longest_indirect_table, packed_indirect, setup, teardown),
        BOTH(test_lap_that_was_cut_short),
        BOTH(test_random_life),
    };

    return cmocka_run_group_tests_name("inflight", tests, NULL, NULL);
}
