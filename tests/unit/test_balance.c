/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whatever happens to ports meanwhile, each frame that comes in is delivered or dropped, once for each of
 * its destinations: Σ (rx.packets + rx.copies) = Σ tx.packets + Σ drops.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "lib/rack.h"

static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* --- Traffic ---------------------------------------------------------------------------------------- */

/* Of every kind that the bridge knows. */
static void choose_destination(uint8_t mac[6], uint32_t choice)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t link_local[6] = {0x01, 0x80, 0xc2, 0x00, 0x00, 0x02};
    const uint8_t host[6] = {0x02, 0, 0, 0, 0, (uint8_t)(choice >> 8 & 15)};

    switch (choice % 8) {
    case 0:
        memcpy(mac, broadcast, 6);
        break;
    case 1:
        memcpy(mac, link_local, 6);
        break;
    default:
        memcpy(mac, host, 6);
    }
}

/* A frame from one of the hosts behind port `place`, of which there are two; true if there was room. */
static bool send_anything(struct port *port, unsigned place, uint32_t *seed)
{
    uint8_t frame[200] = {0};
    uint32_t choice = next_random(seed);
    const uint8_t source[6] = {0x02, 0, 0, 0, 0, (uint8_t)(place + (choice >> 16 & 1) * 8)};

    choose_destination(frame, choice);
    memcpy(frame + 6, source, 6);
    return inproc_send(port, (choice >> 20) % port->num_queues, frame, 60 + choice % 100,
                       choice % 9 * 10);
}

/* --- Without workers -------------------------------------------------------------------------------- */

#define NUM_PORTS 6u

/* Ports as on a rack, whose queues the test itself works on. */
struct fixture {
    struct rack rack;
    struct burst burst;
    uint32_t seed;
    uint64_t num_sent;
};

/* The events go nowhere: no worker gets a queue. */
static void plug(struct fixture *f, unsigned place)
{
    struct port *port = inproc_create(&inproc_class, "inproc", 1 + place % 2, NULL, NULL);

    assert_int_equal(bridge_add_port(f->rack.bridge, port, 100, &f->rack.members[place], NULL), 0);
    f->rack.ports[place] = port;
}

/* One thing happens to the ports. */
static void change_anything(struct fixture *f)
{
    unsigned place = next_random(&f->seed) % NUM_PORTS;
    struct port *port = f->rack.ports[place];

    switch (next_random(&f->seed) % 6) {
    case 0:
        if (port)
            rack_unplug(&f->rack, place);
        else
            plug(f, place);
        break;
    case 1:
        if (port)
            inproc_set_up(port, !port_is_up(port));
        break;
    default:
        if (port)
            inproc_set_room(port, 0, next_random(&f->seed) % 50);
    }
}

static void forward_all(struct fixture *f, unsigned place, uint32_t now_s)
{
    struct port *port = f->rack.ports[place];

    for (unsigned q = 0; q < port->num_queues; q++) {
        while (inproc_num_pending(port, q) > 0)
            assert_true(bridge_forward(f->rack.members[place], &port->queues[q], &f->burst, now_s) >
                        0);
    }
}

static void run_round(struct fixture *f, uint32_t now_s)
{
    struct rack_balance balance;

    for (unsigned place = 0; place < NUM_PORTS; place++) {
        unsigned num = next_random(&f->seed) % 50;

        if (!f->rack.ports[place])
            continue;
        while (num-- > 0)
            f->num_sent += send_anything(f->rack.ports[place], place, &f->seed);
        forward_all(f, place, now_s);
        inproc_forget(f->rack.ports[place]);
    }
    balance = rack_balance(&f->rack);
    assert_int_equal(balance.in, balance.out);
    assert_int_equal(balance.rx_packets, f->num_sent);
}

static void expect_balance(enum bridge_mode mode)
{
    struct worker_config config = rack_workers(WORKER_INTERRUPT, 1);
    struct fixture f = {.seed = 4711};
    struct rack_balance balance;

    rack_init(&f.rack, mode, &config);
    assert_int_equal(burst_init(&f.burst), 0);
    if (mode == BRIDGE_PATCH) {
        plug(&f, 0);
        plug(&f, 1);
    }
    for (uint32_t round = 0; round < 1000; round++) {
        if (mode == BRIDGE_LEARN)
            change_anything(&f);
        else
            inproc_set_up(f.rack.ports[round / 2 % 2], next_random(&f.seed) % 2);
        run_round(&f, 1000 + round);
    }
    balance = rack_balance(&f.rack);
    assert_true(balance.tx_packets > 10000);
    assert_true(balance.drops > 1000);
    burst_fini(&f.burst);
    rack_fini(&f.rack);
}

static void test_one_thread(void **state)
{
    expect_balance(BRIDGE_LEARN);
}

static void test_one_thread_patch(void **state)
{
    expect_balance(BRIDGE_PATCH);
}

