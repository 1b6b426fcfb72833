/* SPDX-License-Identifier: BSD-3-Clause */
/* Chains of descriptors on their way through a virtqueue: taken, looked at, and returned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lib/probe.h"

#define SIZE PROBE_SIZE

/* --- Rings ------------------------------------------------------------------------------------------ */

/* Filled to the brim, twice. */
static void check_full_ring(uint16_t size, uint64_t features)
{
    struct probe *p = probe_create(size, features);
    struct ring_buffer buffer = readable(RIG_BUFFERS, 1);
    struct shunt_chain chain;
    int *ids = test_calloc(size, sizeof(*ids));

    for (unsigned lap = 0; lap < 2; lap++) {
        for (unsigned i = 0; i < size; i++)
            ids[i] = probe_add(p, &buffer, 1);
        assert_int_equal(ring_add(&p->rig.ring, &buffer, 1), -1);
        ring_publish(&p->rig.ring);
        for (unsigned i = 0; i < size; i++) {
            probe_expect_chain(p, &chain, ids[i]);
            shunt_virtqueue_push(p->rig.queue, &chain, p->iov, 0);
        }
        assert_int_equal(probe_pop(p, &chain), 0);
        shunt_virtqueue_publish(p->rig.queue);
        assert_int_equal(ring_num_used(&p->rig.ring), size);
        for (unsigned i = 0; i < size; i++)
            probe_expect_used(p, ids[i], 0);
    }
    probe_expect_alive(p);
    assert_int_equal(p->rig.num_broken, 0);
    probe_destroy(p);
    test_free(ids);
}

static void test_rings_of_all_sizes(void **state)
{
    uint64_t features = variant_features(state);

    for (uint32_t size = 1; size <= SHUNT_VIRTQUEUE_MAX_SIZE; size *= 2)
        check_full_ring((uint16_t)size, features);
}

static void test_rings_of_odd_sizes(void **state)
{
    static const uint16_t sizes[] = {3, 5, 7, 100, 255, 257, 1000, 32767};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        check_full_ring(sizes[i], variant_features(state));
}

/* --- Chains ----------------------------------------------------------------------------------------- */

/* One of `num` buffers of which the first `num_readable` are to be read. */
static void check_chain(struct probe *p, unsigned num, unsigned num_readable)
{
    struct ring_buffer buffers[SIZE];
    uint32_t sums[2] = {0, 0};
    struct shunt_chain chain;
    int id;

    for (unsigned i = 0; i < num; i++) {
        buffers[i] = (struct ring_buffer){RIG_BUFFERS + i * 4096u, i + 1, i >= num_readable};
        sums[buffers[i].is_writable] += i + 1;
    }
    id = probe_add(p, buffers, num);
    assert_int_equal(probe_pop(p, &chain), 0); /* not before it is published */
    ring_publish(&p->rig.ring);
    probe_expect_chain(p, &chain, id);
    assert_int_equal(chain.num_descriptors, p->rig.ring.format == RING_PACKED ? num : 1);
    assert_int_equal(chain.num_readable, num_readable);
    assert_int_equal(chain.num_writable, num - num_readable);
    assert_int_equal(chain.readable_len, sums[0]);
    assert_int_equal(chain.writable_len, sums[1]);
    for (unsigned i = 0; i < num; i++)
        probe_expect_piece(p, i, buffers[i].addr, i + 1);
    assert_int_equal(ring_num_used(&p->rig.ring), 0);
    shunt_virtqueue_push(p->rig.queue, &chain, p->iov, sums[1]);
    shunt_virtqueue_publish(p->rig.queue);
    probe_expect_used(p, id, sums[1]);
    assert_int_equal(p->rig.ring.num_free, SIZE);
}

static void test_chains_of_each_length(void **state)
{
    for (unsigned num = 1; num <= SIZE; num++)
        check_chain(*state, num, num / 3);
}

/* Chains of 7: their descriptors lie over the ring's end at each of their places in turn. */
static void test_chains_over_the_end(void **state)
{
    for (unsigned i = 0; i < 7 * SIZE; i++)
        check_chain(*state, 7, i % 8);
}

