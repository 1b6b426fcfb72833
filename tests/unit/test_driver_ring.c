/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's side of a ring against the device's side, in one process: both formats, chains of
 * any kind in any order with their content checked, devices that die, notifications in both
 * directions with threads, and devices that break the rules.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "lib/variant.h"
#include "memory/shared.h"
#include "virtqueue/device.h"
#include "virtqueue/driver.h"

#define MAX_PIECES  6u
#define PIECE_BYTES 64u
#define CHAIN_BYTES (MAX_PIECES * PIECE_BYTES)
#define MAX_CHAINS  512u
#define PATIENCE_MS 20000
#define NUM_STEPS   60000u

/* --- Both sides ------------------------------------------------------------------------------------- */

struct bench {
    uint64_t features;
    uint16_t size;
    struct shunt_shared_memory *memory;
    struct shunt_driver_queue *driver;
    void *ring;
    unsigned num_broken;

    struct shunt_memory *mapped; /* the same memory, as the device has it */
    struct dirty_log log;
    struct virtqueue_space space;
    struct shunt_virtqueue *device;
    uint64_t seed;
};

static unsigned random_below(struct bench *b, unsigned num)
{
    b->seed = b->seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(b->seed >> 33) % num;
}

static void on_break(void *ctx)
{
    struct bench *b = ctx;

    b->num_broken++;
}

static void ignore_event(void *ctx)
{
}

/* A new device takes the ring over where the driver says. */
static void plug_in(struct bench *b)
{
    struct virtqueue_addresses addresses = {
        .descriptor = (uintptr_t)b->driver->split.descriptors,
        .driver = (uintptr_t)b->driver->split.available,
        .device = (uintptr_t)b->driver->split.used,
    };

    assert_int_equal(driver_queue_start(b->driver, b->features, NULL), 0);
    assert_int_equal(virtqueue_create(&b->space, ignore_event, NULL, &b->device), 0);
    b->device->kick_fd = dup(b->driver->kick_fd);
    b->device->call_fd = dup(b->driver->call_fd);
    assert_int_equal(virtqueue_set_size(b->device, b->size, NULL), 0);
    assert_int_equal(virtqueue_set_addresses(b->device, &addresses, NULL), 0);
    b->device->base = driver_queue_base(b->driver);
    assert_int_equal(virtqueue_start(b->device, b->features, NULL), 0);
    driver_queue_run(b->driver);
}

static void pull_out(struct bench *b)
{
    driver_queue_stop(b->driver);
    virtqueue_destroy(b->device);
    b->device = NULL;
}

static void share(struct bench *b)
{
    assert_int_equal(shunt_memory_create(&b->mapped), 0);
    for (unsigned i = 0; i < shunt_shared_memory_num_regions(b->memory); i++) {
        struct shunt_memory_region region;
        int fd = shunt_shared_memory_get_region(b->memory, i, &region);

        assert_int_equal(shunt_memory_add(b->mapped, &region, fd, NULL), 0);
    }
}

static struct bench *bench_create(uint16_t size, uint64_t features)
{
    struct bench *b = test_calloc(1, sizeof(*b));
    struct driver_queue_config config = {size, MAX_PIECES, on_break, b};
    uint64_t bytes = driver_queue_bytes(&config);

    *b = (struct bench){.features = features | RING_FEATURE(INDIRECT_DESC),
                        .size = size,
                        .seed = size};
    assert_int_equal(shunt_shared_memory_create(&b->memory), 0);
    assert_int_equal(shunt_shared_memory_add(b->memory, bytes + MAX_CHAINS * (uint64_t)CHAIN_BYTES,
                                             0, NULL),
                     0);
    b->ring = shunt_shared_memory_allocate(b->memory, bytes, 64);
    assert_non_null(b->ring);
    assert_int_equal(driver_queue_create(&config, b->ring, &b->driver), 0);
    share(b);
    dirty_log_init(&b->log);
    b->space = (struct virtqueue_space){.memory = b->mapped, .log = &b->log};
    plug_in(b);
    return b;
}

static void bench_destroy(struct bench *b)
{
    virtqueue_destroy(b->device);
    dirty_log_fini(&b->log);
    shunt_memory_destroy(b->mapped);
    driver_queue_destroy(b->driver);
    shunt_shared_memory_destroy(b->memory);
    test_free(b);
}

static bool is_signalled(int fd)
{
    eventfd_t num;

    return eventfd_read(fd, &num) == 0;
}

/* --- Any steps in any order ------------------------------------------------------------------------- */

enum place { IDLE, ADDED, POPPED, RETURNED };

/*
 * A chain, which keeps its buffers. `turn` is in their content, so that old content is found out.
 */
struct model_chain {
    enum place place;
    unsigned num_readable, num_writable;
    uint32_t writable_len, written;
    uint8_t turn;
    struct iovec iov[MAX_PIECES];
    struct shunt_chain device; /* while the device has it */
    struct iovec device_iov[MAX_PIECES];
};

