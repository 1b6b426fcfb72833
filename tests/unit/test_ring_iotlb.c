/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ring behind an IOMMU: it and its buffers are named by I/O virtual addresses, of which the device knows
 * what it was told. Pages that follow one another there lie anywhere in guest memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>

#include "lib/probe.h"

#define PAGE      UINT64_C(4096)
#define NUM_PAGES 1024u /* of low memory, from its beginning; the ring's first */
#define IO_BASE   UINT64_C(0xffffe0000000)
#define SIZE      512u /* rings of several pages */
#define BUFFERS   64u  /* the page with which buffers begin */

struct fixture {
    struct probe *probe;
    struct iotlb *iotlb;
};

/* Page n of the I/O address space is this one of guest memory; each is one of them. */
static unsigned page_of(unsigned n)
{
    return (n * 389 + 17) % NUM_PAGES;
}

static uint64_t io_addr(unsigned page, uint64_t offset)
{
    return IO_BASE + page * PAGE + offset;
}

/* Where the test has an I/O virtual address. */
static uint8_t *io_at(const struct fixture *f, uint64_t addr)
{
    uint64_t offset = addr - IO_BASE;

    return f->probe->rig.low.base + page_of((unsigned)(offset / PAGE)) * PAGE + offset % PAGE;
}

static void tell(struct fixture *f, unsigned page, unsigned access)
{
    assert_int_equal(iotlb_update(f->iotlb, io_addr(page, 0), PAGE,
                                  RIG_LOW_USER + page_of(page) * PAGE, access, NULL),
                     0);
}

static void forget(struct fixture *f, unsigned page)
{
    iotlb_invalidate(f->iotlb, io_addr(page, 0), PAGE);
    virtqueue_remap(f->probe->rig.queue);
}

/*
 * The front-end answers all that is asked for, with the whole page, until nothing is; whether the queue
 * can go on.
 */
static bool answer(struct fixture *f)
{
    struct shunt_virtqueue *queue = f->probe->rig.queue;
    bool goes_on = false;

    while (queue->num_misses > 0) {
        assert_true(queue->num_misses <= VIRTQUEUE_MAX_MISSES);
        for (unsigned i = 0; i < queue->num_misses; i++) {
            assert_true(queue->misses[i].io_addr >= IO_BASE);
            assert_true(queue->misses[i].io_addr < io_addr(NUM_PAGES, 0));
            tell(f, (unsigned)((queue->misses[i].io_addr - IO_BASE) / PAGE),
                 MEMORY_READ | MEMORY_WRITE);
        }
        goes_on = virtqueue_remap(queue);
    }
    return goes_on;
}

/*
 * The driver's ring is where the I/O pages 0, 1, … are, which lie apart: so it is mapped here as the guest's
 * driver has it, in a row.
 */
static void begin_ring(struct fixture *f)
{
    struct rig *rig = &f->probe->rig;
    struct virtqueue_addresses addresses;

    ring_fini(&rig->ring);
    ring_init(&rig->ring, &rig->high, 0, SIZE,
              rig->features & RIG_F_PACKED ? RING_PACKED : RING_SPLIT);
    rig->ring.has_event_idx = rig->features & RIG_F_EVENT_IDX;
    addresses = ring_addresses(&rig->ring);
    addresses.descriptor += IO_BASE - RIG_HIGH_USER;
    addresses.driver += IO_BASE - RIG_HIGH_USER;
    addresses.device += IO_BASE - RIG_HIGH_USER;
    assert_int_equal(virtqueue_set_size(rig->queue, SIZE, NULL), 0);
    assert_int_equal(virtqueue_set_addresses(rig->queue, &addresses, NULL), 0);
}

/* The pages of the ring, in a row as the driver has them, are those that lie apart for us. */
static void scatter_ring(struct rig *rig)
{
    for (unsigned page = 0; page < BUFFERS; page++) {
        void *at = rig->high.base + page * PAGE;

        assert_ptr_equal(mremap(rig->low.base + page_of(page) * PAGE, 0, PAGE,
                                MREMAP_MAYMOVE | MREMAP_FIXED, at),
                         at);
    }
}