static void test_buffers_are_shared_memory(void **state)
{
    struct probe *p = *state;
    struct ring_buffer buffers[] = {readable(RIG_BUFFERS, 6), writable(RIG_BUFFERS + 100, 4)};
    struct shunt_chain chain;

    memcpy(rig_at(&p->rig, RIG_BUFFERS), "asked?", 6);
    probe_add(p, buffers, 2);
    ring_publish(&p->rig.ring);
    assert_int_equal(probe_pop(p, &chain), 1);
    assert_memory_equal(p->iov[0].iov_base, "asked?", 6);
    memcpy(p->iov[1].iov_base, "yes!", 4);
    assert_memory_equal(rig_at(&p->rig, RIG_BUFFERS + 100), "yes!", 4);
}

static void test_buffers_across_regions(void **state)
{
    struct probe *p = *state;
    struct ring_buffer buffers[] = {
        readable(RIG_BORDER - 1, 2),
        readable(RIG_BORDER - 100, 100),
        readable(RIG_BORDER, 50),
        writable(RIG_BORDER - 4000, 5000),
        writable(RIG_LOW, (uint32_t)(RIG_END - RIG_LOW)),
    };
    struct shunt_chain chain;

    probe_add(p, buffers, 5);
    ring_publish(&p->rig.ring);
    assert_int_equal(probe_pop(p, &chain), 1);
    assert_int_equal(chain.num_readable, 4);
    assert_int_equal(chain.num_writable, 4);
    assert_int_equal(chain.readable_len, 152);
    assert_int_equal(chain.writable_len, 5000 + RIG_END - RIG_LOW);
    probe_expect_piece(p, 0, RIG_BORDER - 1, 1);
    probe_expect_piece(p, 1, RIG_BORDER, 1);
    probe_expect_piece(p, 2, RIG_BORDER - 100, 100);
    probe_expect_piece(p, 3, RIG_BORDER, 50);
    probe_expect_piece(p, 4, RIG_BORDER - 4000, 4000);
    probe_expect_piece(p, 5, RIG_BORDER, 1000);
    probe_expect_piece(p, 6, RIG_LOW, RIG_AREA_BYTES);
    probe_expect_piece(p, 7, RIG_BORDER, RIG_AREA_BYTES);
}

static void test_no_room_leaves_the_chain(void **state)
{
    struct probe *p = *state;
    struct ring_buffer buffers[] = {readable(RIG_BUFFERS, 1), readable(RIG_BORDER - 1, 2),
                                    writable(RIG_BUFFERS, 9)};
    uint16_t before = p->rig.queue->next_available;
    struct shunt_chain chain;
    int id = probe_add(p, buffers, 3);

    ring_publish(&p->rig.ring);
    for (unsigned max = 0; max < 4; max++) {
        p->iov[max] = (struct iovec){p, 4711};
        assert_int_equal(shunt_virtqueue_pop(p->rig.queue, &chain, p->iov, max), -ENOBUFS);
        assert_ptr_equal(p->iov[max].iov_base, p);
        assert_int_equal(p->iov[max].iov_len, 4711);
    }
    assert_int_equal(p->rig.queue->next_available, before);
    assert_int_equal(shunt_virtqueue_pop(p->rig.queue, &chain, p->iov, 4), 1);
    assert_int_equal(chain.id, id);
    assert_int_equal(chain.num_readable, 3);
    assert_int_equal(chain.num_writable, 1);
    assert_int_equal(p->rig.num_broken, 0);
}

/* One that has too many pieces is skipped and returned, whatever it consists of. */
static void test_skip(void **state)
{
    struct probe *p = *state;
    struct ring_buffer buffers[] = {readable(RIG_BUFFERS, 1), readable(RIG_BUFFERS, 2),
                                    writable(RIG_BUFFERS, 3)};
    struct shunt_chain chain;

    for (unsigned i = 0; i < 2 * SIZE; i++) {
        int skipped = probe_add(p, buffers, 1 + i % 3), next = probe_add(p, buffers, 3);

        ring_publish(&p->rig.ring);
        shunt_virtqueue_skip(p->rig.queue, &chain);
        assert_int_equal(chain.id, skipped);
        probe_give_back(p, &chain, 0);
        probe_expect_chain(p, &chain, next);
        probe_give_back(p, &chain, 3);
        probe_expect_used(p, skipped, 0);
        probe_expect_used(p, next, 3);
    }
}