struct model {
    struct bench *bench;
    uint8_t *buffers;
    bool dies;
    unsigned num_chains; /* in use, of the following */
    struct model_chain chains[MAX_CHAINS];
    /* In the order in which they were added, popped and returned: what must come next. */
    unsigned added[MAX_CHAINS], num_added, num_published;
    unsigned popped[MAX_CHAINS], num_popped;
    unsigned returned[MAX_CHAINS], num_returned, num_shown;
    uint64_t num_taken, num_deaths;
};

static uint8_t byte_of(unsigned idx, uint8_t turn, uint32_t at)
{
    return (uint8_t)(idx * 31u + turn * 7u + at);
}

static unsigned take_from(unsigned *list, unsigned *num, unsigned at)
{
    unsigned idx = list[at];

    memmove(&list[at], &list[at + 1], (--*num - at) * sizeof(list[0]));
    return idx;
}

static void make_chain(struct model *m, unsigned idx)
{
    struct model_chain *chain = &m->chains[idx];
    uint32_t at = 0;

    chain->num_readable = random_below(m->bench, MAX_PIECES / 2 + 1);
    chain->num_writable = random_below(m->bench, MAX_PIECES / 2 + 1);
    if (chain->num_readable + chain->num_writable == 0)
        chain->num_readable = 1;
    chain->writable_len = 0;
    chain->turn++;
    for (unsigned i = 0; i < chain->num_readable + chain->num_writable; i++) {
        uint8_t *bytes = m->buffers + (size_t)idx * CHAIN_BYTES + i * PIECE_BYTES;

        chain->iov[i] = (struct iovec){bytes, 1 + random_below(m->bench, PIECE_BYTES)};
        if (i >= chain->num_readable)
            chain->writable_len += (uint32_t)chain->iov[i].iov_len;
        for (uint32_t j = 0; i < chain->num_readable && j < chain->iov[i].iov_len; j++)
            bytes[j] = byte_of(idx, chain->turn, at++);
    }
}

static void add_chain(struct model *m)
{
    unsigned idx = random_below(m->bench, MAX_CHAINS);
    struct model_chain *chain = &m->chains[idx];
    struct shunt_driver_queue *queue = m->bench->driver;
    unsigned num, num_free = queue->num_free;
    bool is_indirect = random_below(m->bench, 4) == 0;
    int result;

    if (chain->place != IDLE)
        return;
    make_chain(m, idx);
    num = chain->num_readable + chain->num_writable;
    if (is_indirect && num <= m->bench->size)
        result = shunt_driver_queue_add_indirect(queue, chain->iov, chain->num_readable,
                                                 chain->num_writable, chain);
    else
        result = shunt_driver_queue_add(queue, chain->iov, chain->num_readable, chain->num_writable,
                                        chain);
    if (result < 0) {
        assert_int_equal(result, -ENOSPC);
        assert_true(num_free < num);
        return;
    }
    chain->place = ADDED;
    m->added[m->num_added++] = idx;
}

static void publish(struct model *m)
{
    shunt_driver_queue_publish(m->bench->driver);
    m->num_published = m->num_added;
}

static void check_readable(struct model *m, unsigned idx)
{
    struct model_chain *chain = &m->chains[idx];
    uint32_t at = 0;

    assert_int_equal(chain->device.num_readable, chain->num_readable);
    assert_int_equal(chain->device.num_writable, chain->num_writable);
    for (unsigned i = 0; i < chain->num_readable + chain->num_writable; i++)
        assert_int_equal(chain->device_iov[i].iov_len, chain->iov[i].iov_len);
    for (unsigned i = 0; i < chain->num_readable; i++) {
        const uint8_t *bytes = chain->device_iov[i].iov_base;

        for (size_t j = 0; j < chain->iov[i].iov_len; j++)
            assert_int_equal(bytes[j], byte_of(idx, chain->turn, at++));
    }
}

static void pop(struct model *m)
{
    struct model_chain fresh;
    unsigned idx;
    int result = shunt_virtqueue_pop(m->bench->device, &fresh.device, fresh.device_iov, MAX_PIECES);

    assert_int_equal(result, m->num_published > 0);
    if (result == 0)
        return;
    m->num_published--;
    idx = take_from(m->added, &m->num_added, 0);
    m->chains[idx].device = fresh.device;
    memcpy(m->chains[idx].device_iov, fresh.device_iov, sizeof(fresh.device_iov));
    m->chains[idx].place = POPPED;
    check_readable(m, idx);
    m->popped[m->num_popped++] = idx;
}

