/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver and a device that do anything that is allowed, at random, on one ring. Chains must come in the
 * order in which they were made available, with the bytes that the driver wrote; they must come back in the
 * order in which they were returned, with the bytes that the device wrote; whoever asked to be woken is.
 *
 * Some devices die now and then, without a word. Their successors go on behind what was published.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lib/probe.h"

#define MAX_SIZE    512
#define MAX_BUFFERS 8
#define PLACE_BYTES 0x2000u /* of the buffers of one id, and of its indirect table */
#define TABLE_AT    0x1000u
#define NUM_STEPS   100000u

struct driver_chain {
    unsigned num;
    struct ring_buffer buffers[MAX_BUFFERS];
    uint8_t seed;
};

struct device_chain {
    struct shunt_chain chain;
    struct iovec iov[MAX_BUFFERS];
};

struct model {
    struct probe *probe;
    uint32_t seed;
    bool returns_in_order;
    bool dies;

    struct driver_chain chains[MAX_SIZE]; /* by id */

    /* Ids in the order in which they became available; counters are free-running. */
    uint16_t sent[MAX_SIZE];
    unsigned num_added, num_sent, num_popped;

    struct device_chain held[MAX_SIZE];
    unsigned num_held;

    /* In the order in which they were returned. */
    struct ring_used returned[MAX_SIZE];
    unsigned num_returned, num_published, num_taken;

    bool wants_call, wants_kick;
    unsigned num_deaths;
};

/* A simple generator, so that a failure can be repeated: a number below `most`. */
static unsigned random_below(struct model *m, unsigned most)
{
    m->seed = m->seed * 1664525u + 1013904223u;
    return (m->seed >> 8) % most;
}

static uint8_t byte_of(uint8_t seed, uint32_t at)
{
    return (uint8_t)(seed + at * 29);
}

/* --- The driver ------------------------------------------------------------------------------------- */

static uint64_t place_of(unsigned id)
{
    return RIG_BUFFERS + id * PLACE_BYTES;
}

/* Fills in the chain's buffers, and those that are to be read with bytes. */
static void make_chain(struct model *m, struct driver_chain *chain, unsigned id, unsigned num)
{
    unsigned num_readable = random_below(m, num + 1);
    uint32_t at = 0;

    chain->num = num;
    chain->seed = (uint8_t)random_below(m, 256);
    for (unsigned i = 0; i < num; i++) {
        uint8_t *bytes = rig_at(&m->probe->rig, place_of(id) + i * 256);

        chain->buffers[i] = (struct ring_buffer){place_of(id) + i * 256, 1 + random_below(m, 200),
                                                 i >= num_readable};
        memset(bytes, 0, 256);
        for (uint32_t j = 0; !chain->buffers[i].is_writable && j < chain->buffers[i].len; j++)
            bytes[j] = byte_of(chain->seed, at++);
    }
}

static bool add_chain(struct model *m)
{
    struct ring *ring = &m->probe->rig.ring;
    uint16_t id = ring_next_id(ring);
    bool is_indirect = random_below(m, 3) == 0;
    unsigned most = is_indirect || ring->num_free > MAX_BUFFERS ? MAX_BUFFERS : ring->num_free;
    uint64_t table = place_of(id) + TABLE_AT;
    unsigned num;

    if (ring->num_free == 0)
        return false;
    if (most > ring->size)
        most = ring->size;
    num = 1 + random_below(m, most);
    make_chain(m, &m->chains[id], id, num);
    if (is_indirect)
        assert_int_equal(ring_add_indirect(ring, rig_at(&m->probe->rig, table), table,
                                           m->chains[id].buffers, num),
                         id);
    else
        assert_int_equal(ring_add(ring, m->chains[id].buffers, num), id);
    m->sent[m->num_added++ % MAX_SIZE] = id;
    return true;
}

static void publish_available(struct model *m)
{
    bool is_new = m->num_added != m->num_sent, needs_kick;

    ring_publish(&m->probe->rig.ring);
    m->num_sent = m->num_added;
    needs_kick = ring_needs_kick(&m->probe->rig.ring);
    if (m->wants_kick && is_new)
        assert_true(needs_kick);
    if (is_new)
        m->wants_kick = false; /* with EVENT_IDX it was said once */
}

