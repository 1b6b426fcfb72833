/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of a virtqueue, and chains on their way through it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "lib/rig.h"

#define SIZE   256u
#define PIECES 600u

struct fixture {
    struct rig rig;
    struct iovec iov[PIECES];
};

static struct fixture *begin(uint16_t size, uint64_t features)
{
    struct fixture *f = test_calloc(1, sizeof(*f));

    rig_init_started(&f->rig, size, features);
    return f;
}

static int setup(void **state)
{
    *state = begin(SIZE, RIG_F_INDIRECT);
    return 0;
}

/* For tests of what comes before the start. */
static int setup_stopped(void **state)
{
    struct fixture *f = test_calloc(1, sizeof(*f));

    rig_init(&f->rig, SIZE, RIG_F_INDIRECT);
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

static struct ring_buffer readable(uint64_t addr, uint32_t len)
{
    return (struct ring_buffer){addr, len, false};
}

static struct ring_buffer writable(uint64_t addr, uint32_t len)
{
    return (struct ring_buffer){addr, len, true};
}

static int pop(struct fixture *f, struct shunt_chain *chain)
{
    return shunt_virtqueue_pop(f->rig.queue, chain, f->iov, PIECES);
}

static void expect_piece(struct fixture *f, unsigned idx, uint64_t addr, uint64_t len)
{
    assert_int_equal(f->iov[idx].iov_len, len);
    assert_true(rig_is_at(&f->rig, f->iov[idx].iov_base, addr));
}

static void expect_used(struct fixture *f, unsigned id, unsigned len)
{
    struct split_used_element used;

    assert_true(ring_take_used(&f->rig.ring, &used));
    assert_int_equal(used.id, id);
    assert_int_equal(used.len, len);
}

/* One chain of one buffer goes through, so the queue works. */
static void expect_alive(struct fixture *f)
{
    struct ring_buffer buffer = writable(RIG_BUFFERS, 100);
    struct shunt_chain chain;
    int head = ring_add(&f->rig.ring, &buffer, 1);

    assert_true(head >= 0);
    assert_int_equal(ring_num_used(&f->rig.ring), 0);
    ring_publish(&f->rig.ring);
    assert_int_equal(pop(f, &chain), 1);
    assert_int_equal(chain.head, head);
    shunt_virtqueue_push(f->rig.queue, &chain, 77);
    shunt_virtqueue_publish(f->rig.queue);
    expect_used(f, (unsigned)head, 77);
    assert_int_equal(ring_num_used(&f->rig.ring), 0);
}

/* --- Configuration, start, stop --------------------------------------------------------------------- */

static void test_sizes(void **state)
{
    struct fixture *f = *state;
    static const uint32_t bad[] = {0,     3,     255,   257,      32767,
                                   32769, 49152, 65536, 1u << 31, UINT32_MAX};
    struct shunt_error error = {0};

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(virtqueue_set_size(f->rig.queue, bad[i], &error), -EINVAL);
        assert_int_equal(error.code, -EINVAL);
        assert_int_equal(shunt_virtqueue_size(f->rig.queue), SIZE);
    }
    for (uint32_t size = 1; size <= SHUNT_VIRTQUEUE_MAX_SIZE; size *= 2) {
        assert_int_equal(virtqueue_set_size(f->rig.queue, size, NULL), 0);
        assert_int_equal(shunt_virtqueue_size(f->rig.queue), size);
    }
}

static void test_size_of_a_started_queue(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(virtqueue_set_size(f->rig.queue, SIZE / 2, NULL), -EBUSY);
    assert_int_equal(shunt_virtqueue_size(f->rig.queue), SIZE);
    virtqueue_stop(f->rig.queue);
    assert_int_equal(virtqueue_set_size(f->rig.queue, SIZE / 2, NULL), 0);
    assert_int_equal(shunt_virtqueue_size(f->rig.queue), SIZE / 2);
}

/* From the smallest to the largest ring, filled to the brim. */
static void test_rings_of_all_sizes(void **state)
{
    for (uint32_t size = 1; size <= SHUNT_VIRTQUEUE_MAX_SIZE; size *= 2) {
        struct fixture *f = begin((uint16_t)size, 0);
        struct ring_buffer buffer = readable(RIG_BUFFERS, 1);
        struct shunt_chain chain;

        for (unsigned i = 0; i < size; i++)
            assert_int_equal(ring_add(&f->rig.ring, &buffer, 1), i);
        assert_int_equal(ring_add(&f->rig.ring, &buffer, 1), -1);
        ring_publish(&f->rig.ring);
        for (unsigned i = 0; i < size; i++) {
            assert_int_equal(pop(f, &chain), 1);
            assert_int_equal(chain.head, i);
            shunt_virtqueue_push(f->rig.queue, &chain, 0);
        }
        assert_int_equal(pop(f, &chain), 0);
        shunt_virtqueue_publish(f->rig.queue);
        assert_int_equal(ring_num_used(&f->rig.ring), size);
        for (unsigned i = 0; i < size; i++)
            expect_used(f, i, 0);
        expect_alive(f);
        teardown((void **)&f);
    }
}

