/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's side of rings with IN_ORDER (lib/ring.h) against used entries that are written by hand, as
 * a device may write them: one for each chain, or one for a batch (VIRTIO 1.3, 2.7.9 and 2.8.9).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/probe.h"

#define SIZE 16u

static int setup(void **state)
{
    uint64_t features = variant_features(state) | RIG_F_IN_ORDER;
    struct probe *p = probe_create(SIZE, features);

    virtqueue_stop(p->rig.queue); /* the device is the test */
    *state = p;
    return 0;
}

/* Chains of 1, 2, 3, 1, … descriptors, the last of each to be written to. */
static void add(struct probe *p, unsigned num, int *ids)
{
    struct ring_buffer buffers[] = {readable(RIG_BUFFERS, 10), readable(RIG_BUFFERS, 10),
                                    writable(RIG_BUFFERS, 50)};

    for (unsigned i = 0; i < num; i++)
        ids[i] = probe_add(p, buffers + 2 - i % 3, 1 + i % 3);
    ring_publish(&p->rig.ring);
}

/* One used entry in the place of the first chain of a batch of `num`, of which it names the last. */
static void use_batch(struct probe *p, unsigned num, int id, uint32_t len)
{
    struct ring *ring = &p->rig.ring;
    uint16_t place = ring->last_used;

    if (ring->format == RING_PACKED) {
        ring->packed[place & PACKED_POSITION_IDX] = (struct packed_descriptor){
            .addr = UINT64_MAX,
            .len = len,
            .id = (uint16_t)id,
            .flags = ring_used_flags(place) | DESCRIPTOR_F_WRITE,
        };
        return;
    }
    ring->used->ring[place % SIZE] = (struct split_used_element){(uint32_t)id, len};
    ring->used->idx = (uint16_t)(place + num);
}

static void test_batches(void **state)
{
    struct probe *p = *state;
    int ids[6];

    for (unsigned lap = 0; lap < 200; lap++) {
        unsigned num = lap % 6 + 1;

        add(p, num, ids);
        assert_int_equal(ring_num_used(&p->rig.ring), 0);
        use_batch(p, num, ids[num - 1], 33);
        assert_int_equal(ring_num_used(&p->rig.ring), num);
        for (unsigned i = 0; i < num; i++) {
            probe_expect_used(p, ids[i], i + 1 == num ? 33 : 50);
            assert_int_equal(ring_num_used(&p->rig.ring), num - 1 - i);
        }
        assert_int_equal(p->rig.ring.num_free, SIZE);
    }
}

/* Some of what is under way, then the rest. */
static void test_two_batches(void **state)
{
    struct probe *p = *state;
    int ids[6];

    for (unsigned lap = 0; lap < 200; lap++) {
        unsigned first = lap % 5 + 1;

        add(p, 6, ids);
        use_batch(p, first, ids[first - 1], 1);
        for (unsigned i = 0; i < first; i++)
            probe_expect_used(p, ids[i], i + 1 == first ? 1 : 50);
        use_batch(p, 6 - first, ids[5], 2);
        for (unsigned i = first; i < 6; i++)
            probe_expect_used(p, ids[i], i == 5 ? 2 : 50);
    }
}

/* Split: descriptors are taken in the order of the table, and around its end (2.7.5). */
static void test_descriptors_in_table_order(void **state)
{
    struct probe *p = *state;
    unsigned next = 0;
    int ids[6];

    for (unsigned lap = 0; lap < 50; lap++) {
        add(p, 6, ids);
        for (unsigned i = 0; i < 6; i++) {
            assert_int_equal(ids[i], next);
            next = (next + 1 + i % 3) % SIZE;
        }
        use_batch(p, 6, ids[5], 0);
        for (unsigned i = 0; i < 6; i++)
            probe_expect_used(p, ids[i], i == 5 ? 0 : 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_FORMATS(test_batches, setup, probe_teardown),
        BOTH_FORMATS(test_two_batches, setup, probe_teardown),
        VARIANT(test_descriptors_in_table_order, split, setup, probe_teardown),
    };

    return cmocka_run_group_tests_name("in order", tests, NULL, NULL);
}
