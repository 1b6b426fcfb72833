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
#include "lib/variant.h"

#define SIZE   16u
#define PIECES 64u
#define TABLE  (RIG_BUFFERS + 0x10000)

#define NEXT     DESCRIPTOR_F_NEXT
#define WRITE    DESCRIPTOR_F_WRITE
#define INDIRECT DESCRIPTOR_F_INDIRECT

struct fixture {
    struct rig rig;
    struct iovec iov[PIECES];
    unsigned num_expected; /* faults so far */
};

static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof(*f));

    rig_init_started(&f->rig, SIZE, variant_features(state) | RIG_F_INDIRECT);
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

static bool is_packed(const struct fixture *f)
{
    return f->rig.ring.format == RING_PACKED;
}

static int pop(struct fixture *f, struct shunt_chain *chain)
{
    return shunt_virtqueue_pop(f->rig.queue, chain, f->iov, PIECES);
}

/* A chain of these descriptors, as they are; its id. */
static int offer(struct fixture *f, const struct ring_descriptor *descriptors, unsigned num)
{
    int id = ring_add_descriptors(&f->rig.ring, descriptors, num);

    assert_true(id >= 0);
    ring_publish(&f->rig.ring);
    return id;
}

/* An entry of the indirect table; `next` is for the split format. */
static void set_entry(struct fixture *f, unsigned idx, uint64_t addr, uint32_t len, int flags,
                      int next)
{
    struct ring_descriptor entry = {addr, len, (uint16_t)flags};

    ring_set_entry(&f->rig.ring, rig_at(&f->rig, TABLE + 16 * idx), &entry, (uint16_t)next);
}

/* Entries that belong to one chain in both formats: in a packed table NEXT is no flag. */
static int next_flag(const struct fixture *f)
{
    return is_packed(f) ? 0 : NEXT;
}

/* A good chain that goes through. */
static void expect_alive(struct fixture *f)
{
    struct ring_descriptor good = {RIG_BUFFERS, 10, WRITE};
    struct ring_used used;
    struct shunt_chain chain;
    int id = offer(f, &good, 1);

    assert_int_equal(pop(f, &chain), 1);
    assert_int_equal(chain.id, id);
    shunt_virtqueue_push(f->rig.queue, &chain, f->iov, 10);
    shunt_virtqueue_publish(f->rig.queue);
    assert_true(ring_take_used(&f->rig.ring, &used));
    assert_int_equal(used.id, id);
}

/* The queue is broken for this reason, is told of once, and is not touched any more. */
static void expect_broken(struct fixture *f, enum virtqueue_fault fault, uint64_t value)
{
    struct shunt_virtqueue *queue = f->rig.queue;
    uint16_t num_used = ring_num_used(&f->rig.ring);
    struct shunt_chain chain;

    f->num_expected++;
    assert_int_equal(queue->fault, fault);
    assert_int_equal(queue->fault_value, value);
    assert_int_equal(f->rig.num_broken, f->num_expected);
    assert_int_equal(rig_signals(f->rig.error_fd), 1);
    assert_false(shunt_virtqueue_is_started(queue));
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pop(f, &chain), -EPROTO);
    chain = (struct shunt_chain){.num_descriptors = 1, .generation = queue->generation};
    shunt_virtqueue_push(queue, &chain, f->iov, 0);
    shunt_virtqueue_publish(queue);
    assert_int_equal(ring_num_used(&f->rig.ring), num_used);
    assert_int_equal(queue->fault, fault);
    assert_int_equal(f->rig.num_broken, f->num_expected);
    assert_int_equal(rig_signals(f->rig.error_fd), 0);
}

/* After the driver reset the device all is as new. */
static void expect_restart(struct fixture *f)
{
    rig_reset(&f->rig);
    assert_int_equal(f->rig.queue->fault, FAULT_NONE);
    assert_int_equal(rig_start(&f->rig), 0);
    assert_true(shunt_virtqueue_is_started(f->rig.queue));
    expect_alive(f);
    assert_int_equal(f->rig.num_broken, f->num_expected);
}

/* One chain goes well, the next one breaks the queue; and then one after a restart. */
static void expect_fault(struct fixture *f, const struct ring_descriptor *descriptors, unsigned num,
                         enum virtqueue_fault fault, uint64_t value)
{
    struct shunt_chain chain;

    expect_alive(f);
    offer(f, descriptors, num);
    assert_int_equal(pop(f, &chain), -EPROTO);
    expect_broken(f, fault, value);
    expect_restart(f);
}