static void test_alignment(void **state)
{
    struct fixture *f = *state;
    static const struct virtqueue_addresses off[] = {
        {8, 0, 0}, {1, 0, 0}, {0, 1, 0}, {0, 0, 2}, {0, 0, 1},
    };
    struct virtqueue_addresses good = ring_addresses(&f->rig.ring);

    for (unsigned i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
        struct virtqueue_addresses bad = {
            good.descriptor + off[i].descriptor,
            good.driver + off[i].driver,
            good.device + off[i].device,
        };
        struct shunt_error error = {0};

        assert_int_equal(virtqueue_set_addresses(f->rig.queue, &bad, &error), -EINVAL);
        assert_int_equal(error.code, -EINVAL);
        assert_memory_equal(&f->rig.queue->addresses, &good, sizeof(good));
    }
    /* The available ring needs no more than 2. */
    good.driver += 2;
    assert_int_equal(virtqueue_set_addresses(f->rig.queue, &good, NULL), 0);
}

/* Aligned addresses mean nothing if the region lies askew in our memory. */
static void test_alignment_of_the_mapping(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region askew = area_region(&f->rig.low);

    askew.size -= 16;
    askew.fd_offset = 3;
    assert_int_equal(shunt_memory_replace(f->rig.memory, &askew, &f->rig.low.fd, 1, NULL), 0);
    assert_int_equal(rig_start(&f->rig), -EINVAL);
    assert_false(shunt_virtqueue_is_started(f->rig.queue));
    askew.fd_offset = 16;
    assert_int_equal(shunt_memory_replace(f->rig.memory, &askew, &f->rig.low.fd, 1, NULL), 0);
    assert_int_equal(rig_start(&f->rig), 0);
}

static void test_start_wants_all_of_it(void **state)
{
    struct fixture *f = *state;
    struct virtqueue_addresses addresses = ring_addresses(&f->rig.ring);
    struct shunt_virtqueue *queue;
    struct shunt_error error = {0};
    struct shunt_chain chain;

    assert_int_equal(virtqueue_create(f->rig.memory, NULL, NULL, &queue), 0);
    assert_int_equal(virtqueue_start(queue, 0, &error), -EINVAL);
    assert_int_equal(error.code, -EINVAL);
    assert_int_equal(virtqueue_set_size(queue, SIZE, NULL), 0);
    error.code = 0;
    assert_int_equal(virtqueue_start(queue, 0, &error), -EINVAL);
    assert_int_equal(error.code, -EINVAL);
    assert_false(shunt_virtqueue_is_started(queue));
    assert_int_equal(shunt_virtqueue_pop(queue, &chain, f->iov, PIECES), -ENOTCONN);
    assert_int_equal(virtqueue_set_addresses(queue, &addresses, NULL), 0);
    assert_int_equal(virtqueue_start(queue, 0, NULL), 0);
    assert_true(shunt_virtqueue_is_started(queue));
    assert_int_equal(shunt_virtqueue_kick_fd(queue), -1);
    virtqueue_destroy(queue);
    virtqueue_destroy(NULL);
}

/* Each area within one region, up to its last byte, and not one byte further. */
static void test_areas_must_be_mapped(void **state)
{
    struct fixture *f = *state;
    const uint64_t bytes[] = {16 * SIZE, 6 + 2 * SIZE, 6 + 8 * SIZE};
    const uint64_t ends[] = {RIG_LOW_USER + RIG_AREA_BYTES, RIG_HIGH_USER + RIG_AREA_BYTES};

    for (unsigned which = 0; which < 3; which++) {
        struct virtqueue_addresses good = ring_addresses(&f->rig.ring);
        uint64_t *addr = which == 0 ? &good.descriptor : which == 1 ? &good.driver : &good.device;

        for (unsigned i = 0; i < 2; i++) {
            uint64_t last = (ends[i] - bytes[which]) & ~UINT64_C(15);

            *addr = last;
            assert_int_equal(virtqueue_set_addresses(f->rig.queue, &good, NULL), 0);
            assert_int_equal(rig_start(&f->rig), 0);
            virtqueue_stop(f->rig.queue);
            *addr = last + 16;
            assert_int_equal(virtqueue_set_addresses(f->rig.queue, &good, NULL), 0);
            assert_int_equal(rig_start(&f->rig), -EINVAL);
            *addr = ends[i];
            assert_int_equal(virtqueue_set_addresses(f->rig.queue, &good, NULL), 0);
            assert_int_equal(rig_start(&f->rig), -EINVAL);
            *addr = 0;
            assert_int_equal(virtqueue_set_addresses(f->rig.queue, &good, NULL), 0);
            assert_int_equal(rig_start(&f->rig), -EINVAL);
            assert_false(shunt_virtqueue_is_started(f->rig.queue));
        }
    }
}

