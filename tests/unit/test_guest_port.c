/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The port for a guest, with a driver at the other end of its socket: on which queue frames return, what
 * the control queue changes, and what the port says to a guest that comes by migration. The test is
 * the worker, too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/driver.h"
#include "memory/userfault.h"
#include "port/vhost_user.h"
#include "virtio_net/header.h"

#define NUM_PAIRS   4u
#define CONTROLQ    (2 * NUM_PAIRS)
#define NUM_RINGS   (CONTROLQ + 1)
#define RING_SIZE   128
#define FRAME_BYTES 60u
#define SLOT_BYTES  2048u /* of driver memory: a header and a frame */
#define ALL         UINT64_MAX

struct guest {
    char folder[32], path[64];
    struct port *port;
    struct driver driver;
    struct burst burst;
    unsigned num_slots; /* of memory that were given out */
};

static void dispatch(void *ctx)
{
    struct guest *guest = ctx;

    guest->port->class->dispatch(guest->port);
}

/* A port with these options, "key value" pairs that end with NULL. */
static void open_port(struct guest *guest, ...)
{
    const struct port_class *class = port_class_find("vhost-user");
    json_t *given = json_pack("{s:s, s:i}", "socket", guest->path, "queues", (int)NUM_PAIRS);
    json_t *options = json_object();
    struct shunt_error error = {0};
    const char *key;
    va_list args;

    va_start(args, guest);
    while ((key = va_arg(args, const char *)))
        json_object_set_new(given, key, json_string(va_arg(args, const char *)));
    va_end(args);
    if (option_check(&class->options, 1, given, "", options, NULL, &error) < 0 ||
        port_create(class, "vm1", options, NULL, NULL, &guest->port, &error) < 0)
        fail_msg("%s", error.text);
    json_decref(given);
    json_decref(options);
}

static int setup(void **state)
{
    struct guest *guest = calloc(1, sizeof(*guest));

    if (!guest || burst_init(&guest->burst) < 0)
        return -1;
    strcpy(guest->folder, "/tmp/guest.XXXXXX");
    if (!mkdtemp(guest->folder))
        return -1;
    snprintf(guest->path, sizeof(guest->path), "%s/sock", guest->folder);
    driver_init(&guest->driver, NUM_RINGS, RING_SIZE, 1 << 22);
    guest->driver.idle = dispatch;
    guest->driver.idle_ctx = guest;
    *state = guest;
    return 0;
}

static int teardown(void **state)
{
    struct guest *guest = *state;

    driver_fini(&guest->driver);
    port_destroy(guest->port);
    burst_fini(&guest->burst);
    rmdir(guest->folder);
    free(guest);
    return 0;
}

/* Connects with these features, and starts the rings that the front-end has. */
static void start(struct guest *guest, uint64_t features, unsigned num_rings)
{
    features |= FRONTEND_F_PROTOCOL_FEATURES | RING_FEATURE(VERSION_1);
    guest->driver.wants_acks = true;
    assert_int_equal(driver_connect(&guest->driver, guest->path, features, UINT64_MAX), 0);
    for (unsigned i = 0; i < num_rings; i++)
        assert_int_equal(driver_start(&guest->driver, i), 0);
    dispatch(guest);
}

static unsigned header_bytes(const struct guest *guest)
{
    return guest->driver.frontend.features & NET_FEATURE(HASH_REPORT) ? 20 : 12;
}

/* --- Frames -------------------------------------------------------------------------------------------- */

/* TCP from one guest to another; the flow is the number of its port, and `tag` is in its data. */
static void make_frame(uint8_t *bytes, unsigned flow, bool is_reply, uint8_t tag)
{
    static const uint8_t here[4] = {10, 0, 0, 1}, there[4] = {10, 0, 0, 2};
    uint16_t port = htons((uint16_t)(1024 + flow)), server = htons(80);

    memset(bytes, 0, FRAME_BYTES);
    memcpy(bytes, "\2\0\0\0\0\2\2\0\0\0\0\1", 12);
    bytes[12] = 8;
    bytes[14] = 0x45;
    bytes[23] = 6;
    memcpy(bytes + 26, is_reply ? there : here, 4);
    memcpy(bytes + 30, is_reply ? here : there, 4);
    memcpy(bytes + 34, is_reply ? &server : &port, 2);
    memcpy(bytes + 36, is_reply ? &port : &server, 2);
    bytes[59] = tag;
}

