/* SPDX-License-Identifier: BSD-3-Clause */
/* The control queue: each command as it must be, and in every way that it must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "lib/rig.h"
#include "virtio_net/control.h"
#include "virtio_net/feature.h"

#define NUM_PAIRS 4u
#define ALL_FEATURES                                                                               \
    (NET_FEATURE(CTRL_VQ) | NET_FEATURE(CTRL_RX) | NET_FEATURE(CTRL_RX_EXTRA) |                    \
     NET_FEATURE(CTRL_VLAN) | NET_FEATURE(CTRL_MAC_ADDR) | NET_FEATURE(GUEST_ANNOUNCE) |           \
     NET_FEATURE(MQ) | NET_FEATURE(RSS) | NET_FEATURE(HASH_REPORT))

static const uint8_t first_mac[6] = {2, 0, 0, 0, 0, 1};

struct fixture {
    struct control control;
    unsigned num_changed;
};

static void on_changed(void *ctx)
{
    struct fixture *fixture = ctx;

    fixture->num_changed++;
}

static int setup(void **state)
{
    struct fixture *fixture = malloc(sizeof(*fixture));

    if (!fixture)
        return -1;
    fixture->num_changed = 0;
    control_init(&fixture->control, first_mac, NUM_PAIRS, on_changed, fixture);
    control_set_features(&fixture->control, ALL_FEATURES);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

/* A command as it is put together. */
struct command {
    size_t len;
    uint8_t bytes[CONTROL_MAX_BYTES];
};

static void put(struct command *command, const void *bytes, size_t len)
{
    assert_true(command->len + len <= sizeof(command->bytes));
    memcpy(command->bytes + command->len, bytes, len);
    command->len += len;
}

/* A number of `len` bytes, little-endian. */
static void put_number(struct command *command, uint32_t number, size_t len)
{
    for (size_t i = 0; i < len; i++, number >>= 8)
        put(command, &(uint8_t){(uint8_t)number}, 1);
}

static void begin(struct command *command, uint8_t class, uint8_t number)
{
    command->len = 0;
    put(command, &class, 1);
    put(command, &number, 1);
}

/*
 * The command is obeyed; and before that, cut to every length, longer by a byte, and without its feature, it
 * is refused and changes nothing.
 */
static void assert_obeyed(struct fixture *fixture, struct command *command, unsigned feature)
{
    struct control *control = &fixture->control;
    struct net_state before = control->state;
    unsigned num = fixture->num_changed;
    uint8_t *exact;

    for (size_t len = 0; len < command->len; len++) {
        exact = malloc(len + 1); /* so that a sanitizer sees its end */
        memcpy(exact + 1, command->bytes, len);
        assert_int_equal(control_obey(control, exact + 1, len), CONTROL_ERR);
        free(exact);
    }
    command->bytes[command->len] = 0;
    assert_int_equal(control_obey(control, command->bytes, command->len + 1), CONTROL_ERR);
    control_set_features(control, ALL_FEATURES & ~(UINT64_C(1) << feature));
    assert_int_equal(control_obey(control, command->bytes, command->len), CONTROL_ERR);
    control_set_features(control, ALL_FEATURES & ~NET_FEATURE(CTRL_VQ));
    assert_int_equal(control_obey(control, command->bytes, command->len), CONTROL_ERR);
    control_set_features(control, ALL_FEATURES);
    assert_memory_equal(&control->state, &before, sizeof(before));
    assert_int_equal(fixture->num_changed, num);

    assert_int_equal(control_obey(control, command->bytes, command->len), CONTROL_OK);
    assert_int_equal(fixture->num_changed, num + 1);
}

static void assert_refused(struct fixture *fixture, const struct command *command)
{
    struct net_state before = fixture->control.state;
    uint64_t num = fixture->control.num_refused;

    assert_int_equal(control_obey(&fixture->control, command->bytes, command->len), CONTROL_ERR);
    assert_int_equal(fixture->control.num_refused, num + 1);
    assert_memory_equal(&fixture->control.state, &before, sizeof(before));
}

/* --- Receive modes, addresses, VLANs -------------------------------------------------------------------- */

