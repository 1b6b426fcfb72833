/* SPDX-License-Identifier: BSD-3-Clause */
/* Lending the driver's frames: what is a frame, what is dropped and counted, what goes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "lib/rig.h"
#include "lib/variant.h"
#include "virtio_net/header.h"
#include "virtio_net/queue.h"

#define SIZE       256u
#define MODERN     RING_FEATURE(VERSION_1)
#define HASHED     (UINT64_C(1) << NET_F_HASH_REPORT)
#define FRAME_ROOM 0x11000u /* more than the longest frame with its header */

#define MAX_CHAINS 512

struct fixture {
    struct rig rig;
    struct net_format format;
    struct burst burst;
    struct counters rx;
    unsigned num_sent; /* each lies somewhere else */
    /* Chains that the device has, in the order in which it got them. */
    uint16_t ids[MAX_CHAINS];
    unsigned first_id, end_of_ids;
};

static int begin(void **state, uint16_t size, uint64_t features)
{
    struct fixture *f = test_calloc(1, sizeof(*f));

    rig_init_started(&f->rig, size, features | RIG_F_INDIRECT);
    f->format = net_format_of(features);
    assert_int_equal(burst_init(&f->burst), 0);
    shunt_virtqueue_lock(f->rig.queue);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return begin(state, SIZE, variant_features(state));
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    shunt_virtqueue_unlock(f->rig.queue);
    burst_fini(&f->burst);
    rig_fini(&f->rig);
    test_free(f);
    return 0;
}

static void note_chain(struct fixture *f, int id)
{
    assert_true(id >= 0);
    f->ids[f->end_of_ids++ % MAX_CHAINS] = (uint16_t)id;
}

/* --- The driver ------------------------------------------------------------------------------------- */

/* A byte of frame number `number`. */
static uint8_t byte_of(unsigned number, unsigned at)
{
    return (uint8_t)(number * 7 + at * 13 + at / 256);
}

static uint64_t addr_of(unsigned number)
{
    return RIG_BUFFERS + (number % 64) * FRAME_ROOM;
}

/* Writes a packet, the header and the frame after it, to guest memory. */
static void write_packet(struct fixture *f, uint64_t addr, const struct net_header *header,
                         unsigned number, uint32_t len)
{
    unsigned header_bytes = f->format.header_bytes;

    for (unsigned i = 0; i < header_bytes; i++)
        *(uint8_t *)rig_at(&f->rig, addr + i) = ((const uint8_t *)header)[i];
    for (unsigned i = 0; i < len; i++)
        *(uint8_t *)rig_at(&f->rig, addr + header_bytes + i) = byte_of(number, i);
}

/* Offers `len` bytes at `addr` as a chain of buffers of these lengths; the last takes what is left. */
static void offer(struct fixture *f, uint64_t addr, uint32_t len, const uint32_t *lens,
                  unsigned num)
{
    struct ring_buffer buffers[SIZE];
    unsigned i;

    for (i = 0; i < num && lens[i] < len; i++) {
        buffers[i] = (struct ring_buffer){addr, lens[i], false};
        addr += lens[i];
        len -= lens[i];
    }
    buffers[i] = (struct ring_buffer){addr, len, false};
    note_chain(f, ring_add(&f->rig.ring, buffers, i + 1));
}

/* Sends frame number f->num_sent, and returns its number. */
static unsigned send_with(struct fixture *f, const struct net_header *header, uint32_t len)
{
    unsigned number = f->num_sent++;

    write_packet(f, addr_of(number), header, number, len);
    offer(f, addr_of(number), f->format.header_bytes + len, NULL, 0);
    return number;
}

static unsigned send(struct fixture *f, uint32_t len)
{
    struct net_header header = {.num_buffers = 0xffff}; /* nobody looks at it */

    return send_with(f, &header, len);
}

static unsigned lend(struct fixture *f)
{
    ring_publish(&f->rig.ring);
    return transmitq_lend(f->rig.queue, &f->format, &f->burst, &f->rx);
}

/* --- What is expected ------------------------------------------------------------------------------- */

