/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of a virtqueue: configured, started, moved, stopped. Chains are test_chain.c's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lib/probe.h"

#define SIZE PROBE_SIZE

/* --- Configuration, start, stop --------------------------------------------------------------------- */

static void test_sizes(void **state)
{
    struct probe *p = *state;
    static const uint32_t bad[] = {0, 32769, 49152, 65536, 1u << 31, UINT32_MAX};
    static const uint32_t odd[] = {3, 255, 257, 1000, 32767};
    bool is_packed = p->rig.ring.format == RING_PACKED;
    struct shunt_error error = {0};

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(virtqueue_set_size(p->rig.queue, bad[i], &error), -EINVAL);
        assert_int_equal(error.code, -EINVAL);
        assert_int_equal(shunt_virtqueue_size(p->rig.queue), SIZE);
    }
    for (uint32_t size = 1; size <= SHUNT_VIRTQUEUE_MAX_SIZE; size *= 2) {
        assert_int_equal(virtqueue_set_size(p->rig.queue, size, NULL), 0);
        assert_int_equal(shunt_virtqueue_size(p->rig.queue), size);
        assert_int_equal(rig_start(&p->rig), 0);
        virtqueue_stop(p->rig.queue);
    }
    /* Only a packed ring may have any size. */
    for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        assert_int_equal(virtqueue_set_size(p->rig.queue, odd[i], NULL), 0);
        p->rig.queue->base = ring_base(&p->rig.ring);
        assert_int_equal(rig_start(&p->rig), is_packed ? 0 : -EINVAL);
        assert_int_equal(shunt_virtqueue_is_started(p->rig.queue), is_packed);
        virtqueue_stop(p->rig.queue);
    }
}

static void test_size_of_a_started_queue(void **state)
{
    struct probe *p = *state;

    assert_int_equal(virtqueue_set_size(p->rig.queue, SIZE / 2, NULL), -EBUSY);
    assert_int_equal(shunt_virtqueue_size(p->rig.queue), SIZE);
    virtqueue_stop(p->rig.queue);
    assert_int_equal(virtqueue_set_size(p->rig.queue, SIZE / 2, NULL), 0);
    assert_int_equal(shunt_virtqueue_size(p->rig.queue), SIZE / 2);
}

/* Each way to be wrong, by the bytes that an area is off; the alignment of each area is the format's. */
static void check_alignment(struct probe *p, const struct virtqueue_addresses *off, unsigned num)
{
    const struct virtqueue_addresses good = ring_addresses(&p->rig.ring);

    for (unsigned i = 0; i < num; i++) {
        struct virtqueue_addresses bad = {
            .descriptor = good.descriptor + off[i].descriptor,
            .driver = good.driver + off[i].driver,
            .device = good.device + off[i].device,
        };

        /* When it is found depends on when the format is known. */
        if (virtqueue_set_addresses(p->rig.queue, &bad, NULL) == 0)
            assert_int_equal(rig_start(&p->rig), -EINVAL);
        assert_false(shunt_virtqueue_is_started(p->rig.queue));
    }
    assert_int_equal(virtqueue_set_addresses(p->rig.queue, &good, NULL), 0);
    assert_int_equal(rig_start(&p->rig), 0);
}

static void test_alignment_split(void **state)
{
    static const struct virtqueue_addresses off[] = {
        {8, 0, 0, 0, 0}, {1, 0, 0, 0, 0}, {0, 1, 0, 0, 0}, {0, 0, 2, 0, 0}, {0, 0, 1, 0, 0},
    };
    struct probe *p = *state;
    struct virtqueue_addresses good = ring_addresses(&p->rig.ring);

    check_alignment(p, off, sizeof(off) / sizeof(off[0]));
    virtqueue_stop(p->rig.queue);
    /* The available ring needs no more than 2. */
    good.driver += 2;
    assert_int_equal(virtqueue_set_addresses(p->rig.queue, &good, NULL), 0);
    assert_int_equal(rig_start(&p->rig), 0);
}

static void test_alignment_packed(void **state)
{
    static const struct virtqueue_addresses off[] = {
        {8, 0, 0, 0, 0}, {1, 0, 0, 0, 0}, {0, 1, 0, 0, 0},
        {0, 2, 0, 0, 0}, {0, 0, 2, 0, 0}, {0, 0, 1, 0, 0},
    };

    check_alignment(*state, off, sizeof(off) / sizeof(off[0]));
}

