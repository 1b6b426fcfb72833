/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames of all sizes between two guests whose drivers differ in all that may be negotiated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "socket/frame.h"
#include "socket/guest.h"
#include "socket/lab.h"

#define TIMEOUT_MS 3000
#define WINDOW     16

static uint8_t frame[FRAME_BYTES + 1];

/* All short ones, then steps that grow, and what lies around the borders of pages and of 64 KiB. */
static uint32_t next_size(uint32_t size)
{
    static const uint32_t edges[] = {1514,  1518,  4082,  4083,  4084,       4085,  4096,
                                     8178,  8192,  9014,  32768, 65535,      65536, 65537,
                                     65538, 65539, 65548, 65549, FRAME_BYTES};
    uint32_t next = size < 300 ? size + 1 : size + size / 11;

    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
        if (edges[i] > size && edges[i] < next)
            next = edges[i];
    }
    return next <= FRAME_BYTES || size == FRAME_BYTES ? next : FRAME_BYTES;
}

static void expect(struct guest *to, uint32_t size, uint32_t number)
{
    uint32_t len;

    if (!guest_receive_any(to, frame, &len, TIMEOUT_MS))
        fail_msg("frame %u of %u bytes did not come", number, size);
    assert_int_equal(len, size);
    assert_true(frame_is(frame, len, number));
}

/* The receive buffers that a frame takes. */
static unsigned num_buffers(const struct guest *to, uint32_t size)
{
    return (size + to->header_bytes + to->config.rx_bytes - 1) / to->config.rx_bytes;
}

/* Several are under way at once, as many as there are buffers for; they come in their order. */
static uint32_t send_all_sizes(struct guest *from, struct guest *to, uint32_t max)
{
    unsigned most = to->config.ring_size - to->queues[0].num_free, used = 0;
    uint32_t sizes[WINDOW], next = 0, number = 0;

    for (uint32_t size = FRAME_MIN_BYTES; size <= max; size = next_size(size)) {
        while (used + num_buffers(to, size) > most || number - next == WINDOW) {
            expect(to, sizes[next % WINDOW], next);
            used -= num_buffers(to, sizes[next++ % WINDOW]);
        }
        frame_fill(frame, size, to->mac, from->mac, number);
        guest_must_send(from, 0, frame, size);
        sizes[number++ % WINDOW] = size;
        used += num_buffers(to, size);
    }
    while (next < number) {
        expect(to, sizes[next % WINDOW], next);
        next++;
    }
    return number;
}

/* Longest frame that a guest can take in one buffer, or in several. */
static uint32_t longest(const struct guest *guest)
{
    if (guest->config.features & GUEST_F_MRG_RXBUF)
        return FRAME_BYTES;
    return guest->config.rx_bytes - guest->header_bytes;
}

static void exchange(struct lab *lab, const struct guest_config *a, const struct guest_config *b)
{
    struct guest guests[2];
    uint32_t num[2];

    lab_add_port(lab, "a", 1);
    lab_add_port(lab, "b", 1);
    guest_create(&guests[0], a);
    guest_create(&guests[1], b);
    guest_attach(&guests[0], lab, "a");
    guest_attach(&guests[1], lab, "b");
    for (unsigned i = 0; i < 2; i++)
        num[i] = send_all_sizes(&guests[i], &guests[1 - i], longest(&guests[1 - i]));
    guest_wait_sent(&guests[0], 0);
    guest_wait_sent(&guests[1], 0);
    assert_int_equal(lab_counter(lab, "b", "tx", "packets"), num[0]);
    assert_int_equal(lab_counter(lab, "a", "tx", "packets"), num[1]);
    assert_int_equal(lab_counter(lab, "a", "rx", "packets"), num[0]);
    assert_int_equal(lab_counter(lab, "a", "rx", "bytes"), lab_counter(lab, "b", "tx", "bytes"));
    lab_assert_balance(lab);
    guest_destroy(&guests[0]);
    guest_destroy(&guests[1]);
}

/* --- What may be negotiated ------------------------------------------------------------------------- */

#define P FRONTEND_F_PROTOCOL_FEATURES

static const struct guest_config mergeable = {.features = GUEST_F_MODERN,
                                              .num_pairs = 1,
                                              .ring_size = 256,
                                              .rx_bytes = 1526};
static const struct guest_config big_buffers = {.features = GUEST_F_VERSION_1 | P,
                                                .num_pairs = 1,
                                                .ring_size = 64,
                                                .rx_bytes = 65562};
