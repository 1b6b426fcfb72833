/* SPDX-License-Identifier: BSD-3-Clause */
/* Copying frames into the driver's buffers: which of them, how much of each, and what is dropped. */
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

#define SIZE      256u
#define MODERN    RING_FEATURE(VERSION_1)
#define MERGEABLE (UINT64_C(1) << NET_F_MRG_RXBUF)
#define UNTOUCHED 0xee

struct fixture {
    struct rig rig;
    struct net_format format;
    struct burst burst;
    struct counters tx;
    uint8_t bytes[BURST_MAX_FRAMES]
                 [FRAME_MAX_BYTES]; /* of the frames, where their source has them */
    unsigned num_segments;          /* used of the burst's */
    uint32_t lens[SIZE];            /* of the driver's buffers, by id */
};

static int begin(void **state, uint16_t size, uint64_t features)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    rig_init_started(&f->rig, size, features | RIG_F_INDIRECT);
    f->format = net_format_of(features);
    assert_int_equal(burst_init(&f->burst), 0);
    memset(f->rig.low.base + (RIG_BUFFERS - RIG_LOW), UNTOUCHED, 0x400000);
    memset(f->rig.high.base, UNTOUCHED, 0x100000);
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
    free(f);
    return 0;
}

/* --- The source ------------------------------------------------------------------------------------- */

static uint8_t byte_of(unsigned number, unsigned at)
{
    return (uint8_t)(number * 7 + at * 13 + at / 256);
}

static void clear_burst(struct fixture *f)
{
    f->burst.num = 0;
    f->num_segments = 0;
}

/* Adds a frame in pieces of `piece_bytes` (0: one) to the burst; its content is that of `number`. */
static void lend(struct fixture *f, unsigned number, uint32_t len, uint32_t piece_bytes)
{
    struct frame *frame = &f->burst.frames[f->burst.num];
    uint8_t *bytes = f->bytes[f->burst.num];

    for (unsigned i = 0; i < len; i++)
        bytes[i] = byte_of(number, i);
    *frame = (struct frame){.segments = &f->burst.segments[f->num_segments], .len = len};
    for (uint32_t at = 0, piece; at < len; at += piece) {
        piece = piece_bytes && piece_bytes < len - at ? piece_bytes : len - at;
        f->burst.segments[f->num_segments++] = (struct iovec){bytes + at, piece};
        frame->num_segments++;
    }
    memcpy(&frame->ethernet, bytes, ETHERNET_HEADER_BYTES);
    f->burst.num++;
}

static void copy(struct fixture *f, burst_mask which)
{
    receiveq_copy(f->rig.queue, &f->format, &f->burst, which, &f->tx);
}

static void copy_all(struct fixture *f)
{
    copy(f, burst_all(&f->burst));
    clear_burst(f);
}

/* --- The driver ------------------------------------------------------------------------------------- */

/* Each buffer has its own place, by id. */
static uint64_t addr_of(unsigned id)
{
    return RIG_BUFFERS + id * 0x1000u;
}

static void offer(struct fixture *f, unsigned num, uint32_t len)
{
    for (unsigned i = 0; i < num; i++) {
        uint16_t id = ring_next_id(&f->rig.ring);
        struct ring_buffer buffer = {addr_of(id), len, true};

        assert_int_equal(ring_add(&f->rig.ring, &buffer, 1), id);
        f->lens[id] = len;
    }
    ring_publish(&f->rig.ring);
}

/* The next used buffer. */
static struct ring_used take(struct fixture *f)
{
    struct ring_used used;

    assert_true(ring_take_used(&f->rig.ring, &used));
    return used;
}

static uint16_t num_buffers_at(struct fixture *f, uint64_t addr)
{
    uint16_t num;

    memcpy(&num, rig_at(&f->rig, addr + offsetof(struct net_header, num_buffers)), sizeof(num));
    return num;
}

/* The packet of frame `number` lies at `addr` in one piece: its header, then all of its bytes. */
static void expect_packet(struct fixture *f, uint64_t addr, unsigned number, uint32_t len)
{
    static const uint8_t zeros[10];
    const uint8_t *packet = rig_at(&f->rig, addr);

    assert_memory_equal(packet, zeros, sizeof(zeros));
    if (f->format.header_bytes == NET_HEADER_BYTES)
        assert_int_equal(num_buffers_at(f, addr), 1);
    packet += f->format.header_bytes;
    for (unsigned i = 0; i < len; i++)
        assert_int_equal(packet[i], byte_of(number, i));
    assert_int_equal(packet[len], UNTOUCHED);
}