/* Neighbours in user space, too, are two mappings. */
static void test_areas_must_not_cross_regions(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region regions[] = {
        {RIG_LOW, RIG_LOW_USER, 4096, 0},
        {RIG_LOW + 4096, RIG_LOW_USER + 4096, RIG_AREA_BYTES - 4096, 4096},
    };
    int fds[] = {f->rig.low.fd, f->rig.low.fd};
    struct virtqueue_addresses addresses = ring_addresses(&f->rig.ring);

    assert_int_equal(shunt_memory_replace(f->rig.memory, regions, fds, 2, NULL), 0);
    assert_int_equal(rig_start(&f->rig), 0); /* the descriptors fill the first page */
    virtqueue_stop(f->rig.queue);
    addresses.descriptor += 16;
    assert_int_equal(virtqueue_set_addresses(f->rig.queue, &addresses, NULL), 0);
    assert_int_equal(rig_start(&f->rig), -EINVAL);
}

static void test_new_addresses_of_a_started_queue(void **state)
{
    struct fixture *f = *state;
    struct virtqueue_addresses before = ring_addresses(&f->rig.ring), bad = before, after;

    expect_alive(f);
    bad.driver = RIG_LOW_USER + RIG_AREA_BYTES - 2;
    assert_int_equal(virtqueue_set_addresses(f->rig.queue, &bad, NULL), -EINVAL);
    assert_memory_equal(&f->rig.queue->addresses, &before, sizeof(before));
    expect_alive(f);
    /* The ring moves with all that is in it. */
    memcpy(f->rig.high.base + 4096, f->rig.low.base, ring_bytes(SIZE));
    after = (struct virtqueue_addresses){
        before.descriptor - RIG_LOW_USER + RIG_HIGH_USER + 4096,
        before.driver - RIG_LOW_USER + RIG_HIGH_USER + 4096,
        before.device - RIG_LOW_USER + RIG_HIGH_USER + 4096,
    };
    assert_int_equal(virtqueue_set_addresses(f->rig.queue, &after, NULL), 0);
    f->rig.ring.descriptors = (void *)(f->rig.high.base + 4096);
    f->rig.ring.available = (void *)((uint8_t *)f->rig.ring.available - f->rig.low.base +
                                     f->rig.high.base + 4096);
    f->rig.ring.used = (void *)((uint8_t *)f->rig.ring.used - f->rig.low.base + f->rig.high.base +
                                4096);
    expect_alive(f);
}

static void test_stop_and_start_go_on(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer buffer = readable(RIG_BUFFERS, 10);
    struct shunt_chain chain;

    for (unsigned i = 0; i < 5; i++)
        expect_alive(f);
    for (unsigned i = 0; i < 3; i++)
        assert_true(ring_add(&f->rig.ring, &buffer, 1) >= 0);
    ring_publish(&f->rig.ring);
    assert_int_equal(pop(f, &chain), 1);
    shunt_virtqueue_push(f->rig.queue, &chain, 0);
    shunt_virtqueue_publish(f->rig.queue);
    expect_used(f, chain.head, 0);
    virtqueue_stop(f->rig.queue);
    assert_int_equal(f->rig.queue->base, 6);
    assert_false(shunt_virtqueue_is_started(f->rig.queue));
    assert_int_equal(pop(f, &chain), -ENOTCONN);
    virtqueue_stop(f->rig.queue); /* twice is once */
    assert_int_equal(f->rig.queue->base, 6);
    assert_int_equal(rig_start(&f->rig), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pop(f, &chain), 1);
        shunt_virtqueue_push(f->rig.queue, &chain, 0);
    }
    assert_int_equal(pop(f, &chain), 0);
    shunt_virtqueue_publish(f->rig.queue);
    assert_int_equal(ring_num_used(&f->rig.ring), 2);
}

static void test_base(void **state)
{
    struct fixture *f = *state;
    static const uint16_t bases[] = {1, SIZE - 1, SIZE, 32768, 65535};

    for (unsigned i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
        virtqueue_stop(f->rig.queue);
        ring_set_base(&f->rig.ring, bases[i]);
        f->rig.queue->base = bases[i];
        assert_int_equal(rig_start(&f->rig), 0);
        expect_alive(f);
        expect_alive(f);
        assert_int_equal(f->rig.ring.used->idx, (uint16_t)(bases[i] + 2));
        virtqueue_stop(f->rig.queue);
        assert_int_equal(f->rig.queue->base, (uint16_t)(bases[i] + 2));
    }
}

