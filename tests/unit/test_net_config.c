/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration space, addresses as text, and the state that a migration carries over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "virtio_net/config.h"
#include "virtio_net/state.h"

#define NUM_PAIRS 4u

static const uint8_t first_mac[6] = {2, 0, 0, 0, 0, 1};

/* Offsets and byte order are the specification's. */
static void test_layout(void **state)
{
    static const struct net_config config = {
        .mac = {1, 2, 3, 4, 5, 6},
        .status = 0x0807,
        .max_virtqueue_pairs = 0x0a09,
        .mtu = 0x0c0b,
        .speed = 0x100f0e0d,
        .duplex = 0x11,
        .rss_max_key_size = 0x12,
        .rss_max_indirection_table_length = 0x1413,
        .supported_hash_types = 0x18171615,
    };
    uint8_t bytes[sizeof(config)];

    net_config_read(&config, 0, bytes, sizeof(bytes));
    for (unsigned i = 0; i < sizeof(bytes); i++)
        assert_int_equal(bytes[i], i + 1);
}

static void test_partial_reads(void **state)
{
    struct net_config config;
    uint8_t bytes[40];

    for (unsigned i = 0; i < sizeof(config); i++)
        ((uint8_t *)&config)[i] = (uint8_t)(i + 1);
    for (uint32_t offset = 0; offset < 30; offset++) {
        for (uint32_t len = 0; len <= sizeof(bytes); len++) {
            memset(bytes, 0xee, sizeof(bytes));
            net_config_read(&config, offset, bytes, len);
            for (uint32_t i = 0; i < len; i++)
                assert_int_equal(bytes[i], offset + i < sizeof(config) ? offset + i + 1 : 0);
            if (len < sizeof(bytes))
                assert_int_equal(bytes[len], 0xee);
        }
    }
}

static void test_addresses_as_text(void **state)
{
    static const char *const wrong[] = {
        "",
        "52:54:00:12:34",
        "52:54:00:12:34:5",
        "52:54:00:12:34:567",
        "52:54:00:12:34:5g",
        "52-54-00-12-34-56",
        "52:54:00:12:34:56:78",
        "53:54:00:12:34:56",
        "ff:ff:ff:ff:ff:ff",
        "00:00:00:00:00:00",
        " 2:54:00:12:34:56",
    };
    static const uint8_t expected[6] = {0x52, 0x54, 0, 0xab, 0xcd, 0xef};
    uint8_t mac[6];

    assert_int_equal(net_mac_parse("52:54:00:aB:Cd:EF", mac), 0);
    assert_memory_equal(mac, expected, 6);
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(net_mac_parse(wrong[i], mac), -EINVAL);
    assert_memory_equal(mac, expected, 6);
}

static void test_derived_addresses(void **state)
{
    static const char *const names[] = {"vm1", "vm2", "vm10", "a", ""};
    uint8_t macs[5][6], again[6];

    for (unsigned i = 0; i < 5; i++) {
        net_mac_derive(names[i], macs[i]);
        net_mac_derive(names[i], again);
        assert_memory_equal(macs[i], again, 6);
        assert_int_equal(macs[i][0] & 3, 2); /* unicast, locally administered */
        for (unsigned j = 0; j < i; j++)
            assert_memory_not_equal(macs[i], macs[j], 6);
    }
}

/* --- The state --------------------------------------------------------------------------------------------- */

static void fill(struct net_state *net)
{
    static const uint8_t key[RSS_KEY_BYTES] = {1, 2, 3, [39] = 9};

    net_state_init(net, first_mac, 3);
    net->filter.is_on[FILTER_PROMISC] = false;
    net->filter.is_on[FILTER_NOBCAST] = true;
    net->filter.unicast.num = 2;
    memcpy(net->filter.unicast.macs[1], "\2\0\0\0\0\7", 6);
    net->filter.multicast.num = 1;
    memcpy(net->filter.multicast.macs[0], "\3\0\0\0\0\7", 6);
    net->filter.multicast.is_overflown = true;
    filter_set_vlan(&net->filter, 77, true);
    net->rss.steers = true;
    net->rss.hash_types = 5;
    net->rss.mask = 7;
    net->rss.unclassified = 2;
    net->rss.queues[7] = 3;
    rss_key_set(&net->rss.key, key, sizeof(key));
}

