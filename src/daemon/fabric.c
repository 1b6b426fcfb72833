/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/fabric.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/schema.h"
#include "daemon/tree.h"

void fabric_init(struct fabric *fabric, struct loop *loop)
{
    *fabric = (struct fabric){.loop = loop};
    list_init(&fabric->bridges);
    list_init(&fabric->ports);
}

void fabric_fini(struct fabric *fabric)
{
    struct fabric_port *port, *next_port;
    struct fabric_bridge *bridge, *next_bridge;

    list_for_each_safe (port, next_port, &fabric->ports, link) {
        fabric_leave(port);
        fabric_end_port(port);
    }
    list_for_each_safe (bridge, next_bridge, &fabric->bridges, link)
        fabric_end_bridge(bridge);
    worker_pool_destroy(fabric->pool);
    json_decref(fabric->worker_options);
}

void fabric_tick(struct fabric *fabric)
{
    struct fabric_port *port;
    struct fabric_bridge *bridge;

    list_for_each (port, &fabric->ports, link)
        if (port->port->class->tick)
            port->port->class->tick(port->port);
    list_for_each (bridge, &fabric->bridges, link)
        bridge_age(bridge->bridge, clock_coarse_s());
}

json_t *fabric_tree(const struct fabric *fabric)
{
    json_t *bridges = json_object(), *ports = json_object(), *tree = json_object();
    const struct fabric_bridge *bridge;
    const struct fabric_port *port;

    list_for_each (bridge, &fabric->bridges, link)
        json_object_set_new(bridges, bridge_name(bridge->bridge), json_deep_copy(bridge->options));
    list_for_each (port, &fabric->ports, link)
        json_object_set_new(ports, port->port->name, json_deep_copy(port->options));
    json_object_set_new(tree, "bridges", bridges);
    json_object_set_new(tree, "ports", ports);
    if (fabric->worker_options)
        json_object_set_new(tree, "workers", json_deep_copy(fabric->worker_options));
    return tree;
}

struct fabric_bridge *fabric_find_bridge(const struct fabric *fabric, const char *name)
{
    struct fabric_bridge *bridge;

    list_for_each (bridge, &fabric->bridges, link)
        if (!bridge->is_leaving && strcmp(bridge_name(bridge->bridge), name) == 0)
            return bridge;
    return NULL;
}

struct fabric_port *fabric_find_port(const struct fabric *fabric, const char *name)
{
    struct fabric_port *port;

    list_for_each (port, &fabric->ports, link)
        if (!port->is_leaving && strcmp(port->port->name, name) == 0)
            return port;
    return NULL;
}

bool fabric_is_in(const struct fabric_port *port, const struct fabric_bridge *bridge)
{
    return port->member && bridge_port_bridge(port->member) == bridge->bridge;
}

static void add_counters(struct counters *sum, const struct counters *counters)
{
    sum->packets += counters->packets;
    sum->bytes += counters->bytes;
    sum->copies += counters->copies;
    for (unsigned i = 0; i < DROP_NUM; i++)
        sum->drops[i] += counters->drops[i];
}

static void add_port_counters(const struct port *port, struct counters *rx, struct counters *tx)
{
    struct counters port_rx, port_tx;

    port_sum_counters(port, &port_rx, &port_tx);
    add_counters(rx, &port_rx);
    add_counters(tx, &port_tx);
}

void fabric_sum_counters(const struct fabric *fabric, struct counters *rx, struct counters *tx)
{
    const struct fabric_port *port;

    *rx = fabric->gone_rx;
    *tx = fabric->gone_tx;
    list_for_each (port, &fabric->ports, link)
        add_port_counters(port->port, rx, tx);
}

static void replace_options(json_t **held, json_t *options)
{
    json_incref(options);
    json_decref(*held);
    *held = options;
}

/* --- Bridges ----------------------------------------------------------------------------------------- */

static enum bridge_mode mode_of(const json_t *options)
{
    const char *mode = option_text(options, "mode");

    return strcmp(mode, schema_bridge_modes[BRIDGE_PATCH]) == 0 ? BRIDGE_PATCH : BRIDGE_LEARN;
}