static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof(*f));
    struct rig *rig;

    f->probe = probe_create(SIZE, variant_features(state) | RIG_F_INDIRECT |
                                      RING_FEATURE(ACCESS_PLATFORM));
    rig = &f->probe->rig;
    virtqueue_stop(rig->queue);
    assert_int_equal(iotlb_create(rig->memory, &f->iotlb), 0);
    rig->space.iotlb = f->iotlb;
    rig->space.ring_addressing = RING_AT_IO;
    scatter_ring(rig);
    begin_ring(f);
    rig->queue->base = ring_base(&rig->ring);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    virtqueue_destroy(f->probe->rig.queue);
    f->probe->rig.queue = NULL;
    iotlb_destroy(f->iotlb);
    probe_destroy(f->probe);
    test_free(f);
    return 0;
}

/* Starts it, having been told of the ring alone. */
static void start(struct fixture *f)
{
    assert_int_equal(rig_start(&f->probe->rig), 0);
    assert_true(answer(f));
    assert_true(shunt_virtqueue_is_started(f->probe->rig.queue));
    f->probe->rig.queue->is_enabled = true;
}

/* A buffer that begins in a page, of a length that may lead into those after it. */
static int offer(struct fixture *f, unsigned page, uint64_t offset, uint32_t len, bool is_writable)
{
    return probe_offer(f->probe, (struct ring_buffer){io_addr(page, offset), len, is_writable});
}

/* The chain has one buffer, in pieces of a page at most, each where it must be; it goes through. */
static void expect_through(struct fixture *f, int id, unsigned page, uint64_t offset, uint32_t len)
{
    struct shunt_chain chain;
    uint64_t at = io_addr(page, offset), end = at + len;

    assert_int_equal(probe_pop(f->probe, &chain), 1);
    assert_int_equal(chain.id, id);
    for (unsigned i = 0; at < end; i++) {
        assert_true(i < (unsigned)chain.num_readable + chain.num_writable);
        for (size_t j = 0; j < f->probe->iov[i].iov_len; j += 7) {
            uint8_t *byte = (uint8_t *)f->probe->iov[i].iov_base + j;

            *byte = (uint8_t) ~*io_at(f, at + j);
            assert_int_equal(*byte, *io_at(f, at + j));
        }
        at += f->probe->iov[i].iov_len;
    }
    assert_int_equal(at, end);
    probe_give_back(f->probe, &chain, chain.writable_len);
    probe_expect_used(f->probe, id, chain.writable_len);
}

/* --- The ring --------------------------------------------------------------------------------------- */

static void test_ring_is_asked_for(void **state)
{
    struct fixture *f = *state;
    struct shunt_virtqueue *queue = f->probe->rig.queue;
    struct shunt_chain chain;

    assert_int_equal(rig_start(&f->probe->rig), 0);
    assert_false(shunt_virtqueue_is_started(queue));
    assert_true(queue->num_misses > 0);
    assert_true(f->probe->rig.num_missed > 0);
    assert_int_equal(probe_pop(f->probe, &chain), -EAGAIN);
    assert_true(answer(f));
    assert_true(shunt_virtqueue_is_started(queue));
    assert_true(iotlb_stats(f->iotlb).num_entries > 2);
    for (unsigned i = 0; i < 2 * SIZE; i++) {
        int id = offer(f, BUFFERS, 0, 100, true);

        answer(f);
        if (i == 0) {
            assert_int_equal(probe_pop(f->probe, &chain), -EAGAIN);
            assert_true(answer(f));
        }
        expect_through(f, id, BUFFERS, 0, 100);
    }
    assert_int_equal(f->probe->rig.num_broken, 0);
}

/* A ring that may only be read is none. */
static void test_ring_must_be_writable(void **state)
{
    struct fixture *f = *state;

    for (unsigned page = 0; page < BUFFERS; page++)
        tell(f, page, MEMORY_READ);
    assert_int_equal(rig_start(&f->probe->rig), 0);
    assert_false(shunt_virtqueue_is_started(f->probe->rig.queue));
    assert_true(f->probe->rig.queue->num_misses > 0);
    assert_true(answer(f));
    assert_true(shunt_virtqueue_is_started(f->probe->rig.queue));
}