static void test_state_goes_there_and_back(void **state)
{
    struct net_state net, loaded;
    size_t len;
    void *data;

    for (unsigned i = 0; i < 2; i++) {
        if (i == 0)
            net_state_init(&net, first_mac, 1);
        else
            fill(&net);
        assert_int_equal(net_state_save(&net, &data, &len), 0);
        assert_int_equal(len, i == 0 ? 582 + 2 : 582 + 16 + 18);
        net_state_init(&loaded, (const uint8_t[6]){2, 9, 9, 9, 9, 9}, 1);
        loaded.filter.has_vlans = true;
        assert_int_equal(net_state_load(&loaded, data, len, NUM_PAIRS, NULL), 0);
        assert_true(loaded.filter.has_vlans); /* follows from the features, not from the state */
        loaded.filter.has_vlans = false;
        assert_memory_equal(&loaded, &net, sizeof(net));
        free(data);
    }
}

/* The string is a contract between versions. */
static void test_state_layout(void **state)
{
    struct net_state net;
    uint8_t *bytes;
    size_t len;

    fill(&net);
    assert_int_equal(net_state_save(&net, (void **)&bytes, &len), 0);
    assert_memory_equal(bytes, "SHNT\1\0", 6);
    assert_int_equal(bytes[6], 1u << FILTER_NOBCAST | 0x80);
    assert_memory_equal(bytes + 8, first_mac, 6);
    assert_int_equal(bytes[14], 3);
    assert_int_equal(bytes[16], 2);
    assert_int_equal(bytes[18], 1);
    assert_int_equal(bytes[20 + 77 / 8], 1u << 77 % 8);
    assert_int_equal(bytes[532], 5);
    assert_int_equal(bytes[536], 1);
    assert_int_equal(bytes[537], 40);
    assert_int_equal(bytes[538], 1);
    assert_int_equal(bytes[578], 7);
    assert_int_equal(bytes[580], 2);
    assert_int_equal(bytes[582 + 14], 3);
    assert_int_equal(bytes[len - 1], 7);
    free(bytes);
}

static void test_state_that_is_wrong(void **state)
{
    static const struct {
        unsigned at;
        uint8_t value;
    } rows[] = {
        {0, 'X'},  {4, 2},   {5, 1},   {7, 1},   {8, 3},   {14, 0},  {14, NUM_PAIRS + 1},
        {15, 1},   {16, 65}, {16, 1},  {18, 0},  {19, 1},  {533, 2}, {536, 2},
        {537, 41}, {537, 0}, {578, 6}, {578, 3}, {579, 1}, {580, 4}, {581, 1},
        {582, 4},  {597, 1},
    };
    struct net_state net, before;
    struct shunt_error error;
    uint8_t *bytes;
    size_t len;

    fill(&net);
    assert_int_equal(net_state_save(&net, (void **)&bytes, &len), 0);
    net_state_init(&net, first_mac, 1);
    before = net;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t was = bytes[rows[i].at];

        bytes[rows[i].at] = rows[i].value;
        assert_int_equal(net_state_load(&net, bytes, len, NUM_PAIRS, &error), -EINVAL);
        assert_true(error.text[0] != '\0');
        bytes[rows[i].at] = was;
    }
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *exact = malloc(cut + 1);

        memcpy(exact + 1, bytes, cut);
        assert_int_equal(net_state_load(&net, exact + 1, cut, NUM_PAIRS, NULL), -EINVAL);
        free(exact);
    }
    assert_memory_equal(&net, &before, sizeof(net));
    assert_int_equal(net_state_load(&net, bytes, len, NUM_PAIRS, NULL), 0);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_partial_reads),
        cmocka_unit_test(test_addresses_as_text),
        cmocka_unit_test(test_derived_addresses),
        cmocka_unit_test(test_state_goes_there_and_back),
        cmocka_unit_test(test_state_layout),
        cmocka_unit_test(test_state_that_is_wrong),
    };

    return cmocka_run_group_tests_name("net_config", tests, NULL, NULL);
}