/* Aligned addresses mean nothing if the region lies askew in our memory. */
static void test_alignment_of_the_mapping(void **state)
{
    struct probe *p = *state;
    struct shunt_memory_region askew = area_region(&p->rig.low);

    askew.size -= 16;
    askew.fd_offset = 3;
    assert_int_equal(shunt_memory_replace(p->rig.memory, &askew, &p->rig.low.fd, 1, NULL), 0);
    assert_int_equal(rig_start(&p->rig), -EINVAL);
    assert_false(shunt_virtqueue_is_started(p->rig.queue));
    askew.fd_offset = 16;
    assert_int_equal(shunt_memory_replace(p->rig.memory, &askew, &p->rig.low.fd, 1, NULL), 0);
    assert_int_equal(rig_start(&p->rig), 0);
}

static void test_start_wants_all_of_it(void **state)
{
    struct probe *p = *state;
    struct virtqueue_addresses addresses = ring_addresses(&p->rig.ring);
    struct shunt_virtqueue *queue;
    struct shunt_error error = {0};
    struct shunt_chain chain;

    assert_int_equal(virtqueue_create(&p->rig.space, NULL, NULL, &queue), 0);
    queue->base = ring_base(&p->rig.ring);
    assert_int_equal(virtqueue_start(queue, p->rig.features, &error), -EINVAL);
    assert_int_equal(error.code, -EINVAL);
    assert_int_equal(virtqueue_set_size(queue, SIZE, NULL), 0);
    error.code = 0;
    assert_int_equal(virtqueue_start(queue, p->rig.features, &error), -EINVAL);
    assert_int_equal(error.code, -EINVAL);
    assert_false(shunt_virtqueue_is_started(queue));
    assert_int_equal(shunt_virtqueue_pop(queue, &chain, p->iov, PROBE_PIECES), -ENOTCONN);
    assert_int_equal(virtqueue_set_addresses(queue, &addresses, NULL), 0);
    assert_int_equal(virtqueue_start(queue, p->rig.features, NULL), 0);
    assert_true(shunt_virtqueue_is_started(queue));
    assert_int_equal(shunt_virtqueue_kick_fd(queue), -1);
    virtqueue_destroy(queue);
    virtqueue_destroy(NULL);
}

/* One area alone, up to the last byte of a region, and not one byte further. */
static void check_area(struct probe *p, uint64_t *addr, struct virtqueue_addresses *addresses,
                       uint64_t bytes)
{
    const uint64_t ends[] = {RIG_LOW_USER + RIG_AREA_BYTES, RIG_HIGH_USER + RIG_AREA_BYTES};

    for (unsigned i = 0; i < 2; i++) {
        uint64_t last = (ends[i] - bytes) & ~UINT64_C(15);
        const uint64_t bad[] = {last + 16, ends[i], 0};

        *addr = last;
        assert_int_equal(virtqueue_set_addresses(p->rig.queue, addresses, NULL), 0);
        assert_int_equal(rig_start(&p->rig), 0);
        virtqueue_stop(p->rig.queue);
        for (unsigned j = 0; j < 3; j++) {
            *addr = bad[j];
            assert_int_equal(virtqueue_set_addresses(p->rig.queue, addresses, NULL), 0);
            assert_int_equal(rig_start(&p->rig), -EINVAL);
            assert_false(shunt_virtqueue_is_started(p->rig.queue));
        }
    }
}

static void test_areas_must_be_mapped(void **state)
{
    struct probe *p = *state;
    struct ring_area_bytes bytes = ring_area_bytes(&p->rig.ring);
    struct virtqueue_addresses addresses = ring_addresses(&p->rig.ring);

    check_area(p, &addresses.descriptor, &addresses, bytes.descriptor);
    addresses = ring_addresses(&p->rig.ring);
    check_area(p, &addresses.driver, &addresses, bytes.driver);
    addresses = ring_addresses(&p->rig.ring);
    check_area(p, &addresses.device, &addresses, bytes.device);
}