static void test_generation_makes_late_pushes_harmless(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer buffer = writable(RIG_BUFFERS, 10);
    struct shunt_chain old, chain;

    assert_true(ring_add(&f->rig.ring, &buffer, 1) >= 0);
    assert_true(ring_add(&f->rig.ring, &buffer, 1) >= 0);
    ring_publish(&f->rig.ring);
    assert_int_equal(pop(f, &old), 1);
    virtqueue_stop(f->rig.queue);
    shunt_virtqueue_push(f->rig.queue, &old, 10);
    shunt_virtqueue_publish(f->rig.queue);
    assert_int_equal(rig_start(&f->rig), 0);
    shunt_virtqueue_push(f->rig.queue, &old, 10);
    shunt_virtqueue_publish(f->rig.queue);
    assert_int_equal(ring_num_used(&f->rig.ring), 0);
    assert_int_equal(pop(f, &chain), 1);
    assert_int_not_equal(chain.generation, old.generation);
    shunt_virtqueue_push(f->rig.queue, &old, 10);
    shunt_virtqueue_push(f->rig.queue, &chain, 3);
    shunt_virtqueue_publish(f->rig.queue);
    assert_int_equal(ring_num_used(&f->rig.ring), 1);
    expect_used(f, chain.head, 3);
}

/* Who watches it stops to watch when the queue has stopped: until then it must be told which it was. */
static void test_kick_descriptor(void **state)
{
    struct fixture *f = *state;
    int fd;

    assert_int_equal(shunt_virtqueue_kick_fd(f->rig.queue), -1);
    assert_int_equal(rig_start(&f->rig), 0);
    fd = shunt_virtqueue_kick_fd(f->rig.queue);
    assert_true(fd >= 0);
    virtqueue_stop(f->rig.queue);
    assert_int_equal(shunt_virtqueue_kick_fd(f->rig.queue), fd);
}

static void test_has_moved(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer buffer = writable(RIG_BUFFERS, 10);
    struct shunt_chain chain;

    virtqueue_stop(f->rig.queue);
    ring_set_base(&f->rig.ring, 500);
    f->rig.queue->base = 500;
    assert_int_equal(rig_start(&f->rig), 0);
    assert_false(virtqueue_has_moved(f->rig.queue));
    assert_true(ring_add(&f->rig.ring, &buffer, 1) >= 0);
    assert_false(virtqueue_has_moved(f->rig.queue));
    ring_publish(&f->rig.ring);
    assert_true(virtqueue_has_moved(f->rig.queue)); /* seen, not taken */
    assert_int_equal(pop(f, &chain), 1);
    assert_true(virtqueue_has_moved(f->rig.queue)); /* taken */
    virtqueue_stop(f->rig.queue);
    assert_false(virtqueue_has_moved(f->rig.queue));
}

/* --- Chains ----------------------------------------------------------------------------------------- */

static void test_chains_of_each_length(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer buffers[SIZE];
    struct shunt_chain chain;

    for (unsigned num = 1; num <= SIZE; num++) {
        unsigned num_readable = num / 3;
        uint32_t sums[2] = {0, 0};
        int head;

        for (unsigned i = 0; i < num; i++) {
            buffers[i] = (struct ring_buffer){RIG_BUFFERS + i * 4096u, i + 1, i >= num_readable};
            sums[buffers[i].is_writable] += i + 1;
        }
        head = ring_add(&f->rig.ring, buffers, num);
        assert_true(head >= 0);
        assert_int_equal(pop(f, &chain), 0); /* not before it is published */
        ring_publish(&f->rig.ring);
        assert_int_equal(pop(f, &chain), 1);
        assert_int_equal(chain.head, head);
        assert_int_equal(chain.num_readable, num_readable);
        assert_int_equal(chain.num_writable, num - num_readable);
        assert_int_equal(chain.readable_len, sums[0]);
        assert_int_equal(chain.writable_len, sums[1]);
        for (unsigned i = 0; i < num; i++)
            expect_piece(f, i, buffers[i].addr, i + 1);
        assert_int_equal(pop(f, &chain), 0);
        chain.generation = f->rig.queue->generation;
        shunt_virtqueue_push(f->rig.queue, &chain, sums[1]);
        shunt_virtqueue_publish(f->rig.queue);
        expect_used(f, (unsigned)head, sums[1]);
    }
}