/* The next used buffer, of those that offer() made, has the whole frame. */
static void expect_frame(struct fixture *f, unsigned number, uint32_t len)
{
    struct ring_used used = take(f);

    assert_int_equal(used.len, f->format.header_bytes + len);
    expect_packet(f, addr_of(used.id), number, len);
}

static uint64_t sum_of_drops(const struct counters *counters)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < DROP_NUM; i++)
        sum += counters->drops[i];
    return sum;
}

/* All that was counted; the drops are all of one reason. */
static void expect_counted(const struct fixture *f, uint64_t packets, uint64_t bytes,
                           enum drop drop, uint64_t drops)
{
    assert_int_equal(f->tx.packets, packets);
    assert_int_equal(f->tx.bytes, bytes);
    assert_int_equal(f->tx.drops[drop], drops);
    assert_int_equal(sum_of_drops(&f->tx), drops);
}

/* --- One buffer a frame ----------------------------------------------------------------------------- */

static void test_one_frame(void **state)
{
    struct fixture *f = *state;
    uint16_t next;

    offer(f, 1, 2000);
    next = ring_next_id(&f->rig.ring);
    offer(f, 1, 2000);
    lend(f, 5, 60, 0);
    copy_all(f);
    assert_int_equal(ring_num_used(&f->rig.ring), 1);
    expect_frame(f, 5, 60);
    expect_counted(f, 1, 60, 0, 0);
    assert_int_equal(rig_signals(f->rig.call_fd), 1);
    assert_int_equal(*(uint8_t *)rig_at(&f->rig, addr_of(next)), UNTOUCHED);
}

static void test_a_burst_in_order(void **state)
{
    struct fixture *f = *state;

    offer(f, 40, 2000);
    for (unsigned i = 0; i < 32; i++)
        lend(f, i, 60 + i, i);
    copy_all(f);
    assert_int_equal(rig_signals(f->rig.call_fd), 1);
    assert_int_equal(ring_num_used(&f->rig.ring), 32);
    for (unsigned i = 0; i < 32; i++)
        expect_frame(f, i, 60 + i);
    expect_counted(f, 32, 32 * 60 + 31 * 16, 0, 0);
}

static void test_only_those_of_the_mask(void **state)
{
    struct fixture *f = *state;

    offer(f, 40, 2000);
    for (unsigned i = 0; i < 32; i++)
        lend(f, i, 60 + i, 0);
    copy(f, 1u << 31 | 1u << 17 | 1u << 3);
    assert_int_equal(ring_num_used(&f->rig.ring), 3);
    expect_frame(f, 3, 63);
    expect_frame(f, 17, 77);
    expect_frame(f, 31, 91);
    copy(f, 1u << 0); /* the same burst again: flooded frames are copied often */
    expect_frame(f, 0, 60);
    expect_counted(f, 4, 63 + 77 + 91 + 60, 0, 0);
}

static void test_sizes(void **state)
{
    struct fixture *f = *state;
    static const uint32_t lens[] = {14, 15, 59, 60, 1514, 3000};

    for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        for (uint32_t piece = 0; piece < 20; piece++) {
            offer(f, 1, f->format.header_bytes + lens[i]); /* it fits exactly */
            lend(f, i, lens[i], piece);
            copy_all(f);
            expect_frame(f, i, lens[i]);
            memset(rig_at(&f->rig, RIG_BUFFERS), UNTOUCHED, SIZE * 0x1000);
        }
    }
    assert_int_equal(sum_of_drops(&f->tx), 0);
}

static void test_longest_frame(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer buffer = {RIG_BUFFERS, NET_HEADER_BYTES + FRAME_MAX_BYTES, true};

    assert_true(ring_add(&f->rig.ring, &buffer, 1) >= 0);
    ring_publish(&f->rig.ring);
    lend(f, 9, FRAME_MAX_BYTES, 4096);
    copy_all(f);
    assert_int_equal(take(f).len, f->format.header_bytes + FRAME_MAX_BYTES);
    expect_packet(f, RIG_BUFFERS, 9, FRAME_MAX_BYTES);
}