static struct ring_buffer take_slot(struct guest *guest, uint32_t len, bool is_writable, void **at)
{
    uint64_t offset = SLOT_BYTES * guest->num_slots++;

    *at = driver_data(&guest->driver, offset);
    memset(*at, 0, SLOT_BYTES);
    return driver_buffer(&guest->driver, offset, len, is_writable);
}

/* The guest sends a frame on a pair; it is lent, looked at, and given back. */
static void guest_sends(struct guest *guest, unsigned pair, unsigned flow)
{
    struct port_queue *queue = &guest->port->queues[pair];
    void *at;
    struct ring_buffer buffer = take_slot(guest, header_bytes(guest) + FRAME_BYTES, false, &at);

    make_frame((uint8_t *)at + header_bytes(guest), flow, false, 0);
    assert_true(driver_add(&guest->driver, 2 * pair + 1, &buffer, 1) >= 0);
    guest->burst.hashed = 0;
    assert_int_equal(vhost_user_lend(queue, &guest->burst), 1);
    vhost_user_give_back(queue, &guest->burst);
}

static void offer_buffers(struct guest *guest, unsigned pair, unsigned num)
{
    while (num-- > 0) {
        void *at;
        struct ring_buffer buffer = take_slot(guest, SLOT_BYTES, true, &at);

        assert_true(driver_add(&guest->driver, 2 * pair, &buffer, 1) >= 0);
    }
}

/* Frames for the guest, one of each flow from `first` on, in one burst. */
static void send_to_guest(struct guest *guest, unsigned first, unsigned num)
{
    static uint8_t bytes[BURST_MAX_FRAMES][FRAME_BYTES];

    guest->burst.num = num;
    guest->burst.hashed = 0;
    for (unsigned i = 0; i < num; i++) {
        struct frame *frame = &guest->burst.frames[i];

        make_frame(bytes[i], first + i, true, (uint8_t)i);
        guest->burst.segments[i] = (struct iovec){bytes[i], FRAME_BYTES};
        *frame = (struct frame){.segments = &guest->burst.segments[i],
                                .num_segments = 1,
                                .len = FRAME_BYTES};
        memcpy(&frame->ethernet, bytes[i], ETHERNET_HEADER_BYTES);
    }
    port_copy(guest->port, 0, &guest->burst, burst_all(&guest->burst));
}

static struct counters tx_of(const struct guest *guest)
{
    struct counters rx, tx;

    port_sum_counters(guest->port, &rx, &tx);
    return tx;
}

static struct counters rx_of(const struct guest *guest)
{
    struct counters rx, tx;

    port_sum_counters(guest->port, &rx, &tx);
    return rx;
}

/* How often an eventfd was signalled since the last time. */
static uint64_t signals_of(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    uint64_t num = 0;

    if (poll(&ready, 1, 0) > 0)
        assert_int_equal(read(fd, &num, sizeof(num)), sizeof(num));
    return num;
}

/* --- Steering -------------------------------------------------------------------------------------------- */

/* Each flow returns where the guest sent it last, in whatever order frames come. */
static void test_flows_return(void **state)
{
    struct guest *guest = *state;
    struct port *port;

    open_port(guest, NULL);
    port = guest->port;
    start(guest, NET_FEATURE(MQ), 2 * NUM_PAIRS);
    assert_int_equal(atomic_load(&port->num_tx_queues), NUM_PAIRS);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned pair = 0; pair < NUM_PAIRS; pair++)
            offer_buffers(guest, pair, 8);
        for (unsigned flow = 0; flow < 32; flow++)
            guest_sends(guest, (flow + round) % NUM_PAIRS, flow);
        send_to_guest(guest, 0, 32);
        for (unsigned pair = 0; pair < NUM_PAIRS; pair++) {
            struct ring_used used;

            assert_int_equal(port->queues[pair].tx.packets, 8 * (round + 1));
            for (unsigned i = 0; i < 8; i++)
                assert_true(ring_take_used(&guest->driver.rings[2 * pair], &used));
        }
    }
    assert_int_equal(tx_of(guest).packets, 64);
}