static void push(struct model *m)
{
    bool is_in_order = m->bench->features & RING_FEATURE(IN_ORDER);
    struct model_chain *chain;
    uint32_t at = 0;
    unsigned idx;

    if (m->num_popped == 0)
        return;
    idx = take_from(m->popped, &m->num_popped,
                    is_in_order ? 0 : random_below(m->bench, m->num_popped));
    chain = &m->chains[idx];
    chain->written = random_below(m->bench, chain->writable_len + 1);
    for (unsigned i = chain->num_readable; i < chain->num_readable + chain->num_writable; i++) {
        uint8_t *bytes = chain->device_iov[i].iov_base;

        for (size_t j = 0; j < chain->device_iov[i].iov_len && at < chain->written; j++)
            bytes[j] = (uint8_t)~byte_of(idx, chain->turn, at++);
    }
    shunt_virtqueue_push(m->bench->device, &chain->device, chain->device_iov, chain->written);
    chain->place = RETURNED;
    m->returned[m->num_returned++] = idx;
}

static void show_used(struct model *m)
{
    shunt_virtqueue_publish(m->bench->device);
    m->num_shown = m->num_returned;
}

static void check_written(struct model *m, unsigned idx)
{
    const struct model_chain *chain = &m->chains[idx];
    uint32_t at = 0;

    for (unsigned i = chain->num_readable; i < chain->num_readable + chain->num_writable; i++) {
        const uint8_t *bytes = chain->iov[i].iov_base;

        for (size_t j = 0; j < chain->iov[i].iov_len && at < chain->written; j++)
            assert_int_equal(bytes[j], (uint8_t)~byte_of(idx, chain->turn, at++));
    }
}

static void take(struct model *m)
{
    struct shunt_driver_used used[8];
    unsigned max = 1 + random_below(m->bench, 8);
    int num = shunt_driver_queue_take(m->bench->driver, used, max);

    assert_int_equal(num, m->num_shown < max ? m->num_shown : max);
    for (int i = 0; i < num; i++) {
        unsigned idx = take_from(m->returned, &m->num_returned, 0);

        m->num_shown--;
        assert_ptr_equal(used[i].cookie, &m->chains[idx]);
        assert_int_equal(used[i].len, m->chains[idx].written);
        check_written(m, idx);
        m->chains[idx].place = IDLE;
        m->num_taken++;
    }
}

/* How long ago it was added: the driver knows the order of what no device returned. */
static uint32_t age_of(const struct model *m, unsigned idx)
{
    const struct shunt_driver_queue *queue = m->bench->driver;

    for (unsigned i = 0; i < m->bench->size; i++) {
        if (queue->chains[i].num > 0 && queue->chains[i].cookie == &m->chains[idx])
            return queue->sequence - queue->chains[i].sequence;
    }
    fail_msg("chain %u is lost", idx);
    return 0;
}

/* What the device had and did not show as returned, the oldest first. */
static unsigned collect_lost(struct model *m, unsigned *lost)
{
    unsigned num = 0;

    for (unsigned i = 0; i < MAX_CHAINS; i++) {
        bool is_lost = m->chains[i].place == POPPED || m->chains[i].place == RETURNED;
        unsigned at = num;

        for (unsigned j = 0; j < m->num_shown; j++)
            is_lost &= m->returned[j] != i;
        if (!is_lost)
            continue;
        for (; at > 0 && age_of(m, lost[at - 1]) < age_of(m, i); at--)
            lost[at] = lost[at - 1];
        lost[at] = i;
        num++;
    }
    return num;
}

/* What was not shown has not happened: it is available again, before what is younger. */
static void die(struct model *m)
{
    unsigned lost[MAX_CHAINS], num;

    if (!m->dies || random_below(m->bench, 20) > 0)
        return;
    pull_out(m->bench);
    plug_in(m->bench);
    num = collect_lost(m, lost);
    for (unsigned i = 0; i < num; i++)
        m->chains[lost[i]].place = ADDED;
    memmove(&m->added[num], m->added, m->num_added * sizeof(m->added[0]));
    memcpy(m->added, lost, num * sizeof(lost[0]));
    m->num_added += num;
    m->num_published += num;
    m->num_returned = m->num_shown;
    m->num_popped = 0;
    m->num_deaths++;
}

static void toggle_wishes(struct model *m)
{
    if (random_below(m->bench, 2))
        assert_int_equal(shunt_driver_queue_arm(m->bench->driver), m->num_shown == 0);
    else
        shunt_driver_queue_disarm(m->bench->driver);
}

static void any_step(struct model *m)
{
    static const struct {
        void (*step)(struct model *m);
        unsigned most;
    } steps[] = {
        {add_chain, 30}, {publish, 1}, {pop, 20},          {push, 20},
        {show_used, 1},  {take, 6},    {toggle_wishes, 1}, {die, 1},
    };
    unsigned which = random_below(m->bench, sizeof(steps) / sizeof(steps[0]));

    for (unsigned i = random_below(m->bench, steps[which].most) + 1; i > 0; i--)
        steps[which].step(m);
}

static void settle(struct model *m)
{
    publish(m);
    while (m->num_published > 0)
        pop(m);
    while (m->num_popped > 0)
        push(m);
    show_used(m);
    while (m->num_shown > 0)
        take(m);
    assert_int_equal(m->bench->driver->num_free, m->bench->size);
    assert_int_equal(m->bench->num_broken, 0);
}