/* Low memory in two regions with a border at `at`; the second one is of any file. */
static void split_memory(struct probe *p, uint64_t at, int fd)
{
    struct shunt_memory_region regions[] = {
        {RIG_LOW, RIG_LOW_USER, at, 0},
        {RIG_LOW + at, RIG_LOW_USER + at, RIG_AREA_BYTES - at, at},
    };
    int fds[] = {p->rig.low.fd, fd};

    assert_int_equal(shunt_memory_replace(p->rig.memory, regions, fds, 2, NULL), 0);
}

/* Regions of whole pages are put in a row. */
static void test_areas_across_regions(void **state)
{
    struct probe *p = *state;
    struct virtqueue_addresses addresses;

    split_memory(p, 8192, p->rig.low.fd);
    for (uint64_t offset = 4096 + 16; offset < 8192; offset += 1024 - 16) {
        ring_move(&p->rig.ring, &p->rig.low, offset);
        addresses = ring_addresses(&p->rig.ring);
        assert_int_equal(virtqueue_set_addresses(p->rig.queue, &addresses, NULL), 0);
        assert_int_equal(rig_start(&p->rig), 0);
        for (unsigned i = 0; i < SIZE + 3; i++)
            probe_expect_alive(p);
        virtqueue_stop(p->rig.queue);
    }
}

/* Pieces that are no pages cannot be: the rest of the page is of another region. */
static void test_areas_across_half_a_page(void **state)
{
    struct probe *p = *state;
    struct virtqueue_addresses addresses;

    split_memory(p, 8192 + 64, p->rig.high.fd);
    ring_move(&p->rig.ring, &p->rig.low, 8192);
    addresses = ring_addresses(&p->rig.ring);
    assert_int_equal(virtqueue_set_addresses(p->rig.queue, &addresses, NULL), 0);
    assert_int_equal(rig_start(&p->rig), -EINVAL);
    assert_false(shunt_virtqueue_is_started(p->rig.queue));
}

static void test_new_addresses_of_a_started_queue(void **state)
{
    struct probe *p = *state;
    struct virtqueue_addresses before = ring_addresses(&p->rig.ring), bad = before, after;

    probe_expect_alive(p);
    bad.driver = RIG_LOW_USER + RIG_AREA_BYTES;
    assert_int_equal(virtqueue_set_addresses(p->rig.queue, &bad, NULL), -EINVAL);
    assert_memory_equal(&p->rig.queue->addresses, &before, sizeof(before));
    probe_expect_alive(p);
    /* The ring moves with all that is in it. */
    ring_move(&p->rig.ring, &p->rig.high, 4096);
    after = ring_addresses(&p->rig.ring);
    assert_int_equal(virtqueue_set_addresses(p->rig.queue, &after, NULL), 0);
    probe_expect_alive(p);
    memset(p->rig.low.base, 0xff, ring_bytes(SIZE));
    probe_expect_alive(p);
}

static void test_stop_and_start_go_on(void **state)
{
    struct probe *p = *state;
    struct shunt_chain chain;
    uint32_t base;

    for (unsigned i = 0; i < 5; i++)
        probe_expect_alive(p);
    for (unsigned i = 0; i < 3; i++)
        probe_offer(p, readable(RIG_BUFFERS, 10));
    assert_int_equal(probe_pop(p, &chain), 1);
    probe_give_back(p, &chain, 0);
    probe_expect_used(p, chain.id, 0);
    virtqueue_stop(p->rig.queue);
    base = ring_base(&p->rig.ring);
    assert_int_equal(p->rig.queue->base, base);
    assert_false(shunt_virtqueue_is_started(p->rig.queue));
    assert_int_equal(probe_pop(p, &chain), -ENOTCONN);
    virtqueue_stop(p->rig.queue); /* twice is once */
    assert_int_equal(p->rig.queue->base, base);
    assert_int_equal(rig_start(&p->rig), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(probe_pop(p, &chain), 1);
        probe_give_back(p, &chain, 0);
    }
    assert_int_equal(probe_pop(p, &chain), 0);
    assert_int_equal(ring_num_used(&p->rig.ring), 2);
}