/* Frames that share a queue keep the order in which they came. */
static void test_order(void **state)
{
    struct guest *guest = *state;
    unsigned num_seen = 0;

    open_port(guest, NULL);
    start(guest, NET_FEATURE(MQ), 2 * NUM_PAIRS);
    for (unsigned pair = 0; pair < NUM_PAIRS; pair++)
        offer_buffers(guest, pair, 32);
    send_to_guest(guest, 500, 32); /* flows that nobody knows */
    for (unsigned pair = 0; pair < NUM_PAIRS; pair++) {
        unsigned num = (unsigned)guest->port->queues[pair].tx.packets;
        int last = -1;

        for (unsigned i = 0; i < num; i++) {
            const uint8_t *at = driver_data(&guest->driver, SLOT_BYTES * (32 * pair + i));

            assert_true(at[12 + 59] > last);
            last = at[12 + 59];
        }
        assert_true(num > 0);
        num_seen += num;
    }
    assert_int_equal(num_seen, 32);
}

/* A pair that the guest disables gets nothing any more, though its flows are known. */
static void test_fewer_pairs(void **state)
{
    struct guest *guest = *state;

    open_port(guest, NULL);
    start(guest, NET_FEATURE(MQ), 2 * NUM_PAIRS);
    for (unsigned flow = 0; flow < 8; flow++)
        guest_sends(guest, 3, flow);
    assert_int_equal(frontend_enable(&guest->driver.frontend, 6, false), 0);
    assert_int_equal(frontend_sync(&guest->driver.frontend), 0);
    assert_int_equal(atomic_load(&guest->port->num_tx_queues), 3);
    for (unsigned pair = 0; pair < 3; pair++)
        offer_buffers(guest, pair, 8);
    send_to_guest(guest, 0, 8);
    assert_int_equal(tx_of(guest).packets, 8);
    assert_int_equal(guest->port->queues[3].tx.packets, 0);
}

/* --- What is offered ---------------------------------------------------------------------------------------- */

static void test_offers(void **state)
{
    struct guest *guest = *state;
    uint64_t features, protocol, num;

    open_port(guest, NULL);
    start(guest, ALL, 0);
    features = guest->driver.frontend.features;
    protocol = guest->driver.frontend.protocol_features;
    assert_true(features & NET_FEATURE(MTU));
    assert_true(features & NET_FEATURE(GUEST_ANNOUNCE));
    assert_true(features & NET_FEATURE(MQ));
    assert_false(features & (NET_FEATURE(CTRL_VQ) | NET_FEATURE(RSS) | NET_FEATURE(HASH_REPORT) |
                             NET_FEATURE(MAC)));
    assert_false(protocol & FRONTEND_PROTOCOL_F_CONFIG);
    assert_int_equal(frontend_ask_u64(&guest->driver.frontend, FRONTEND_GET_QUEUE_NUM, &num), 0);
    assert_int_equal(num, NUM_PAIRS);
}