/* Too big by one byte: the buffer stays, and the next frame gets it. */
static void test_too_big_keeps_the_buffer(void **state)
{
    struct fixture *f = *state;

    offer(f, 2, f->format.header_bytes + 100);
    lend(f, 1, 101, 0);
    lend(f, 2, 100, 0);
    lend(f, 3, FRAME_MAX_BYTES, 0);
    lend(f, 4, 50, 0);
    copy_all(f);
    assert_int_equal(ring_num_used(&f->rig.ring), 2);
    expect_frame(f, 2, 100);
    expect_frame(f, 4, 50);
    expect_counted(f, 2, 150, DROP_TOO_BIG, 2);
}

static void test_only_too_big(void **state)
{
    struct fixture *f = *state;

    offer(f, 2, 100);
    lend(f, 1, 101, 0);
    copy_all(f);
    assert_int_equal(ring_num_used(&f->rig.ring), 0);
    assert_int_equal(rig_signals(f->rig.call_fd), 0);
    expect_counted(f, 0, 0, DROP_TOO_BIG, 1);
}

static void test_ring_full_drops_the_rest(void **state)
{
    struct fixture *f = *state;

    offer(f, 3, 2000);
    for (unsigned i = 0; i < 10; i++)
        lend(f, i, 60, 0);
    copy(f, 0x3ef); /* all but the fifth */
    assert_int_equal(ring_num_used(&f->rig.ring), 3);
    for (unsigned i = 0; i < 3; i++)
        expect_frame(f, i, 60);
    expect_counted(f, 3, 180, DROP_RING_FULL, 6);
    copy(f, 1);
    assert_int_equal(ring_num_used(&f->rig.ring), 0);
    expect_counted(f, 3, 180, DROP_RING_FULL, 7);
    offer(f, 1, 2000);
    copy(f, 1);
    assert_int_equal(ring_num_used(&f->rig.ring), 1);
}

/* A sender that changes its frame after it was lent does not change what was decided on. */
static void test_the_copied_header_wins(void **state)
{
    struct fixture *f = *state;

    for (uint32_t piece = 0; piece < 20; piece++) {
        offer(f, 1, 2000);
        lend(f, 1, 60, piece);
        memset(f->bytes[0], 0xff, ETHERNET_HEADER_BYTES);
        copy_all(f);
        expect_frame(f, 1, 60);
    }
}

/* --- The buffers' layout ---------------------------------------------------------------------------- */

/* A buffer in descriptors of these lengths; the driver finds the packet in one piece. */
static void expect_layout(struct fixture *f, uint64_t addr, const uint32_t *lens, unsigned num)
{
    struct ring_buffer buffers[64];
    uint64_t at = addr;

    memset(rig_at(&f->rig, RIG_BORDER - 200), UNTOUCHED, 200);
    memset(rig_at(&f->rig, RIG_BORDER), UNTOUCHED, 200);
    memset(rig_at(&f->rig, RIG_BUFFERS), UNTOUCHED, 200);
    for (unsigned i = 0; i < num; i++) {
        buffers[i] = (struct ring_buffer){at, lens[i], true};
        at += lens[i];
    }
    assert_true(ring_add(&f->rig.ring, buffers, num) >= 0);
    ring_publish(&f->rig.ring);
    lend(f, num, 60, 7);
    copy_all(f);
    assert_int_equal(take(f).len, f->format.header_bytes + 60);
    if (addr < RIG_BORDER && addr + 100 > RIG_BORDER) { /* in one piece, to be looked at */
        unsigned before = (unsigned)(RIG_BORDER - addr);

        memmove(rig_at(&f->rig, RIG_BUFFERS), rig_at(&f->rig, addr), before);
        memmove(rig_at(&f->rig, RIG_BUFFERS + before), rig_at(&f->rig, RIG_BORDER), 100 - before);
        addr = RIG_BUFFERS;
    }
    expect_packet(f, addr, num, 60);
}

static void test_header_in_many_descriptors(void **state)
{
    struct fixture *f = *state;
    uint32_t lens[64];

    for (unsigned num = 1; num < 40; num++) {
        for (unsigned i = 0; i < num; i++)
            lens[i] = i + 1 < num ? 1 : 80;
        expect_layout(f, RIG_BUFFERS, lens, num);
    }
}