static void test_receive_modes(void **state)
{
    static const struct {
        enum filter_switch number;
        unsigned feature;
    } rows[] = {
        {FILTER_PROMISC, NET_F_CTRL_RX},      {FILTER_ALLMULTI, NET_F_CTRL_RX},
        {FILTER_ALLUNI, NET_F_CTRL_RX_EXTRA}, {FILTER_NOMULTI, NET_F_CTRL_RX_EXTRA},
        {FILTER_NOUNI, NET_F_CTRL_RX_EXTRA},  {FILTER_NOBCAST, NET_F_CTRL_RX_EXTRA},
    };
    struct fixture *fixture = *state;
    const bool *is_on = fixture->control.state.filter.is_on;
    struct command command;

    for (unsigned i = 0; i < FILTER_SWITCHES; i++) {
        for (unsigned value = 2; value-- > 0;) {
            begin(&command, 0, (uint8_t)rows[i].number);
            put_number(&command, value, 1);
            assert_obeyed(fixture, &command, rows[i].feature);
            assert_int_equal(is_on[rows[i].number], value);
        }
        begin(&command, 0, (uint8_t)rows[i].number);
        put_number(&command, 2, 1);
        assert_refused(fixture, &command);
    }
}

static void put_macs(struct command *command, unsigned num, bool is_multicast)
{
    put_number(command, num, 4);
    for (unsigned i = 0; i < num; i++) {
        const uint8_t mac[6] = {is_multicast ? 3 : 2, 0, 0, 1, (uint8_t)(i >> 8), (uint8_t)i};

        put(command, mac, sizeof(mac));
    }
}

static void test_address_tables(void **state)
{
    static const uint8_t third[6] = {2, 0, 0, 1, 0, 2};
    struct fixture *fixture = *state;
    const struct filter *filter = &fixture->control.state.filter;
    struct command command;

    begin(&command, 1, 0);
    put_macs(&command, 3, false);
    put_macs(&command, 2, true);
    assert_obeyed(fixture, &command, NET_F_CTRL_RX);
    assert_int_equal(filter->unicast.num, 3);
    assert_memory_equal(filter->unicast.macs[2], third, 6);
    assert_int_equal(filter->multicast.num, 2);
    begin(&command, 1, 0);
    put_macs(&command, 0, false);
    put_macs(&command, FILTER_MAX_ADDRESSES, true);
    assert_obeyed(fixture, &command, NET_F_CTRL_RX);
    assert_int_equal(filter->unicast.num, 0);
    assert_int_equal(filter->multicast.num, FILTER_MAX_ADDRESSES);
    assert_false(filter->multicast.is_overflown);
}

/* More than we remember: all of that kind are taken. */
static void test_too_many_addresses(void **state)
{
    struct fixture *fixture = *state;
    const struct filter *filter = &fixture->control.state.filter;
    struct command command;

    begin(&command, 1, 0);
    put_macs(&command, FILTER_MAX_ADDRESSES + 1, false);
    put_macs(&command, 1000, true);
    assert_int_equal(control_obey(&fixture->control, command.bytes, command.len), CONTROL_OK);
    assert_true(filter->unicast.is_overflown);
    assert_true(filter->multicast.is_overflown);
}

static void test_address_tables_that_lie(void **state)
{
    static const uint32_t nums[] = {4, 0x10000, 0x2aaaaaab, 0x80000000, UINT32_MAX};
    struct fixture *fixture = *state;
    struct command command;

    for (unsigned i = 0; i < 5; i++) {
        begin(&command, 1, 0);
        put_number(&command, nums[i], 4);
        put(&command, first_mac, 6);
        put_macs(&command, 0, true);
        assert_refused(fixture, &command);
    }
    begin(&command, 1, 0);
    put_macs(&command, 1, true);
    put_macs(&command, 0, true);
    assert_refused(fixture, &command);
    begin(&command, 1, 0);
    put_macs(&command, 0, false);
    put_macs(&command, 1, false);
    assert_refused(fixture, &command);
}

static void test_address(void **state)
{
    static const uint8_t mac[6] = {2, 1, 2, 3, 4, 5}, group[6] = {3, 1, 2, 3, 4, 5}, none[6];
    struct fixture *fixture = *state;
    struct command command;

    begin(&command, 1, 1);
    put(&command, mac, 6);
    assert_obeyed(fixture, &command, NET_F_CTRL_MAC_ADDR);
    assert_memory_equal(fixture->control.state.filter.mac, mac, 6);
    begin(&command, 1, 1);
    put(&command, group, 6);
    assert_refused(fixture, &command);
    begin(&command, 1, 1);
    put(&command, none, 6);
    assert_refused(fixture, &command);
}

