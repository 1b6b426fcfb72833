/* SPDX-License-Identifier: BSD-3-Clause */
/* What a driver can break a virtqueue with, and that it breaks no more than that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "lib/rig.h"

#define SIZE   16u
#define PIECES 64u
#define TABLE  (RIG_BUFFERS + 0x10000)

#define NEXT     DESCRIPTOR_F_NEXT
#define WRITE    DESCRIPTOR_F_WRITE
#define INDIRECT DESCRIPTOR_F_INDIRECT

struct fixture {
    struct rig rig;
    struct iovec iov[PIECES];
};

static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof(*f));

    rig_init_started(&f->rig, SIZE, RIG_F_INDIRECT);
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

static int pop(struct fixture *f, struct shunt_chain *chain)
{
    return shunt_virtqueue_pop(f->rig.queue, chain, f->iov, PIECES);
}

static void set(struct fixture *f, uint16_t idx, uint64_t addr, uint32_t len, int flags, int next)
{
    ring_set_descriptor(&f->rig.ring, idx, addr, len, (uint16_t)flags, (uint16_t)next);
}

/* An entry of the indirect table. */
static void set_entry(struct fixture *f, unsigned idx, uint64_t addr, uint32_t len, int flags,
                      int next)
{
    struct split_descriptor *table = rig_at(&f->rig, TABLE);

    table[idx] = (struct split_descriptor){addr, len, (uint16_t)flags, (uint16_t)next};
}

static void offer(struct fixture *f, uint16_t head)
{
    ring_offer(&f->rig.ring, head);
    ring_publish(&f->rig.ring);
}

/* A good chain that goes through, with the ring's next entry. */
static void expect_alive(struct fixture *f)
{
    struct split_used_element used;
    struct shunt_chain chain;

    set(f, 9, RIG_BUFFERS, 10, WRITE, 0);
    offer(f, 9);
    assert_int_equal(pop(f, &chain), 1);
    assert_int_equal(chain.head, 9);
    shunt_virtqueue_push(f->rig.queue, &chain, 10);
    shunt_virtqueue_publish(f->rig.queue);
    assert_true(ring_take_used(&f->rig.ring, &used));
    assert_int_equal(used.id, 9);
}

/* The queue is broken for this reason, is told of once, and is not touched any more. */
static void expect_broken(struct fixture *f, enum virtqueue_fault fault, uint64_t value)
{
    struct shunt_virtqueue *queue = f->rig.queue;
    uint16_t used_idx = f->rig.ring.used->idx;
    struct shunt_chain chain = {.head = 9, .generation = queue->generation};

    assert_int_equal(queue->fault, fault);
    assert_int_equal(queue->fault_value, value);
    assert_int_equal(f->rig.num_broken, 1);
    assert_int_equal(rig_signals(f->rig.error_fd), 1);
    assert_false(shunt_virtqueue_is_started(queue));
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pop(f, &chain), -EPROTO);
    chain = (struct shunt_chain){.head = 9, .generation = queue->generation};
    shunt_virtqueue_push(queue, &chain, 0);
    shunt_virtqueue_publish(queue);
    assert_int_equal(f->rig.ring.used->idx, used_idx);
    assert_int_equal(queue->fault, fault);
    assert_int_equal(f->rig.num_broken, 1);
    assert_int_equal(rig_signals(f->rig.error_fd), 0);
}

/* After the driver reset the device all is as new. */
static void expect_restart(struct fixture *f)
{
    virtqueue_stop(f->rig.queue);
    assert_int_equal(f->rig.queue->fault, FAULT_NONE);
    ring_set_base(&f->rig.ring, 0);
    f->rig.queue->base = 0;
    assert_int_equal(rig_start(&f->rig), 0);
    assert_true(shunt_virtqueue_is_started(f->rig.queue));
    expect_alive(f);
    assert_int_equal(f->rig.num_broken, 1);
}

/* One chain goes well, the next one, which begins at `head`, breaks the queue. */
static void expect_fault(struct fixture *f, uint16_t head, enum virtqueue_fault fault,
                         uint64_t value)
{
    struct shunt_chain chain;

    expect_alive(f);
    ring_set_descriptor(&f->rig.ring, 9, 0, 0, 0, 0);
    offer(f, head);
    assert_int_equal(pop(f, &chain), -EPROTO);
    expect_broken(f, fault, value);
    expect_restart(f);
}