static void take_used(struct model *m)
{
    struct probe *p = m->probe;
    struct ring_used used, *expected = &m->returned[m->num_taken % MAX_SIZE];
    struct driver_chain *chain;
    uint32_t at = 0;

    if (m->num_taken == m->num_published) {
        assert_false(ring_take_used(&p->rig.ring, &used));
        return;
    }
    assert_int_equal(ring_num_used(&p->rig.ring), m->num_published - m->num_taken);
    assert_true(ring_take_used(&p->rig.ring, &used));
    assert_int_equal(used.id, expected->id);
    assert_int_equal(used.len, expected->len);
    m->num_taken++;
    chain = &m->chains[used.id];
    for (unsigned i = 0; i < chain->num; i++) {
        const uint8_t *bytes = rig_at(&p->rig, chain->buffers[i].addr);

        for (uint32_t j = 0; chain->buffers[i].is_writable && j < chain->buffers[i].len;
             j++, at++) {
            if (at < used.len)
                assert_int_equal(bytes[j], byte_of((uint8_t)~chain->seed, at));
            else if (!m->dies) /* one that died may have been here before */
                assert_int_equal(bytes[j], 0);
        }
    }
}

static void want_calls(struct model *m)
{
    m->wants_call = random_below(m, 2);
    ring_want_calls(&m->probe->rig.ring, m->wants_call);
    /* It is told of what is used from now on; what was before, it sees. */
    rig_signals(m->probe->rig.call_fd);
    if (ring_num_used(&m->probe->rig.ring) > 0)
        m->wants_call = false;
}

/* --- The device ------------------------------------------------------------------------------------- */

static void check_chain(struct model *m, const struct device_chain *held)
{
    const struct driver_chain *chain = &m->chains[held->chain.id];
    uint32_t at = 0;

    assert_int_equal(held->chain.num_readable + held->chain.num_writable, chain->num);
    for (unsigned i = 0; i < chain->num; i++) {
        const uint8_t *bytes = held->iov[i].iov_base;

        assert_int_equal(held->iov[i].iov_len, chain->buffers[i].len);
        assert_true(rig_is_at(&m->probe->rig, bytes, chain->buffers[i].addr));
        assert_int_equal(chain->buffers[i].is_writable, i >= held->chain.num_readable);
        for (uint32_t j = 0; !chain->buffers[i].is_writable && j < held->iov[i].iov_len; j++)
            assert_int_equal(bytes[j], byte_of(chain->seed, at++));
    }
}

static void pop_chain(struct model *m)
{
    struct device_chain *held = &m->held[m->num_held];
    int result = shunt_virtqueue_pop(m->probe->rig.queue, &held->chain, held->iov, MAX_BUFFERS);

    assert_int_equal(result, m->num_popped != m->num_sent);
    if (result == 0)
        return;
    assert_int_equal(held->chain.id, m->sent[m->num_popped++ % MAX_SIZE]);
    check_chain(m, held);
    m->num_held++;
}

static void return_chain(struct model *m)
{
    unsigned which = m->returns_in_order || m->num_held == 0 ? 0 : random_below(m, m->num_held);
    struct device_chain *held = &m->held[which];
    uint32_t len, at = 0;

    if (m->num_held == 0)
        return;
    len = held->chain.writable_len ? random_below(m, held->chain.writable_len + 1) : 0;
    for (unsigned i = held->chain.num_readable; i < m->chains[held->chain.id].num; i++) {
        uint8_t *bytes = held->iov[i].iov_base;

        for (uint32_t j = 0; j < held->iov[i].iov_len && at < len; j++, at++)
            bytes[j] = byte_of((uint8_t)~m->chains[held->chain.id].seed, at);
    }
    shunt_virtqueue_push(m->probe->rig.queue, &held->chain, held->iov, len);
    m->returned[m->num_returned++ % MAX_SIZE] = (struct ring_used){held->chain.id, len};
    m->num_held--;
    memmove(held, held + 1, (m->num_held - which) * sizeof(*held));
}

static void publish_used(struct model *m)
{
    bool is_new = m->num_returned != m->num_published;

    shunt_virtqueue_publish(m->probe->rig.queue);
    m->num_published = m->num_returned;
    if (m->wants_call && is_new) {
        assert_int_equal(rig_signals(m->probe->rig.call_fd), 1);
        m->wants_call = false;
    }
}

static void arm(struct model *m)
{
    bool may_sleep = shunt_virtqueue_arm(m->probe->rig.queue);

    assert_int_equal(may_sleep, m->num_popped == m->num_sent);
    m->wants_kick = may_sleep;
    if (!may_sleep)
        shunt_virtqueue_disarm(m->probe->rig.queue);
}

static void disarm(struct model *m)
{
    shunt_virtqueue_disarm(m->probe->rig.queue);
    m->wants_kick = false;
}

/*
 * What was not published has not happened: it is there again, in its order. A packed ring keeps the
 * descriptors of what is being returned no longer, so there a death in the midst of that is another matter.
 */