/* Free-running indices are soon to go round. */
static void begin_before_the_wrap(struct bench *b)
{
    pull_out(b);
    if (b->driver->format == RING_SPLIT)
        b->driver->next_used = b->driver->seen_used = b->driver->split.used->idx = 0xff80;
    plug_in(b);
}

static void run_model(uint16_t size, uint64_t features, bool dies)
{
    struct model *m = test_calloc(1, sizeof(*m));

    m->bench = bench_create(size, features);
    m->buffers = shunt_shared_memory_allocate(m->bench->memory, MAX_CHAINS * (uint64_t)CHAIN_BYTES,
                                              64);
    assert_non_null(m->buffers);
    m->dies = dies;
    begin_before_the_wrap(m->bench);
    for (unsigned i = 0; i < NUM_STEPS; i++) {
        any_step(m);
        if (i % 10000 == 0)
            settle(m);
    }
    settle(m);
    assert_true(m->num_taken > NUM_STEPS / 100);
    assert_int_equal(m->num_deaths > 100, dies);
    bench_destroy(m->bench);
    test_free(m);
}

static void run_sizes(uint64_t features, bool dies)
{
    static const uint16_t any[] = {1, 3, 16, 257};
    static const uint16_t powers_of_two[] = {1, 4, 16, 256};

    for (unsigned i = 0; i < 4; i++)
        run_model(features & RING_FEATURE(PACKED) ? any[i] : powers_of_two[i], features, dies);
}

static void test_any_steps(void **state)
{
    run_sizes(variant_features(state), false);
}

static void test_devices_that_die(void **state)
{
    run_sizes(variant_features(state), true);
}

static void test_largest_ring(void **state)
{
    run_model(SHUNT_VIRTQUEUE_MAX_SIZE, variant_features(state), false);
}

/* --- Small things ----------------------------------------------------------------------------------- */

/* One chain with one buffer: 0 readable, or 1 writable, of 64 bytes in the shared memory. */
static int add_one(struct bench *b, bool is_writable, void *cookie)
{
    struct iovec iov = {b->ring, PIECE_BYTES}; /* any shared memory */

    return shunt_driver_queue_add(b->driver, &iov, !is_writable, is_writable, cookie);
}

static void test_what_cannot_be_added(void **state)
{
    struct bench *b = bench_create(8, variant_features(state));
    struct iovec iov[9] = {{b->ring, 0}, {b->ring, 64}};

    assert_int_equal(shunt_driver_queue_add(b->driver, iov, 0, 0, NULL), -EINVAL);
    assert_int_equal(shunt_driver_queue_add(b->driver, iov, 1, 0, NULL), -EINVAL);
    assert_int_equal(shunt_driver_queue_add(b->driver, iov, 9, 0, NULL), -ENOSPC);
    assert_int_equal(shunt_driver_queue_add(b->driver, iov, UINT32_MAX, 1, NULL), -ENOSPC);
    assert_int_equal(shunt_driver_queue_add_indirect(b->driver, iov, 7, 0, NULL), -EMSGSIZE);
    iov[0].iov_len = UINT32_MAX;
    assert_int_equal(shunt_driver_queue_add(b->driver, iov, 2, 0, NULL), -EINVAL);
    assert_int_equal(shunt_driver_queue_num_free(b->driver), 8);
    b->driver->has_indirect = false;
    assert_int_equal(shunt_driver_queue_add_indirect(b->driver, iov + 1, 1, 0, NULL), -ENOTSUP);
    bench_destroy(b);
}

static void test_before_the_first_start(void **state)
{
    struct driver_queue_config config = {.size = 8, .on_break = ignore_event};
    void *ring = test_calloc(1, driver_queue_bytes(&config) + 64);
    struct shunt_driver_queue *queue;
    struct shunt_driver_used used;
    struct iovec iov = {ring, 64};

    assert_int_equal(driver_queue_create(&config, (void *)(((uintptr_t)ring + 63) & ~(uintptr_t)63),
                                         &queue),
                     0);
    assert_int_equal(shunt_driver_queue_add(queue, &iov, 1, 0, NULL), -ENOTCONN);
    shunt_driver_queue_publish(queue);
    assert_int_equal(shunt_driver_queue_take(queue, &used, 1), 0);
    assert_true(shunt_driver_queue_arm(queue));
    shunt_driver_queue_disarm(queue);
    driver_queue_destroy(queue);
    test_free(ring);
}

static void test_split_needs_a_power_of_two(void **state)
{
    struct bench *b = bench_create(6, RING_FEATURE(PACKED));
    struct shunt_error error;

    assert_int_equal(driver_queue_start(b->driver, 0, &error), -EINVAL);
    bench_destroy(b);
}