static void test_configuration_space(void **state)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3};
    struct guest *guest = *state;
    struct frontend *frontend = &guest->driver.frontend;
    struct net_config config;
    uint64_t num;

    open_port(guest, "control-queue", "on", "mac", "52:54:00:01:02:03", "mtu", "9000", "speed",
              "25000", NULL);
    start(guest, ALL, 0);
    assert_int_equal(frontend_ask_u64(frontend, FRONTEND_GET_QUEUE_NUM, &num), 0);
    assert_int_equal(num, NUM_RINGS);
    assert_int_equal(frontend_get_config(frontend, 0, &config, sizeof(config)), 0);
    assert_memory_equal(config.mac, mac, 6);
    assert_int_equal(config.status, NET_STATUS_LINK_UP);
    assert_int_equal(config.max_virtqueue_pairs, NUM_PAIRS);
    assert_int_equal(config.mtu, 9000);
    assert_int_equal(config.speed, 25000);
    assert_int_equal(config.duplex, NET_DUPLEX_FULL);
    assert_int_equal(config.rss_max_key_size, 40);
    assert_int_equal(config.rss_max_indirection_table_length, 128);
    vhost_user_set_link(guest->port, false);
    assert_int_equal(frontend_get_config(frontend, 6, &config.status, 2), 0);
    assert_int_equal(config.status, 0);
    /* A modern driver cannot write; a legacy one sets its address. */
    assert_int_equal(frontend_set_config(frontend, 0, "\2\7\7\7\7\7", 6), 0);
    assert_int_equal(frontend_get_config(frontend, 0, &config, 6), 0);
    assert_memory_equal(config.mac, mac, 6);
    assert_int_equal(frontend_set_features(frontend, NET_FEATURE(MAC)), 0);
    assert_int_equal(frontend_set_config(frontend, 0, "\2\7\7\7\7\7", 6), 0);
    assert_int_equal(frontend_get_config(frontend, 0, &config, 6), 0);
    assert_memory_equal(config.mac, "\2\7\7\7\7\7", 6);
}

/* A migration brings the address along, also to a modern driver, and what is ours to know stays. */
static void test_migrated_configuration(void **state)
{
    struct guest *guest = *state;
    struct frontend *frontend = &guest->driver.frontend;
    struct frontend_config told = {.size = sizeof(struct net_config), .flags = 1};
    struct net_config config;

    open_port(guest, "control-queue", "on", "mac", "52:54:00:01:02:03", "mtu", "9000", NULL);
    start(guest, NET_FEATURE(CTRL_VQ) | NET_FEATURE(MAC), 0);
    memset(told.data, 2, sizeof(told.data));
    assert_int_equal(frontend_call(frontend, FRONTEND_SET_CONFIG, &told,
                                   FRONTEND_CONFIG_HEADER_BYTES + told.size, NULL, 0),
                     0);
    assert_int_equal(frontend_get_config(frontend, 0, &config, sizeof(config)), 0);
    assert_memory_equal(config.mac, "\2\2\2\2\2\2", 6);
    assert_int_equal(config.mtu, 9000);
}

/* Whoever may make us wait for guest memory is the user's choice. */
static void test_postcopy(void **state)
{
    struct guest *guest = *state;
    struct frontend *frontend = &guest->driver.frontend;

    open_port(guest, NULL);
    start(guest, 0, 0);
    assert_false(frontend->protocol_features & FRONTEND_PROTOCOL_F_PAGEFAULT);
    driver_disconnect(&guest->driver);
    port_destroy(guest->port);
    open_port(guest, "postcopy", "on", NULL);
    start(guest, 0, 0);
    assert_int_equal(!!(frontend->protocol_features & FRONTEND_PROTOCOL_F_PAGEFAULT),
                     userfault_is_available());
}

static void test_bad_address(void **state)
{
    const struct port_class *class = port_class_find("vhost-user");
    struct guest *guest = *state;
    json_t *given = json_pack("{s:s, s:s}", "socket", guest->path, "mac", "01:00:00:00:00:01");
    json_t *options = json_object();
    struct shunt_error error;
    struct port *port;

    assert_int_equal(option_check(&class->options, 1, given, "", options, NULL, &error), 0);
    assert_int_equal(port_create(class, "vm1", options, NULL, NULL, &port, &error), -EINVAL);
    assert_non_null(strstr(error.text, "01:00:00:00:00:01"));
    json_decref(given);
    json_decref(options);
    open_port(guest, NULL); /* nothing is left at the path */
}

/* --- The control queue --------------------------------------------------------------------------------------- */