int fabric_make_bridge(struct fabric *fabric, const char *name, json_t *options,
                       struct shunt_error *error)
{
    struct fabric_bridge *bridge = calloc(1, sizeof(*bridge));
    int result;

    if (!bridge)
        return error_set(error, -ENOMEM, "out of memory");
    result = bridge_create(name, mode_of(options), (unsigned)option_number(options, "ageing"),
                           &bridge->bridge, error);
    if (result < 0) {
        free(bridge);
        return result;
    }
    bridge->options = json_incref(options);
    list_append(&fabric->bridges, &bridge->link);
    return 0;
}

void fabric_end_bridge(struct fabric_bridge *bridge)
{
    list_remove(&bridge->link);
    bridge_destroy(bridge->bridge);
    json_decref(bridge->options);
    free(bridge);
}

void fabric_set_bridge(struct fabric_bridge *bridge, json_t *options)
{
    replace_options(&bridge->options, options);
    bridge_set_ageing(bridge->bridge, (unsigned)option_number(options, "ageing"));
}

/* --- Ports ------------------------------------------------------------------------------------------- */

static int employ(const struct fabric_port *port, struct port_queue *queue)
{
    int result = worker_pool_add(port->fabric->pool, port->member, queue);

    if (result < 0)
        log_error(port->port->name, "queue %u is not served by any worker: %s", queue->idx,
                  strerror(-result));
    return result;
}

/* Queues of a port that is in no bridge wait until it joins one. */
static void on_queue_changed(void *ctx, struct port_queue *queue, bool runs)
{
    const struct fabric_port *port = ctx;

    if (!port->member)
        return;
    if (runs)
        employ(port, queue);
    else
        worker_pool_remove(port->fabric->pool, queue);
}

static void on_state_changed(void *ctx, struct port *port)
{
    struct fabric_port *owner = ctx;
    const char *state = port_state_name(port->state);

    /* A front-end that comes and goes all the time has no right to fill the log. */
    if (!log_limit_allows(&owner->log_limit, port->name))
        return;
    if (port->state == PORT_DOWN)
        log_warning(port->name, "%s: %s", state, port->reason);
    else
        log_info(port->name, "%s%s%s", state, port->reason[0] ? ": " : "", port->reason);
}

static const struct port_events port_events = {
    .queue_changed = on_queue_changed,
    .state_changed = on_state_changed,
};

static void on_port_readable(void *ctx, uint32_t events)
{
    const struct fabric_port *port = ctx;

    (void)events;
    port->port->class->dispatch(port->port);
}

static int watch(struct fabric_port *port, struct shunt_error *error)
{
    const struct port_class *class = port->port->class;
    int result = 0;

    if (class->fd)
        result = loop_add(port->fabric->loop, class->fd(port->port), EPOLLIN, on_port_readable,
                          port, &port->source);
    if (result < 0)
        return error_set(error, result, "its descriptor cannot be watched: %s", strerror(-result));
    return 0;
}

int fabric_make_port(struct fabric *fabric, const char *name, json_t *options,
                     struct shunt_error *error)
{
    struct fabric_port *port = calloc(1, sizeof(*port));
    int result;

    if (!port)
        return error_set(error, -ENOMEM, "out of memory");
    port->fabric = fabric;
    result = port_create(tree_port_class(options), name, options, &port_events, port, &port->port,
                         error);
    if (result == 0)
        result = watch(port, error);
    if (result < 0) {
        port_destroy(port->port);
        free(port);
        return result;
    }
    port->options = json_incref(options);
    list_append(&fabric->ports, &port->link);
    return 0;
}

void fabric_end_port(struct fabric_port *port)
{
    list_remove(&port->link);
    loop_remove(port->source);
    add_port_counters(port->port, &port->fabric->gone_rx, &port->fabric->gone_tx);
    port_destroy(port->port);
    json_decref(port->options);
    free(port->addresses);
    free(port);
}