/* What stays the same is not written: a mark in it survives a lap. */
static void test_unchanged_is_not_written(void **state)
{
    struct bench *b = bench_create(4, variant_features(state));
    struct shunt_driver_used used[4];
    struct shunt_chain chain;
    struct iovec iov[2];

    for (unsigned lap = 0; lap < 3; lap++) {
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(add_one(b, true, NULL), i);
        if (lap == 0) {
            b->driver->split.descriptors[2].next = 0x5a5a; /* of no meaning without NEXT */
        }
        publish(&(struct model){.bench = b});
        while (shunt_virtqueue_pop(b->device, &chain, iov, 2) > 0)
            shunt_virtqueue_push(b->device, &chain, iov, 1);
        shunt_virtqueue_publish(b->device);
        assert_int_equal(shunt_driver_queue_take(b->driver, used, 4), 4);
        assert_int_equal(b->driver->split.descriptors[2].next, 0x5a5a);
    }
    /* And what changes is. */
    for (unsigned i = 0; i < 3; i++)
        add_one(b, i != 2, NULL);
    assert_int_equal(b->driver->split.descriptors[2].next, 0);
    assert_int_equal(b->driver->split.descriptors[2].flags, 0);
    bench_destroy(b);
}

/* --- Notifications, one by one ---------------------------------------------------------------------- */

static void test_kick_is_as_the_device_wants(void **state)
{
    struct bench *b = bench_create(8, variant_features(state));
    bool has_event_idx = b->features & RING_FEATURE(EVENT_IDX);

    assert_false(is_signalled(b->driver->kick_fd)); /* there is nothing yet */
    for (unsigned i = 0; i < 100; i++) {
        struct shunt_driver_used used[2];
        bool wants = i % 3 == 0;
        struct shunt_chain chain;
        struct iovec iov[2];

        if (wants)
            assert_true(shunt_virtqueue_arm(b->device));
        for (unsigned j = 0; j < 2; j++) {
            assert_true(add_one(b, false, NULL) >= 0);
            shunt_driver_queue_publish(b->driver);
            assert_int_equal(is_signalled(b->driver->kick_fd), wants && (j == 0 || !has_event_idx));
        }
        shunt_virtqueue_disarm(b->device);
        for (unsigned j = 0; j < 2; j++) {
            assert_int_equal(shunt_virtqueue_pop(b->device, &chain, iov, 2), 1);
            shunt_virtqueue_push(b->device, &chain, iov, 0);
        }
        shunt_virtqueue_publish(b->device);
        assert_int_equal(shunt_driver_queue_take(b->driver, used, 2), 2);
    }
    bench_destroy(b);
}

static void test_call_is_as_the_driver_wants(void **state)
{
    struct bench *b = bench_create(8, variant_features(state));

    assert_true(is_signalled(b->driver->call_fd)); /* of the start */
    for (unsigned i = 0; i < 100; i++) {
        struct shunt_driver_used used[2];
        bool wants = i % 3 == 0;
        struct shunt_chain chain;
        struct iovec iov[2];

        if (wants)
            assert_true(shunt_driver_queue_arm(b->driver));
        else
            shunt_driver_queue_disarm(b->driver);
        add_one(b, true, NULL);
        shunt_driver_queue_publish(b->driver);
        assert_int_equal(shunt_virtqueue_pop(b->device, &chain, iov, 2), 1);
        shunt_virtqueue_push(b->device, &chain, iov, 3);
        shunt_virtqueue_publish(b->device);
        assert_int_equal(is_signalled(b->driver->call_fd), wants);
        assert_false(shunt_driver_queue_arm(b->driver)); /* there is one to take */
        shunt_driver_queue_disarm(b->driver);
        assert_int_equal(shunt_driver_queue_take(b->driver, used, 2), 1);
        assert_int_equal(used[0].len, 3);
    }
    bench_destroy(b);
}

/* --- Notifications, with threads -------------------------------------------------------------------- */

#define NUM_PASSED 30000u
#define NUM_NAPS   30u /* so often the driver waits until the device has gone to sleep */

/* Sleeps until the descriptor is signalled; false when nobody does for a long time. */
static bool sleep_on(int fd)
{
    struct pollfd event = {.fd = fd, .events = POLLIN};
    eventfd_t num;

    if (poll(&event, 1, (int)PATIENCE_MS) <= 0)
        return false;
    eventfd_read(fd, &num);
    return true;
}

static void pause_a_little(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    for (volatile unsigned i = (unsigned)(*seed >> 33) % 300; i > 0; i--)
        ;
}

/*
 * The device's thread: returns all that comes, and sleeps when there is nothing. NULL: it was
 * always woken.
 */