/* Sends a command and returns its acknowledgement. */
static int command_at(struct guest *guest, unsigned ring, const void *bytes, uint32_t len)
{
    void *command, *ack;
    struct ring_buffer buffers[2];
    struct ring_used used;

    buffers[0] = take_slot(guest, len, false, &command);
    buffers[1] = take_slot(guest, 1, true, &ack);
    memcpy(command, bytes, len);
    *(uint8_t *)ack = 0x55;
    assert_true(driver_add(&guest->driver, ring, buffers, 2) >= 0);
    for (unsigned i = 0; i < 10000 && ring_num_used(&guest->driver.rings[ring]) == 0; i++) {
        dispatch(guest);
        usleep(100);
    }
    assert_true(ring_take_used(&guest->driver.rings[ring], &used));
    return *(uint8_t *)ack;
}

#define COMMAND(guest, ...)                                                                        \
    command_at(guest, CONTROLQ, (const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))

static void test_control_queue(void **state)
{
    struct guest *guest = *state;

    open_port(guest, "control-queue", "on", "mac", "02:00:00:00:00:09", NULL);
    start(guest, ALL & ~NET_FEATURE(HASH_REPORT) & ~RING_FEATURE(ACCESS_PLATFORM), NUM_RINGS);
    assert_int_equal(atomic_load(&guest->port->num_tx_queues), 1); /* until the driver says more */
    assert_int_equal(guest->port->state, PORT_UP);
    assert_int_equal(COMMAND(guest, 4, 0, 3, 0), CONTROL_OK);
    assert_int_equal(atomic_load(&guest->port->num_tx_queues), 3);
    assert_int_equal(COMMAND(guest, 4, 0, 5, 0), CONTROL_ERR);
    offer_buffers(guest, 0, 8);
    offer_buffers(guest, 1, 8);
    offer_buffers(guest, 2, 8);
    send_to_guest(guest, 0, 4); /* to 02:00:00:00:00:02 */
    assert_int_equal(tx_of(guest).packets, 4);
    assert_int_equal(COMMAND(guest, 0, 0, 0), CONTROL_OK); /* not promiscuous any more */
    send_to_guest(guest, 0, 4);
    assert_int_equal(tx_of(guest).packets, 4);
    assert_int_equal(tx_of(guest).drops[DROP_FILTERED], 4);
    assert_int_equal(COMMAND(guest, 1, 1, 2, 0, 0, 0, 0, 2), CONTROL_OK); /* its own address */
    send_to_guest(guest, 0, 4);
    assert_int_equal(tx_of(guest).packets, 8);
    /* A new connection begins anew. */
    driver_disconnect(&guest->driver);
    dispatch(guest);
    assert_true(vhost_user_of(guest->port)->control.state.filter.is_on[FILTER_PROMISC]);
    assert_int_equal(vhost_user_of(guest->port)->control.state.filter.mac[5], 9);
}

/* A driver without MQ has its control queue right behind the first pair. */
static void test_control_queue_of_one_pair(void **state)
{
    struct guest *guest = *state;

    open_port(guest, "control-queue", "on", NULL);
    start(guest, NET_FEATURE(CTRL_VQ) | NET_FEATURE(CTRL_RX), 3);
    assert_int_equal(guest->port->state, PORT_UP);
    assert_int_equal(command_at(guest, 2, (const uint8_t[]){0, 1, 1}, 3), CONTROL_OK);
    assert_true(vhost_user_of(guest->port)->control.state.filter.is_on[FILTER_ALLMULTI]);
    assert_int_equal(command_at(guest, 2, (const uint8_t[]){4, 0, 1, 0}, 4), CONTROL_ERR);
    assert_false(guest->port->queues[1].is_running);
}