static void test_vlans(void **state)
{
    static const uint16_t vlans[] = {0, 1, 63, 64, 4095};
    struct fixture *fixture = *state;
    const uint64_t *set = fixture->control.state.filter.vlans;
    struct command command;

    for (unsigned i = 0; i < 5; i++) {
        begin(&command, 2, 0);
        put_number(&command, vlans[i], 2);
        assert_obeyed(fixture, &command, NET_F_CTRL_VLAN);
        assert_true(set[vlans[i] / 64] >> vlans[i] % 64 & 1);
    }
    begin(&command, 2, 1);
    put_number(&command, 64, 2);
    assert_obeyed(fixture, &command, NET_F_CTRL_VLAN);
    assert_int_equal(set[1], 0);
    assert_int_equal(set[0], UINT64_C(1) << 63 | 3);
    for (unsigned number = 0; number < 2; number++) {
        begin(&command, 2, (uint8_t)number);
        put_number(&command, 4096, 2);
        assert_refused(fixture, &command);
    }
}

/* --- Queues and hashes ------------------------------------------------------------------------------------- */

static void test_pairs(void **state)
{
    static const uint32_t wrong[] = {0, NUM_PAIRS + 1, 0x8000, 0xffff};
    struct fixture *fixture = *state;
    struct net_state *net = &fixture->control.state;
    struct command command;

    assert_int_equal(net->num_pairs, 1);
    net->rss.steers = true;
    begin(&command, 4, 0);
    put_number(&command, NUM_PAIRS, 2);
    assert_obeyed(fixture, &command, NET_F_MQ);
    assert_int_equal(net->num_pairs, NUM_PAIRS);
    assert_false(net->rss.steers); /* the last command counts */
    for (unsigned i = 0; i < 4; i++) {
        begin(&command, 4, 0);
        put_number(&command, wrong[i], 2);
        assert_refused(fixture, &command);
    }
}

/* As the driver fills it; what a test wants otherwise, it changes. */
struct rss_command {
    uint32_t hash_types;
    uint16_t mask, unclassified, queue, max_tx;
    unsigned num_queues; /* that follow, of which all but the last are 0 */
    uint8_t key_len;
};

static const struct rss_command good_rss = {
    .hash_types = RSS_SUPPORTED_TYPES,
    .mask = 127,
    .unclassified = 1,
    .queue = NUM_PAIRS - 1,
    .max_tx = NUM_PAIRS,
    .num_queues = 128,
    .key_len = RSS_KEY_BYTES,
};

static void make_rss(struct command *command, const struct rss_command *rss)
{
    static const uint8_t key[256] = {0x6d, 0x5a, [39] = 0xfa};

    begin(command, 4, 1);
    put_number(command, rss->hash_types, 4);
    put_number(command, rss->mask, 2);
    put_number(command, rss->unclassified, 2);
    for (unsigned i = 1; i < rss->num_queues; i++)
        put_number(command, 0, 2);
    put_number(command, rss->queue, 2);
    put_number(command, rss->max_tx, 2);
    put_number(command, rss->key_len, 1);
    put(command, key, rss->key_len);
}

static void test_rss(void **state)
{
    struct fixture *fixture = *state;
    const struct net_state *net = &fixture->control.state;
    struct command command;

    make_rss(&command, &good_rss);
    assert_obeyed(fixture, &command, NET_F_RSS);
    assert_true(net->rss.steers);
    assert_int_equal(net->num_pairs, NUM_PAIRS);
    assert_int_equal(net->rss.hash_types, RSS_SUPPORTED_TYPES);
    assert_int_equal(net->rss.mask, 127);
    assert_int_equal(net->rss.queues[0], 0);
    assert_int_equal(net->rss.queues[127], NUM_PAIRS - 1);
    assert_int_equal(net->rss.unclassified, 1);
    assert_int_equal(net->rss.key.len, 40);
    assert_int_equal(net->rss.key.bytes[39], 0xfa);
}

static void test_rss_that_cannot_be(void **state)
{
    struct fixture *fixture = *state;
    struct rss_command rows[] = {
        good_rss, good_rss, good_rss, good_rss, good_rss, good_rss,
        good_rss, good_rss, good_rss, good_rss, good_rss, good_rss,
    };
    unsigned num = sizeof(rows) / sizeof(rows[0]);
    struct command command;

    rows[0].hash_types = 1u << RSS_TYPES;
    rows[1].mask = 2, rows[1].num_queues = 3;
    rows[2].mask = 255, rows[2].num_queues = 256;
    rows[3].mask = 0xffff;
    rows[4].unclassified = NUM_PAIRS;
    rows[5].queue = NUM_PAIRS;
    rows[6].queue = 0x8000; /* the reserved bit */
    rows[7].max_tx = 0;
    rows[8].max_tx = NUM_PAIRS + 1;
    rows[9].key_len = RSS_KEY_BYTES + 1;
    rows[10].key_len = 0; /* with hash types */
    rows[11].num_queues = 127;
    for (unsigned i = 0; i < num; i++) {
        make_rss(&command, &rows[i]);
        assert_refused(fixture, &command);
    }
}