static void test_cuts(void **state)
{
    struct fixture *f = *state;

    for (uint32_t first = 1; first < 80; first++) {
        for (uint32_t second = 1; first + second < 80; second += 3)
            expect_layout(f, RIG_BUFFERS, (uint32_t[]){first, second, 80 - first - second}, 3);
    }
}

static void test_across_regions(void **state)
{
    struct fixture *f = *state;

    for (unsigned before = 1; before < 80; before++)
        expect_layout(f, RIG_BORDER - before, (uint32_t[]){30, 50}, 2);
}

/* What a chain has to read is passed over, and not written to. */
static void test_readable_descriptors(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer buffers[] = {
        {RIG_BORDER - 5, 100, false}, /* two pieces */
        {RIG_BUFFERS, 10, true},
        {RIG_BUFFERS + 10, 5, true},
        {RIG_BUFFERS + 15, 1000, true},
    };

    memset(rig_at(&f->rig, RIG_BORDER - 5), UNTOUCHED, 5);
    for (unsigned i = 0; i < 3; i++)
        assert_true(ring_add(&f->rig.ring, buffers + (i == 1), 4 - (i == 1)) >= 0);
    ring_publish(&f->rig.ring);
    for (unsigned i = 0; i < 3; i++) {
        lend(f, i, 60, 0);
        copy_all(f);
        assert_int_equal(take(f).len, f->format.header_bytes + 60);
        expect_packet(f, RIG_BUFFERS, i, 60);
    }
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(*(uint8_t *)rig_at(&f->rig, RIG_BORDER - 5 + i), UNTOUCHED);
}

/* --- Mergeable buffers ------------------------------------------------------------------------------ */

/* The next packet, of a frame, in as many buffers of `each` bytes as it needs, and no more. */
static void expect_merged(struct fixture *f, unsigned number, uint32_t len, uint32_t each)
{
    static const uint8_t zeros[10];
    uint32_t total = NET_HEADER_BYTES + len, num = (total + each - 1) / each;
    uint8_t *packet = test_calloc(1, num * each);

    for (unsigned i = 0; i < num; i++) {
        struct ring_used used = take(f);
        uint32_t expected = i + 1 < num ? each : total - (num - 1) * each;

        assert_int_equal(used.len, expected);
        memcpy(packet + (size_t)i * each, rig_at(&f->rig, addr_of(used.id)), expected);
        if (used.len < each)
            assert_int_equal(*(uint8_t *)rig_at(&f->rig, addr_of(used.id) + used.len), UNTOUCHED);
        memset(rig_at(&f->rig, addr_of(used.id)), UNTOUCHED, each);
    }
    assert_memory_equal(packet, zeros, sizeof(zeros));
    assert_int_equal(packet[10] | packet[11] << 8, num);
    for (unsigned i = 0; i < len; i++)
        assert_int_equal(packet[NET_HEADER_BYTES + i], byte_of(number, i));
    test_free(packet);
}

/* A packet of `total` bytes, from more buffers than it needs; a second one takes exactly what is left. */
static void expect_merges(struct fixture *f, uint32_t total, uint32_t each)
{
    uint32_t num = (total + each - 1) / each;

    offer(f, num + 6, each);
    lend(f, total, total - NET_HEADER_BYTES, 100);
    copy_all(f);
    assert_int_equal(ring_num_used(&f->rig.ring), num);
    expect_merged(f, total, total - NET_HEADER_BYTES, each);
    lend(f, 3, 6 * each - NET_HEADER_BYTES, 0);
    copy_all(f);
    assert_int_equal(ring_num_used(&f->rig.ring), 6);
    expect_merged(f, 3, 6 * each - NET_HEADER_BYTES, each);
    assert_int_equal(f->rig.ring.num_free, SIZE);
}

/* Around each multiple of what one buffer holds. */
static void test_merged(void **state)
{
    static const uint32_t each[] = {5, 11, 12, 13, 26, 100, 1526, 2048, 4000};

    for (unsigned i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
        for (uint32_t num = 1; num < 10; num++) {
            for (uint32_t total = num * each[i] - 2; total <= num * each[i] + 2; total++) {
                if (total >= NET_HEADER_BYTES + ETHERNET_HEADER_BYTES)
                    expect_merges(*state, total, each[i]);
            }
        }
    }
}