/* The guest takes the mapping away while the ring runs, and gives it back. */
static void test_ring_is_invalidated(void **state)
{
    struct fixture *f = *state;
    struct shunt_chain chain;

    start(f);
    tell(f, BUFFERS, MEMORY_READ | MEMORY_WRITE);
    virtqueue_remap(f->probe->rig.queue);
    for (unsigned i = 0; i < 50; i++) {
        int id = offer(f, BUFFERS, i, 100, i % 2);

        forget(f, i % 2);
        assert_false(shunt_virtqueue_is_started(f->probe->rig.queue));
        assert_true(probe_pop(f->probe, &chain) < 0);
        shunt_virtqueue_publish(f->probe->rig.queue);
        shunt_virtqueue_arm(f->probe->rig.queue);
        shunt_virtqueue_disarm(f->probe->rig.queue);
        assert_true(answer(f));
        assert_true(shunt_virtqueue_is_started(f->probe->rig.queue));
        expect_through(f, id, BUFFERS, i, 100);
    }
    assert_int_equal(f->probe->rig.num_broken, 0);
}

/* A front-end says in two ways that nothing is known any more. */
static void test_all_is_invalidated(void **state)
{
    static const uint64_t sizes[] = {0, UINT64_MAX};
    struct fixture *f = *state;
    struct shunt_virtqueue *queue = f->probe->rig.queue;

    start(f);
    for (unsigned i = 0; i < 2; i++) {
        int id = offer(f, BUFFERS, i, 100, i % 2);

        iotlb_invalidate(f->iotlb, 0, sizes[i]);
        virtqueue_iotlb_changed(queue, 0, sizes[i]);
        assert_false(shunt_virtqueue_is_started(queue));
        tell(f, BUFFERS, MEMORY_READ | MEMORY_WRITE);
        assert_true(answer(f));
        expect_through(f, id, BUFFERS, i, 100);
    }
    /* Nothing is not all. */
    iotlb_invalidate(f->iotlb, IO_BASE, 0);
    virtqueue_iotlb_changed(queue, IO_BASE, 0);
    assert_true(shunt_virtqueue_is_started(queue));
}

/* A ring that waits is told of another place, which is known: it runs, and whoever sleeps on it is woken. */
static void test_ring_that_waits_is_moved(void **state)
{
    struct fixture *f = *state;
    struct rig *rig = &f->probe->rig;
    struct virtqueue_addresses addresses = rig->queue->addresses, elsewhere = addresses;

    elsewhere.descriptor += NUM_PAGES * PAGE;
    elsewhere.driver += NUM_PAGES * PAGE;
    elsewhere.device += NUM_PAGES * PAGE;
    assert_int_equal(virtqueue_set_addresses(rig->queue, &elsewhere, NULL), 0);
    assert_int_equal(rig_start(rig), 0);
    assert_false(shunt_virtqueue_is_started(rig->queue));
    for (unsigned page = 0; page < BUFFERS; page++)
        tell(f, page, MEMORY_READ | MEMORY_WRITE);
    assert_false(virtqueue_iotlb_changed(rig->queue, IO_BASE, BUFFERS * PAGE));
    rig_signals(rig->kick_fd);
    assert_int_equal(virtqueue_set_addresses(rig->queue, &addresses, NULL), 0);
    assert_true(shunt_virtqueue_is_started(rig->queue));
    assert_int_equal(rig_signals(rig->kick_fd), 1);
    rig->queue->num_misses = 0; /* of the place where it was not */
    tell(f, BUFFERS, MEMORY_READ | MEMORY_WRITE);
    virtqueue_iotlb_changed(rig->queue, io_addr(BUFFERS, 0), PAGE);
    expect_through(f, offer(f, BUFFERS, 0, 100, true), BUFFERS, 0, 100);
}

/* --- Buffers ---------------------------------------------------------------------------------------- */