/* The table says where frames go, and the header what their hash is. */
static void test_rss(void **state)
{
    struct guest *guest = *state;
    uint8_t command[2 + 8 + 2 * 4 + 2 + 1 + 40] = {4, 1, 1u << RSS_TCPV4};
    struct rss rss = {.hash_types = 1u << RSS_TCPV4};
    unsigned first_slot, expected[NUM_PAIRS] = {0};

    open_port(guest, "control-queue", "on", NULL);
    start(guest, ALL & ~RING_FEATURE(ACCESS_PLATFORM), NUM_RINGS);
    command[6] = 3;                                                     /* mask */
    command[8] = 1;                                                     /* unclassified */
    command[10] = 3, command[12] = 2, command[14] = 0, command[16] = 2; /* table */
    command[18] = 4;                                                    /* pairs */
    command[20] = 40;
    memset(command + 21, 0x5a, 40);
    command[30] = 7;
    assert_int_equal(command_at(guest, CONTROLQ, command, sizeof(command)), CONTROL_OK);
    rss_key_set(&rss.key, command + 21, 40);
    first_slot = guest->num_slots;
    for (unsigned pair = 0; pair < NUM_PAIRS; pair++)
        offer_buffers(guest, pair, 32);
    send_to_guest(guest, 0, 32);
    for (unsigned i = 0; i < 32; i++) {
        static const unsigned table[4] = {3, 2, 0, 2};
        const struct net_header *header;
        uint32_t hash;
        unsigned pair;

        assert_int_equal(rss_hash(&rss, &guest->burst.frames[i], &hash), RSS_TCPV4 + 1);
        pair = table[hash & 3];
        header = driver_data(&guest->driver,
                             SLOT_BYTES * (first_slot + 32 * pair + expected[pair]++));
        assert_int_equal(header->hash_value, hash);
        assert_int_equal(header->hash_report, RSS_TCPV4 + 1);
        assert_int_equal(((const uint8_t *)header)[20 + 59], i);
    }
    for (unsigned pair = 0; pair < NUM_PAIRS; pair++)
        assert_int_equal(guest->port->queues[pair].tx.packets, expected[pair]);
    /* What has no hash goes to the queue for that. */
    assert_int_equal(COMMAND(guest, 4, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), CONTROL_OK);
    send_to_guest(guest, 0, 4);
    assert_int_equal(guest->port->queues[1].tx.packets, expected[1] + 4);
}

/* --- Link, MTU, migration --------------------------------------------------------------------------------------- */

static void test_link(void **state)
{
    struct guest *guest = *state;
    json_t *down = json_string("down");
    struct port *port;
    void *at;
    struct ring_buffer buffer;

    open_port(guest, NULL);
    port = guest->port;
    start(guest, NET_FEATURE(MQ), 2);
    assert_int_equal(port->state, PORT_UP);
    port->class->set(port, "link", down);
    json_decref(down);
    assert_int_equal(port->state, PORT_DOWN);
    assert_non_null(strstr(port->reason, "link"));
    offer_buffers(guest, 0, 4);
    send_to_guest(guest, 0, 4);
    assert_int_equal(tx_of(guest).drops[DROP_PORT_DOWN], 4);
    buffer = take_slot(guest, 12 + FRAME_BYTES, false, &at);
    assert_true(driver_add(&guest->driver, 1, &buffer, 1) >= 0);
    assert_int_equal(vhost_user_lend(&port->queues[0], &guest->burst), 0);
    assert_int_equal(rx_of(guest).drops[DROP_LINK_DOWN], 1);
    assert_int_equal(rx_of(guest).packets, 1);
    assert_int_equal(ring_num_used(&guest->driver.rings[1]), 1);
    vhost_user_ops.announce(port, (const uint8_t[6]){2, 0, 0, 0, 0, 9});
    assert_int_equal(vhost_user_lend(&port->queues[0], &guest->burst), 0);
    assert_int_equal(rx_of(guest).drops[DROP_LINK_DOWN], 2);
    assert_int_equal(rx_of(guest).packets, 2);
    assert_true(vhost_user_arm(&port->queues[0]));
    vhost_user_disarm(&port->queues[0]);
    vhost_user_set_link(port, true);
    assert_int_equal(port->state, PORT_UP);
    send_to_guest(guest, 0, 4);
    assert_int_equal(tx_of(guest).packets, 4);
}