static void test_longest_frame_merged(void **state)
{
    struct fixture *f = *state;

    offer(f, 60, 1526);
    lend(f, 7, FRAME_MAX_BYTES, 1000);
    copy_all(f);
    assert_int_equal(ring_num_used(&f->rig.ring), 43);
    expect_merged(f, 7, FRAME_MAX_BYTES, 1526);
}

static void test_a_burst_merged(void **state)
{
    struct fixture *f = *state;
    unsigned num_used = 0;

    offer(f, SIZE, 512);
    for (unsigned i = 0; i < 32; i++) {
        lend(f, i, 60 + i * 100, 0);
        num_used += (60 + i * 100 + NET_HEADER_BYTES + 511) / 512;
    }
    copy_all(f);
    assert_int_equal(ring_num_used(&f->rig.ring), num_used);
    assert_int_equal(rig_signals(f->rig.call_fd), 1);
    for (unsigned i = 0; i < 32; i++)
        expect_merged(f, i, 60 + i * 100, 512);
}

/* A frame that needs more buffers than are there takes none, and those after it take none either. */
static void test_ring_full_merged(void **state)
{
    struct fixture *f = *state;

    offer(f, 5, 100);
    lend(f, 1, 150, 0); /* 2 */
    lend(f, 2, 400, 0); /* 5: 2 too many */
    lend(f, 3, 60, 0);
    copy_all(f);
    assert_int_equal(ring_num_used(&f->rig.ring), 2);
    expect_merged(f, 1, 150, 100);
    expect_counted(f, 1, 150, DROP_RING_FULL, 2);
    lend(f, 4, 280, 0); /* 3 */
    copy_all(f);
    expect_merged(f, 4, 280, 100);
    expect_counted(f, 2, 430, DROP_RING_FULL, 2);
}

/* All buffers of the ring are too few: waiting would not help, and smaller frames still go. */
static void test_no_buffers(void **state)
{
    struct fixture *f;

    begin(state, 4, variant_features(state));
    f = *state;
    offer(f, 4, 20);
    lend(f, 1, 69, 0);
    lend(f, 2, 1500, 0);
    lend(f, 3, 68, 0);
    copy_all(f);
    assert_int_equal(ring_num_used(&f->rig.ring), 4);
    expect_merged(f, 3, 68, 20);
    expect_counted(f, 1, 68, DROP_NO_BUFFERS, 2);
    assert_int_equal(f->rig.num_broken, 0);
    /* With one of them missing, it could still come. */
    offer(f, 3, 20);
    lend(f, 1, 69, 0);
    lend(f, 2, 14, 0);
    copy_all(f);
    assert_int_equal(f->tx.drops[DROP_RING_FULL], 2);
    assert_int_equal(ring_num_used(&f->rig.ring), 0);
    teardown(state);
}

/* Frames that found no room leave none of the scratch space used, however many pieces a buffer has. */
static void test_scratch_space_is_given_back(void **state)
{
    struct ring_buffer *buffers = test_calloc(2048, sizeof(*buffers));
    uint64_t table = RIG_BORDER + 0x100000;
    struct fixture *f;

    begin(state, 2048, variant_features(state));
    f = *state;
    for (unsigned i = 0; i < 2048; i++)
        buffers[i] = (struct ring_buffer){RIG_BORDER - 1, 2, true};
    assert_true(ring_add_indirect(&f->rig.ring, rig_at(&f->rig, table), table, buffers, 2048) >= 0);
    ring_publish(&f->rig.ring);
    for (unsigned i = 0; i < 31; i++)
        lend(f, i, 4096 - NET_HEADER_BYTES + 1, 0);
    lend(f, 31, 4096 - NET_HEADER_BYTES, 0);
    copy_all(f);
    expect_counted(f, 1, 4096 - NET_HEADER_BYTES, DROP_TOO_BIG, 31);
    assert_int_equal(take(f).len, 4096);
    /* Each piece was written over by the next one. */
    assert_int_equal(*(uint8_t *)rig_at(&f->rig, RIG_BORDER), byte_of(31, 4096 - 13));
    assert_int_equal(*(uint8_t *)rig_at(&f->rig, RIG_BORDER - 1), byte_of(31, 4096 - 14));
    teardown(state);
    test_free(buffers);
}

/* --- What a driver does wrong ----------------------------------------------------------------------- */