static void test_buffers_are_shared_memory(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer buffers[] = {readable(RIG_BUFFERS, 6), writable(RIG_BUFFERS + 100, 4)};
    struct shunt_chain chain;

    memcpy(rig_at(&f->rig, RIG_BUFFERS), "asked?", 6);
    assert_int_equal(ring_add(&f->rig.ring, buffers, 2), 0);
    ring_publish(&f->rig.ring);
    assert_int_equal(pop(f, &chain), 1);
    assert_memory_equal(f->iov[0].iov_base, "asked?", 6);
    memcpy(f->iov[1].iov_base, "yes!", 4);
    assert_memory_equal(rig_at(&f->rig, RIG_BUFFERS + 100), "yes!", 4);
}

static void test_buffers_across_regions(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer buffers[] = {
        readable(RIG_BORDER - 1, 2),
        readable(RIG_BORDER - 100, 100),
        readable(RIG_BORDER, 50),
        writable(RIG_BORDER - 4000, 5000),
        writable(RIG_LOW, (uint32_t)(RIG_END - RIG_LOW)),
    };
    struct shunt_chain chain;

    assert_int_equal(ring_add(&f->rig.ring, buffers, 5), 0);
    ring_publish(&f->rig.ring);
    assert_int_equal(pop(f, &chain), 1);
    assert_int_equal(chain.num_readable, 4);
    assert_int_equal(chain.num_writable, 4);
    assert_int_equal(chain.readable_len, 152);
    assert_int_equal(chain.writable_len, 5000 + RIG_END - RIG_LOW);
    expect_piece(f, 0, RIG_BORDER - 1, 1);
    expect_piece(f, 1, RIG_BORDER, 1);
    expect_piece(f, 2, RIG_BORDER - 100, 100);
    expect_piece(f, 3, RIG_BORDER, 50);
    expect_piece(f, 4, RIG_BORDER - 4000, 4000);
    expect_piece(f, 5, RIG_BORDER, 1000);
    expect_piece(f, 6, RIG_LOW, RIG_AREA_BYTES);
    expect_piece(f, 7, RIG_BORDER, RIG_AREA_BYTES);
}

static void test_no_room_leaves_the_chain(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer buffers[] = {readable(RIG_BUFFERS, 1), readable(RIG_BORDER - 1, 2),
                                    writable(RIG_BUFFERS, 9)};
    struct shunt_chain chain;

    assert_int_equal(ring_add(&f->rig.ring, buffers, 3), 0);
    ring_publish(&f->rig.ring);
    for (unsigned max = 0; max < 4; max++) {
        f->iov[max] = (struct iovec){f, 4711};
        assert_int_equal(shunt_virtqueue_pop(f->rig.queue, &chain, f->iov, max), -ENOBUFS);
        assert_ptr_equal(f->iov[max].iov_base, f);
        assert_int_equal(f->iov[max].iov_len, 4711);
    }
    assert_int_equal(f->rig.queue->next_available, 0);
    assert_int_equal(shunt_virtqueue_pop(f->rig.queue, &chain, f->iov, 4), 1);
    assert_int_equal(chain.head, 0);
    assert_int_equal(chain.num_readable, 3);
    assert_int_equal(chain.num_writable, 1);
    assert_int_equal(f->rig.num_broken, 0);
}

static void test_any_order_and_later(void **state)
{
    struct fixture *f = *state;
    static const unsigned order[] = {3, 0, 4, 1, 2};
    struct ring_buffer buffer = writable(RIG_BUFFERS, 100);
    struct shunt_chain chains[5];

    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(ring_add(&f->rig.ring, &buffer, 1), i);
    ring_publish(&f->rig.ring);
    shunt_virtqueue_lock(f->rig.queue);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(pop(f, &chains[i]), 1);
    shunt_virtqueue_unlock(f->rig.queue);
    for (unsigned i = 0; i < 5; i++) {
        shunt_virtqueue_lock(f->rig.queue);
        shunt_virtqueue_push(f->rig.queue, &chains[order[i]], order[i] * 10);
        assert_int_equal(ring_num_used(&f->rig.ring), 0);
        shunt_virtqueue_unlock(f->rig.queue);
    }
    shunt_virtqueue_publish(f->rig.queue);
    assert_int_equal(ring_num_used(&f->rig.ring), 5);
    for (unsigned i = 0; i < 5; i++)
        expect_used(f, order[i], order[i] * 10);
}

/* Both indices wrap at 65536; batches of all sizes shift against the ring's own end. */
static void test_indices_wrap(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer buffer = writable(RIG_BUFFERS, 65000);
    unsigned total = 0, batch = 1;

    while (total < 150000) {
        struct shunt_chain chain;
        int heads[SIZE];

        for (unsigned i = 0; i < batch; i++) {
            heads[i] = ring_add(&f->rig.ring, &buffer, 1);
            assert_true(heads[i] >= 0);
        }
        ring_publish(&f->rig.ring);
        for (unsigned i = 0; i < batch; i++) {
            assert_int_equal(pop(f, &chain), 1);
            assert_int_equal(chain.head, heads[i]);
            shunt_virtqueue_push(f->rig.queue, &chain, (total + i) % 65000);
        }
        assert_int_equal(pop(f, &chain), 0);
        shunt_virtqueue_publish(f->rig.queue);
        assert_int_equal(ring_num_used(&f->rig.ring), batch);
        for (unsigned i = 0; i < batch; i++)
            expect_used(f, (unsigned)heads[i], (total + i) % 65000);
        total += batch;
        batch = batch % SIZE + 1;
    }
    assert_int_equal(f->rig.queue->next_available, (uint16_t)total);
    assert_int_equal(f->rig.ring.used->idx, (uint16_t)total);
}