static void test_any_order_and_later(void **state)
{
    static const unsigned order[] = {3, 0, 4, 1, 2};
    struct probe *p = *state;
    struct ring_buffer buffers[] = {writable(RIG_BUFFERS, 50), writable(RIG_BUFFERS, 50),
                                    writable(RIG_BUFFERS, 50)};
    struct shunt_chain chains[5];
    int ids[5];

    for (unsigned lap = 0; lap < SIZE; lap++) {
        for (unsigned i = 0; i < 5; i++)
            ids[i] = probe_add(p, buffers, 1 + i % 3);
        ring_publish(&p->rig.ring);
        shunt_virtqueue_lock(p->rig.queue);
        for (unsigned i = 0; i < 5; i++)
            probe_expect_chain(p, &chains[i], ids[i]);
        shunt_virtqueue_unlock(p->rig.queue);
        for (unsigned i = 0; i < 5; i++) {
            shunt_virtqueue_lock(p->rig.queue);
            shunt_virtqueue_push(p->rig.queue, &chains[order[i]], p->iov, order[i] * 10);
            assert_int_equal(ring_num_used(&p->rig.ring), 0);
            shunt_virtqueue_unlock(p->rig.queue);
        }
        shunt_virtqueue_publish(p->rig.queue);
        assert_int_equal(ring_num_used(&p->rig.ring), 5);
        for (unsigned i = 0; i < 5; i++)
            probe_expect_used(p, ids[order[i]], order[i] * 10);
    }
}

/* All of an index and of the wrap counter; batches of all sizes shift against the ring's own end. */
static void test_indices_wrap(void **state)
{
    struct probe *p = *state;
    struct ring_buffer buffer = writable(RIG_BUFFERS, 65000);
    unsigned total = 0, batch = 1;

    while (total < 150000) {
        struct shunt_chain chain;
        int ids[SIZE];

        for (unsigned i = 0; i < batch; i++)
            ids[i] = probe_add(p, &buffer, 1);
        ring_publish(&p->rig.ring);
        for (unsigned i = 0; i < batch; i++) {
            probe_expect_chain(p, &chain, ids[i]);
            shunt_virtqueue_push(p->rig.queue, &chain, p->iov, (total + i) % 65000);
        }
        assert_int_equal(probe_pop(p, &chain), 0);
        shunt_virtqueue_publish(p->rig.queue);
        assert_int_equal(ring_num_used(&p->rig.ring), batch);
        for (unsigned i = 0; i < batch; i++)
            probe_expect_used(p, ids[i], (total + i) % 65000);
        total += batch;
        batch = batch % SIZE + 1;
    }
    assert_int_equal(p->rig.queue->next_available, p->rig.ring.next_available);
    assert_int_equal(p->rig.queue->next_used, p->rig.ring.last_used);
}

/* A ring as long as half of what an index can count: ahead and behind must not be mixed up. */
static void test_largest_ring_wraps(void **state)
{
    struct probe *p = probe_create(SHUNT_VIRTQUEUE_MAX_SIZE, variant_features(state));
    struct ring_buffer buffer = writable(RIG_BUFFERS, UINT16_MAX);
    struct shunt_chain chain;
    struct ring_used used;

    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < SHUNT_VIRTQUEUE_MAX_SIZE; i++)
            probe_add(p, &buffer, 1);
        ring_publish(&p->rig.ring);
        for (unsigned i = 0; i < SHUNT_VIRTQUEUE_MAX_SIZE; i++) {
            assert_int_equal(probe_pop(p, &chain), 1);
            shunt_virtqueue_push(p->rig.queue, &chain, p->iov, i);
        }
        assert_int_equal(probe_pop(p, &chain), 0);
        shunt_virtqueue_publish(p->rig.queue);
        assert_int_equal(ring_num_used(&p->rig.ring), SHUNT_VIRTQUEUE_MAX_SIZE);
        for (unsigned i = 0; i < SHUNT_VIRTQUEUE_MAX_SIZE; i++) {
            assert_true(ring_take_used(&p->rig.ring, &used));
            assert_int_equal(used.len, i);
        }
    }
    probe_destroy(p);
}