/* The answer may be as exact as it likes. */
static void test_part_of_a_page(void **state)
{
    struct fixture *f = *state;
    struct shunt_virtqueue *queue = f->probe->rig.queue;
    struct shunt_chain chain;
    int id;

    start(f);
    id = offer(f, BUFFERS, 1000, 100, true);
    assert_int_equal(probe_pop(f->probe, &chain), -EAGAIN);
    assert_int_equal(iotlb_update(f->iotlb, io_addr(BUFFERS, 1000), 100,
                                  RIG_LOW_USER + page_of(BUFFERS) * PAGE + 1000,
                                  MEMORY_READ | MEMORY_WRITE, NULL),
                     0);
    assert_true(virtqueue_iotlb_changed(queue, io_addr(BUFFERS, 1000), 100));
    assert_int_equal(queue->num_misses, 0);
    assert_true(shunt_virtqueue_arm(queue) == false);
    shunt_virtqueue_disarm(queue);
    expect_through(f, id, BUFFERS, 1000, 100);
}

/*
 * A driver that has us look at gigabytes of pages does not keep us from other guests: what lies behind them is
 * not asked for beforehand.
 */
static void test_look_ahead_is_bounded(void **state)
{
    const uint64_t known = UINT64_C(0x100000000000), unknown = UINT64_C(0x200000000000);
    struct fixture *f = *state;
    struct shunt_virtqueue *queue = f->probe->rig.queue;
    struct shunt_chain chain;
    struct ring_buffer buffer;

    start(f);
    for (uint64_t at = 0; at < UINT64_C(1) << 32; at += RIG_AREA_BYTES)
        assert_int_equal(iotlb_update(f->iotlb, known + at, RIG_AREA_BYTES, RIG_LOW_USER,
                                      MEMORY_READ | MEMORY_WRITE, NULL),
                         0);
    buffer = readable(unknown, 8);
    probe_add(f->probe, &buffer, 1);
    for (unsigned i = 0; i < 60; i++) {
        buffer = readable(known, UINT32_MAX);
        probe_add(f->probe, &buffer, 1);
    }
    buffer = readable(unknown + PAGE, 8);
    probe_add(f->probe, &buffer, 1);
    ring_publish(&f->probe->rig.ring);
    assert_int_equal(probe_pop(f->probe, &chain), -EAGAIN);
    assert_int_equal(queue->num_misses, 1);
    assert_int_equal(queue->misses[0].io_addr, unknown);
}

static void test_buffers_are_asked_for(void **state)
{
    struct fixture *f = *state;
    struct shunt_chain chain;
    unsigned before;

    start(f);
    for (unsigned i = 0; i < 100; i++) {
        unsigned page = BUFFERS + 5 * i;
        int id = offer(f, page, i, 9000 + i, i % 2);

        before = f->probe->rig.num_missed;
        assert_int_equal(probe_pop(f->probe, &chain), -EAGAIN);
        assert_true(f->probe->rig.num_missed > before);
        assert_true(f->probe->rig.queue->num_misses > 0);
        do
            assert_true(answer(f));
        while (probe_pop(f->probe, &chain) == -EAGAIN);
        /* It was popped with the last answer: put it back by a look from the beginning. */
        assert_int_equal(chain.id, id);
        probe_give_back(f->probe, &chain, 0);
        probe_expect_used(f->probe, id, 0);
        id = offer(f, page, i, 9000 + i, i % 2);
        expect_through(f, id, page, i, 9000 + i); /* now it is known */
    }
    assert_int_equal(f->probe->rig.num_broken, 0);
}