static void make_hash(struct command *command, uint32_t types, uint32_t reserved, uint8_t key_len)
{
    static const uint8_t key[256] = {1, 2, 3};

    begin(command, 4, 2);
    put_number(command, types, 4);
    put_number(command, 0, 4);
    put_number(command, reserved, 4);
    put_number(command, key_len, 1);
    put(command, key, key_len);
}

static void test_hash(void **state)
{
    struct fixture *fixture = *state;
    const struct net_state *net = &fixture->control.state;
    struct command command;

    make_hash(&command, 1u << RSS_TCPV4, 0, 3);
    assert_obeyed(fixture, &command, NET_F_HASH_REPORT);
    assert_int_equal(net->rss.hash_types, 1u << RSS_TCPV4);
    assert_int_equal(net->rss.key.len, 3);
    assert_false(net->rss.steers);
    make_hash(&command, 0, 0, 0);
    assert_obeyed(fixture, &command, NET_F_HASH_REPORT);
    assert_int_equal(net->rss.hash_types, 0);
    make_hash(&command, 1u << RSS_TYPES, 0, 40);
    assert_refused(fixture, &command);
    make_hash(&command, 1, 0x10000, 40);
    assert_refused(fixture, &command);
    make_hash(&command, 1, 0, 41);
    assert_refused(fixture, &command);
    make_hash(&command, 1, 0, 0);
    assert_refused(fixture, &command);
}

static void test_announcement(void **state)
{
    struct fixture *fixture = *state;
    struct command command;

    fixture->control.state.is_announcing = true;
    begin(&command, 3, 0);
    assert_obeyed(fixture, &command, NET_F_GUEST_ANNOUNCE);
    assert_false(fixture->control.state.is_announcing);
}

/* All classes and numbers that there are not, with all lengths of data up to some. */
static void test_unknown_commands(void **state)
{
    static const unsigned known[] = {6, 2, 2, 1, 3};
    struct fixture *fixture = *state;
    struct command command;

    for (unsigned class = 0; class < 256; class ++) {
        for (unsigned number = class < 5 ? known[class] : 0; number < 256; number++) {
            begin(&command, (uint8_t) class, (uint8_t)number);
            put_number(&command, 1, number % 5);
            assert_refused(fixture, &command);
        }
    }
}

static void test_reset(void **state)
{
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};
    struct fixture *fixture = *state;
    struct net_state fresh;
    struct command command;

    fresh = fixture->control.state;
    make_rss(&command, &good_rss);
    assert_int_equal(control_obey(&fixture->control, command.bytes, command.len), CONTROL_OK);
    begin(&command, 1, 1);
    put(&command, mac, 6);
    assert_int_equal(control_obey(&fixture->control, command.bytes, command.len), CONTROL_OK);
    control_reset(&fixture->control, first_mac);
    assert_memory_equal(&fixture->control.state, &fresh, sizeof(fresh));
}

/* --- The filter that comes of it ------------------------------------------------------------------------- */

static bool passes(const struct filter *filter, const uint8_t mac[6], unsigned tag)
{
    uint8_t bytes[60] = {[12] = 0x81, [14] = (uint8_t)(tag >> 8), [15] = (uint8_t)tag};
    struct iovec segments[2] = {{bytes, 15}, {bytes + 15, 45}};
    struct frame frame = {.segments = segments, .num_segments = 2, .len = 60};

    memcpy(bytes, mac, 6);
    if (tag == 0)
        bytes[12] = 8;
    memcpy(&frame.ethernet, bytes, ETHERNET_HEADER_BYTES);
    return filter_passes(filter, &frame);
}