/* A ring as long as half of what an index can count: ahead and behind must not be mixed up. */
static void test_largest_ring_wraps(void **state)
{
    struct fixture *f = begin(SHUNT_VIRTQUEUE_MAX_SIZE, 0);
    struct ring_buffer buffer = writable(RIG_BUFFERS, 1);
    struct shunt_chain chain;

    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < SHUNT_VIRTQUEUE_MAX_SIZE; i++)
            assert_true(ring_add(&f->rig.ring, &buffer, 1) >= 0);
        ring_publish(&f->rig.ring);
        for (unsigned i = 0; i < SHUNT_VIRTQUEUE_MAX_SIZE; i++) {
            assert_int_equal(pop(f, &chain), 1);
            shunt_virtqueue_push(f->rig.queue, &chain, i);
        }
        assert_int_equal(pop(f, &chain), 0);
        shunt_virtqueue_publish(f->rig.queue);
        assert_int_equal(ring_num_used(&f->rig.ring), SHUNT_VIRTQUEUE_MAX_SIZE);
        for (unsigned i = 0; i < SHUNT_VIRTQUEUE_MAX_SIZE; i++) {
            struct split_used_element used;

            assert_true(ring_take_used(&f->rig.ring, &used));
            assert_int_equal(used.len, i);
        }
    }
    teardown((void **)&f);
}

static void test_rewind(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer buffer = writable(RIG_BUFFERS, 100);
    struct shunt_virtqueue *queue = f->rig.queue;
    struct virtqueue_cursor cursor;
    struct shunt_chain chain;

    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(ring_add(&f->rig.ring, &buffer, 1), i);
    ring_publish(&f->rig.ring);
    assert_int_equal(virtqueue_available(queue, 3), 3);
    assert_int_equal(virtqueue_fetch(queue, &chain, f->iov, PIECES), 0);
    virtqueue_return(queue, chain.head, 11);
    cursor = virtqueue_cursor(queue);
    for (unsigned i = 1; i < 3; i++) {
        assert_int_equal(virtqueue_fetch(queue, &chain, f->iov, PIECES), 0);
        assert_int_equal(chain.head, i);
        virtqueue_return(queue, chain.head, 99);
    }
    virtqueue_rewind(queue, cursor);
    virtqueue_publish(queue);
    assert_int_equal(ring_num_used(&f->rig.ring), 1);
    expect_used(f, 0, 11);
    assert_int_equal(virtqueue_available(queue, 32), 3);
    assert_int_equal(virtqueue_fetch(queue, &chain, f->iov, PIECES), 0);
    assert_int_equal(chain.head, 1);
    assert_int_equal(virtqueue_skip(queue), 2);
    virtqueue_return(queue, 2, 0);
    virtqueue_return(queue, 1, 22);
    virtqueue_publish(queue);
    expect_used(f, 2, 0);
    expect_used(f, 1, 22);
    assert_int_equal(pop(f, &chain), 1);
    assert_int_equal(chain.head, 3);
}

/* What the driver says after it was read once is not heard. */
static void test_descriptors_are_read_once(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer buffer = writable(RIG_BUFFERS, 100);
    struct shunt_chain chain;

    assert_int_equal(ring_add(&f->rig.ring, &buffer, 1), 0);
    ring_publish(&f->rig.ring);
    assert_int_equal(pop(f, &chain), 1);
    memset(f->rig.ring.descriptors, 0xff, 16 * SIZE);
    f->rig.ring.available->ring[0] = 0xffff;
    shunt_virtqueue_push(f->rig.queue, &chain, 5);
    shunt_virtqueue_publish(f->rig.queue);
    expect_piece(f, 0, RIG_BUFFERS, 100);
    expect_used(f, 0, 5);
    assert_int_equal(f->rig.num_broken, 0);
}

/* --- Indirect tables -------------------------------------------------------------------------------- */