static void test_not_writable(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer readable = {RIG_BUFFERS + 0x200000, 2000, false};
    int id;

    offer(f, 2, 2000);
    id = ring_add(&f->rig.ring, &readable, 1);
    offer(f, 5, 2000);
    for (unsigned i = 0; i < 6; i++)
        lend(f, i, 60, 0);
    copy_all(f);
    assert_int_equal(f->rig.queue->fault, FAULT_NOT_WRITABLE);
    assert_int_equal(f->rig.queue->fault_value, id);
    assert_int_equal(f->rig.num_broken, 1);
    assert_int_equal(rig_signals(f->rig.error_fd), 1);
    expect_counted(f, 2, 120, DROP_PORT_DOWN, 4);
    assert_int_equal(ring_num_used(&f->rig.ring), 2);
    for (unsigned i = 0; i < 2; i++)
        expect_frame(f, i, 60);
    assert_int_equal(*(uint8_t *)rig_at(&f->rig, RIG_BUFFERS + 0x200000), UNTOUCHED);
}

static void test_fault_within_a_frame(void **state)
{
    struct fixture *f = *state;
    struct ring_buffer unmapped = {RIG_END, 100, true};

    offer(f, 2, 100);
    assert_true(ring_add(&f->rig.ring, &unmapped, 1) >= 0);
    offer(f, 5, 100);
    lend(f, 0, 60, 0);
    lend(f, 1, 250, 0);
    lend(f, 2, 60, 0);
    copy_all(f);
    assert_int_equal(f->rig.queue->fault, FAULT_UNMAPPED);
    assert_int_equal(f->rig.num_broken, 1);
    expect_counted(f, 1, 60, DROP_PORT_DOWN, 2);
    assert_int_equal(ring_num_used(&f->rig.ring), 1);
    expect_merged(f, 0, 60, 100);
}

static void test_available_index_too_far_ahead(void **state)
{
    struct fixture *f = *state;

    ring_set_available_idx(&f->rig.ring, SIZE + 1);
    lend(f, 0, 60, 0);
    lend(f, 1, 60, 0);
    copy_all(f);
    assert_int_equal(f->rig.queue->fault, FAULT_AVAILABLE_INDEX);
    assert_int_equal(f->rig.num_broken, 1);
    expect_counted(f, 0, 0, DROP_PORT_DOWN, 2);
    assert_int_equal(ring_num_used(&f->rig.ring), 0);
}

/* --- Much of it ------------------------------------------------------------------------------------- */

static void test_indices_wrap(void **state)
{
    struct fixture *f = *state;
    unsigned total = 0;

    while (total < 140000) {
        unsigned num = total % 32 + 1;

        offer(f, num, 100);
        for (unsigned i = 0; i < num; i++)
            lend(f, total + i, 60, 0);
        copy_all(f);
        assert_int_equal(ring_num_used(&f->rig.ring), num);
        for (unsigned i = 0; i < num; i++)
            expect_frame(f, total + i, 60);
        total += num;
    }
    expect_counted(f, total, total * UINT64_C(60), 0, 0);
}

/* The next packet as a driver reads it; its number of buffers, or 0 if there is none. */
static unsigned read_packet(struct fixture *f, uint8_t *packet, uint32_t *len)
{
    unsigned left = 0, num = 0;

    *len = 0;
    do {
        struct ring_used used;

        if (!ring_take_used(&f->rig.ring, &used)) {
            assert_int_equal(left, 0);
            return 0;
        }
        if (left == 0)
            left = num = num_buffers_at(f, addr_of(used.id));
        assert_true(used.len <= f->lens[used.id]);
        memcpy(packet + *len, rig_at(&f->rig, addr_of(used.id)), used.len);
        *len += used.len;
    } while (--left > 0);
    return num;
}