static void test_texts(void **state)
{
    for (unsigned fault = 0; fault < FAULT_NUM; fault++) {
        const char *text = virtqueue_fault_text((enum virtqueue_fault)fault);

        assert_non_null(text);
        for (unsigned other = 0; other < fault; other++)
            assert_string_not_equal(text, virtqueue_fault_text((enum virtqueue_fault)other));
    }
}

/* --- The available ring ----------------------------------------------------------------------------- */

static void test_index_too_far_ahead(void **state)
{
    struct fixture *f = *state;
    struct shunt_chain chain;

    expect_alive(f);
    ring_set_available_idx(&f->rig.ring, 1 + SIZE + 1);
    assert_int_equal(pop(f, &chain), -EPROTO);
    expect_broken(f, FAULT_AVAILABLE_INDEX, 1 + SIZE + 1);
    expect_restart(f);
}

static void test_index_a_whole_ring_ahead(void **state)
{
    struct fixture *f = *state;
    struct shunt_chain chain;

    expect_alive(f);
    for (unsigned i = 0; i < SIZE; i++)
        ring_offer(&f->rig.ring, 9);
    ring_publish(&f->rig.ring);
    for (unsigned i = 0; i < SIZE; i++)
        assert_int_equal(pop(f, &chain), 1);
    assert_int_equal(pop(f, &chain), 0);
    assert_int_equal(f->rig.num_broken, 0);
}

static void test_index_behind(void **state)
{
    struct fixture *f = *state;
    struct shunt_chain chain;

    expect_alive(f);
    ring_set_available_idx(&f->rig.ring, 0);
    assert_int_equal(pop(f, &chain), -EPROTO);
    expect_broken(f, FAULT_AVAILABLE_INDEX, 0);
    expect_restart(f);
}

/* Also one that asks for notifications looks at the index. */
static void test_index_while_arming(void **state)
{
    struct fixture *f = *state;

    ring_set_available_idx(&f->rig.ring, 0x8000);
    assert_true(shunt_virtqueue_arm(f->rig.queue));
    expect_broken(f, FAULT_AVAILABLE_INDEX, 0x8000);
    expect_restart(f);
}

static void test_heads(void **state)
{
    expect_fault(*state, SIZE, FAULT_HEAD, SIZE);
    teardown(state);
    setup(state);
    expect_fault(*state, 0xffff, FAULT_HEAD, 0xffff);
}

/* --- The descriptor area ---------------------------------------------------------------------------- */

static void test_next_beyond_the_ring(void **state)
{
    struct fixture *f = *state;

    set(f, 3, RIG_BUFFERS, 1, NEXT, 4);
    set(f, 4, RIG_BUFFERS, 1, NEXT, SIZE);
    expect_fault(f, 3, FAULT_NEXT, SIZE);
    teardown(state);
    setup(state);
    f = *state;
    set(f, 3, RIG_BUFFERS, 1, NEXT, 0xffff);
    expect_fault(f, 3, FAULT_NEXT, 0xffff);
}

static void test_loops(void **state)
{
    struct fixture *f = *state;

    set(f, 3, RIG_BUFFERS, 1, NEXT, 3);
    expect_fault(f, 3, FAULT_CHAIN_TOO_LONG, 3);
    teardown(state);
    setup(state);
    f = *state;
    set(f, 3, RIG_BUFFERS, 1, NEXT, 5);
    set(f, 5, RIG_BUFFERS, 1, NEXT, 7);
    set(f, 7, RIG_BUFFERS, 1, NEXT, 5);
    expect_fault(f, 3, FAULT_CHAIN_TOO_LONG, 3);
}

/* A chain may use all descriptors, and one that goes on from there is a loop. */
static void test_longest_chain(void **state)
{
    struct fixture *f = *state;
    struct shunt_chain chain;

    expect_alive(f);
    for (uint16_t i = 0; i < SIZE; i++)
        set(f, i, RIG_BUFFERS + i, 1, i + 1u == SIZE ? 0 : NEXT, i + 1);
    offer(f, 0);
    assert_int_equal(pop(f, &chain), 1);
    assert_int_equal(chain.num_readable, SIZE);
    set(f, SIZE - 1, RIG_BUFFERS, 1, NEXT, 0);
    offer(f, 0);
    assert_int_equal(pop(f, &chain), -EPROTO);
    expect_broken(f, FAULT_CHAIN_TOO_LONG, 0);
    expect_restart(f);
}