static void return_chain(struct probe *p, const struct shunt_chain *chain, uint32_t len)
{
    struct used_chain used = {chain->id, chain->num_descriptors, len};

    virtqueue_return(p->rig.queue, p->rig.queue->format, &used, 1);
}

/* What was fetched but not returned can be fetched again. */
static void test_rewind(void **state)
{
    struct probe *p = *state;
    struct shunt_virtqueue *queue = p->rig.queue;
    struct ring_buffer buffers[] = {writable(RIG_BUFFERS, 100), writable(RIG_BUFFERS, 100)};
    struct virtqueue_cursor cursor;
    struct shunt_chain chain;
    struct used_chain used[2];
    int ids[4];

    for (unsigned i = 0; i < 4; i++)
        ids[i] = probe_add(p, buffers, 1 + i % 2);
    ring_publish(&p->rig.ring);
    assert_int_equal(virtqueue_available(queue, queue->format, 3), 3);
    assert_int_equal(virtqueue_fetch(queue, queue->format, &chain, p->iov, PROBE_PIECES), 1);
    return_chain(p, &chain, 11);
    cursor = virtqueue_cursor(queue);
    for (unsigned i = 1; i < 3; i++) {
        assert_int_equal(virtqueue_fetch(queue, queue->format, &chain, p->iov, PROBE_PIECES), 1);
        assert_int_equal(chain.id, ids[i]);
    }
    virtqueue_rewind(queue, cursor);
    virtqueue_publish(queue, queue->format);
    assert_int_equal(ring_num_used(&p->rig.ring), 1);
    probe_expect_used(p, ids[0], 11);
    assert_true(virtqueue_available(queue, queue->format, 32) >= 3);
    assert_int_equal(virtqueue_fetch(queue, queue->format, &chain, p->iov, PROBE_PIECES), 1);
    assert_int_equal(chain.id, ids[1]);
    used[0] = virtqueue_skip(queue, queue->format);
    assert_int_equal(used[0].id, ids[2]);
    assert_int_equal(used[0].num_descriptors, 1);
    used[1] = (struct used_chain){chain.id, chain.num_descriptors, 22};
    used[0].len = 0;
    virtqueue_return(queue, queue->format, used, 2);
    assert_int_equal(ring_num_used(&p->rig.ring), 0);
    virtqueue_publish(queue, queue->format);
    probe_expect_used(p, ids[2], 0);
    probe_expect_used(p, ids[1], 22);
    probe_expect_chain(p, &chain, ids[3]);
}

/* What the driver says after it was read once is not heard. */
static void test_descriptors_are_read_once(void **state)
{
    struct probe *p = *state;
    struct shunt_chain chain;
    int id = probe_offer(p, writable(RIG_BUFFERS, 100));

    assert_int_equal(probe_pop(p, &chain), 1);
    if (p->rig.ring.format == RING_PACKED) {
        memset(p->rig.ring.packed, 0xff, 16 * SIZE);
    } else {
        memset(p->rig.ring.descriptors, 0xff, 16 * SIZE);
        p->rig.ring.available->ring[0] = 0xffff;
    }
    probe_expect_piece(p, 0, RIG_BUFFERS, 100);
    probe_give_back(p, &chain, 5);
    probe_expect_used(p, id, 5);
    assert_int_equal(p->rig.num_broken, 0);
}

/* --- Indirect tables -------------------------------------------------------------------------------- */