/* What may be read may not be written; the front-end is asked, and may say no. */
static void test_permission(void **state)
{
    struct fixture *f = *state;
    struct shunt_virtqueue *queue = f->probe->rig.queue;
    struct shunt_chain chain;
    int id;

    start(f);
    tell(f, BUFFERS, MEMORY_READ);
    virtqueue_remap(queue);
    id = offer(f, BUFFERS, 0, 100, false);
    assert_int_equal(probe_pop(f->probe, &chain), 1);
    probe_give_back(f->probe, &chain, 0);
    probe_expect_used(f->probe, id, 0);
    offer(f, BUFFERS, 8, 100, true);
    assert_int_equal(probe_pop(f->probe, &chain), -EAGAIN);
    assert_int_equal(queue->num_misses, 1);
    assert_int_equal(queue->misses[0].io_addr & ~(PAGE - 1), io_addr(BUFFERS, 0));
    assert_true(queue->misses[0].access & MEMORY_WRITE);
    virtqueue_break(queue, FAULT_IO_ACCESS, queue->misses[0].io_addr);
    assert_int_equal(probe_pop(f->probe, &chain), -EPROTO);
    assert_int_equal(f->probe->rig.num_broken, 1);
}

/* An answer that does not answer leaves the question. */
static void test_answer_to_something_else(void **state)
{
    struct fixture *f = *state;
    struct shunt_chain chain;
    int id;

    start(f);
    id = offer(f, BUFFERS, 0, 100, true);
    assert_int_equal(probe_pop(f->probe, &chain), -EAGAIN);
    tell(f, BUFFERS + 1, MEMORY_READ | MEMORY_WRITE);
    tell(f, BUFFERS, MEMORY_READ);
    virtqueue_remap(f->probe->rig.queue);
    assert_int_equal(probe_pop(f->probe, &chain), -EAGAIN);
    tell(f, BUFFERS, MEMORY_WRITE);
    assert_true(virtqueue_remap(f->probe->rig.queue));
    expect_through(f, id, BUFFERS, 0, 100);
}

/* The guest uses its pages anew: what was known of them must not be used again. */
static void test_buffers_are_invalidated(void **state)
{
    struct fixture *f = *state;
    struct shunt_chain chain;

    start(f);
    for (unsigned i = 0; i < 100; i++) {
        unsigned page = BUFFERS + i % 3;
        int id = offer(f, page, 0, 2000, true);

        assert_int_equal(probe_pop(f->probe, &chain), -EAGAIN);
        assert_true(answer(f));
        expect_through(f, id, page, 0, 2000);
        forget(f, page);
    }
}

/* An indirect table, too, lies at an I/O virtual address, and across pages. */
static void test_indirect(void **state)
{
    struct fixture *f = *state;
    uint64_t table = io_addr(BUFFERS + 1, 0) - 16;
    struct ring_buffer buffers[] = {{io_addr(BUFFERS + 4, 0), 10, false},
                                    {io_addr(BUFFERS + 5, 4000), 200, true}};
    uint8_t entries[32];
    struct shunt_chain chain;
    int id, result;

    start(f);
    id = ring_add_indirect(&f->probe->rig.ring, entries, table, buffers, 2);
    for (unsigned i = 0; i < sizeof(entries); i++)
        *io_at(f, table + i) = entries[i];
    ring_publish(&f->probe->rig.ring);
    while ((result = probe_pop(f->probe, &chain)) == -EAGAIN)
        assert_true(answer(f));
    assert_int_equal(result, 1);
    assert_int_equal(chain.id, id);
    assert_int_equal(chain.num_readable, 1);
    assert_int_equal(chain.num_writable, 2);
    assert_int_equal(f->probe->iov[0].iov_len, 10);
    assert_int_equal(f->probe->iov[1].iov_len, 96);
    assert_int_equal(f->probe->iov[2].iov_len, 104);
}

#define BOTH(name) BOTH_FORMATS(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_ring_is_asked_for),
        BOTH(test_ring_must_be_writable),
        BOTH(test_ring_is_invalidated),
        BOTH(test_all_is_invalidated),
        BOTH(test_ring_that_waits_is_moved),
        BOTH(test_buffers_are_asked_for),
        BOTH(test_permission),
        BOTH(test_answer_to_something_else),
        BOTH(test_buffers_are_invalidated),
        BOTH(test_indirect),
        BOTH(test_part_of_a_page),
        BOTH(test_look_ahead_is_bounded),
    };

    return cmocka_run_group_tests_name("ring iotlb", tests, NULL, NULL);
}