static void expect_frame(struct fixture *f, unsigned idx, unsigned number, uint32_t len)
{
    const struct frame *frame = &f->burst.frames[idx];
    const uint8_t *ethernet = (const uint8_t *)&frame->ethernet;
    uint32_t at = 0;

    assert_int_equal(frame->len, len);
    for (unsigned i = 0; i < ETHERNET_HEADER_BYTES; i++)
        assert_int_equal(ethernet[i], byte_of(number, i));
    for (unsigned i = 0; i < frame->num_segments; i++) {
        const uint8_t *bytes = frame->segments[i].iov_base;

        assert_true(frame->segments[i].iov_len > 0);
        for (unsigned j = 0; j < frame->segments[i].iov_len; j++)
            assert_int_equal(bytes[j], byte_of(number, at++));
    }
    assert_int_equal(at, len);
}

static uint64_t sum_of_drops(const struct counters *counters)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < DROP_NUM; i++)
        sum += counters->drops[i];
    return sum;
}

/* All that was counted. */
static void expect_counted(const struct fixture *f, uint64_t packets, uint64_t bytes,
                           uint64_t drops)
{
    assert_int_equal(f->rx.packets, packets);
    assert_int_equal(f->rx.bytes, bytes);
    assert_int_equal(f->rx.copies, 0);
    assert_int_equal(sum_of_drops(&f->rx), drops);
}

/* The next `num` chains came back, with nothing written. */
static void expect_returned(struct fixture *f, unsigned num)
{
    struct ring_used used;

    assert_int_equal(ring_num_used(&f->rig.ring), num);
    while (num-- > 0) {
        assert_true(ring_take_used(&f->rig.ring, &used));
        assert_int_equal(used.len, 0);
        assert_int_equal(used.id, f->ids[f->first_id++ % MAX_CHAINS]);
    }
}

/* What was sent is dropped for this reason, and comes back at once. */
static void expect_dropped(struct fixture *f, enum drop drop)
{
    struct counters before = f->rx;

    rig_signals(f->rig.call_fd);
    assert_int_equal(lend(f), 0);
    assert_int_equal(f->burst.num, 0);
    assert_int_equal(f->rx.drops[drop], before.drops[drop] + 1);
    expect_counted(f, before.packets + 1, before.bytes, sum_of_drops(&before) + 1);
    expect_returned(f, 1);
    assert_int_equal(rig_signals(f->rig.call_fd), 1);
}

/* --- Headers ---------------------------------------------------------------------------------------- */

static void test_formats(void **state)
{
    static const struct {
        uint64_t features;
        unsigned header_bytes;
        bool is_mergeable;
    } cases[] = {
        {0, 10, false},
        {UINT64_C(1) << NET_F_MRG_RXBUF, 12, true},
        {MODERN, 12, false},
        {MODERN | UINT64_C(1) << NET_F_MRG_RXBUF, 12, true},
        {~(MODERN | HASHED | UINT64_C(1) << NET_F_MRG_RXBUF), 10, false},
        {HASHED, 20, false},
        {UINT64_MAX, 20, true},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net_format format = net_format_of(cases[i].features);

        assert_int_equal(format.header_bytes, cases[i].header_bytes);
        assert_int_equal(format.is_mergeable, cases[i].is_mergeable);
    }
}

static void test_one_frame(void **state)
{
    struct fixture *f = *state;
    unsigned number = send(f, 100);

    assert_int_equal(transmitq_lend(f->rig.queue, &f->format, &f->burst, &f->rx), 0);
    assert_int_equal(lend(f), 1);
    expect_frame(f, 0, number, 100);
    assert_int_equal(f->burst.frames[0].num_segments, 1);
    assert_true(rig_is_at(&f->rig, f->burst.frames[0].segments[0].iov_base,
                          addr_of(number) + f->format.header_bytes));
    expect_counted(f, 1, 100, 0);
    assert_int_equal(ring_num_used(&f->rig.ring), 0);
    assert_int_equal(rig_signals(f->rig.call_fd), 0);
    transmitq_give_back(f->rig.queue, &f->burst);
    expect_returned(f, 1);
    assert_int_equal(rig_signals(f->rig.call_fd), 1);
    assert_int_equal(lend(f), 0);
    expect_counted(f, 1, 100, 0);
    assert_int_equal(rig_signals(f->rig.call_fd), 0);
}

/* The packet in buffers of these lengths. */
static void expect_layout(struct fixture *f, const uint32_t *lens, unsigned num, uint64_t addr)
{
    struct net_header header = {0};
    unsigned number = f->num_sent++;

    write_packet(f, addr, &header, number, 60);
    offer(f, addr, f->format.header_bytes + 60, lens, num);
    assert_int_equal(lend(f), 1);
    expect_frame(f, 0, number, 60);
    transmitq_give_back(f->rig.queue, &f->burst);
    expect_returned(f, 1);
}