static void test_zero_length(void **state)
{
    struct fixture *f = *state;

    set(f, 0, RIG_BUFFERS, 1, NEXT, 1);
    set(f, 1, RIG_BUFFERS + 0x123, 0, WRITE, 0);
    expect_fault(f, 0, FAULT_ZERO_LENGTH, RIG_BUFFERS + 0x123);
    teardown(state);
    setup(state);
    f = *state;
    set(f, 0, 0x123, 0, 0, 0);
    expect_fault(f, 0, FAULT_ZERO_LENGTH, 0x123);
}

static void test_readable_after_writable(void **state)
{
    struct fixture *f = *state;

    set(f, 0, RIG_BUFFERS, 1, NEXT, 1);
    set(f, 1, RIG_BUFFERS + 1, 1, NEXT | WRITE, 2);
    set(f, 2, RIG_BUFFERS + 2, 1, 0, 0);
    expect_fault(f, 0, FAULT_READABLE_AFTER_WRITABLE, RIG_BUFFERS + 2);
}

static void test_unmapped(void **state)
{
    static const struct {
        uint64_t addr;
        uint32_t len;
        uint64_t value; /* the first address that leads nowhere */
    } cases[] = {
        {0, 1, 0},
        {0xfeedfacecafe, 1, 0xfeedfacecafe},
        {RIG_LOW - 1, 1, RIG_LOW - 1},
        {RIG_LOW - 1, 2, RIG_LOW - 1},
        {RIG_END, 1, RIG_END},
        {RIG_END - 1, 2, RIG_END},
        {RIG_BORDER - 1, RIG_AREA_BYTES + 2, RIG_END},
        {RIG_LOW, UINT32_MAX, RIG_END},
        {UINT64_MAX, 1, UINT64_MAX},
        {UINT64_MAX - 5, 100, UINT64_MAX - 5},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture *f = *state;

        set(f, 0, cases[i].addr, cases[i].len, i % 2 ? WRITE : 0, 0);
        expect_fault(f, 0, FAULT_UNMAPPED, cases[i].value);
        teardown(state);
        setup(state);
    }
}

static void test_too_large(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region huge = {UINT64_C(1) << 40, UINT64_C(1) << 40, UINT64_C(1) << 32, 0};
    struct ring_area area;
    struct shunt_chain chain;

    area_create(&area, huge.size, huge.guest_addr, huge.user_addr);
    assert_int_equal(shunt_memory_add(f->rig.memory, &huge, area.fd, NULL), 0);
    virtqueue_remap(f->rig.queue);
    /* Just not too large, each way. */
    set(f, 0, huge.guest_addr, 0x80000000, NEXT, 1);
    set(f, 1, huge.guest_addr, 0x7fffffff, NEXT, 2);
    set(f, 2, huge.guest_addr, 0xffffffff, WRITE, 0);
    offer(f, 0);
    assert_int_equal(pop(f, &chain), 1);
    assert_int_equal(chain.readable_len, UINT32_MAX);
    assert_int_equal(chain.writable_len, UINT32_MAX);
    set(f, 1, huge.guest_addr, 0x80000000, NEXT, 2);
    offer(f, 0);
    assert_int_equal(pop(f, &chain), -EPROTO);
    expect_broken(f, FAULT_CHAIN_TOO_LARGE, 0);
    area_destroy(&area);
}

/* --- Indirect tables -------------------------------------------------------------------------------- */

static void test_indirect_not_negotiated(void **state)
{
    struct fixture *f = *state;

    virtqueue_stop(f->rig.queue);
    f->rig.features = 0;
    assert_int_equal(rig_start(&f->rig), 0);
    set_entry(f, 0, RIG_BUFFERS, 1, 0, 0);
    set(f, 0, TABLE, 16, INDIRECT, 0);
    expect_fault(f, 0, FAULT_INDIRECT_NOT_NEGOTIATED, TABLE);
}

static void test_indirect_nested(void **state)
{
    struct fixture *f = *state;

    set_entry(f, 0, RIG_BUFFERS, 1, 0, 0);
    set(f, 0, TABLE, 16, INDIRECT | NEXT, 1);
    set(f, 1, RIG_BUFFERS, 1, 0, 0);
    expect_fault(f, 0, FAULT_INDIRECT_NESTED, TABLE);
    teardown(state);
    setup(state);
    f = *state;
    set_entry(f, 0, RIG_BUFFERS, 1, NEXT, 1);
    set_entry(f, 1, TABLE, 16, INDIRECT, 0);
    set(f, 0, TABLE, 32, INDIRECT, 0);
    expect_fault(f, 0, FAULT_INDIRECT_NESTED, TABLE);
}