/* Frames that wait for the guest's IOMMU are counted when they end, and are freed with the port. */
static void test_frames_that_wait(void **state)
{
    struct guest *guest = *state;
    struct port_queue *queue;
    const struct backlog *backlog;

    open_port(guest, NULL);
    queue = &guest->port->queues[0];
    backlog = &vhost_user_of(guest->port)->backlogs[0];
    start(guest, RING_FEATURE(ACCESS_PLATFORM), 2); /* nobody tells where the rings lie */
    assert_int_equal(guest->port->state, PORT_UP);
    send_to_guest(guest, 0, 4);
    assert_int_equal(backlog->num, 4);
    vhost_user_flush(queue);
    assert_int_equal(backlog->num, 4);
    assert_int_equal(tx_of(guest).packets, 0);
    vhost_user_set_link(guest->port, false);
    vhost_user_flush(queue);
    assert_int_equal(backlog->num, 0);
    assert_int_equal(tx_of(guest).drops[DROP_PORT_DOWN], 4);
    vhost_user_set_link(guest->port, true);
    send_to_guest(guest, 0, 5);
    assert_int_equal(backlog->num, 5);
    assert_int_equal(driver_stop(&guest->driver, 0), 0);
    assert_int_equal(backlog->num, 0);
    assert_int_equal(tx_of(guest).drops[DROP_PORT_DOWN], 9);
    assert_int_equal(driver_start(&guest->driver, 0), 0);
    dispatch(guest);
    send_to_guest(guest, 0, 6); /* they are there when the port is closed */
    assert_int_equal(backlog->num, 6);
    assert_int_equal(tx_of(guest).packets, 0);
}

static void test_mtu(void **state)
{
    struct guest *guest = *state;
    uint64_t mtu = 1501;

    open_port(guest, "mtu", "1500", NULL);
    start(guest, NET_FEATURE(MTU), 2);
    assert_int_not_equal(frontend_call(&guest->driver.frontend, FRONTEND_NET_SET_MTU, &mtu, 8, NULL,
                                       0),
                         0);
    offer_buffers(guest, 0, 8);
    send_to_guest(guest, 0, 2);
    assert_int_equal(tx_of(guest).packets, 2);
    mtu = 68;
    assert_int_equal(frontend_call(&guest->driver.frontend, FRONTEND_NET_SET_MTU, &mtu, 8, NULL, 0),
                     0);
    send_to_guest(guest, 0, 2);
    assert_int_equal(tx_of(guest).packets, 4);
    assert_int_equal(vhost_user_ops.set_mtu(guest->port, 45), 0); /* 59 bytes with its header */
    send_to_guest(guest, 0, 2);
    assert_int_equal(tx_of(guest).packets, 4);
    assert_int_equal(tx_of(guest).drops[DROP_TOO_BIG], 2);
}

/* The announcement comes in from the port like a frame of the guest, once. */
static void test_announcement(void **state)
{
    static const uint8_t mac[8] = {2, 0, 0, 0, 0, 0x77};
    struct guest *guest = *state;
    struct port_queue *queue;
    uint8_t *bytes;

    open_port(guest, NULL);
    start(guest, 0, 2);
    queue = &guest->port->queues[0];
    assert_int_equal(vhost_user_lend(queue, &guest->burst), 0);
    signals_of(guest->driver.kick_fds[1]);
    assert_int_equal(frontend_call(&guest->driver.frontend, FRONTEND_SEND_RARP, mac, sizeof(mac),
                                   NULL, 0),
                     0);
    assert_true(signals_of(guest->driver.kick_fds[1]) > 0); /* whoever sleeps is woken */
    assert_false(vhost_user_arm(queue));
    guest->burst.hashed = 0;
    assert_int_equal(vhost_user_lend(queue, &guest->burst), 1);
    bytes = guest->burst.frames[0].segments[0].iov_base;
    assert_int_equal(guest->burst.frames[0].len, 60);
    assert_memory_equal(guest->burst.frames[0].ethernet.source, mac, 6);
    assert_memory_equal(bytes, "\xff\xff\xff\xff\xff\xff\2\0\0\0\0\x77\x80\x35\0\1\x08\0\6\4\0\3",
                        22);
    assert_memory_equal(bytes + 22, mac, 6);
    assert_memory_equal(bytes + 32, mac, 6);
    vhost_user_give_back(queue, &guest->burst);
    assert_int_equal(rx_of(guest).packets, 1);
    assert_int_equal(rx_of(guest).bytes, 60);
    assert_int_equal(vhost_user_lend(queue, &guest->burst), 0);
    assert_true(vhost_user_arm(queue));
    dispatch(guest);
    assert_int_equal(guest->port->state, PORT_UP); /* nothing was concluded from the wake-up */
}