static void expect_indirect(struct fixture *f, uint64_t table_addr, unsigned num)
{
    struct ring_buffer buffers[8] = {0};
    uint8_t entries[8 * 16];
    struct shunt_chain chain;
    uint32_t sum = 0;
    int head;

    for (unsigned i = 0; i < num; i++) {
        buffers[i] = readable(RIG_BUFFERS + 4096u * i, i + 10);
        sum += i + 10;
    }
    head = ring_add_indirect(&f->rig.ring, entries, table_addr, buffers, num);
    assert_true(head >= 0);
    for (unsigned i = 0; i < num * 16; i++)
        *(uint8_t *)rig_at(&f->rig, table_addr + i) = entries[i];
    ring_publish(&f->rig.ring);
    assert_int_equal(pop(f, &chain), 1);
    assert_int_equal(chain.head, head);
    assert_int_equal(chain.num_readable, num);
    assert_int_equal(chain.readable_len, sum);
    for (unsigned i = 0; i < num; i++)
        expect_piece(f, i, buffers[i].addr, buffers[i].len);
    shunt_virtqueue_push(f->rig.queue, &chain, 0);
    shunt_virtqueue_publish(f->rig.queue);
    expect_used(f, (unsigned)head, 0);
}

static void test_indirect(void **state)
{
    struct fixture *f = *state;

    for (unsigned num = 1; num <= 8; num++)
        expect_indirect(f, RIG_BUFFERS + 0x80000, num);
}

/* At each offset to the border, and so at each alignment. */
static void test_indirect_across_regions(void **state)
{
    struct fixture *f = *state;

    for (unsigned before = 0; before <= 8 * 16; before++)
        expect_indirect(f, RIG_BORDER - before, 8);
}

static void test_direct_then_indirect(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer buffers[] = {readable(RIG_BUFFERS + 50, 5), writable(RIG_BUFFERS + 60, 6)};
    struct shunt_chain chain;

    assert_int_equal(ring_add_indirect(&f->rig.ring, rig_at(&f->rig, RIG_BORDER), RIG_BORDER,
                                       buffers, 2),
                     0);
    ring_set_descriptor(&f->rig.ring, 7, RIG_BUFFERS, 4, DESCRIPTOR_F_NEXT, 0);
    /* A table is the driver's to write, whatever its descriptor says (2.7.5.3.2). */
    f->rig.ring.descriptors[0].flags |= DESCRIPTOR_F_WRITE;
    f->rig.ring.available->ring[0] = 7;
    ring_publish(&f->rig.ring);
    assert_int_equal(pop(f, &chain), 1);
    assert_int_equal(chain.head, 7);
    assert_int_equal(chain.num_readable, 2);
    assert_int_equal(chain.num_writable, 1);
    expect_piece(f, 0, RIG_BUFFERS, 4);
    expect_piece(f, 1, RIG_BUFFERS + 50, 5);
    expect_piece(f, 2, RIG_BUFFERS + 60, 6);
}

/* The chain ends where it says, not at the end of its table, and may jump in it. */
static void test_indirect_follows_next(void **state)
{
    struct fixture *f = *state;
    struct split_descriptor *table = rig_at(&f->rig, RIG_BORDER);
    struct shunt_chain chain;

    memset(table, 0xff, 4 * sizeof(*table));
    table[0] = (struct split_descriptor){RIG_BUFFERS, 1, DESCRIPTOR_F_NEXT, 3};
    table[3] = (struct split_descriptor){RIG_BUFFERS + 10, 2, DESCRIPTOR_F_NEXT, 1};
    table[1] = (struct split_descriptor){RIG_BUFFERS + 20, 3, DESCRIPTOR_F_WRITE, 2};
    ring_set_descriptor(&f->rig.ring, 5, RIG_BORDER, 64, DESCRIPTOR_F_INDIRECT, 0);
    ring_offer(&f->rig.ring, 5);
    ring_publish(&f->rig.ring);
    assert_int_equal(pop(f, &chain), 1);
    assert_int_equal(chain.num_readable, 2);
    assert_int_equal(chain.num_writable, 1);
    expect_piece(f, 0, RIG_BUFFERS, 1);
    expect_piece(f, 1, RIG_BUFFERS + 10, 2);
    expect_piece(f, 2, RIG_BUFFERS + 20, 3);
}

/* --- Memory that changes ---------------------------------------------------------------------------- */

static void test_remap_finds_the_ring_again(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region low = area_region(&f->rig.low);
    struct shunt_memory_region front = {0x1000, 0x1000, 0x1000, 0};

    expect_alive(f);
    assert_int_equal(shunt_memory_remove(f->rig.memory, &low, NULL), 0);
    /* A region in front moves those behind it within the table. */
    assert_int_equal(shunt_memory_add(f->rig.memory, &front, f->rig.high.fd, NULL), 0);
    assert_int_equal(shunt_memory_add(f->rig.memory, &low, f->rig.low.fd, NULL), 0);
    virtqueue_remap(f->rig.queue);
    assert_true(shunt_virtqueue_is_started(f->rig.queue));
    expect_alive(f);
    assert_int_equal(f->rig.num_broken, 0);
}