static void test_indirect_length(void **state)
{
    static const uint32_t lens[] = {0, 1, 8, 15, 17, 31, 0xffffffff};

    for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct fixture *f = *state;

        set_entry(f, 0, RIG_BUFFERS, 1, 0, 0);
        set(f, 0, TABLE, lens[i], INDIRECT, 0);
        expect_fault(f, 0, FAULT_INDIRECT_LENGTH, lens[i]);
        teardown(state);
        setup(state);
    }
}

static void test_indirect_unmapped(void **state)
{
    struct fixture *f = *state;

    set(f, 0, RIG_END, 16, INDIRECT, 0);
    expect_fault(f, 0, FAULT_UNMAPPED, RIG_END);
    teardown(state);
    setup(state);
    f = *state;
    /* Half of its first entry. */
    memset(rig_at(&f->rig, RIG_END - 8), 0, 8);
    set(f, 0, RIG_END - 8, 16, INDIRECT, 0);
    expect_fault(f, 0, FAULT_UNMAPPED, RIG_END);
    teardown(state);
    setup(state);
    f = *state;
    /* Beyond the last address that there is. */
    set(f, 0, UINT64_MAX - 15, 32, INDIRECT, 0);
    expect_fault(f, 0, FAULT_UNMAPPED, UINT64_MAX - 15);
}

/* Only what is used of a table needs to be there. */
static void test_indirect_second_entry_unmapped(void **state)
{
    struct fixture *f = *state;
    struct split_descriptor *entry = rig_at(&f->rig, RIG_END - 16);
    struct shunt_chain chain;

    *entry = (struct split_descriptor){RIG_BUFFERS, 1, 0, 1};
    set(f, 0, RIG_END - 16, 32, INDIRECT, 0);
    offer(f, 0);
    assert_int_equal(pop(f, &chain), 1);
    entry->flags = NEXT;
    offer(f, 0);
    assert_int_equal(pop(f, &chain), -EPROTO);
    expect_broken(f, FAULT_UNMAPPED, RIG_END);
    expect_restart(f);
}

static void test_indirect_next(void **state)
{
    struct fixture *f = *state;

    set_entry(f, 0, RIG_BUFFERS, 1, NEXT, 2);
    set_entry(f, 2, RIG_BUFFERS, 1, 0, 0);
    set(f, 0, TABLE, 32, INDIRECT, 0);
    expect_fault(f, 0, FAULT_NEXT, 2);
}

static void test_indirect_loop(void **state)
{
    struct fixture *f = *state;

    set_entry(f, 0, RIG_BUFFERS, 1, NEXT, 1);
    set_entry(f, 1, RIG_BUFFERS, 1, NEXT, 0);
    set(f, 4, TABLE, 32, INDIRECT, 0);
    expect_fault(f, 4, FAULT_CHAIN_TOO_LONG, 4);
}

/* What counts is the length of the whole chain (2.7.5.3.1). */
static void test_indirect_longer_than_the_ring(void **state)
{
    struct fixture *f = *state;
    struct shunt_chain chain;

    for (unsigned i = 0; i < SIZE; i++)
        set_entry(f, i, RIG_BUFFERS, 1, i + 1 == SIZE ? 0 : NEXT, (int)i + 1);
    set(f, 4, TABLE, 16 * SIZE, INDIRECT, 0);
    offer(f, 4);
    assert_int_equal(pop(f, &chain), 1);
    assert_int_equal(chain.num_readable, SIZE);
    set(f, 3, RIG_BUFFERS, 1, NEXT, 4);
    expect_fault(f, 3, FAULT_CHAIN_TOO_LONG, 3);
}

static void test_indirect_bad_buffers(void **state)
{
    struct fixture *f = *state;

    set_entry(f, 0, RIG_BUFFERS, 0, 0, 0);
    set(f, 0, TABLE, 16, INDIRECT, 0);
    expect_fault(f, 0, FAULT_ZERO_LENGTH, RIG_BUFFERS);
    teardown(state);
    setup(state);
    f = *state;
    set_entry(f, 0, RIG_END, 1, 0, 0);
    set(f, 0, TABLE, 16, INDIRECT, 0);
    expect_fault(f, 0, FAULT_UNMAPPED, RIG_END);
    teardown(state);
    setup(state);
    f = *state;
    set_entry(f, 0, RIG_BUFFERS, 1, WRITE | NEXT, 1);
    set_entry(f, 1, RIG_BUFFERS + 8, 1, 0, 0);
    set(f, 0, TABLE, 32, INDIRECT, 0);
    expect_fault(f, 0, FAULT_READABLE_AFTER_WRITABLE, RIG_BUFFERS + 8);
}