static const struct guest_config legacy = {
    .features = P, .num_pairs = 1, .ring_size = 64, .rx_bytes = 65560, .layout = GUEST_APART};
static const struct guest_config legacy_mergeable = {.features = GUEST_F_MRG_RXBUF | P,
                                                     .num_pairs = 1,
                                                     .ring_size = 128,
                                                     .rx_bytes = 4096,
                                                     .layout = GUEST_APART};
static const struct guest_config of_old = {
    .features = 0, .num_pairs = 1, .ring_size = 256, .rx_bytes = 65560, .layout = GUEST_APART};
static const struct guest_config event_idx = {.features = GUEST_F_MODERN | GUEST_F_EVENT_IDX,
                                              .num_pairs = 1,
                                              .ring_size = 256,
                                              .rx_bytes = 4096};
static const struct guest_config indirect = {.features = GUEST_F_MODERN | GUEST_F_INDIRECT,
                                             .num_pairs = 1,
                                             .ring_size = 64,
                                             .rx_bytes = 4096,
                                             .layout = GUEST_PIECES};
static const struct guest_config pieces = {.features = GUEST_F_VERSION_1 | P | GUEST_F_EVENT_IDX,
                                           .num_pairs = 1,
                                           .ring_size = 512,
                                           .rx_bytes = 65562,
                                           .layout = GUEST_PIECES};
static const struct guest_config everything = {.features = GUEST_F_MODERN | GUEST_F_EVENT_IDX |
                                                           GUEST_F_INDIRECT,
                                               .num_pairs = 1,
                                               .ring_size = 128,
                                               .rx_bytes = 1000,
                                               .layout = GUEST_PIECES};
static const struct guest_config tiny_buffers = {.features = GUEST_F_MODERN,
                                                 .num_pairs = 1,
                                                 .ring_size = 512,
                                                 .rx_bytes = 160};

static const struct guest_config many_regions = {.features = GUEST_F_VERSION_1 | P |
                                                             GUEST_F_INDIRECT,
                                                 .num_pairs = 1,
                                                 .ring_size = 256,
                                                 .rx_bytes = 65562,
                                                 .layout = GUEST_APART,
                                                 .num_regions = 127};

#define PACKED (GUEST_F_PACKED | GUEST_F_VERSION_1 | P)

/* Packed rings may have any size. */
static const struct guest_config packed = {.features = PACKED | GUEST_F_MRG_RXBUF,
                                           .num_pairs = 1,
                                           .ring_size = 257,
                                           .rx_bytes = 1526};
static const struct guest_config packed_pieces = {.features = PACKED,
                                                  .num_pairs = 1,
                                                  .ring_size = 500,
                                                  .rx_bytes = 65562,
                                                  .layout = GUEST_PIECES};
static const struct guest_config packed_everything = {
    .features = PACKED | GUEST_F_MRG_RXBUF | GUEST_F_EVENT_IDX | GUEST_F_INDIRECT |
                GUEST_F_IN_ORDER,
    .num_pairs = 1,
    .ring_size = 100,
    .rx_bytes = 1000,
    .layout = GUEST_PIECES,
};
static const struct guest_config packed_in_order = {.features = PACKED | GUEST_F_IN_ORDER,
                                                    .num_pairs = 1,
                                                    .ring_size = 33,
                                                    .rx_bytes = 65562,
                                                    .layout = GUEST_APART};
static const struct guest_config packed_event_idx = {
    .features = PACKED | GUEST_F_MRG_RXBUF | GUEST_F_EVENT_IDX,
    .num_pairs = 1,
    .ring_size = 255,
    .rx_bytes = 4096,
};
static const struct guest_config in_order = {.features = GUEST_F_MODERN | GUEST_F_IN_ORDER,
                                             .num_pairs = 1,
                                             .ring_size = 256,
                                             .rx_bytes = 1526,
                                             .layout = GUEST_APART};
static const struct guest_config in_order_big_buffers = {
    .features = GUEST_F_VERSION_1 | P | GUEST_F_IN_ORDER | GUEST_F_EVENT_IDX,
    .num_pairs = 1,
    .ring_size = 64,
    .rx_bytes = 65562,
    .layout = GUEST_APART,
};

static void test_packed(void **state)
{
    exchange(*state, &packed, &packed_pieces);
}

static void test_packed_to_split(void **state)
{
    exchange(*state, &packed_event_idx, &everything);
}

static void test_packed_to_legacy(void **state)
{
    exchange(*state, &packed_everything, &of_old);
}

