/* SPDX-License-Identifier: BSD-3-Clause */
/* A driver that writes anything into its ring: the device never leaves guest memory, and it recovers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/probe.h"

#define SIZE  16u
#define TABLE (RIG_BUFFERS + 0x10000)

/* A simple generator, so that a failure can be repeated. */
static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* Each piece lies in guest memory, whatever the driver wrote. */
static void expect_within_memory(struct probe *p, const struct shunt_chain *chain)
{
    const struct shunt_memory *memory = p->rig.memory;
    uint64_t sum = 0;

    for (unsigned i = 0; i < (unsigned)chain->num_readable + chain->num_writable; i++) {
        const uint8_t *start = p->iov[i].iov_base;
        bool is_within = false;

        for (unsigned r = 0; r < memory->num_regions; r++) {
            const struct memory_range *range = &memory->regions[r].range;

            is_within |= start >= range->host &&
                         p->iov[i].iov_len <= range->size - (uint64_t)(start - range->host);
        }
        assert_true(is_within);
        assert_true(p->iov[i].iov_len > 0);
        sum += p->iov[i].iov_len;
    }
    assert_int_equal(sum, (uint64_t)chain->readable_len + chain->writable_len);
}

/* Addresses and lengths that are mostly good. */
static struct ring_descriptor nonsense(uint32_t *seed)
{
    uint32_t choice = next_random(seed);
    uint64_t addr = RIG_LOW + next_random(seed) % (2 * RIG_AREA_BYTES + 64);

    return (struct ring_descriptor){
        .addr = choice % 31 == 0  ? next_random(seed)
                : choice % 7 == 0 ? TABLE
                                  : addr,
        .len = choice % 5 == 0 ? 16 * (choice % 64) : next_random(seed) % 4096,
        .flags = (uint16_t)(choice % 13 == 0 ? choice >> 16 : choice >> 16 & 3),
    };
}

static void scribble_table(struct probe *p, uint32_t *seed)
{
    for (unsigned i = 0; i < 64; i++) {
        struct ring_descriptor entry = nonsense(seed);

        ring_set_entry(&p->rig.ring, rig_at(&p->rig, TABLE + 16 * i), &entry,
                       (uint16_t)(next_random(seed) % SIZE));
    }
}

/* Any descriptors, and any of them as a head. */
static void scribble_split(struct probe *p, uint32_t *seed)
{
    for (uint16_t i = 0; i < SIZE; i++) {
        struct ring_descriptor any = nonsense(seed);

        ring_set_descriptor(&p->rig.ring, i, any.addr, any.len, any.flags,
                            (uint16_t)(next_random(seed) % SIZE));
    }
    ring_offer(&p->rig.ring, (uint16_t)(next_random(seed) % (SIZE + 1)));
    ring_publish(&p->rig.ring);
}

/* Any descriptors from where the device looks, mostly available in its lap, and any ids. */
static void scribble_packed(struct probe *p, uint32_t *seed)
{
    uint16_t place = p->rig.queue->next_available;

    for (unsigned i = 0; i < SIZE; i++) {
        struct ring_descriptor any = nonsense(seed);
        uint16_t lap = next_random(seed) % 29 ? ring_available_flags(place)
                                              : ring_used_flags(place);

        p->rig.ring.packed[place & PACKED_POSITION_IDX] = (struct packed_descriptor){
            .addr = any.addr,
            .len = any.len,
            .id = (uint16_t)(next_random(seed) % (SIZE + 1)),
            .flags = any.flags ^ lap,
        };
        place = ring_step(&p->rig.ring, place, 1);
    }
}

static void test_nonsense(void **state)
{
    struct probe *p = probe_create(SIZE, variant_features(state) | RIG_F_INDIRECT);
    uint32_t seed = 20240229;
    unsigned num_good = 0, num_broken = 0;

    for (unsigned round = 0; round < 20000; round++) {
        struct shunt_chain chain;
        int result;

        scribble_table(p, &seed);
        if (p->rig.ring.format == RING_PACKED)
            scribble_packed(p, &seed);
        else
            scribble_split(p, &seed);
        result = probe_pop(p, &chain);
        if (result == 1) {
            expect_within_memory(p, &chain);
            shunt_virtqueue_push(p->rig.queue, &chain, p->iov, 0);
            shunt_virtqueue_publish(p->rig.queue);
            num_good++;
            continue;
        }
        if (result == -EPROTO) {
            assert_int_not_equal(p->rig.queue->fault, FAULT_NONE);
            num_broken++;
        } else {
            assert_true(result == -ENOBUFS || result == 0);
        }
        rig_reset(&p->rig);
        assert_int_equal(rig_start(&p->rig), 0);
    }
    assert_int_equal(p->rig.num_broken, num_broken);
    assert_true(num_good > 1000);
    assert_true(num_broken > 1000);
    probe_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {BOTH_FORMATS(test_nonsense, NULL, NULL)};

    return cmocka_run_group_tests_name("nonsense", tests, NULL, NULL);
}