/* --- All at once ------------------------------------------------------------------------------------ */

/* A simple generator, so that a failure can be repeated. */
static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* Each piece lies in guest memory, whatever the driver wrote. */
static void expect_within_memory(struct fixture *f, const struct shunt_chain *chain)
{
    const struct shunt_memory *memory = f->rig.memory;
    uint64_t sum = 0;

    for (unsigned i = 0; i < (unsigned)chain->num_readable + chain->num_writable; i++) {
        const uint8_t *start = f->iov[i].iov_base;
        bool is_within = false;

        for (unsigned r = 0; r < memory->num_regions; r++) {
            const struct memory_region *region = &memory->regions[r];

            is_within |= start >= region->host &&
                         f->iov[i].iov_len <= region->size - (uint64_t)(start - region->host);
        }
        assert_true(is_within);
        assert_true(f->iov[i].iov_len > 0);
        sum += f->iov[i].iov_len;
    }
    assert_int_equal(sum, (uint64_t)chain->readable_len + chain->writable_len);
}

/* Addresses and lengths that are mostly good, flags and links that are anything. */
static void scribble(struct fixture *f, struct split_descriptor *table, unsigned num,
                     uint32_t *seed)
{
    for (unsigned i = 0; i < num; i++) {
        uint32_t choice = next_random(seed);
        uint64_t addr = RIG_LOW + next_random(seed) % (2 * RIG_AREA_BYTES + 64);

        table[i] = (struct split_descriptor){
            .addr = choice % 31 == 0  ? next_random(seed)
                    : choice % 7 == 0 ? TABLE
                                      : addr,
            .len = choice % 5 == 0 ? 16 * (choice % 64) : next_random(seed) % 4096,
            .flags = (uint16_t)(choice % 13 == 0 ? choice >> 16 : choice >> 16 & 3),
            .next = (uint16_t)(choice >> 8 & (SIZE - 1)),
        };
    }
    (void)f;
}

static void test_nonsense(void **state)
{
    struct fixture *f = *state;
    uint32_t seed = 20240229;
    unsigned num_good = 0, num_broken = 0;

    for (unsigned round = 0; round < 20000; round++) {
        struct shunt_chain chain;
        int result;

        scribble(f, f->rig.ring.descriptors, SIZE, &seed);
        scribble(f, rig_at(&f->rig, TABLE), 64, &seed);
        offer(f, (uint16_t)(next_random(&seed) % (SIZE + 1)));
        result = pop(f, &chain);
        if (result == 1) {
            expect_within_memory(f, &chain);
            shunt_virtqueue_push(f->rig.queue, &chain, 0);
            num_good++;
            continue;
        }
        if (result == -EPROTO) {
            assert_int_not_equal(f->rig.queue->fault, FAULT_NONE);
            num_broken++;
        } else {
            assert_int_equal(result, -ENOBUFS);
        }
        virtqueue_stop(f->rig.queue);
        ring_set_base(&f->rig.ring, f->rig.ring.next_available);
        f->rig.queue->base = f->rig.ring.next_available;
        assert_int_equal(rig_start(&f->rig), 0);
    }
    assert_int_equal(f->rig.num_broken, num_broken);
    assert_true(num_good > 1000);
    assert_true(num_broken > 1000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        TEST(test_index_too_far_ahead),
        TEST(test_index_a_whole_ring_ahead),
        TEST(test_index_behind),
        TEST(test_index_while_arming),
        TEST(test_heads),
        TEST(test_next_beyond_the_ring),
        TEST(test_loops),
        TEST(test_longest_chain),
        TEST(test_zero_length),
        TEST(test_readable_after_writable),
        TEST(test_unmapped),
        TEST(test_too_large),
        TEST(test_indirect_not_negotiated),
        TEST(test_indirect_nested),
        TEST(test_indirect_length),
        TEST(test_indirect_unmapped),
        TEST(test_indirect_second_entry_unmapped),
        TEST(test_indirect_next),
        TEST(test_indirect_loop),
        TEST(test_indirect_longer_than_the_ring),
        TEST(test_indirect_bad_buffers),
        TEST(test_nonsense),
    };

    return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
