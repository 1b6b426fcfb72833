/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The dirty log of a ring while its guest migrates: each page that the device wrote to is marked, and no
 * other. Guest memory is compared with a copy from before the device's turn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/probe.h"

#define PAGE        DIRTY_LOG_PAGE_BYTES
#define SIZE        1024u
#define LOG_BYTES   (RIG_END / PAGE / 8)
#define WATCHED     (RIG_BUFFERS + 0x100000 - RIG_LOW) /* bytes of low memory: ring and buffers */
#define OUTSIDE     (RIG_END - 0x10000)                /* where no ring and no buffer lies */
#define NUM_BUFFERS 200u

struct fixture {
    struct probe *probe;
    int log_fd;
    uint8_t *log;    /* as the front-end has it */
    uint8_t *before; /* low memory, before the device's turn */
    unsigned round;
};

static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof(*f));

    f->probe = probe_create(SIZE, variant_features(state) | RIG_F_INDIRECT | RING_FEATURE(LOG_ALL));
    f->before = test_calloc(1, WATCHED);
    f->log_fd = memfd_create("log", MFD_CLOEXEC);
    assert_int_equal(ftruncate(f->log_fd, LOG_BYTES), 0);
    f->log = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, f->log_fd, 0);
    assert_ptr_not_equal(f->log, MAP_FAILED);
    assert_int_equal(dirty_log_map(&f->probe->rig.log, f->log_fd, 0, LOG_BYTES, NULL), 0);
    f->probe->rig.queue->is_logging = true;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    probe_destroy(f->probe);
    munmap(f->log, LOG_BYTES);
    close(f->log_fd);
    test_free(f->before);
    test_free(f);
    return 0;
}

static bool is_marked(const struct fixture *f, uint64_t addr)
{
    return f->log[addr / PAGE / 8] >> (addr / PAGE % 8) & 1;
}

/* The device's turn begins: nothing was written, nothing is marked. */
static void begin_turn(struct fixture *f)
{
    memcpy(f->before, f->probe->rig.low.base, WATCHED);
    memset(f->log, 0, LOG_BYTES);
    f->round++;
}

static bool is_changed(const struct fixture *f, uint64_t addr)
{
    return memcmp(f->before + (addr - RIG_LOW), rig_at(&f->probe->rig, addr), PAGE) != 0;
}

/* Its end: the pages from `from` to `to` are marked just if they changed. */
static void check_pages(const struct fixture *f, uint64_t from, uint64_t to)
{
    for (uint64_t addr = from; addr < to; addr += PAGE) {
        if (is_changed(f, addr) != is_marked(f, addr))
            fail_msg("the page at %#llx was %schanged, and is %smarked", (unsigned long long)addr,
                     is_changed(f, addr) ? "" : "not ", is_marked(f, addr) ? "" : "not ");
    }
}

static unsigned num_marked(const struct fixture *f)
{
    unsigned num = 0;

    for (uint64_t i = 0; i < LOG_BYTES; i++)
        num += (unsigned)__builtin_popcount(f->log[i]);
    return num;
}

/* Where the device's area is logged, where the front-end asks for that (VHOST_VRING_F_LOG). */
static void log_device_area(struct fixture *f, uint64_t log)
{
    struct virtqueue_addresses addresses = ring_addresses(&f->probe->rig.ring);

    addresses.is_logged = true;
    addresses.log = log;
    assert_int_equal(virtqueue_set_addresses(f->probe->rig.queue, &addresses, NULL), 0);
}

static uint64_t device_area(const struct fixture *f)
{
    const struct ring *ring = &f->probe->rig.ring;

    return area_guest(&f->probe->rig.low, ring->format == RING_PACKED
                                              ? (const void *)ring->device_event
                                              : (const void *)ring->used);
}

/* Buffers of three pages at most, at any alignment; the first is only read. */
static void add_chains(struct fixture *f, unsigned num)
{
    for (unsigned i = 0; i < num; i++) {
        uint64_t addr = RIG_BUFFERS + (f->round * 31 + i) % NUM_BUFFERS * 0x1000;
        struct ring_buffer buffers[] = {readable(addr + 5, 3000),
                                        writable(addr + 4000 + i % 97, 100 + i),
                                        writable(addr + 0x4000, 6000)};

        probe_add(f->probe, buffers, 3);
    }
    ring_publish(&f->probe->rig.ring);
}

/* Writes other bytes than there are to the first `len` of what is writable. */
static void invert(const struct shunt_chain *chain, const struct iovec *iov, uint32_t len)
{
    for (unsigned i = chain->num_readable; len > 0; i++) {
        for (size_t j = 0; j < iov[i].iov_len && len > 0; j++, len--)
            ((uint8_t *)iov[i].iov_base)[j] ^= 0xff;
    }
}