/* The ring begins anywhere: split, at any index; packed, at any slot in either of two laps. */
static void test_base(void **state)
{
    static const uint32_t indices[] = {1, SIZE - 1, SIZE, 32768, 65535};
    static const uint32_t positions[] = {0x80008000, 0x80018001, 0x80fe80fe, 0x80ff80ff,
                                         0x00000000, 0x00010001, 0x00ff00ff};
    struct probe *p = *state;
    bool is_packed = p->rig.ring.format == RING_PACKED;
    const uint32_t *bases = is_packed ? positions : indices;
    size_t num = is_packed ? sizeof(positions) / 4 : sizeof(indices) / 4;

    for (size_t i = 0; i < num; i++) {
        virtqueue_stop(p->rig.queue);
        rig_set_base(&p->rig, bases[i]);
        assert_int_equal(rig_start(&p->rig), 0);
        for (unsigned j = 0; j < SIZE + 2; j++)
            probe_expect_alive(p);
        virtqueue_stop(p->rig.queue);
        assert_int_equal(p->rig.queue->base, ring_base(&p->rig.ring));
        assert_int_equal((uint16_t)p->rig.queue->base,
                         ring_step(&p->rig.ring, (uint16_t)bases[i], SIZE + 2));
    }
}

static void test_generation_makes_late_pushes_harmless(void **state)
{
    struct probe *p = *state;
    struct shunt_chain old, chain;

    probe_offer(p, writable(RIG_BUFFERS, 10));
    probe_offer(p, writable(RIG_BUFFERS, 10));
    assert_int_equal(probe_pop(p, &old), 1);
    virtqueue_stop(p->rig.queue);
    probe_give_back(p, &old, 10);
    assert_int_equal(rig_start(&p->rig), 0);
    probe_give_back(p, &old, 10);
    assert_int_equal(ring_num_used(&p->rig.ring), 0);
    assert_int_equal(probe_pop(p, &chain), 1);
    assert_int_not_equal(chain.generation, old.generation);
    probe_give_back(p, &old, 10);
    probe_give_back(p, &chain, 3);
    assert_int_equal(ring_num_used(&p->rig.ring), 1);
    probe_expect_used(p, chain.id, 3);
}

/* Who watches it stops to watch when the queue has stopped: until then it must be told which it was. */
static void test_kick_descriptor(void **state)
{
    struct probe *p = *state;
    int fd;

    assert_int_equal(shunt_virtqueue_kick_fd(p->rig.queue), -1);
    assert_int_equal(rig_start(&p->rig), 0);
    fd = shunt_virtqueue_kick_fd(p->rig.queue);
    assert_true(fd >= 0);
    virtqueue_stop(p->rig.queue);
    assert_int_equal(shunt_virtqueue_kick_fd(p->rig.queue), fd);
}

static void test_has_moved(void **state)
{
    struct probe *p = *state;
    struct shunt_chain chain;

    virtqueue_stop(p->rig.queue);
    rig_set_base(&p->rig, p->rig.ring.format == RING_PACKED ? 0x80708070 : 500);
    assert_int_equal(rig_start(&p->rig), 0);
    assert_false(virtqueue_has_moved(p->rig.queue));
    probe_add(p, &(struct ring_buffer){RIG_BUFFERS, 10, true}, 1);
    assert_false(virtqueue_has_moved(p->rig.queue));
    ring_publish(&p->rig.ring);
    assert_true(virtqueue_has_moved(p->rig.queue)); /* seen, not taken */
    assert_int_equal(probe_pop(p, &chain), 1);
    assert_true(virtqueue_has_moved(p->rig.queue)); /* taken */
    virtqueue_stop(p->rig.queue);
    assert_false(virtqueue_has_moved(p->rig.queue));
}

/* --- Memory that changes ---------------------------------------------------------------------------- */

static void test_remap_finds_the_ring_again(void **state)
{
    struct probe *p = *state;
    struct shunt_memory_region low = area_region(&p->rig.low);
    struct shunt_memory_region front = {0x1000, 0x1000, 0x1000, 0};

    probe_expect_alive(p);
    assert_int_equal(shunt_memory_remove(p->rig.memory, &low, NULL), 0);
    /* A region in front moves those behind it within the table. */
    assert_int_equal(shunt_memory_add(p->rig.memory, &front, p->rig.high.fd, NULL), 0);
    assert_int_equal(shunt_memory_add(p->rig.memory, &low, p->rig.low.fd, NULL), 0);
    virtqueue_remap(p->rig.queue);
    assert_true(shunt_virtqueue_is_started(p->rig.queue));
    probe_expect_alive(p);
    assert_int_equal(p->rig.num_broken, 0);
}