static void die(struct model *m)
{
    if (!m->dies || random_below(m, 20) > 0)
        return;
    if (m->probe->rig.ring.format == RING_PACKED) {
        publish_used(m);
        disarm(m); /* nor does one that sleeps keep chains */
    }
    rig_crash(&m->probe->rig);
    m->num_popped = m->num_published;
    m->num_returned = m->num_published;
    m->num_held = 0;
    m->wants_kick = false;
    m->num_deaths++;
    /* Nobody knows whether the dead one had yet to tell the driver. */
    if (random_below(m, 2))
        want_calls(m);
}

/* --- All of it -------------------------------------------------------------------------------------- */

static void repeat(struct model *m, void (*step)(struct model *m), unsigned most)
{
    for (unsigned num = random_below(m, most) + 1; num > 0; num--)
        step(m);
}

static void add_chains(struct model *m)
{
    add_chain(m);
}

static void any_step(struct model *m)
{
    static const struct {
        void (*step)(struct model *m);
        unsigned most;
    } steps[] = {
        {add_chains, 20},  {publish_available, 1},
        {pop_chain, 20},   {return_chain, 20},
        {publish_used, 1}, {take_used, 20},
        {want_calls, 1},   {arm, 1},
        {disarm, 1},       {die, 1},
    };
    unsigned which = random_below(m, sizeof(steps) / sizeof(steps[0]));

    repeat(m, steps[which].step, steps[which].most);
}

/* All that is under way comes to its end, and nothing is left. */
static void settle(struct model *m)
{
    publish_available(m);
    while (m->num_popped != m->num_sent)
        pop_chain(m);
    while (m->num_held > 0)
        return_chain(m);
    publish_used(m);
    while (m->num_taken != m->num_published)
        take_used(m);
    assert_int_equal(m->num_taken, m->num_added);
    assert_int_equal(m->probe->rig.ring.num_free, m->probe->rig.ring.size);
    assert_int_equal(m->probe->rig.num_broken, 0);
}

static void run_model(uint16_t size, uint64_t features, bool dies)
{
    struct model *m = test_calloc(1, sizeof(*m));

    m->probe = probe_create(size, features | RIG_F_INDIRECT);
    m->seed = size;
    m->dies = dies;
    m->returns_in_order = dies || features & RIG_F_IN_ORDER;
    for (unsigned i = 0; i < NUM_STEPS; i++) {
        any_step(m);
        if (i % 10000 == 0)
            settle(m);
    }
    settle(m);
    assert_true(m->num_added > NUM_STEPS / 100);
    assert_int_equal(m->num_deaths > 100, dies);
    probe_destroy(m->probe);
    test_free(m);
}

static void run_sizes(uint64_t features, bool dies)
{
    static const uint16_t any[] = {1, 3, 16, 257};
    static const uint16_t powers_of_two[] = {1, 4, 16, 256};
    const uint16_t *sizes = features & RIG_F_PACKED ? any : powers_of_two;

    for (unsigned i = 0; i < 4; i++)
        run_model(sizes[i], features, dies);
}

static void test_any_steps(void **state)
{
    run_sizes(variant_features(state), false);
}

static void test_devices_that_die(void **state)
{
    run_sizes(variant_features(state), true);
}

/* Packed: what another back-end left as its wish, before a migration, is not our place in the ring. */
static void test_wish_of_another_back_end(void **state)
{
    struct probe *p = probe_create(16, variant_features(state));

    for (unsigned i = 0; i < 40; i++) {
        virtqueue_stop(p->rig.queue);
        p->rig.ring.device_event->position = ring_step(&p->rig.ring, p->rig.ring.last_used,
                                                       -(int)(i % 16));
        p->rig.ring.device_event->flags = i % 4 == 3 ? 0 : (uint16_t)(i % 4);
        assert_int_equal(rig_start(&p->rig), 0);
        probe_expect_alive(p);
    }
    probe_destroy(p);
}

static const uint64_t variant_split_in_order = RING_FEATURE(IN_ORDER);
static const uint64_t variant_packed_in_order = RING_FEATURE(IN_ORDER) | RING_FEATURE(PACKED);

#define ALL(name)                                                                                  \
    BOTH_FORMATS(name, NULL, NULL), BOTH_FORMATS_EVENT_IDX(name, NULL, NULL),                      \
        VARIANT(name, split_in_order, NULL, NULL), VARIANT(name, packed_in_order, NULL, NULL)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALL(test_any_steps),
        ALL(test_devices_that_die),
        VARIANT(test_wish_of_another_back_end, packed, NULL, NULL),
    };

    return cmocka_run_group_tests_name("ring model", tests, NULL, NULL);
}