static void serve(struct fixture *f, unsigned num, unsigned salt)
{
    struct shunt_chain chain;
    struct iovec *iov = f->probe->iov;

    for (unsigned i = 0; i < num; i++) {
        uint32_t len;

        assert_int_equal(probe_pop(f->probe, &chain), 1);
        len = (salt * 7919 + i * 613) % (chain.writable_len + 1);
        invert(&chain, iov, len);
        shunt_virtqueue_push(f->probe->rig.queue, &chain, iov, len);
    }
    shunt_virtqueue_publish(f->probe->rig.queue);
}

static void take_all(struct fixture *f)
{
    struct ring_used used;

    while (ring_take_used(&f->probe->rig.ring, &used))
        ;
}

/* Each turn of another number of chains. Two that lie over each other would undo one another's bytes. */
static void test_what_changed_is_marked(void **state)
{
    struct fixture *f = *state;
    unsigned total = 0;

    log_device_area(f, device_area(f));
    for (unsigned num = 0; num < 300; num++) {
        unsigned chains = num % 4;

        add_chains(f, chains);
        begin_turn(f);
        serve(f, chains, num);
        check_pages(f, RIG_LOW, RIG_LOW + WATCHED);
        total += num_marked(f);
        take_all(f);
    }
    assert_true(total > 500);
}

/* What the device wants to be notified of is in guest memory, too. */
static void test_arm_and_disarm_are_marked(void **state)
{
    struct fixture *f = *state;

    log_device_area(f, device_area(f));
    add_chains(f, 1);
    serve(f, 1, 1);
    take_all(f);
    for (unsigned i = 0; i < 20; i++) {
        begin_turn(f);
        if (i % 2)
            shunt_virtqueue_disarm(f->probe->rig.queue);
        else
            assert_true(shunt_virtqueue_arm(f->probe->rig.queue));
        check_pages(f, RIG_LOW, RIG_LOW + WATCHED);
        add_chains(f, 1);
        serve(f, 1, i);
        take_all(f);
    }
}

/* The log address need not be where the ring is, nor in guest memory at all. */
static void test_device_area_by_its_log_address(void **state)
{
    static const uint64_t places[] = {OUTSIDE, 0x1000, 0x20000};
    struct fixture *f = *state;
    uint64_t area = device_area(f) & ~(PAGE - 1);
    uint64_t bytes = ring_area_bytes(&f->probe->rig.ring).device;

    for (unsigned i = 0; i < 3; i++) {
        unsigned num = 0;

        log_device_area(f, places[i]);
        add_chains(f, 3);
        begin_turn(f);
        serve(f, 3, i);
        assert_true(shunt_virtqueue_arm(f->probe->rig.queue));
        for (uint64_t at = 0; at < bytes + PAGE; at += PAGE)
            num += is_marked(f, places[i] + at);
        assert_true(num > 0);
        if (f->probe->rig.ring.format == RING_SPLIT)
            check_pages(f, RIG_BUFFERS, RIG_LOW + WATCHED);
        check_pages(f, RIG_LOW, area);
        shunt_virtqueue_disarm(f->probe->rig.queue);
        take_all(f);
    }
}

/* A front-end may not want the ring logged, and one that does not migrate nothing at all. */
static void test_not_logged(void **state)
{
    struct fixture *f = *state;

    f->probe->rig.queue->is_logging = false;
    log_device_area(f, device_area(f));
    add_chains(f, 3);
    begin_turn(f);
    serve(f, 3, 1);
    assert_true(shunt_virtqueue_arm(f->probe->rig.queue));
    assert_int_equal(num_marked(f), 0);
}

/* It begins and ends while the ring runs. */
static void test_switched_on_and_off(void **state)
{
    struct fixture *f = *state;

    log_device_area(f, device_area(f));
    for (unsigned i = 0; i < 20; i++) {
        f->probe->rig.queue->is_logging = i % 2;
        add_chains(f, 2);
        begin_turn(f);
        serve(f, 2, i + 1);
        if (i % 2)
            check_pages(f, RIG_LOW, RIG_LOW + WATCHED);
        else
            assert_int_equal(num_marked(f), 0);
        take_all(f);
    }
}

#define BOTH(name)                                                                                 \
    BOTH_FORMATS(name, setup, teardown), BOTH_FORMATS_EVENT_IDX(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_what_changed_is_marked),
        BOTH(test_arm_and_disarm_are_marked),
        BOTH(test_device_area_by_its_log_address),
        BOTH(test_not_logged),
        BOTH(test_switched_on_and_off),
    };

    return cmocka_run_group_tests_name("ring log", tests, NULL, NULL);
}