static const uint8_t own[6] = {2, 0, 0, 0, 0, 1}, friend[6] = {2, 0, 0, 0, 0, 2},
                     stranger[6] = {2, 0, 0, 0, 0, 3}, group[6] = {3, 0, 0, 0, 0, 1},
                     other_group[6] = {3, 0, 0, 0, 0, 2},
                     everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void test_filter_by_address(void **state)
{
    static const uint8_t *const macs[] = {own, friend, stranger, group, other_group, everybody};
    static const struct {
        unsigned is_on; /* bit set of switches */
        bool passes[6];
    } rows[] = {
        {0, {true, true, false, true, false, true}},
        {1u << FILTER_PROMISC, {true, true, true, true, true, true}},
        {1u << FILTER_PROMISC | 1u << FILTER_NOUNI | 1u << FILTER_NOBCAST,
         {true, true, true, true, true, true}},
        {1u << FILTER_ALLMULTI, {true, true, false, true, true, true}},
        {1u << FILTER_ALLUNI, {true, true, true, true, false, true}},
        {1u << FILTER_NOMULTI, {true, true, false, false, false, true}},
        {1u << FILTER_NOMULTI | 1u << FILTER_ALLMULTI, {true, true, false, false, false, true}},
        {1u << FILTER_NOUNI | 1u << FILTER_ALLUNI, {false, false, false, true, false, true}},
        {1u << FILTER_NOBCAST | 1u << FILTER_ALLMULTI, {true, true, false, true, true, false}},
    };
    struct filter filter;

    filter_init(&filter, own);
    assert_false(filter_is_closed(&filter));
    assert_true(passes(&filter, stranger, 0));
    memcpy(filter.unicast.macs[filter.unicast.num++], friend, 6);
    memcpy(filter.multicast.macs[filter.multicast.num++], group, 6);
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (unsigned j = 0; j < FILTER_SWITCHES; j++)
            filter.is_on[j] = rows[i].is_on >> j & 1;
        filter.has_addresses = false;
        assert_true(passes(&filter, stranger, 0));
        filter.has_addresses = true;
        assert_int_equal(filter_is_closed(&filter), !filter.is_on[FILTER_PROMISC]);
        for (unsigned j = 0; j < 6; j++)
            assert_int_equal(passes(&filter, macs[j], 0), rows[i].passes[j]);
    }
    memset(filter.is_on, 0, sizeof(filter.is_on));
    filter.unicast.is_overflown = true;
    assert_true(passes(&filter, stranger, 0));
    assert_false(passes(&filter, other_group, 0));
    filter.multicast.is_overflown = true;
    assert_true(passes(&filter, other_group, 0));
}

static void test_filter_by_vlan(void **state)
{
    struct filter filter;

    filter_init(&filter, own);
    assert_true(passes(&filter, own, 5));
    filter.has_vlans = true;
    assert_true(filter_is_closed(&filter));
    assert_true(passes(&filter, own, 0));
    assert_false(passes(&filter, own, 5));
    filter_set_vlan(&filter, 5, true);
    assert_true(passes(&filter, own, 5));
    assert_true(passes(&filter, own, 0x6005)); /* priority and drop bits are no part of it */
    assert_false(passes(&filter, own, 0x1000 | 6));
    filter_set_vlan(&filter, 5, false);
    assert_false(passes(&filter, own, 5));
}

/* --- The queue --------------------------------------------------------------------------------------------- */

#define RING_SIZE   16
#define COMMAND_AT  RIG_BUFFERS
#define ACK_AT      (RIG_BUFFERS + 0x10000)
#define NOT_WRITTEN 0x55

/* Puts the command into guest memory, in pieces, and offers it. The chain's id. */
static int offer(struct rig *rig, const struct command *command, uint32_t piece_bytes,
                 uint32_t ack_bytes)
{
    struct ring_buffer buffers[RING_SIZE];
    unsigned num = 0;

    memcpy(rig_at(rig, COMMAND_AT), command->bytes, command->len);
    *(uint8_t *)rig_at(rig, ACK_AT) = NOT_WRITTEN;
    for (uint32_t at = 0; at < command->len; at += piece_bytes)
        buffers[num++] = (struct ring_buffer){COMMAND_AT + at,
                                              command->len - at < piece_bytes
                                                  ? (uint32_t)command->len - at
                                                  : piece_bytes,
                                              false};
    if (ack_bytes > 0)
        buffers[num++] = (struct ring_buffer){ACK_AT, ack_bytes, true};
    return ring_add(&rig->ring, buffers, num);
}

static void assert_answer(struct rig *rig, int id, uint8_t ack)
{
    struct ring_used used;

    assert_true(ring_take_used(&rig->ring, &used));
    assert_int_equal(used.id, id);
    assert_int_equal(used.len, 1);
    assert_int_equal(*(uint8_t *)rig_at(rig, ACK_AT), ack);
}

static const uint64_t formats[] = {0, RIG_F_PACKED};