/* The same for a chain of one descriptor. */
static void expect_fault_of_one(struct fixture *f, uint64_t addr, uint32_t len, int flags,
                                enum virtqueue_fault fault, uint64_t value)
{
    struct ring_descriptor descriptor = {addr, len, (uint16_t)flags};

    expect_fault(f, &descriptor, 1, fault, value);
}

static void expect_fault_of_table(struct fixture *f, unsigned num, enum virtqueue_fault fault,
                                  uint64_t value)
{
    expect_fault_of_one(f, TABLE, 16 * num, INDIRECT, fault, value);
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

/* --- Split: the available ring ---------------------------------------------------------------------- */

/* A head that belongs to no chain of ours breaks the queue. */
static void expect_fault_of_head(struct fixture *f, uint16_t head, enum virtqueue_fault fault,
                                 uint64_t value)
{
    struct shunt_chain chain;

    ring_offer(&f->rig.ring, head);
    ring_publish(&f->rig.ring);
    assert_int_equal(pop(f, &chain), -EPROTO);
    expect_broken(f, fault, value);
    expect_restart(f);
}

static void set(struct fixture *f, uint16_t idx, uint64_t addr, uint32_t len, int flags, int next)
{
    ring_set_descriptor(&f->rig.ring, idx, addr, len, (uint16_t)flags, (uint16_t)next);
}

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
    set(f, 9, RIG_BUFFERS, 10, WRITE, 0);
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
    expect_fault_of_head(*state, SIZE, FAULT_HEAD, SIZE);
    expect_fault_of_head(*state, 0xffff, FAULT_HEAD, 0xffff);
}

static void test_next_beyond_the_ring(void **state)
{
    struct fixture *f = *state;

    set(f, 3, RIG_BUFFERS, 1, NEXT, 4);
    set(f, 4, RIG_BUFFERS, 1, NEXT, SIZE);
    expect_fault_of_head(f, 3, FAULT_NEXT, SIZE);
    set(f, 3, RIG_BUFFERS, 1, NEXT, 0xffff);
    expect_fault_of_head(f, 3, FAULT_NEXT, 0xffff);
}

static void test_loops(void **state)
{
    struct fixture *f = *state;

    set(f, 3, RIG_BUFFERS, 1, NEXT, 3);
    expect_fault_of_head(f, 3, FAULT_CHAIN_TOO_LONG, 3);
    set(f, 3, RIG_BUFFERS, 1, NEXT, 5);
    set(f, 5, RIG_BUFFERS, 1, NEXT, 7);
    set(f, 7, RIG_BUFFERS, 1, NEXT, 5);
    expect_fault_of_head(f, 3, FAULT_CHAIN_TOO_LONG, 3);
}

/* What counts is the length of the whole chain (2.7.5.3.1). */
static void test_indirect_behind_direct(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < SIZE; i++)
        set_entry(f, i, RIG_BUFFERS, 1, i + 1 == SIZE ? 0 : NEXT, (int)i + 1);
    set(f, 4, TABLE, 16 * SIZE, INDIRECT, 0);
    set(f, 3, RIG_BUFFERS, 1, NEXT, 4);
    expect_fault_of_head(f, 3, FAULT_CHAIN_TOO_LONG, 3);
}

static void test_indirect_next(void **state)
{
    struct fixture *f = *state;

    set_entry(f, 0, RIG_BUFFERS, 1, NEXT, 2);
    set_entry(f, 2, RIG_BUFFERS, 1, 0, 0);
    expect_fault_of_table(f, 2, FAULT_NEXT, 2);
}

static void test_indirect_loop(void **state)
{
    struct fixture *f = *state;

    set_entry(f, 0, RIG_BUFFERS, 1, NEXT, 1);
    set_entry(f, 1, RIG_BUFFERS, 1, NEXT, 0);
    set(f, 4, TABLE, 32, INDIRECT, 0);
    expect_fault_of_head(f, 4, FAULT_CHAIN_TOO_LONG, 4);
}

/* Only what is used of a table needs to be there. */
static void test_indirect_second_entry_unmapped(void **state)
{
    struct fixture *f = *state;
    struct split_descriptor *entry = rig_at(&f->rig, RIG_END - 16);
    struct ring_descriptor table = {RIG_END - 16, 32, INDIRECT};
    struct shunt_chain chain;

    *entry = (struct split_descriptor){RIG_BUFFERS, 1, 0, 1};
    offer(f, &table, 1);
    assert_int_equal(pop(f, &chain), 1);
    entry->flags = NEXT;
    expect_fault(f, &table, 1, FAULT_UNMAPPED, RIG_END);
}