static void test_remap_forgets_the_last_region(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer buffer = readable(RIG_BORDER, 8);
    struct shunt_memory_region high = area_region(&f->rig.high);
    struct shunt_chain chain;

    assert_int_equal(ring_add(&f->rig.ring, &buffer, 1), 0);
    ring_publish(&f->rig.ring);
    assert_int_equal(pop(f, &chain), 1);
    assert_int_equal(shunt_memory_remove(f->rig.memory, &high, NULL), 0);
    virtqueue_remap(f->rig.queue);
    assert_int_equal(ring_add(&f->rig.ring, &buffer, 1), 1);
    ring_publish(&f->rig.ring);
    assert_int_equal(pop(f, &chain), -EPROTO);
    assert_int_equal(f->rig.queue->fault, FAULT_UNMAPPED);
    assert_int_equal(f->rig.queue->fault_value, RIG_BORDER);
}

static void test_remap_without_the_ring_breaks(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region low = area_region(&f->rig.low);
    struct ring_buffer buffer = readable(RIG_BORDER, 8);
    struct shunt_chain chain, popped;

    assert_int_equal(ring_add(&f->rig.ring, &buffer, 1), 0);
    ring_publish(&f->rig.ring);
    assert_int_equal(pop(f, &popped), 1);
    assert_int_equal(shunt_memory_remove(f->rig.memory, &low, NULL), 0);
    virtqueue_remap(f->rig.queue);
    assert_int_equal(f->rig.queue->fault, FAULT_RING_UNMAPPED);
    assert_int_equal(f->rig.queue->fault_value, RIG_LOW_USER);
    assert_int_equal(f->rig.num_broken, 1);
    assert_false(shunt_virtqueue_is_started(f->rig.queue));
    /* Nothing of it is touched any more. */
    assert_int_equal(pop(f, &chain), -EPROTO);
    shunt_virtqueue_push(f->rig.queue, &popped, 0);
    shunt_virtqueue_publish(f->rig.queue);
    assert_true(shunt_virtqueue_arm(f->rig.queue));
    shunt_virtqueue_disarm(f->rig.queue);
    virtqueue_remap(f->rig.queue);
    assert_int_equal(f->rig.num_broken, 1);
    virtqueue_stop(f->rig.queue);
    assert_int_equal(f->rig.queue->base, 1);
    assert_int_equal(rig_start(&f->rig), -EINVAL);
    assert_int_equal(shunt_memory_add(f->rig.memory, &low, f->rig.low.fd, NULL), 0);
    assert_int_equal(rig_start(&f->rig), 0);
    expect_alive(f);
}

static void test_remap_of_a_stopped_queue(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(shunt_memory_replace(f->rig.memory, NULL, NULL, 0, NULL), 0);
    virtqueue_remap(f->rig.queue);
    assert_int_equal(f->rig.num_broken, 0);
    assert_int_equal(f->rig.queue->fault, FAULT_NONE);
}

#define STARTED(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define STOPPED(name) cmocka_unit_test_setup_teardown(name, setup_stopped, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STOPPED(test_sizes),
        STARTED(test_size_of_a_started_queue),
        cmocka_unit_test(test_rings_of_all_sizes),
        STOPPED(test_alignment),
        STOPPED(test_alignment_of_the_mapping),
        STOPPED(test_start_wants_all_of_it),
        STOPPED(test_areas_must_be_mapped),
        STOPPED(test_areas_must_not_cross_regions),
        STARTED(test_new_addresses_of_a_started_queue),
        STARTED(test_stop_and_start_go_on),
        STARTED(test_base),
        STARTED(test_generation_makes_late_pushes_harmless),
        STOPPED(test_kick_descriptor),
        STARTED(test_has_moved),
        STARTED(test_chains_of_each_length),
        STARTED(test_buffers_are_shared_memory),
        STARTED(test_buffers_across_regions),
        STARTED(test_no_room_leaves_the_chain),
        STARTED(test_any_order_and_later),
        STARTED(test_indices_wrap),
        cmocka_unit_test(test_largest_ring_wraps),
        STARTED(test_rewind),
        STARTED(test_descriptors_are_read_once),
        STARTED(test_indirect),
        STARTED(test_indirect_across_regions),
        STARTED(test_direct_then_indirect),
        STARTED(test_indirect_follows_next),
        STARTED(test_remap_finds_the_ring_again),
        STARTED(test_remap_forgets_the_last_region),
        STARTED(test_remap_without_the_ring_breaks),
        STOPPED(test_remap_of_a_stopped_queue),
    };

    return cmocka_run_group_tests_name("virtqueue", tests, NULL, NULL);
}