static void *run_device(void *ctx)
{
    struct bench *b = ctx;
    uint64_t seed = 7;

    for (unsigned num = 0; num < NUM_PASSED;) {
        struct shunt_chain chain;
        struct iovec iov[MAX_PIECES];
        unsigned before = num;
        bool may_sleep;

        shunt_virtqueue_lock(b->device);
        while (shunt_virtqueue_pop(b->device, &chain, iov, MAX_PIECES) > 0) {
            shunt_virtqueue_push(b->device, &chain, iov, 0);
            num++;
        }
        shunt_virtqueue_publish(b->device);
        may_sleep = num == before && shunt_virtqueue_arm(b->device);
        shunt_virtqueue_unlock(b->device);
        if (num < NUM_PASSED && may_sleep && !sleep_on(b->device->kick_fd))
            return ctx;
        if (may_sleep) {
            shunt_virtqueue_lock(b->device);
            shunt_virtqueue_disarm(b->device);
            shunt_virtqueue_unlock(b->device);
        }
        pause_a_little(&seed);
    }
    return NULL;
}

/* The device has nothing to do, and is about to sleep or does. */
static void wait_until_armed(struct bench *b)
{
    uint64_t deadline = clock_ms() + PATIENCE_MS;
    bool is_armed = false;

    while (!is_armed) {
        assert_true(clock_ms() < deadline);
        sched_yield();
        shunt_virtqueue_lock(b->device);
        is_armed = b->device->is_armed;
        shunt_virtqueue_unlock(b->device);
    }
}

static void test_no_wakeup_is_lost(void **state)
{
    struct bench *b = bench_create(8, variant_features(state));
    unsigned num_added = 0, num_taken = 0, num_naps = 0;
    uint64_t seed = 3;
    pthread_t thread;
    void *result;

    assert_int_equal(pthread_create(&thread, NULL, run_device, b), 0);
    while (num_taken < NUM_PASSED) {
        struct shunt_driver_used used[8];
        bool is_nap_due = num_naps < num_taken / (NUM_PASSED / NUM_NAPS);
        unsigned most = is_nap_due ? 0 : (unsigned)(seed >> 40) % 8 + 1;
        bool may_sleep;
        int num;

        if (is_nap_due && num_added == num_taken) {
            wait_until_armed(b);
            num_naps++;
            continue;
        }
        shunt_driver_queue_lock(b->driver);
        for (unsigned i = 0; i < most && num_added < NUM_PASSED; i++, num_added++) {
            if (add_one(b, false, (void *)(uintptr_t)num_added) < 0)
                break;
        }
        shunt_driver_queue_publish(b->driver);
        num = shunt_driver_queue_take(b->driver, used, 8);
        assert_true(num >= 0);
        for (int i = 0; i < num; i++)
            assert_int_equal((uintptr_t)used[i].cookie, num_taken++);
        may_sleep = num == 0 && shunt_driver_queue_arm(b->driver);
        shunt_driver_queue_unlock(b->driver);
        if (may_sleep && num_taken < NUM_PASSED)
            assert_true(sleep_on(b->driver->call_fd));
        if (may_sleep) {
            shunt_driver_queue_lock(b->driver);
            shunt_driver_queue_disarm(b->driver);
            shunt_driver_queue_unlock(b->driver);
        }
        pause_a_little(&seed);
    }
    pthread_join(thread, &result);
    assert_null(result);
    assert_true(b->driver->stats.kicked >= NUM_NAPS - 1); /* it slept, and was woken */
    bench_destroy(b);
}

/* --- Batches ---------------------------------------------------------------------------------------- */

/* As a device writes one entry for several chains (VIRTIO 1.3, 2.7.8.2 and 2.8.9). */
static void use_batch(struct bench *b, unsigned num, uint16_t id, uint32_t len)
{
    struct shunt_driver_queue *queue = b->driver;

    if (queue->format == RING_PACKED) {
        struct packed_descriptor *to = &queue->packed.descriptors[packed_idx(queue->next_used)];

        to->id = id;
        to->len = len;
        to->flags = (uint16_t)packed_used_flags(queue->next_used);
        return;
    }
    queue->split.used->ring[queue->split.used->idx & (queue->size - 1)] =
        (struct split_used_element){id, len};
    STORE_RELEASE(&queue->split.used->idx, (uint16_t)(queue->split.used->idx + num));
}

static void test_batches_in_order(void **state)
{
    struct bench *b = bench_create(8, variant_features(state));
    struct shunt_driver_used used[8];

    for (unsigned round = 0; round < 50; round++) {
        unsigned num = 1 + round % 5;
        int id = 0;

        for (unsigned i = 0; i < num; i++)
            id = add_one(b, true, (void *)(uintptr_t)(i + 1));
        shunt_driver_queue_publish(b->driver);
        use_batch(b, num, (uint16_t)id, 5);
        for (unsigned i = 0; i < num; i++) {
            assert_false(shunt_driver_queue_arm(b->driver));
            assert_int_equal(shunt_driver_queue_take(b->driver, used, 1), 1);
            assert_int_equal((uintptr_t)used[0].cookie, i + 1);
            assert_int_equal(used[0].len, i + 1 == num ? 5 : PIECE_BYTES);
        }
        assert_int_equal(shunt_driver_queue_take(b->driver, used, 8), 0);
        assert_int_equal(shunt_driver_queue_num_free(b->driver), 8);
    }
    bench_destroy(b);
}

/* --- Devices that break the rules ------------------------------------------------------------------- */