/* --- Packed: the descriptor ring -------------------------------------------------------------------- */

/* All of the ring is one chain, and it does not end. */
static void test_chain_without_end(void **state)
{
    struct fixture *f = *state;
    struct ring_descriptor descriptors[SIZE];
    struct shunt_chain chain;

    for (unsigned i = 0; i < SIZE; i++)
        descriptors[i] = (struct ring_descriptor){RIG_BUFFERS, 1, NEXT};
    expect_alive(f);
    offer(f, descriptors, SIZE);
    assert_int_equal(pop(f, &chain), -EPROTO);
    assert_int_equal(f->rig.queue->fault, FAULT_CHAIN_TOO_LONG);
    expect_broken(f, FAULT_CHAIN_TOO_LONG, f->rig.queue->fault_value);
    expect_restart(f);
}

/* Ids are the driver's affair (2.8.6): the device gives back the one that it finds in the last descriptor. */
static void test_any_id(void **state)
{
    static const uint16_t ids[] = {0, SIZE - 1, SIZE, 0x1234, 0xffff};
    struct fixture *f = *state;
    struct ring_descriptor good = {RIG_BUFFERS, 10, WRITE};
    struct shunt_chain chain;
    struct ring_used used;

    for (unsigned i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        uint16_t slot = f->rig.ring.next_available & PACKED_POSITION_IDX;

        assert_true(ring_add_descriptors(&f->rig.ring, &good, 1) >= 0);
        f->rig.ring.packed[slot].id = ids[i];
        ring_publish(&f->rig.ring);
        assert_int_equal(pop(f, &chain), 1);
        assert_int_equal(chain.id, ids[i]);
        shunt_virtqueue_push(f->rig.queue, &chain, f->iov, 3);
        shunt_virtqueue_publish(f->rig.queue);
        assert_true(ring_take_used(&f->rig.ring, &used));
        assert_int_equal(used.id, ids[i]);
        rig_reset(&f->rig);
        assert_int_equal(rig_start(&f->rig), 0);
    }
}

/* All of a list is written before its first descriptor is available (2.8.16); so what is there is read. */
static void test_half_a_chain(void **state)
{
    struct ring_descriptor first = {RIG_BUFFERS, 10, NEXT};

    expect_fault(*state, &first, 1, FAULT_ZERO_LENGTH, 0);
}

/* A driver must not do that (2.8.7.1), but it harms nobody: it is read as in a split ring. */
static void test_indirect_in_a_list(void **state)
{
    struct fixture *f = *state;
    struct ring_descriptor list[] = {{RIG_BUFFERS, 1, NEXT}, {TABLE, 16, INDIRECT}};
    struct shunt_chain chain;

    set_entry(f, 0, RIG_BUFFERS, 3, 0, 0);
    offer(f, list, 2);
    assert_int_equal(pop(f, &chain), 1);
    assert_int_equal(chain.num_descriptors, 2);
    assert_int_equal(chain.readable_len, 4);
}

static void test_indirect_end_unmapped(void **state)
{
    struct fixture *f = *state;
    struct ring_descriptor entry = {RIG_BUFFERS, 1, 0};

    ring_set_entry(&f->rig.ring, rig_at(&f->rig, RIG_END - 16), &entry, 0);
    expect_fault_of_one(f, RIG_END - 16, 32, INDIRECT, FAULT_UNMAPPED, RIG_END);
}

/* --- Both: chains ----------------------------------------------------------------------------------- */

/* A chain may use all descriptors. */
static void test_longest_chain(void **state)
{
    struct fixture *f = *state;
    struct ring_descriptor descriptors[SIZE];
    struct shunt_chain chain;

    expect_alive(f);
    for (unsigned i = 0; i < SIZE; i++)
        descriptors[i] = (struct ring_descriptor){RIG_BUFFERS + i, 1,
                                                  (uint16_t)(i + 1 == SIZE ? 0 : NEXT)};
    offer(f, descriptors, SIZE);
    assert_int_equal(pop(f, &chain), 1);
    assert_int_equal(chain.num_readable, SIZE);
    assert_int_equal(f->rig.num_broken, 0);
}