/* The virtio-net header in 1 … 12 buffers of its own, and the Ethernet header in as many as it has bytes. */
static void test_header_in_many_buffers(void **state)
{
    struct fixture *f = *state;
    unsigned header_bytes = f->format.header_bytes;
    uint32_t lens[80];

    for (unsigned num = 1; num <= header_bytes; num++) {
        for (unsigned i = 0; i < num; i++)
            lens[i] = i + 1 < num ? 1 : header_bytes - (num - 1);
        expect_layout(f, lens, num, RIG_BUFFERS);
        assert_int_equal(f->burst.frames[0].num_segments, 1);
        for (unsigned i = num; i < num + ETHERNET_HEADER_BYTES; i++)
            lens[i] = 1;
        expect_layout(f, lens, num + ETHERNET_HEADER_BYTES, RIG_BUFFERS);
        assert_int_equal(f->burst.frames[0].num_segments, ETHERNET_HEADER_BYTES + 1);
        /* The last part of the header and the frame in one. */
        expect_layout(f, lens, num - 1, RIG_BUFFERS);
        assert_int_equal(f->burst.frames[0].num_segments, 1);
    }
}

/* Every way to cut the packet in two, and in three. */
static void test_cuts(void **state)
{
    struct fixture *f = *state;
    uint32_t len = f->format.header_bytes + 60;

    for (uint32_t first = 1; first < len; first++) {
        expect_layout(f, (uint32_t[]){first}, 1, RIG_BUFFERS);
        for (uint32_t second = 1; first + second < len; second += 3)
            expect_layout(f, (uint32_t[]){first, second}, 2, RIG_BUFFERS);
    }
}

static void test_across_regions(void **state)
{
    struct fixture *f = *state;
    uint32_t len = f->format.header_bytes + 60;

    for (uint32_t before = 0; before <= len; before++) {
        expect_layout(f, NULL, 0, RIG_BORDER - before);
        expect_layout(f, (uint32_t[]){3, 20}, 2, RIG_BORDER - before);
    }
}

/* The device reads a chain's readable buffers; what is writable in it is nothing to it. */
static void test_writable_buffers_are_passed_over(void **state)
{
    struct fixture *f = *state;
    struct net_header header = {0};
    uint32_t len = f->format.header_bytes + 60;

    for (unsigned number = 0; number < 3; number++) {
        struct ring_buffer buffers[] = {{addr_of(number), len, false},
                                        {RIG_BORDER, 5, true},
                                        {RIG_BORDER - 5, 500, true}};

        write_packet(f, addr_of(number), &header, number, 60);
        note_chain(f, ring_add(&f->rig.ring, buffers, 3));
    }
    assert_int_equal(lend(f), 3);
    for (unsigned number = 0; number < 3; number++) {
        expect_frame(f, number, number, 60);
        assert_int_equal(f->burst.frames[number].num_segments, 1);
    }
    transmitq_give_back(f->rig.queue, &f->burst);
    expect_returned(f, 3);
}

/* --- What is no frame ------------------------------------------------------------------------------- */

static void test_runts(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer only_writable = {RIG_BUFFERS, 1000, true};
    uint32_t least = f->format.header_bytes + ETHERNET_HEADER_BYTES;

    memset(rig_at(&f->rig, RIG_BUFFERS), 0, 100);
    for (uint32_t len = 1; len < least; len++) {
        offer(f, RIG_BUFFERS, len, NULL, 0);
        expect_dropped(f, DROP_RUNT);
        offer(f, RIG_BUFFERS, len, (uint32_t[]){1, 1, 1}, 3);
        expect_dropped(f, DROP_RUNT);
    }
    note_chain(f, ring_add(&f->rig.ring, &only_writable, 1));
    expect_dropped(f, DROP_RUNT);
    assert_int_equal(f->rx.drops[DROP_RUNT], 2 * (least - 1) + 1);
    offer(f, RIG_BUFFERS, least, NULL, 0);
    assert_int_equal(lend(f), 1);
    assert_int_equal(f->burst.frames[0].len, ETHERNET_HEADER_BYTES);
    transmitq_give_back(f->rig.queue, &f->burst);
}