/* Three writable chains are out, with ids 0 to 2; then the device writes this. */
static void break_rule(uint64_t features, unsigned num, uint16_t id, uint32_t len,
                       enum driver_fault fault)
{
    struct bench *b = bench_create(4, features);
    struct shunt_driver_used used[4];
    struct shunt_chain chain;
    struct iovec iov[2];

    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(add_one(b, true, (void *)(uintptr_t)(i + 1)), i);
    shunt_driver_queue_publish(b->driver);
    use_batch(b, num, id, len);
    assert_int_equal(shunt_driver_queue_take(b->driver, used, 4), -EPROTO);
    assert_int_equal(shunt_driver_queue_take(b->driver, used, 4), -EPROTO);
    assert_int_equal(b->driver->fault, fault);
    assert_true(strlen(driver_queue_fault_text(fault)) > 0);
    assert_int_equal(b->num_broken, 1);
    assert_false(shunt_driver_queue_is_running(b->driver));
    /* The next device has all of them. */
    pull_out(b);
    plug_in(b);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(shunt_virtqueue_pop(b->device, &chain, iov, 2), 1);
        shunt_virtqueue_push(b->device, &chain, iov, i);
    }
    shunt_virtqueue_publish(b->device);
    assert_int_equal(shunt_driver_queue_take(b->driver, used, 4), 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal((uintptr_t)used[i].cookie, i + 1);
    bench_destroy(b);
}

static void test_id_beyond_the_ring(void **state)
{
    break_rule(variant_features(state), 1, 4, 0, DRIVER_FAULT_USED_ID);
    break_rule(variant_features(state), 1, UINT16_MAX, 0, DRIVER_FAULT_USED_ID);
}

static void test_id_of_no_chain(void **state)
{
    break_rule(variant_features(state), 1, 3, 0, DRIVER_FAULT_USED_ID);
}

static void test_length_beyond_the_buffers(void **state)
{
    break_rule(variant_features(state), 1, 0, PIECE_BYTES + 1, DRIVER_FAULT_USED_LENGTH);
    break_rule(variant_features(state), 1, 0, UINT32_MAX, DRIVER_FAULT_USED_LENGTH);
}

static void test_used_index_too_far(void **state)
{
    break_rule(variant_features(state), 4, 0, 0, DRIVER_FAULT_USED_INDEX);
    break_rule(variant_features(state), 0x8000, 0, 0, DRIVER_FAULT_USED_INDEX);
}

static void test_batch_beyond_the_index(void **state)
{
    struct bench *b = bench_create(4, variant_features(state));
    struct shunt_driver_used used[4];

    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(add_one(b, true, NULL), i);
    shunt_driver_queue_publish(b->driver);
    use_batch(b, 2, 2, 0);
    assert_int_equal(shunt_driver_queue_take(b->driver, used, 4), 1);
    assert_int_equal(shunt_driver_queue_take(b->driver, used, 4), -EPROTO);
    assert_int_equal(b->driver->fault, DRIVER_FAULT_USED_BATCH);
    bench_destroy(b);
}

/* The same chain twice. */
static void test_used_twice(void **state)
{
    struct bench *b = bench_create(4, variant_features(state));
    struct shunt_driver_used used[4];

    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(add_one(b, true, NULL), i);
    shunt_driver_queue_publish(b->driver);
    use_batch(b, 1, 0, 0);
    assert_int_equal(shunt_driver_queue_take(b->driver, used, 4), 1);
    use_batch(b, 1, 0, 0);
    assert_int_equal(shunt_driver_queue_take(b->driver, used, 4), -EPROTO);
    assert_int_equal(b->driver->fault, DRIVER_FAULT_USED_ID);
    bench_destroy(b);
}

/*
 * All that the device can write is overwritten with anything, again and again: nothing of ours is
 * harmed.
 */
static void test_rubbish_everywhere(void **state)
{
    struct bench *b = bench_create(16, variant_features(state));
    uint8_t *bytes = b->ring;
    unsigned num_taken = 0, num_broken = 0;

    for (unsigned i = 0; i < 20000; i++) {
        struct shunt_driver_used used[8];
        int num;

        for (unsigned j = random_below(b, 8); j > 0; j--)
            add_one(b, j % 2, b);
        shunt_driver_queue_publish(b->driver);
        use_batch(b, random_below(b, 3), (uint16_t)random_below(b, 17), random_below(b, 66));
        for (unsigned j = random_below(b, 4); j > 0; j--) {
            unsigned at = random_below(b, (unsigned)((uint8_t *)b->driver->tables - bytes));

            bytes[at] = (uint8_t)(random_below(b, 2) ? random_below(b, 16) : random_below(b, 256));
        }
        if (random_below(b, 2))
            shunt_driver_queue_arm(b->driver);
        num = shunt_driver_queue_take(b->driver, used, 8);
        for (int j = 0; j < num; j++) {
            assert_ptr_equal(used[j].cookie, b);
            assert_true(used[j].len <= PIECE_BYTES);
            assert_true(used[j].id < 16);
            num_taken++;
        }
        assert_true(b->driver->num_free <= 16);
        if (num == -EPROTO) {
            assert_int_equal(driver_queue_start(b->driver, b->features, NULL), 0);
            driver_queue_run(b->driver);
            num_broken++;
        }
    }
    assert_true(num_broken > 100);
    assert_true(num_taken > 100);
    bench_destroy(b);
}