static void test_packed_in_order(void **state)
{
    exchange(*state, &packed_in_order, &packed_everything);
}

static void test_in_order(void **state)
{
    exchange(*state, &in_order, &in_order_big_buffers);
}

static void test_in_order_to_packed(void **state)
{
    exchange(*state, &in_order_big_buffers, &packed);
}

static void test_mergeable(void **state)
{
    exchange(*state, &mergeable, &guest_modern);
}

static void test_big_buffers(void **state)
{
    exchange(*state, &big_buffers, &mergeable);
}

static void test_legacy(void **state)
{
    exchange(*state, &legacy, &legacy_mergeable);
}

static void test_without_protocol_features(void **state)
{
    exchange(*state, &of_old, &legacy);
}

static void test_event_idx(void **state)
{
    exchange(*state, &event_idx, &event_idx);
}

static void test_indirect(void **state)
{
    exchange(*state, &indirect, &event_idx);
}

static void test_pieces(void **state)
{
    exchange(*state, &pieces, &big_buffers);
}

static void test_everything(void **state)
{
    exchange(*state, &everything, &indirect);
}

static void test_everything_to_legacy(void **state)
{
    exchange(*state, &everything, &of_old);
}

/* A frame of 65,550 bytes takes 410 buffers of 160. */
static void test_tiny_buffers(void **state)
{
    exchange(*state, &tiny_buffers, &everything);
}

/* Buffers, and indirect tables, that cross from one region of guest memory into the next. */
static void test_many_regions(void **state)
{
    exchange(*state, &many_regions, &many_regions);
}

/* --- What is too short, too long, or not asked for -------------------------------------------------- */

static void test_not_delivered(void **state)
{
    struct lab *lab = *state;
    struct guest a, b;

    lab_add_port(lab, "a", 1);
    lab_add_port(lab, "b", 1);
    guest_create(&a, &big_buffers);
    guest_create(&b, &legacy);
    guest_attach(&a, lab, "a");
    guest_attach(&b, lab, "b");
    memset(frame, 0, sizeof(frame));
    guest_must_send(&a, 0, frame, 13);
    guest_must_send(&a, 0, frame, 0);
    guest_must_send(&a, 0, frame, FRAME_BYTES + 1);
    frame_fill(frame, 60, b.mac, a.mac, 1);
    guest_must_send(&a, 0, frame, 60);
    expect(&b, 60, 1);
    guest_wait_sent(&a, 0);
    assert_int_equal(lab_counter(lab, "a", "rx", "packets"), 4);
    assert_int_equal(lab_counter(lab, "a", "rx", "runt"), 2);
    assert_int_equal(lab_counter(lab, "a", "rx", "oversize"), 1);
    lab_assert_balance(lab);
    guest_destroy(&a);
    guest_destroy(&b);
}

/* One that does not fit into a buffer of its destination is left out; those behind it are not. */
static void test_too_big(void **state)
{
    struct guest_config small = {.features = GUEST_F_VERSION_1 | P,
                                 .num_pairs = 1,
                                 .ring_size = 16,
                                 .rx_bytes = 1526};
    struct lab *lab = *state;
    struct guest a, b;

    lab_add_port(lab, "a", 1);
    lab_add_port(lab, "b", 1);
    guest_create(&a, &guest_modern);
    guest_create(&b, &small);
    guest_attach(&a, lab, "a");
    guest_attach(&b, lab, "b");
    for (uint32_t i = 0; i < 100; i++) {
        uint32_t size = i % 2 ? 1514 : 1515;

        frame_fill(frame, size, b.mac, a.mac, i);
        guest_must_send(&a, 0, frame, size);
        if (i % 2)
            expect(&b, size, i);
    }
    guest_wait_sent(&a, 0);
    assert_int_equal(lab_counter(lab, "b", "tx", "too-big"), 50);
    assert_int_equal(lab_counter(lab, "b", "tx", "packets"), 50);
    lab_assert_balance(lab);
    guest_destroy(&a);
    guest_destroy(&b);
}

/* --- Many pairs ------------------------------------------------------------------------------------- */

static void connect_pairs(struct lab *lab, struct guest *guest, const char *name, unsigned num,
                          uint64_t features)
{
    struct guest_config config = guest_modern;

    config.features |= GUEST_F_MQ | GUEST_F_EVENT_IDX | features;
    config.num_pairs = num;
    lab_add_port(lab, name, 4);
    guest_create(guest, &config);
    guest_attach(guest, lab, name);
}