static void test_oversize(void **state)
{
    struct fixture *f = *state;
    unsigned number;

    send(f, FRAME_MAX_BYTES + 1);
    expect_dropped(f, DROP_OVERSIZE);
    offer(f, RIG_LOW, RIG_AREA_BYTES, NULL, 0);
    expect_dropped(f, DROP_OVERSIZE);
    number = send(f, FRAME_MAX_BYTES);
    assert_int_equal(lend(f), 1);
    expect_frame(f, 0, number, FRAME_MAX_BYTES);
    transmitq_give_back(f->rig.queue, &f->burst);
    expect_counted(f, 3, FRAME_MAX_BYTES, 2);
}

static void test_bad_offloads(void **state)
{
    struct fixture *f = *state;
    static const struct net_header bad[] = {
        {.flags = NET_HEADER_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16},
        {.flags = 0xff},
        {.gso_type = 1, .gso_size = 1448, .hdr_len = 54},
        {.flags = NET_HEADER_F_NEEDS_CSUM, .gso_type = 4},
        {.gso_type = 3},
        {.gso_type = 5},
        {.gso_type = 0x80},
        {.gso_type = 0xff},
    };

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        send_with(f, &bad[i], 100);
        expect_dropped(f, DROP_BAD_OFFLOAD);
    }
}

/* Without an offload the other fields mean nothing, and flags that are not the driver's are ignored. */
static void test_harmless_headers(void **state)
{
    struct fixture *f = *state;
    static const struct net_header good[] = {
        {.hdr_len = 0xffff, .gso_size = 0xffff, .csum_start = 0xffff, .csum_offset = 0xffff},
        {.flags = 2}, /* DATA_VALID */
        {.flags = 0xfe},
        {.num_buffers = 0xffff},
    };

    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        unsigned number = send_with(f, &good[i], 100);

        assert_int_equal(lend(f), 1);
        expect_frame(f, 0, number, 100);
        transmitq_give_back(f->rig.queue, &f->burst);
    }
    expect_counted(f, 4, 400, 0);
}

static void test_disabled_queue_discards(void **state)
{
    struct fixture *f = *state;
    unsigned number;

    f->rig.queue->is_enabled = false;
    send(f, 100);
    expect_dropped(f, DROP_QUEUE_DISABLED);
    send(f, 5); /* nobody looks at what is in it */
    expect_dropped(f, DROP_QUEUE_DISABLED);
    for (unsigned i = 0; i < 40; i++)
        send(f, 100);
    assert_int_equal(lend(f), 0);
    expect_returned(f, 32);
    assert_int_equal(lend(f), 0);
    expect_returned(f, 8);
    assert_int_equal(f->rx.drops[DROP_QUEUE_DISABLED], 42);
    expect_counted(f, 42, 0, 42);
    f->rig.queue->is_enabled = true;
    number = send(f, 100);
    assert_int_equal(lend(f), 1);
    expect_frame(f, 0, number, 100);
    transmitq_give_back(f->rig.queue, &f->burst);
}

/* --- Bursts ----------------------------------------------------------------------------------------- */

/* Bad frames among good ones: these keep their order, and all chains go back in theirs. */
static void test_mixed_burst(void **state)
{
    struct fixture *f = *state;
    struct net_header bad = {.gso_type = 1};
    unsigned numbers[3];

    send(f, 13);
    numbers[0] = send(f, 61);
    send_with(f, &bad, 100);
    numbers[1] = send(f, 62);
    numbers[2] = send(f, 1514);
    send(f, FRAME_MAX_BYTES + 1);
    assert_int_equal(lend(f), 3);
    expect_frame(f, 0, numbers[0], 61);
    expect_frame(f, 1, numbers[1], 62);
    expect_frame(f, 2, numbers[2], 1514);
    expect_counted(f, 6, 61 + 62 + 1514, 3);
    assert_int_equal(f->rx.drops[DROP_RUNT], 1);
    assert_int_equal(f->rx.drops[DROP_BAD_OFFLOAD], 1);
    assert_int_equal(f->rx.drops[DROP_OVERSIZE], 1);
    assert_int_equal(ring_num_used(&f->rig.ring), 0);
    transmitq_give_back(f->rig.queue, &f->burst);
    expect_returned(f, 6);
    assert_int_equal(rig_signals(f->rig.call_fd), 1);
}