static void test_zero_length(void **state)
{
    struct ring_descriptor list[] = {{RIG_BUFFERS, 1, NEXT}, {RIG_BUFFERS + 0x123, 0, WRITE}};

    expect_fault(*state, list, 2, FAULT_ZERO_LENGTH, RIG_BUFFERS + 0x123);
    expect_fault_of_one(*state, 0x123, 0, 0, FAULT_ZERO_LENGTH, 0x123);
}

static void test_readable_after_writable(void **state)
{
    struct ring_descriptor list[] = {{RIG_BUFFERS, 1, NEXT},
                                     {RIG_BUFFERS + 1, 1, NEXT | WRITE},
                                     {RIG_BUFFERS + 2, 1, 0}};

    expect_fault(*state, list, 3, FAULT_READABLE_AFTER_WRITABLE, RIG_BUFFERS + 2);
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

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_fault_of_one(*state, cases[i].addr, cases[i].len, i % 2 ? WRITE : 0, FAULT_UNMAPPED,
                            cases[i].value);
}

static void test_too_large(void **state)
{
    struct fixture *f = *state;
    struct shunt_memory_region huge = {UINT64_C(1) << 40, UINT64_C(1) << 40, UINT64_C(1) << 32, 0};
    struct ring_descriptor list[] = {{huge.guest_addr, 0x80000000, NEXT},
                                     {huge.guest_addr, 0x7fffffff, NEXT},
                                     {huge.guest_addr, 0xffffffff, WRITE}};
    struct ring_area area;
    struct shunt_chain chain;

    area_create(&area, huge.size, huge.guest_addr, huge.user_addr);
    assert_int_equal(shunt_memory_add(f->rig.memory, &huge, area.fd, NULL), 0);
    virtqueue_remap(f->rig.queue);
    /* Just not too large, each way. */
    offer(f, list, 3);
    assert_int_equal(pop(f, &chain), 1);
    assert_int_equal(chain.readable_len, UINT32_MAX);
    assert_int_equal(chain.writable_len, UINT32_MAX);
    list[1].len++;
    offer(f, list, 3);
    assert_int_equal(pop(f, &chain), -EPROTO);
    expect_broken(f, FAULT_CHAIN_TOO_LARGE, f->rig.queue->fault_value);
    area_destroy(&area);
}

/* --- Both: indirect tables -------------------------------------------------------------------------- */

static void test_indirect_not_negotiated(void **state)
{
    struct fixture *f = *state;

    virtqueue_stop(f->rig.queue);
    f->rig.features &= ~RIG_F_INDIRECT;
    assert_int_equal(rig_start(&f->rig), 0);
    set_entry(f, 0, RIG_BUFFERS, 1, 0, 0);
    expect_fault_of_table(f, 1, FAULT_INDIRECT_NOT_NEGOTIATED, TABLE);
}

static void test_indirect_with_next(void **state)
{
    struct fixture *f = *state;
    struct ring_descriptor list[] = {{TABLE, 16, INDIRECT | NEXT}, {RIG_BUFFERS, 1, 0}};

    set_entry(f, 0, RIG_BUFFERS, 1, 0, 0);
    expect_fault(f, list, 2, FAULT_INDIRECT_NESTED, TABLE);
}

/* Split only: in a packed table the flag is none. */
static void test_indirect_nested(void **state)
{
    struct fixture *f = *state;

    set_entry(f, 0, RIG_BUFFERS, 1, NEXT, 1);
    set_entry(f, 1, TABLE, 16, INDIRECT, 0);
    expect_fault_of_table(f, 2, FAULT_INDIRECT_NESTED, TABLE);
}

static void test_indirect_length(void **state)
{
    static const uint32_t lens[] = {0, 1, 8, 15, 17, 31, 0xffffffff};
    struct fixture *f = *state;

    set_entry(f, 0, RIG_BUFFERS, 1, 0, 0);
    for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
        expect_fault_of_one(f, TABLE, lens[i], INDIRECT, FAULT_INDIRECT_LENGTH, lens[i]);
}

static void test_indirect_unmapped(void **state)
{
    struct fixture *f = *state;

    expect_fault_of_one(f, RIG_END, 16, INDIRECT, FAULT_UNMAPPED, RIG_END);
    /* Half of its first entry. */
    memset(rig_at(&f->rig, RIG_END - 8), 0, 8);
    expect_fault_of_one(f, RIG_END - 8, 16, INDIRECT, FAULT_UNMAPPED, RIG_END);
    /* Beyond the last address that there is. */
    expect_fault_of_one(f, UINT64_MAX - 15, 32, INDIRECT, FAULT_UNMAPPED, UINT64_MAX - 15);
}