static void test_queue(void **state)
{
    struct fixture *fixture = *state;
    struct command good, bad;
    struct rig rig;

    begin(&good, 4, 0);
    put_number(&good, 3, 2);
    begin(&bad, 4, 0);
    put_number(&bad, 99, 2);
    for (unsigned i = 0; i < 2; i++) {
        rig_init_started(&rig, RING_SIZE, formats[i]);
        for (uint32_t piece = 1; piece <= 4; piece++) {
            int id = offer(&rig, &good, piece, piece);

            ring_publish(&rig.ring);
            assert_false(control_serve(&fixture->control, rig.queue));
            assert_answer(&rig, id, CONTROL_OK);
            id = offer(&rig, &bad, piece, 1);
            ring_publish(&rig.ring);
            assert_false(control_serve(&fixture->control, rig.queue));
            assert_answer(&rig, id, CONTROL_ERR);
        }
        assert_int_equal(fixture->control.state.num_pairs, 3);
        assert_int_equal(rig.num_broken, 0);
        rig_fini(&rig);
    }
    assert_int_equal(fixture->control.num_obeyed, 8);
    assert_int_equal(fixture->control.num_refused, 8);
}

/* A command that is longer than any that makes sense, or none at all, is refused. */
static void test_queue_with_odd_lengths(void **state)
{
    struct fixture *fixture = *state;
    struct command command = {0};
    struct ring_buffer huge[2] = {{RIG_BUFFERS + 0x20000, 0x100000, false}, {ACK_AT, 1, true}};
    struct rig rig;
    int id;

    for (unsigned i = 0; i < 2; i++) {
        rig_init_started(&rig, RING_SIZE, formats[i]);
        id = offer(&rig, &command, 1, 1);
        ring_publish(&rig.ring);
        assert_false(control_serve(&fixture->control, rig.queue));
        assert_answer(&rig, id, CONTROL_ERR);
        id = ring_add(&rig.ring, huge, 2);
        ring_publish(&rig.ring);
        assert_false(control_serve(&fixture->control, rig.queue));
        assert_answer(&rig, id, CONTROL_ERR);
        assert_int_equal(rig.num_broken, 0);
        rig_fini(&rig);
    }
}

static void test_queue_without_room_for_an_answer(void **state)
{
    struct fixture *fixture = *state;
    struct command command;
    struct rig rig;

    begin(&command, 4, 0);
    put_number(&command, 2, 2);
    for (unsigned i = 0; i < 2; i++) {
        rig_init_started(&rig, RING_SIZE, formats[i]);
        offer(&rig, &command, 4, 0);
        ring_publish(&rig.ring);
        assert_false(control_serve(&fixture->control, rig.queue));
        assert_int_equal(rig.num_broken, 1);
        assert_int_equal(rig.queue->fault, FAULT_NOT_WRITABLE);
        assert_int_equal(fixture->control.state.num_pairs, 1);
        rig_fini(&rig);
    }
}

/* A driver that sends without end does not keep the others waiting. */
static void test_queue_is_fair(void **state)
{
    struct fixture *fixture = *state;
    struct command command;
    struct rig rig;

    begin(&command, 4, 0);
    put_number(&command, 2, 2);
    rig_init_started(&rig, 256, 0);
    for (unsigned i = 0; i < CONTROL_COMMANDS_AT_ONCE + 5; i++)
        offer(&rig, &command, 4, 1);
    ring_publish(&rig.ring);
    assert_true(control_serve(&fixture->control, rig.queue));
    assert_int_equal(fixture->control.num_obeyed, CONTROL_COMMANDS_AT_ONCE);
    assert_false(control_serve(&fixture->control, rig.queue));
    assert_int_equal(fixture->control.num_obeyed, CONTROL_COMMANDS_AT_ONCE + 5);
    rig_fini(&rig);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_receive_modes),
        TEST(test_address_tables),
        TEST(test_too_many_addresses),
        TEST(test_address_tables_that_lie),
        TEST(test_address),
        TEST(test_vlans),
        TEST(test_pairs),
        TEST(test_rss),
        TEST(test_rss_that_cannot_be),
        TEST(test_hash),
        TEST(test_announcement),
        TEST(test_unknown_commands),
        TEST(test_reset),
        TEST(test_filter_by_address),
        TEST(test_filter_by_vlan),
        TEST(test_queue),
        TEST(test_queue_with_odd_lengths),
        TEST(test_queue_without_room_for_an_answer),
        TEST(test_queue_is_fair),
    };

    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