static void test_at_most_a_burst_at_once(void **state)
{
    struct fixture *f = *state;
    static const unsigned expected[] = {32, 32, 32, 4, 0};
    unsigned number = 0;

    for (unsigned i = 0; i < 100; i++)
        send(f, 60 + i);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(lend(f), expected[i]);
        for (unsigned j = 0; j < expected[i]; j++, number++) {
            /* 64 places in memory: the later ones were written over the first ones */
            if (number >= 36)
                expect_frame(f, j, number, 60 + number);
        }
        if (expected[i] > 0)
            transmitq_give_back(f->rig.queue, &f->burst);
        expect_returned(f, expected[i]);
    }
    assert_int_equal(rig_signals(f->rig.call_fd), 4);
}

static void test_many_frames(void **state)
{
    struct fixture *f = *state;
    uint64_t bytes = 0, total = 0;

    while (total < 70000) {
        unsigned num = (unsigned)(total % 32) + 1;

        for (unsigned i = 0; i < num; i++) {
            send(f, 60 + i);
            bytes += 60 + i;
        }
        assert_int_equal(lend(f), num);
        expect_frame(f, num - 1, f->num_sent - 1, 60 + num - 1);
        transmitq_give_back(f->rig.queue, &f->burst);
        expect_returned(f, num);
        total += num;
        expect_counted(f, total, bytes, 0);
    }
}

/* The guest breaks its ring behind three frames: these still go their way. */
static void test_fault_within_a_burst(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 3; i++)
        send(f, 100);
    offer(f, RIG_END, 100, NULL, 0);
    assert_int_equal(lend(f), 3);
    for (unsigned i = 0; i < 3; i++)
        expect_frame(f, i, i, 100);
    assert_int_equal(f->rig.queue->fault, FAULT_UNMAPPED);
    assert_int_equal(f->rig.num_broken, 1);
    expect_counted(f, 3, 300, 0);
    transmitq_give_back(f->rig.queue, &f->burst);
    assert_int_equal(ring_num_used(&f->rig.ring), 0);
    assert_int_equal(rig_signals(f->rig.call_fd), 0);
}

/* Decisions are made on what was checked, not on what the guest makes of it later. */
static void test_headers_are_copied_once(void **state)
{
    struct fixture *f = *state;
    unsigned number = send(f, 100);

    assert_int_equal(lend(f), 1);
    memset(rig_at(&f->rig, addr_of(number)), 0xff, 26);
    memset(f->rig.low.base, 0x11, 16 * SIZE); /* the descriptors: neither available nor used */
    assert_int_equal(f->burst.frames[0].len, 100);
    for (unsigned i = 0; i < ETHERNET_HEADER_BYTES; i++)
        assert_int_equal(((uint8_t *)&f->burst.frames[0].ethernet)[i], byte_of(number, i));
    transmitq_give_back(f->rig.queue, &f->burst);
    expect_returned(f, 1);
}

/* --- Pieces without number -------------------------------------------------------------------------- */

/* A table of `num` buffers of two bytes, each of them across the border of the regions. */
static void offer_pieces(struct fixture *f, unsigned num)
{
    struct ring_buffer *buffers = test_calloc(num, sizeof(*buffers));
    void *table = rig_at(&f->rig, RIG_BORDER + 0x100000);

    for (unsigned i = 0; i < num; i++)
        buffers[i] = (struct ring_buffer){RIG_BORDER - 1, 2, false};
    note_chain(f, ring_add_indirect(&f->rig.ring, table, RIG_BORDER + 0x100000, buffers, num));
    test_free(buffers);
}

/* More pieces than a burst can hold wait for the next one. */
static void test_pieces_fill_a_burst(void **state)
{
    struct fixture *f;

    begin(state, 2048, variant_features(state));
    f = *state;
    for (unsigned i = 0; i < 20; i++)
        offer_pieces(f, 2048);
    assert_int_equal(lend(f), 16);
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(f->burst.frames[i].len, 4096 - 12);
        assert_int_equal(f->burst.frames[i].num_segments, 4096 - 12);
    }
    transmitq_give_back(f->rig.queue, &f->burst);
    expect_returned(f, 16);
    assert_int_equal(lend(f), 4);
    transmitq_give_back(f->rig.queue, &f->burst);
    expect_returned(f, 4);
    expect_counted(f, 20, 20 * (4096 - 12), 0);
    teardown(state);
}