/* The device's state goes to another port, which then asks the driver to announce itself. */
static void test_state_moves(void **state)
{
    struct guest *guest = *state;
    struct vhost_user_port *own;
    struct net_config config;
    size_t len;
    void *data;

    open_port(guest, "control-queue", "on", NULL);
    own = vhost_user_of(guest->port);
    start(guest, ALL & ~RING_FEATURE(ACCESS_PLATFORM), NUM_RINGS);
    assert_int_equal(COMMAND(guest, 4, 0, 3, 0), CONTROL_OK);
    assert_int_equal(COMMAND(guest, 0, 0, 0), CONTROL_OK);
    assert_int_equal(vhost_user_ops.save_state(guest->port, &data, &len), 0);
    vhost_user_ops.reset(guest->port);
    assert_int_equal(atomic_load(&guest->port->num_tx_queues), 1);
    assert_false(filter_is_closed(&own->control.state.filter) &&
                 !own->control.state.filter.has_vlans);
    assert_int_equal(vhost_user_ops.load_state(guest->port, "rubbish", 7), -EINVAL);
    assert_int_equal(vhost_user_ops.load_state(guest->port, data, len), 0);
    assert_int_equal(atomic_load(&guest->port->num_tx_queues), 3);
    assert_false(own->control.state.filter.is_on[FILTER_PROMISC]);
    config = vhost_user_config(guest->port);
    assert_int_equal(config.status, NET_STATUS_LINK_UP | NET_STATUS_ANNOUNCE);
    assert_int_equal(COMMAND(guest, 3, 0), CONTROL_OK);
    config = vhost_user_config(guest->port);
    assert_int_equal(config.status, NET_STATUS_LINK_UP);
    free(data);
}

/* --- What is told ------------------------------------------------------------------------------------------------ */

static void test_description(void **state)
{
    static const char *const keys[] = {"role",   "socket",   "peer_pid", "features",
                                       "status", "steering", "rings",    "control_queue",
                                       "memory", "filter",   "link",     "mac",
                                       "mtu"};
    struct guest *guest = *state;
    json_t *object, *ring;

    open_port(guest, "control-queue", "on", "mtu", "1500", NULL);
    start(guest, ALL & ~RING_FEATURE(ACCESS_PLATFORM) & ~RING_FEATURE(PACKED), NUM_RINGS);
    object = port_describe(guest->port);
    assert_non_null(object);
    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (!json_object_get(object, keys[i]))
            fail_msg("nothing is said of %s", keys[i]);
    assert_int_equal(json_array_size(json_object_get(object, "rings")), NUM_RINGS);
    ring = json_array_get(json_object_get(object, "rings"), CONTROLQ);
    assert_string_equal(json_string_value(json_object_get(ring, "use")), "controlq");
    assert_string_equal(json_string_value(json_object_get(ring, "state")), "running");
    assert_string_equal(json_string_value(json_object_get(ring, "format")), "split");
    assert_string_equal(json_string_value(json_object_get(ring, "kick")), "eventfd");
    assert_int_equal(json_integer_value(
                         json_object_get(json_array_get(json_object_get(object, "memory"), 0),
                                         "page_bytes")),
                     sysconf(_SC_PAGESIZE));
    assert_null(json_object_get(object, "iotlb"));
    assert_null(json_object_get(object, "log"));
    json_decref(object);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_flows_return),
        TEST(test_order),
        TEST(test_fewer_pairs),
        TEST(test_offers),
        TEST(test_configuration_space),
        TEST(test_migrated_configuration),
        TEST(test_postcopy),
        TEST(test_bad_address),
        TEST(test_control_queue),
        TEST(test_control_queue_of_one_pair),
        TEST(test_rss),
        TEST(test_link),
        TEST(test_frames_that_wait),
        TEST(test_mtu),
        TEST(test_announcement),
        TEST(test_state_moves),
        TEST(test_description),
    };

    return cmocka_run_group_tests_name("guest_port", tests, NULL, NULL);
}
