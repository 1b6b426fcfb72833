/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/rack.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"

#define SETTLE_MS 10000u

static unsigned place_of(const struct rack *rack, const struct port *port)
{
    unsigned place = 0;

    while (place < RACK_MAX_PORTS && rack->ports[place] != port)
        place++;
    return place;
}

static void on_queue(void *ctx, struct port_queue *queue, bool runs)
{
    struct rack *rack = ctx;
    unsigned place = place_of(rack, queue->port);

    if (place == RACK_MAX_PORTS)
        return; /* not plugged in yet */
    if (!runs)
        worker_pool_remove(rack->pool, queue);
    else if (worker_pool_add(rack->pool, rack->members[place], queue) < 0)
        abort();
}

const struct port_events rack_events = {.queue_changed = on_queue};

struct worker_config rack_workers(enum worker_mode mode, unsigned num)
{
    struct worker_config config = {.mode = mode, .num = num};

    for (unsigned i = 0; i < num; i++)
        config.cpus[i] = -1;
    return config;
}

void rack_init(struct rack *rack, enum bridge_mode mode, const struct worker_config *config)
{
    *rack = (struct rack){0};
    if (worker_pool_create(config, &rack->pool, NULL) < 0 ||
        bridge_create("br0", mode, BRIDGE_DEFAULT_AGEING_S, &rack->bridge, NULL) < 0)
        abort();
}

void rack_fini(struct rack *rack)
{
    for (unsigned i = 0; i < RACK_MAX_PORTS; i++) {
        if (rack->ports[i])
            rack_unplug(rack, i);
    }
    worker_pool_destroy(rack->pool);
    bridge_destroy(rack->bridge);
}

unsigned rack_plug_port(struct rack *rack, struct port *port)
{
    unsigned place = place_of(rack, NULL);

    if (place == RACK_MAX_PORTS || bridge_add_port(rack->bridge, port, BRIDGE_DEFAULT_MAX_ADDRESSES,
                                                   &rack->members[place], NULL) < 0)
        abort();
    rack->ports[place] = port;
    for (unsigned i = 0; i < port->num_queues; i++) {
        if (port->queues[i].is_running)
            on_queue(rack, &port->queues[i], true);
    }
    return place;
}

unsigned rack_plug(struct rack *rack, const struct port_class *class, unsigned num_queues)
{
    return rack_plug_port(rack, inproc_create(class, "inproc", num_queues, &rack_events, rack));
}

/* --- Counting --------------------------------------------------------------------------------------- */

static void add_counters(struct rack_balance *sum, const struct port *port)
{
    struct counters rx, tx;

    port_sum_counters(port, &rx, &tx);
    sum->rx_packets += rx.packets;
    sum->tx_packets += tx.packets;
    for (unsigned i = 0; i < DROP_NUM; i++)
        sum->drops += rx.drops[i] + tx.drops[i];
    sum->in += rx.packets + rx.copies;
    sum->out = sum->tx_packets + sum->drops;
}

void rack_unplug(struct rack *rack, unsigned place)
{
    struct port *port = rack->ports[place];

    for (unsigned i = 0; i < port->num_queues; i++)
        worker_pool_remove(rack->pool, &port->queues[i]);
    bridge_remove_port(rack->members[place]);
    add_counters(&rack->gone, port);
    rack->ports[place] = NULL;
    rack->members[place] = NULL;
    port_destroy(port);
}

struct rack_balance rack_balance(const struct rack *rack)
{
    struct rack_balance balance = rack->gone;

    for (unsigned i = 0; i < RACK_MAX_PORTS; i++) {
        if (rack->ports[i])
            add_counters(&balance, rack->ports[i]);
    }
    return balance;
}

static bool is_inproc(const struct port *port)
{
    return port->class == &inproc_class || port->class == &inproc_class_costly ||
           port->class == &inproc_class_unwakeable;
}

/* Frames that wait in queues which somebody polls. */
static bool is_pending(const struct rack *rack)
{
    for (unsigned i = 0; i < RACK_MAX_PORTS; i++) {
        struct port *port = rack->ports[i];

        if (!port || !is_inproc(port))
            continue;
        for (unsigned q = 0; q < port->num_queues; q++) {
            if (port->queues[q].is_running && inproc_num_pending(port, q) > 0)
                return true;
        }
    }
    return false;
}

void rack_settle(struct rack *rack)
{
    uint64_t start_ms = clock_ms();

    while (clock_ms() - start_ms < SETTLE_MS) {
        struct rack_balance balance = rack_balance(rack);

        if (balance.in == balance.out && !is_pending(rack))
            return;
        usleep(100);
    }
}

uint64_t rack_delivered(const struct rack *rack, unsigned place)
{
    struct counters rx, tx;

    port_sum_counters(rack->ports[place], &rx, &tx);
    return tx.packets;
}