/* One that can never fit must not stop the queue. */
static void test_more_pieces_than_a_burst_holds(void **state)
{
    struct fixture *f;
    unsigned number;

    begin(state, SHUNT_VIRTQUEUE_MAX_SIZE, variant_features(state));
    f = *state;
    send(f, 60);
    offer_pieces(f, SHUNT_VIRTQUEUE_MAX_SIZE);
    number = send(f, 100);
    assert_int_equal(lend(f), 1);
    transmitq_give_back(f->rig.queue, &f->burst);
    expect_returned(f, 1);
    expect_dropped(f, DROP_OVERSIZE);
    assert_int_equal(lend(f), 1);
    expect_frame(f, 0, number, 100);
    transmitq_give_back(f->rig.queue, &f->burst);
    expect_returned(f, 1);
    expect_counted(f, 3, 160, 1);
    teardown(state);
}

/* --- Each frame is counted once --------------------------------------------------------------------- */

/* Sends something, good or bad; adds to what should be counted. */
static void send_anything(struct fixture *f, unsigned choice, struct counters *expected)
{
    struct net_header bad = {.flags = NET_HEADER_F_NEEDS_CSUM};
    uint32_t len = ETHERNET_HEADER_BYTES + choice / 8 % 3000;

    expected->packets++;
    switch (choice % 8) {
    case 0:
        send(f, choice / 8 % ETHERNET_HEADER_BYTES);
        expected->drops[DROP_RUNT]++;
        break;
    case 1:
        send_with(f, &bad, len);
        expected->drops[DROP_BAD_OFFLOAD]++;
        break;
    case 2:
        offer(f, RIG_LOW, FRAME_MAX_BYTES + 13 + choice / 8 % 1000, NULL, 0);
        expected->drops[DROP_OVERSIZE]++;
        break;
    default:
        send(f, len);
        expected->bytes += len;
        break;
    }
}

static void test_each_is_counted_once(void **state)
{
    struct fixture *f = *state;
    struct counters expected = {0};
    unsigned num_lent = 0;

    srand(7);
    for (unsigned round = 0; round < 1000; round++) {
        unsigned num = (unsigned)rand() % 33;

        for (unsigned i = 0; i < num; i++)
            send_anything(f, (unsigned)rand(), &expected);
        num_lent += lend(f);
        if (f->burst.num > 0)
            transmitq_give_back(f->rig.queue, &f->burst);
        expect_returned(f, num);
        assert_memory_equal(&f->rx, &expected, sizeof(expected));
    }
    assert_int_equal(num_lent, expected.packets - sum_of_drops(&expected));
    assert_true(num_lent > 5000);
}

static const uint64_t variant_legacy = 0;
static const uint64_t variant_modern_split = MODERN;
static const uint64_t variant_modern_packed = MODERN | RING_FEATURE(PACKED);
static const uint64_t variant_in_order_split = MODERN | RING_FEATURE(IN_ORDER);
static const uint64_t variant_in_order_packed = MODERN | RING_FEATURE(PACKED) |
                                                RING_FEATURE(IN_ORDER);

#define SET_UP(name, setup, teardown)                                                              \
    VARIANT(name, modern_split, setup, teardown), VARIANT(name, modern_packed, setup, teardown),   \
        VARIANT(name, in_order_split, setup, teardown),                                            \
        VARIANT(name, in_order_packed, setup, teardown)
#define MODERN_TEST(name) SET_UP(name, setup, teardown)
#define ALL(name)         MODERN_TEST(name), VARIANT(name, legacy, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        ALL(test_one_frame),
        ALL(test_header_in_many_buffers),
        ALL(test_cuts),
        ALL(test_across_regions),
        ALL(test_writable_buffers_are_passed_over),
        ALL(test_runts),
        ALL(test_oversize),
        ALL(test_bad_offloads),
        ALL(test_harmless_headers),
        MODERN_TEST(test_disabled_queue_discards),
        MODERN_TEST(test_mixed_burst),
        MODERN_TEST(test_at_most_a_burst_at_once),
        MODERN_TEST(test_many_frames),
        MODERN_TEST(test_fault_within_a_burst),
        MODERN_TEST(test_headers_are_copied_once),
        SET_UP(test_pieces_fill_a_burst, NULL, NULL),
        SET_UP(test_more_pieces_than_a_burst_holds, NULL, NULL),
        ALL(test_each_is_counted_once),
    };

    return cmocka_run_group_tests_name("transmitq", tests, NULL, NULL);
}