/* Whatever pair it is sent on, each frame comes once, on one of the pairs that there are. */
static void exchange_on_pairs(struct lab *lab, uint64_t features)
{
    struct guest a, b, c;

    connect_pairs(lab, &a, "a", 4, features);
    connect_pairs(lab, &b, "b", 4, features);
    connect_pairs(lab, &c, "c", 3, 0);
    for (uint32_t i = 0; i < 2000; i++) {
        struct guest *to = i % 3 ? &b : &c;

        frame_fill(frame, 100 + i, to->mac, a.mac, i);
        if (i < 8)
            memcpy(frame, frame_broadcast, 6);
        guest_must_send(&a, i % 7 % 4, frame, 100 + i);
        if (i < 8) {
            expect(&b, 100 + i, i);
            expect(&c, 100 + i, i);
            frame_fill(frame, 100 + i, a.mac, to->mac, i);
            guest_must_send(to, i % 3, frame, 100 + i);
            expect(&a, 100 + i, i);
        } else {
            expect(to, 100 + i, i);
        }
    }
    guest_assert_quiet(&b);
    guest_assert_quiet(&c);
    lab_assert_balance(lab);
    guest_destroy(&a);
    guest_destroy(&b);
    guest_destroy(&c);
}

static void test_multi_queue(void **state)
{
    exchange_on_pairs(*state, 0);
}

static void test_multi_queue_packed(void **state)
{
    exchange_on_pairs(*state, GUEST_F_PACKED | GUEST_F_IN_ORDER);
}

/* --- Sleep and wake-up ------------------------------------------------------------------------------ */

/* Back and forth, with pauses around the moment in which the worker falls asleep. */
static void ping_pong(struct lab *lab, const char *mode, const struct guest_config *config)
{
    struct guest a, b;

    lab_add_port(lab, "a", 1);
    lab_add_port(lab, "b", 1);
    lab_control(lab, "worker set mode %s", mode);
    guest_create(&a, config);
    guest_create(&b, config);
    guest_attach(&a, lab, "a");
    guest_attach(&b, lab, "b");
    for (uint32_t i = 0; i < 2000; i++) {
        frame_fill(frame, 60, b.mac, a.mac, i);
        guest_must_send(&a, 0, frame, 60);
        expect(&b, 60, i);
        for (volatile uint32_t spin = (i * 7919) % 200000; spin > 0; spin--)
            ;
        frame_fill(frame, 60, a.mac, b.mac, i);
        guest_must_send(&b, 0, frame, 60);
        expect(&a, 60, i);
    }
    lab_assert_balance(lab);
    guest_destroy(&a);
    guest_destroy(&b);
}

static void test_adaptive(void **state)
{
    ping_pong(*state, "adaptive", &guest_modern);
}

static void test_adaptive_event_idx(void **state)
{
    ping_pong(*state, "adaptive", &event_idx);
}

static void test_interrupt(void **state)
{
    ping_pong(*state, "interrupt", &guest_modern);
}

static void test_interrupt_event_idx(void **state)
{
    ping_pong(*state, "interrupt", &event_idx);
}

static void test_adaptive_packed(void **state)
{
    ping_pong(*state, "adaptive", &packed_everything);
}

static void test_interrupt_packed(void **state)
{
    ping_pong(*state, "interrupt", &packed);
}

static void test_interrupt_packed_event_idx(void **state)
{
    ping_pong(*state, "interrupt", &packed_event_idx);
}

static void test_poll(void **state)
{
    ping_pong(*state, "poll", &event_idx);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, lab_setup, lab_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_mergeable),
        TEST(test_big_buffers),
        TEST(test_legacy),
        TEST(test_without_protocol_features),
        TEST(test_event_idx),
        TEST(test_indirect),
        TEST(test_pieces),
        TEST(test_everything),
        TEST(test_everything_to_legacy),
        TEST(test_tiny_buffers),
        TEST(test_many_regions),
        TEST(test_packed),
        TEST(test_packed_to_split),
        TEST(test_packed_to_legacy),
        TEST(test_packed_in_order),
        TEST(test_in_order),
        TEST(test_in_order_to_packed),
        TEST(test_not_delivered),
        TEST(test_too_big),
        TEST(test_multi_queue),
        TEST(test_multi_queue_packed),
        TEST(test_adaptive),
        TEST(test_adaptive_event_idx),
        TEST(test_interrupt),
        TEST(test_interrupt_event_idx),
        TEST(test_adaptive_packed),
        TEST(test_interrupt_packed),
        TEST(test_interrupt_packed_event_idx),
        TEST(test_poll),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