/* --- With workers ----------------------------------------------------------------------------------- */

#define NUM_SENDERS 2u

struct sender {
    struct port *ports[NUM_SENDERS];
    uint32_t seed;
    atomic_bool is_ending;
    uint64_t num_sent;
    pthread_t thread;
};

static void *run_sender(void *ctx)
{
    struct sender *sender = ctx;

    while (!atomic_load_explicit(&sender->is_ending, memory_order_relaxed)) {
        unsigned place = next_random(&sender->seed) % NUM_SENDERS;

        if (send_anything(sender->ports[place], place, &sender->seed))
            sender->num_sent++;
        else
            usleep(10);
    }
    return NULL;
}

static void start_sender(struct sender *sender, struct rack *rack)
{
    *sender = (struct sender){.seed = 99};
    for (unsigned i = 0; i < NUM_SENDERS; i++) {
        assert_int_equal(rack_plug(rack, i ? &inproc_class_costly : &inproc_class, 2), i);
        sender->ports[i] = rack->ports[i];
        inproc_set_capture(rack->ports[i], false);
    }
    assert_int_equal(pthread_create(&sender->thread, NULL, run_sender, sender), 0);
}

/* All that was sent arrived, or was counted as dropped. */
static void expect_all_accounted(struct sender *sender, struct rack *rack)
{
    struct rack_balance balance;

    atomic_store(&sender->is_ending, true);
    assert_int_equal(pthread_join(sender->thread, NULL), 0);
    for (unsigned i = 0; i < NUM_SENDERS; i++)
        inproc_set_up(rack->ports[i], true);
    rack_settle(rack);
    balance = rack_balance(rack);
    assert_int_equal(balance.rx_packets, sender->num_sent);
    assert_int_equal(balance.in, balance.out);
    assert_true(sender->num_sent > 1000);
    assert_true(balance.tx_packets > 1000);
}

/* Ports join, go down, come up and leave while others send to them. */
static void churn(struct rack *rack, uint32_t *seed)
{
    unsigned place = NUM_SENDERS + next_random(seed) % 4;

    if (!rack->ports[place]) {
        place = rack_plug(rack, next_random(seed) % 2 ? &inproc_class : &inproc_class_costly, 2);
        inproc_set_capture(rack->ports[place], false);
    } else if (next_random(seed) % 2) {
        rack_unplug(rack, place);
    } else {
        inproc_set_up(rack->ports[place], !port_is_up(rack->ports[place]));
        inproc_set_room(rack->ports[place], 0, next_random(seed) % 100);
    }
    bridge_age(rack->bridge, 1);
    usleep(next_random(seed) % 300);
}

static void test_ports_leave_while_others_send(void **state)
{
    struct worker_config config = rack_workers(WORKER_ADAPTIVE, 2);
    struct sender sender;
    struct rack rack;
    uint32_t seed = 5;

    rack_init(&rack, BRIDGE_LEARN, &config);
    start_sender(&sender, &rack);
    for (unsigned i = 0; i < 800; i++)
        churn(&rack, &seed);
    expect_all_accounted(&sender, &rack);
    rack_fini(&rack);
}

/* The senders' own ports go down and come up: what waits in them waits, and is not lost. */
static void test_senders_ports_go_down(void **state)
{
    struct worker_config config = rack_workers(WORKER_ADAPTIVE, 2);
    struct sender sender;
    struct rack rack;
    uint32_t seed = 6;

    rack_init(&rack, BRIDGE_PATCH, &config);
    start_sender(&sender, &rack);
    for (unsigned i = 0; i < 600; i++) {
        inproc_set_up(rack.ports[next_random(&seed) % 2], next_random(&seed) % 4 > 0);
        usleep(next_random(&seed) % 300);
    }
    expect_all_accounted(&sender, &rack);
    rack_fini(&rack);
}

/* The workers change while traffic flows. */
static void test_workers_change(void **state)
{
    struct worker_config config = rack_workers(WORKER_ADAPTIVE, 1);
    struct sender sender;
    struct rack rack;
    uint32_t seed = 7;

    rack_init(&rack, BRIDGE_LEARN, &config);
    start_sender(&sender, &rack);
    for (unsigned i = 0; i < 100; i++) {
        config = rack_workers((enum worker_mode)(next_random(&seed) % 3),
                              next_random(&seed) % 3 + 1);
        assert_int_equal(worker_pool_set(rack.pool, &config, NULL), 0);
        churn(&rack, &seed);
    }
    expect_all_accounted(&sender, &rack);
    rack_fini(&rack);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_thread),
        cmocka_unit_test(test_one_thread_patch),
        cmocka_unit_test(test_ports_leave_while_others_send),
        cmocka_unit_test(test_senders_ports_go_down),
        cmocka_unit_test(test_workers_change),
    };

    return cmocka_run_group_tests_name("balance", tests, NULL, NULL);
}