static void test_indirect_longer_than_the_ring(void **state)
{
    struct fixture *f = *state;
    struct ring_descriptor table = {TABLE, 16 * SIZE, INDIRECT};
    struct shunt_chain chain;

    for (unsigned i = 0; i < SIZE; i++)
        set_entry(f, i, RIG_BUFFERS, 1, i + 1 == SIZE ? 0 : next_flag(f), (int)i + 1);
    offer(f, &table, 1);
    assert_int_equal(pop(f, &chain), 1);
    assert_int_equal(chain.num_readable, SIZE);
    set_entry(f, SIZE - 1, RIG_BUFFERS, 1, next_flag(f), SIZE);
    set_entry(f, SIZE, RIG_BUFFERS, 1, 0, 0);
    table.len += 16;
    offer(f, &table, 1);
    assert_int_equal(pop(f, &chain), -EPROTO);
    assert_int_equal(f->rig.queue->fault, FAULT_CHAIN_TOO_LONG);
}

static void test_indirect_bad_buffers(void **state)
{
    struct fixture *f = *state;

    set_entry(f, 0, RIG_BUFFERS, 0, 0, 0);
    expect_fault_of_table(f, 1, FAULT_ZERO_LENGTH, RIG_BUFFERS);
    set_entry(f, 0, RIG_END, 1, 0, 0);
    expect_fault_of_table(f, 1, FAULT_UNMAPPED, RIG_END);
    set_entry(f, 0, RIG_BUFFERS, 1, WRITE | next_flag(f), 1);
    set_entry(f, 1, RIG_BUFFERS + 8, 1, 0, 0);
    expect_fault_of_table(f, 2, FAULT_READABLE_AFTER_WRITABLE, RIG_BUFFERS + 8);
}

/*
 * The device keeps the whole ring, and the driver makes descriptors available that it has not got back: a program
 * would be given more chains than there can be.
 */
static void test_more_than_the_ring_has(void **state)
{
    struct fixture *f = *state;
    struct ring *ring = &f->rig.ring;
    struct ring_buffer buffer = {RIG_BUFFERS, 64, false};
    struct shunt_chain chain;

    for (unsigned i = 0; i < SIZE; i++)
        assert_true(ring_add(ring, &buffer, 1) >= 0);
    ring_publish(ring);
    for (unsigned i = 0; i < SIZE; i++)
        assert_int_equal(pop(f, &chain), 1);
    if (is_packed(f))
        ring->packed[0].flags ^= PACKED_F_AVAIL | PACKED_F_USED;
    else
        ring->available->idx++;
    assert_int_equal(pop(f, &chain), -EPROTO);
    assert_int_equal(f->rig.queue->fault, FAULT_AVAILABLE_INDEX);
    f->num_expected++;
}

#define SPLIT(name)  VARIANT(name, split, setup, teardown)
#define PACKED(name) VARIANT(name, packed, setup, teardown)
#define BOTH(name)   BOTH_FORMATS(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        SPLIT(test_index_too_far_ahead),
        SPLIT(test_index_a_whole_ring_ahead),
        SPLIT(test_index_behind),
        SPLIT(test_index_while_arming),
        SPLIT(test_heads),
        SPLIT(test_next_beyond_the_ring),
        SPLIT(test_loops),
        SPLIT(test_indirect_behind_direct),
        SPLIT(test_indirect_next),
        SPLIT(test_indirect_loop),
        SPLIT(test_indirect_nested),
        SPLIT(test_indirect_second_entry_unmapped),
        PACKED(test_chain_without_end),
        PACKED(test_any_id),
        PACKED(test_half_a_chain),
        PACKED(test_indirect_in_a_list),
        PACKED(test_indirect_end_unmapped),
        BOTH(test_longest_chain),
        BOTH(test_more_than_the_ring_has),
        BOTH(test_zero_length),
        BOTH(test_readable_after_writable),
        BOTH(test_unmapped),
        BOTH(test_too_large),
        BOTH(test_indirect_not_negotiated),
        BOTH(test_indirect_with_next),
        BOTH(test_indirect_length),
        BOTH(test_indirect_unmapped),
        BOTH(test_indirect_longer_than_the_ring),
        BOTH(test_indirect_bad_buffers),
    };

    return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