/* Tells the port of what has changed among the live options of its type. */
static void set_type_options(const struct fabric_port *port, const json_t *options)
{
    const struct port_class *class = port->port->class;

    for (const struct option *option = class->options; option->key; option++) {
        const json_t *before = json_object_get(port->options, option->key);
        const json_t *after = json_object_get(options, option->key);
        bool is_same = before == after || (before && after && json_equal(before, after));

        if (option->is_live && !is_same)
            class->set(port->port, option->key, after);
    }
}

void fabric_set_port(struct fabric_port *port, json_t *options)
{
    set_type_options(port, options);
    replace_options(&port->options, options);
    if (port->member)
        bridge_port_set_max_addresses(port->member,
                                      (unsigned)option_number(options, "max-addresses"));
}

static void keep_address(void *ctx, const struct bridge_address *address)
{
    struct fabric_port *port = ctx;
    uint8_t(*grown)[6];

    if (!address->is_static || address->port != port->port)
        return;
    grown = realloc(port->addresses, (port->num_addresses + 1) * sizeof(*grown));
    if (!grown)
        return;
    memcpy(grown[port->num_addresses++], address->mac, sizeof(address->mac));
    port->addresses = grown;
}

static void restore_addresses(struct fabric_port *port)
{
    struct shunt_error error;

    for (unsigned i = 0; i < port->num_addresses; i++)
        if (bridge_add_address(port->member, port->addresses[i], clock_coarse_s(), &error) < 0)
            log_warning(port->port->name, "a static address is lost: %s", error.text);
    free(port->addresses);
    port->addresses = NULL;
    port->num_addresses = 0;
}

static int employ_all(const struct fabric_port *port)
{
    int result = 0;

    for (unsigned i = 0; i < port->port->num_queues && result == 0; i++)
        if (port->port->queues[i].is_running)
            result = employ(port, &port->port->queues[i]);
    return result;
}

int fabric_join(struct fabric_port *port, struct shunt_error *error)
{
    const char *name = option_text(port->options, "bridge");
    const struct fabric_bridge *bridge = fabric_find_bridge(port->fabric, name);
    int result = bridge_add_port(bridge->bridge, port->port,
                                 (unsigned)option_number(port->options, "max-addresses"),
                                 &port->member, error);

    if (result < 0)
        return result;
    restore_addresses(port);
    result = employ_all(port);
    if (result < 0) {
        error_set(error, result, "no worker can take its queues: %s", strerror(-result));
        fabric_leave(port);
    }
    return result;
}

void fabric_leave(struct fabric_port *port)
{
    if (!port->member)
        return;
    for (unsigned i = 0; i < port->port->num_queues; i++)
        worker_pool_remove(port->fabric->pool, &port->port->queues[i]);
    bridge_walk_addresses(bridge_port_bridge(port->member), clock_coarse_s(), keep_address, port);
    bridge_remove_port(port->member);
    port->member = NULL;
}

/* --- Workers ----------------------------------------------------------------------------------------- */

static enum worker_mode worker_mode_of(const json_t *options)
{
    const char *name = option_text(options, "mode");
    unsigned mode = 0;

    while (strcmp(worker_mode_names[mode], name) != 0)
        mode++;
    return (enum worker_mode)mode;
}

static struct worker_config worker_config_of(const json_t *options)
{
    const json_t *cpus = json_object_get(options, "cpus");
    struct worker_config config = {.mode = worker_mode_of(options)};

    config.num = cpus ? (unsigned)json_array_size(cpus) : (unsigned)option_number(options, "count");
    for (unsigned i = 0; i < config.num; i++)
        config.cpus[i] = cpus ? (int)json_integer_value(json_array_get(cpus, i)) : -1;
    return config;
}

int fabric_set_workers(struct fabric *fabric, json_t *options, struct shunt_error *error)
{
    struct worker_config config = worker_config_of(options);
    int result = fabric->pool ? worker_pool_set(fabric->pool, &config, error)
                              : worker_pool_create(&config, &fabric->pool, error);

    if (result < 0)
        return result;
    replace_options(&fabric->worker_options, options);
    return 0;
}