/* --- Shared memory ---------------------------------------------------------------------------------- */

static void test_shared_memory(void **state)
{
    struct shunt_shared_memory *memory;
    struct shunt_memory_region region;
    struct shunt_error error;
    uint8_t *first, *second;
    int fd;

    assert_int_equal(shunt_shared_memory_create(&memory), 0);
    assert_null(shunt_shared_memory_allocate(memory, 1, 1));
    assert_int_equal(shunt_shared_memory_add(memory, 0, 0, &error), -EINVAL);
    assert_int_equal(shunt_shared_memory_add(memory, 4096, 2, &error), -EINVAL);
    assert_int_equal(shunt_shared_memory_add(memory, UINT64_MAX, 0, &error), -EINVAL);
    assert_int_equal(shunt_shared_memory_add(memory, 5000, 0, &error), 0);
    assert_int_equal(shunt_shared_memory_add(memory, 100, SHUNT_SHARED_MEMORY_HUGE, &error), 0);
    assert_int_equal(shunt_shared_memory_num_regions(memory), 2);
    first = shunt_shared_memory_allocate(memory, 10, 64);
    second = shunt_shared_memory_allocate(memory, 4096, 4096);
    assert_int_equal((uintptr_t)first % 64, 0);
    assert_int_equal((uintptr_t)second % 4096, 0);
    assert_int_equal(second - first, 4096);
    fd = shunt_shared_memory_get_region(memory, 0, &region);
    assert_int_equal(region.size, 8192);
    assert_int_equal(region.guest_addr, (uintptr_t)first);
    assert_int_equal(region.user_addr, (uintptr_t)first);
    assert_int_equal(ftruncate(fd, 0), -1);                        /* nobody can take pages away */
    assert_non_null(shunt_shared_memory_allocate(memory, 64, 64)); /* of the second region */
    assert_null(shunt_shared_memory_allocate(memory, UINT64_MAX, 64));
    while (shunt_shared_memory_add(memory, 1, 0, &error) == 0)
        ;
    assert_int_equal(error.code, -ENOSPC);
    shunt_shared_memory_destroy(memory);
    shunt_shared_memory_destroy(NULL);
}

/* --- All of it -------------------------------------------------------------------------------------- */

static const uint64_t variant_split_in_order = RING_FEATURE(IN_ORDER);
static const uint64_t variant_packed_in_order = RING_FEATURE(IN_ORDER) | RING_FEATURE(PACKED);

#define IN_ORDER(name)                                                                             \
    VARIANT(name, split_in_order, NULL, NULL), VARIANT(name, packed_in_order, NULL, NULL)
#define MOST(name) BOTH_FORMATS(name, NULL, NULL), BOTH_FORMATS_EVENT_IDX(name, NULL, NULL)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MOST(test_any_steps),
        IN_ORDER(test_any_steps),
        MOST(test_devices_that_die),
        IN_ORDER(test_devices_that_die),
        BOTH_FORMATS(test_largest_ring, NULL, NULL),
        BOTH_FORMATS(test_what_cannot_be_added, NULL, NULL),
        cmocka_unit_test(test_before_the_first_start),
        cmocka_unit_test(test_split_needs_a_power_of_two),
        VARIANT(test_unchanged_is_not_written, split, NULL, NULL),
        MOST(test_kick_is_as_the_device_wants),
        MOST(test_call_is_as_the_driver_wants),
        MOST(test_no_wakeup_is_lost),
        IN_ORDER(test_no_wakeup_is_lost),
        IN_ORDER(test_batches_in_order),
        BOTH_FORMATS(test_id_beyond_the_ring, NULL, NULL),
        IN_ORDER(test_id_beyond_the_ring),
        BOTH_FORMATS(test_id_of_no_chain, NULL, NULL),
        BOTH_FORMATS(test_length_beyond_the_buffers, NULL, NULL),
        IN_ORDER(test_length_beyond_the_buffers),
        VARIANT(test_used_index_too_far, split, NULL, NULL),
        VARIANT(test_used_index_too_far, split_in_order, NULL, NULL),
        VARIANT(test_batch_beyond_the_index, split_in_order, NULL, NULL),
        BOTH_FORMATS(test_used_twice, NULL, NULL),
        IN_ORDER(test_used_twice),
        MOST(test_rubbish_everywhere),
        IN_ORDER(test_rubbish_everywhere),
        cmocka_unit_test(test_shared_memory),
    };

    return cmocka_run_group_tests_name("driver ring", tests, NULL, NULL);
}