static void expect_indirect(struct probe *p, uint64_t table_addr, unsigned num)
{
    struct ring_buffer buffers[8] = {0};
    uint8_t entries[8 * 16];
    struct shunt_chain chain;
    uint32_t sum = 0;
    int id;

    for (unsigned i = 0; i < num; i++) {
        buffers[i] = readable(RIG_BUFFERS + 4096u * i, i + 10);
        sum += i + 10;
    }
    id = ring_add_indirect(&p->rig.ring, entries, table_addr, buffers, num);
    assert_true(id >= 0);
    for (unsigned i = 0; i < num * 16; i++)
        *(uint8_t *)rig_at(&p->rig, table_addr + i) = entries[i];
    ring_publish(&p->rig.ring);
    probe_expect_chain(p, &chain, id);
    assert_int_equal(chain.num_descriptors, 1);
    assert_int_equal(chain.num_readable, num);
    assert_int_equal(chain.readable_len, sum);
    for (unsigned i = 0; i < num; i++)
        probe_expect_piece(p, i, buffers[i].addr, buffers[i].len);
    probe_give_back(p, &chain, 0);
    probe_expect_used(p, id, 0);
}

static void test_indirect(void **state)
{
    for (unsigned num = 1; num <= 8; num++)
        expect_indirect(*state, RIG_BUFFERS + 0x80000, num);
}

/* At each offset to the border, and so at each alignment. */
static void test_indirect_across_regions(void **state)
{
    for (unsigned before = 0; before <= 8 * 16; before++)
        expect_indirect(*state, RIG_BORDER - before, 8);
}

/* A list may be of direct descriptors, or an indirect one, in any sequence (2.8.5). */
static void test_direct_and_indirect_in_turn(void **state)
{
    for (unsigned i = 0; i < 3 * SIZE; i++) {
        expect_indirect(*state, RIG_BUFFERS + 0x80000, 1 + i % 8);
        check_chain(*state, 1 + i % 5, i % 2);
    }
}

/* A table is the driver's to write, whatever its descriptor says (2.7.5.3.2, 2.8.7). */
static void test_indirect_descriptor_that_is_writable(void **state)
{
    struct probe *p = *state;
    struct ring_descriptor entry = {RIG_BUFFERS + 50, 5, 0};
    struct ring_descriptor whole = {RIG_BORDER, 16, DESCRIPTOR_F_INDIRECT | DESCRIPTOR_F_WRITE};
    struct shunt_chain chain;
    int id;

    ring_set_entry(&p->rig.ring, rig_at(&p->rig, RIG_BORDER), &entry, 0);
    id = ring_add_descriptors(&p->rig.ring, &whole, 1);
    ring_publish(&p->rig.ring);
    probe_expect_chain(p, &chain, id);
    assert_int_equal(chain.num_readable, 1);
    assert_int_equal(chain.num_writable, 0);
    probe_expect_piece(p, 0, RIG_BUFFERS + 50, 5);
}

/* Split only: a chain may end in an indirect table (2.7.5.3.2). */
static void test_direct_then_indirect(void **state)
{
    struct probe *p = *state;
    struct ring_buffer buffers[] = {readable(RIG_BUFFERS + 50, 5), writable(RIG_BUFFERS + 60, 6)};
    struct shunt_chain chain;

    assert_int_equal(ring_add_indirect(&p->rig.ring, rig_at(&p->rig, RIG_BORDER), RIG_BORDER,
                                       buffers, 2),
                     0);
    ring_set_descriptor(&p->rig.ring, 7, RIG_BUFFERS, 4, DESCRIPTOR_F_NEXT, 0);
    p->rig.ring.available->ring[0] = 7;
    ring_publish(&p->rig.ring);
    probe_expect_chain(p, &chain, 7);
    assert_int_equal(chain.num_readable, 2);
    assert_int_equal(chain.num_writable, 1);
    probe_expect_piece(p, 0, RIG_BUFFERS, 4);
    probe_expect_piece(p, 1, RIG_BUFFERS + 50, 5);
    probe_expect_piece(p, 2, RIG_BUFFERS + 60, 6);
}