/* Frames and buffers of any size. What arrives is whole, in order, and all else is counted. */
static void test_each_is_counted_once(void **state)
{
    struct fixture *f = *state;
    static uint8_t packet[4096 * SIZE];
    uint64_t sent = 0, received = 0, bytes = 0;
    unsigned num_buffers;
    uint32_t len;

    srand(11);
    for (unsigned round = 0; round < 3000; round++) {
        unsigned num = (unsigned)rand() % 33, last = 0;

        for (unsigned room = (unsigned)rand() % 100; room > 0 && f->rig.ring.num_free > 0; room--)
            offer(f, 1, 12 + (unsigned)rand() % (rand() % 4 ? 300 : 3000));
        for (unsigned i = 0; i < num; i++)
            lend(f, i + 1, 60 + (unsigned)rand() % (rand() % 4 ? 500 : 9000), 100);
        sent += num;
        copy(f, burst_all(&f->burst));
        while ((num_buffers = read_packet(f, packet, &len)) > 0) {
            /* The first one after the last that it can be. */
            do
                last++;
            while (last <= num && (f->burst.frames[last - 1].len != len - NET_HEADER_BYTES ||
                                   packet[NET_HEADER_BYTES] != byte_of(last, 0)));
            assert_true(last <= num);
            for (unsigned i = 0; i < len - NET_HEADER_BYTES; i++)
                assert_int_equal(packet[NET_HEADER_BYTES + i], byte_of(last, i));
            received++;
            bytes += len - NET_HEADER_BYTES;
        }
        clear_burst(f);
        assert_int_equal(f->tx.packets, received);
        assert_int_equal(f->tx.bytes, bytes);
        assert_int_equal(f->tx.packets + sum_of_drops(&f->tx), sent);
    }
    assert_true(received > 1000);
    assert_int_equal(f->tx.drops[DROP_RING_FULL] + f->tx.drops[DROP_NO_BUFFERS],
                     sum_of_drops(&f->tx));
    assert_true(f->tx.drops[DROP_RING_FULL] > 1000);
    assert_int_equal(f->rig.num_broken, 0);
}

static const uint64_t variant_legacy = 0;
static const uint64_t variant_modern_split = MODERN;
static const uint64_t variant_modern_packed = MODERN | RING_FEATURE(PACKED);
static const uint64_t variant_mergeable_split = MODERN | MERGEABLE;
static const uint64_t variant_mergeable_packed = MODERN | MERGEABLE | RING_FEATURE(PACKED);
static const uint64_t variant_in_order_split = MODERN | MERGEABLE | RING_FEATURE(IN_ORDER);
static const uint64_t variant_in_order_packed = MODERN | MERGEABLE | RING_FEATURE(IN_ORDER) |
                                                RING_FEATURE(PACKED);

#define MODERN_SET_UP(name, setup, teardown)                                                       \
    VARIANT(name, modern_split, setup, teardown), VARIANT(name, modern_packed, setup, teardown)
#define MERGEABLE_SET_UP(name, setup, teardown)                                                    \
    VARIANT(name, mergeable_split, setup, teardown),                                               \
        VARIANT(name, mergeable_packed, setup, teardown),                                          \
        VARIANT(name, in_order_split, setup, teardown),                                            \
        VARIANT(name, in_order_packed, setup, teardown)
#define ONE_BUFFER(name)                                                                           \
    MODERN_SET_UP(name, setup, teardown), VARIANT(name, legacy, setup, teardown)
#define MERGEABLE_TEST(name) MERGEABLE_SET_UP(name, setup, teardown)
#define ALL(name)            ONE_BUFFER(name), MERGEABLE_TEST(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALL(test_one_frame),
        ALL(test_a_burst_in_order),
        ALL(test_only_those_of_the_mask),
        ALL(test_sizes),
        ALL(test_longest_frame),
        ONE_BUFFER(test_too_big_keeps_the_buffer),
        ONE_BUFFER(test_only_too_big),
        ALL(test_ring_full_drops_the_rest),
        ALL(test_the_copied_header_wins),
        ALL(test_header_in_many_descriptors),
        ALL(test_cuts),
        ALL(test_across_regions),
        ALL(test_readable_descriptors),
        MERGEABLE_TEST(test_merged),
        MERGEABLE_TEST(test_longest_frame_merged),
        MERGEABLE_TEST(test_a_burst_merged),
        MERGEABLE_TEST(test_ring_full_merged),
        MERGEABLE_SET_UP(test_no_buffers, NULL, NULL),
        MODERN_SET_UP(test_scratch_space_is_given_back, NULL, NULL),
        ALL(test_not_writable),
        MERGEABLE_TEST(test_fault_within_a_frame),
        VARIANT(test_available_index_too_far_ahead, modern_split, setup, teardown),
        VARIANT(test_available_index_too_far_ahead, mergeable_split, setup, teardown),
        ALL(test_indices_wrap),
        MERGEABLE_TEST(test_each_is_counted_once),
    };

    return cmocka_run_group_tests_name("receiveq", tests, NULL, NULL);
}