static void test_remap_forgets_the_last_region(void **state)
{
    struct probe *p = *state;
    struct shunt_memory_region high = area_region(&p->rig.high);
    struct shunt_chain chain;

    probe_offer(p, readable(RIG_BORDER, 8));
    assert_int_equal(probe_pop(p, &chain), 1);
    assert_int_equal(shunt_memory_remove(p->rig.memory, &high, NULL), 0);
    virtqueue_remap(p->rig.queue);
    probe_offer(p, readable(RIG_BORDER, 8));
    assert_int_equal(probe_pop(p, &chain), -EPROTO);
    assert_int_equal(p->rig.queue->fault, FAULT_UNMAPPED);
    assert_int_equal(p->rig.queue->fault_value, RIG_BORDER);
}

static void test_remap_without_the_ring_breaks(void **state)
{
    struct probe *p = *state;
    struct shunt_memory_region low = area_region(&p->rig.low);
    struct shunt_chain chain, popped;

    probe_offer(p, readable(RIG_BORDER, 8));
    assert_int_equal(probe_pop(p, &popped), 1);
    assert_int_equal(shunt_memory_remove(p->rig.memory, &low, NULL), 0);
    virtqueue_remap(p->rig.queue);
    assert_int_equal(p->rig.queue->fault, FAULT_RING_UNMAPPED);
    assert_int_equal(p->rig.queue->fault_value, RIG_LOW_USER);
    assert_int_equal(p->rig.num_broken, 1);
    assert_false(shunt_virtqueue_is_started(p->rig.queue));
    /* Nothing of it is touched any more. */
    assert_int_equal(probe_pop(p, &chain), -EPROTO);
    probe_give_back(p, &popped, 0);
    assert_true(shunt_virtqueue_arm(p->rig.queue));
    shunt_virtqueue_disarm(p->rig.queue);
    virtqueue_remap(p->rig.queue);
    assert_int_equal(p->rig.num_broken, 1);
    virtqueue_stop(p->rig.queue);
    assert_int_equal(rig_start(&p->rig), -EINVAL);
    assert_int_equal(shunt_memory_add(p->rig.memory, &low, p->rig.low.fd, NULL), 0);
    rig_reset(&p->rig);
    assert_int_equal(rig_start(&p->rig), 0);
    probe_expect_alive(p);
}

static void test_remap_of_a_stopped_queue(void **state)
{
    struct probe *p = *state;

    assert_int_equal(shunt_memory_replace(p->rig.memory, NULL, NULL, 0, NULL), 0);
    virtqueue_remap(p->rig.queue);
    assert_int_equal(p->rig.num_broken, 0);
    assert_int_equal(p->rig.queue->fault, FAULT_NONE);
}

#define STARTED(name) BOTH_FORMATS(name, probe_setup, probe_teardown)
#define STOPPED(name) BOTH_FORMATS(name, probe_setup_stopped, probe_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STOPPED(test_sizes),
        STARTED(test_size_of_a_started_queue),
        VARIANT(test_alignment_split, split, probe_setup_stopped, probe_teardown),
        VARIANT(test_alignment_packed, packed, probe_setup_stopped, probe_teardown),
        STOPPED(test_alignment_of_the_mapping),
        STOPPED(test_start_wants_all_of_it),
        STOPPED(test_areas_must_be_mapped),
        STOPPED(test_areas_across_regions),
        STOPPED(test_areas_across_half_a_page),
        STARTED(test_new_addresses_of_a_started_queue),
        STARTED(test_stop_and_start_go_on),
        STARTED(test_base),
        STARTED(test_generation_makes_late_pushes_harmless),
        STOPPED(test_kick_descriptor),
        STARTED(test_has_moved),
        STARTED(test_remap_finds_the_ring_again),
        STARTED(test_remap_forgets_the_last_region),
        STARTED(test_remap_without_the_ring_breaks),
        STOPPED(test_remap_of_a_stopped_queue),
    };

    return cmocka_run_group_tests_name("virtqueue", tests, NULL, NULL);
}