/* Split only: the chain ends where it says, not at the end of its table, and may jump in it. */
static void test_indirect_follows_next(void **state)
{
    struct probe *p = *state;
    struct split_descriptor *table = rig_at(&p->rig, RIG_BORDER);
    struct shunt_chain chain;

    memset(table, 0xff, 4 * sizeof(*table));
    table[0] = (struct split_descriptor){RIG_BUFFERS, 1, DESCRIPTOR_F_NEXT, 3};
    table[3] = (struct split_descriptor){RIG_BUFFERS + 10, 2, DESCRIPTOR_F_NEXT, 1};
    table[1] = (struct split_descriptor){RIG_BUFFERS + 20, 3, DESCRIPTOR_F_WRITE, 2};
    ring_set_descriptor(&p->rig.ring, 5, RIG_BORDER, 64, DESCRIPTOR_F_INDIRECT, 0);
    ring_offer(&p->rig.ring, 5);
    ring_publish(&p->rig.ring);
    assert_int_equal(probe_pop(p, &chain), 1);
    assert_int_equal(chain.num_readable, 2);
    assert_int_equal(chain.num_writable, 1);
    probe_expect_piece(p, 0, RIG_BUFFERS, 1);
    probe_expect_piece(p, 1, RIG_BUFFERS + 10, 2);
    probe_expect_piece(p, 2, RIG_BUFFERS + 20, 3);
}

/* Packed only: all entries of a table belong to the chain, and only WRITE means anything (2.8.7). */
static void test_indirect_entries_have_no_other_flag(void **state)
{
    struct probe *p = *state;
    struct packed_descriptor *table = rig_at(&p->rig, RIG_BORDER);
    struct ring_descriptor whole = {RIG_BORDER, 4 * 16, DESCRIPTOR_F_INDIRECT};
    struct shunt_chain chain;

    for (uint16_t i = 0; i < 4; i++)
        table[i] = (struct packed_descriptor){
            .addr = RIG_BUFFERS + 10u * i,
            .len = 1u + i,
            .id = (uint16_t)(0xff00 + i),
            .flags = i % 2 ? 0xffff & ~(DESCRIPTOR_F_WRITE | DESCRIPTOR_F_NEXT) : 0,
        };
    table[3].flags |= DESCRIPTOR_F_WRITE;
    table[0].flags = 0xffff & ~DESCRIPTOR_F_WRITE;
    probe_expect_alive(p);
    assert_true(ring_add_descriptors(&p->rig.ring, &whole, 1) >= 0);
    ring_publish(&p->rig.ring);
    assert_int_equal(probe_pop(p, &chain), 1);
    assert_int_equal(chain.num_readable, 3);
    assert_int_equal(chain.num_writable, 1);
    for (unsigned i = 0; i < 4; i++)
        probe_expect_piece(p, i, RIG_BUFFERS + 10 * i, 1 + i);
}

#define BOTH(name) BOTH_FORMATS(name, probe_setup, probe_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_FORMATS(test_rings_of_all_sizes, NULL, NULL),
        VARIANT(test_rings_of_odd_sizes, packed, NULL, NULL),
        BOTH(test_chains_of_each_length),
        BOTH(test_chains_over_the_end),
        BOTH(test_buffers_are_shared_memory),
        BOTH(test_buffers_across_regions),
        BOTH(test_no_room_leaves_the_chain),
        BOTH(test_skip),
        BOTH(test_any_order_and_later),
        BOTH(test_indices_wrap),
        BOTH_FORMATS(test_largest_ring_wraps, NULL, NULL),
        BOTH(test_rewind),
        BOTH(test_descriptors_are_read_once),
        BOTH(test_indirect),
        BOTH(test_indirect_across_regions),
        BOTH(test_direct_and_indirect_in_turn),
        BOTH(test_indirect_descriptor_that_is_writable),
        VARIANT(test_direct_then_indirect, split, probe_setup, probe_teardown),
        VARIANT(test_indirect_follows_next, split, probe_setup, probe_teardown),
        VARIANT(test_indirect_entries_have_no_other_flag, packed, probe_setup, probe_teardown),
    };

    return cmocka_run_group_tests_name("chain", tests, NULL, NULL);
}
