/* SPDX-License-Identifier: BSD-3-Clause */
/* Methods that only tell. */
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/drop.h"
#include "daemon/method.h"
#include "daemon/schema.h"

static json_t *count(uint64_t number)
{
    return json_integer((json_int_t)number);
}

/* --- Options as documentation ------------------------------------------------------------------------ */

static json_t *describe_choices(const struct option *option)
{
    json_t *choices = json_array();

    for (const char *const *choice = option->choices; *choice; choice++)
        json_array_append_new(choices, json_string(*choice));
    return choices;
}

static json_t *describe_option(const struct option *option)
{
    json_t *object = json_pack("{s:s, s:s, s:b, s:b, s:s*, s:s}", "key", option->key, "kind",
                               option_kind_name(option->kind), "required", option->is_required,
                               "live", option->is_live, "default", option->fallback, "help",
                               option->help);

    if (option->kind == OPTION_NUMBER)
        json_object_set_new(object, "min", json_integer(option->min));
    if (option->kind == OPTION_NUMBER || option->kind == OPTION_TEXT)
        json_object_set_new(object, "max", json_integer(option->max));
    if (option->kind == OPTION_CHOICE)
        json_object_set_new(object, "choices", describe_choices(option));
    return object;
}

json_t *method_describe_options(const struct option *options)
{
    json_t *array = json_array();

    for (const struct option *option = options; option->key; option++)
        json_array_append_new(array, describe_option(option));
    return array;
}

/* --- Ports ------------------------------------------------------------------------------------------- */

json_t *method_describe_port(const struct fabric_port *port)
{
    json_t *object = port_describe(port->port);

    json_object_set(object, "bridge", json_object_get(port->options, "bridge"));
    json_object_set_new(object, "options", json_deep_copy(port->options));
    return object;
}

int method_port_show(struct method_call *call)
{
    const struct fabric_port *port;

    if (option_text(call->params, "name")) {
        port = method_find_port(call, "name");
        if (!port)
            return -ENOENT;
        call->result = json_pack("[o]", method_describe_port(port));
        return 0;
    }
    call->result = json_array();
    list_for_each (port, &call->fabric->ports, link)
        json_array_append_new(call->result, method_describe_port(port));
    return 0;
}

/* All that can be said of a port of the type. */
static json_t *describe_type_options(const struct port_class *class)
{
    const struct option *tables[SCHEMA_PORT_TABLES];
    json_t *array = json_array();

    schema_port_tables(class, tables);
    for (unsigned i = 0; i < SCHEMA_PORT_TABLES; i++) {
        json_t *options = method_describe_options(tables[i]);

        json_array_extend(array, options);
        json_decref(options);
    }
    return array;
}

int method_port_types(struct method_call *call)
{
    call->result = json_array();
    for (const struct port_class *const *class = port_classes; *class; class ++)
        json_array_append_new(call->result,
                              json_pack("{s:s, s:s, s:o}", "type", (*class)->type, "help",
                                        (*class)->help, "options", describe_type_options(*class)));
    return 0;
}

/* --- Bridges and workers ----------------------------------------------------------------------------- */

static json_t *list_ports(const struct fabric *fabric, const struct fabric_bridge *bridge)
{
    const struct fabric_port *port;
    json_t *names = json_array();

    list_for_each (port, &fabric->ports, link)
        if (fabric_is_in(port, bridge))
            json_array_append_new(names, json_string(port->port->name));
    return names;
}

json_t *method_describe_bridge(const struct fabric *fabric, const struct fabric_bridge *bridge)
{
    struct fdb_stats stats = bridge_address_stats(bridge->bridge);
    json_t *addresses = json_object();
    json_t *object = json_pack("{s:s}", "name", bridge_name(bridge->bridge));

    json_object_set_new(addresses, "now", count(stats.addresses));
    json_object_set_new(addresses, "learned", count(stats.learned));
    json_object_set_new(addresses, "moves", count(stats.moves));
    json_object_set_new(addresses, "expired", count(stats.expired));
    json_object_set_new(addresses, "evictions", count(stats.evictions));
    json_object_update(object, bridge->options);
    json_object_set_new(object, "ports", list_ports(fabric, bridge));
    json_object_set_new(object, "addresses", addresses);
    return object;
}

int method_bridge_show(struct method_call *call)
{
    const struct fabric_bridge *bridge;

    if (option_text(call->params, "name")) {
        bridge = method_find_bridge(call, "name");
        if (!bridge)
            return -ENOENT;
        call->result = json_pack("[o]", method_describe_bridge(call->fabric, bridge));
        return 0;
    }
    call->result = json_array();
    list_for_each (bridge, &call->fabric->bridges, link)
        json_array_append_new(call->result, method_describe_bridge(call->fabric, bridge));
    return 0;
}

int method_worker_show(struct method_call *call)
{
    call->result = worker_pool_describe(call->fabric->pool);
    return 0;
}

/* --- Counters ---------------------------------------------------------------------------------------- */

static json_t *stats_of_port(const struct fabric_port *port)
{
    json_t *all = port_describe(port->port);
    json_t *object = json_pack("{s:s, s:O, s:O, s:O}", "name", port->port->name, "bridge",
                               json_object_get(port->options, "bridge"), "rx",
                               json_object_get(all, "rx"), "tx", json_object_get(all, "tx"));

    json_decref(all);
    return object;
}

static json_t *stats_of_drops(const struct counters *rx, const struct counters *tx)
{
    json_t *array = json_array();

    for (unsigned i = 0; i < DROP_NUM; i++) {
        enum drop drop = (enum drop)i;

        json_array_append_new(array, json_pack("{s:s, s:s, s:o}", "reason", drop_name(drop),
                                               "explanation", drop_explanation(drop), "count",
                                               count(rx->drops[i] + tx->drops[i])));
    }
    return array;
}

/* Counters are read one after the other while frames go by: a difference is what is on its way. */
static json_t *stats_of_balance(const struct counters *rx, const struct counters *tx)
{
    json_t *object = json_object();
    uint64_t drops = 0;

    for (unsigned i = 0; i < DROP_NUM; i++)
        drops += rx->drops[i] + tx->drops[i];
    json_object_set_new(object, "rx", count(rx->packets));
    json_object_set_new(object, "copies", count(rx->copies));
    json_object_set_new(object, "tx", count(tx->packets));
    json_object_set_new(object, "drops", count(drops));
    json_object_set_new(object, "difference",
                        count(rx->packets + rx->copies - tx->packets - drops));
    return object;
}

/* One port's frames went to others: only all ports together are in balance. */
static void show_port_stats(struct method_call *call, const struct fabric_port *port)
{
    struct counters rx, tx;

    port_sum_counters(port->port, &rx, &tx);
    call->result = json_pack("{s:[o], s:o}", "ports", stats_of_port(port), "drops",
                             stats_of_drops(&rx, &tx));
}

int method_stats_show(struct method_call *call)
{
    const struct fabric_port *port;
    struct counters rx, tx;
    json_t *ports;

    if (option_text(call->params, "port")) {
        port = method_find_port(call, "port");
        if (!port)
            return -ENOENT;
        show_port_stats(call, port);
        return 0;
    }
    ports = json_array();
    list_for_each (port, &call->fabric->ports, link)
        json_array_append_new(ports, stats_of_port(port));
    fabric_sum_counters(call->fabric, &rx, &tx);
    call->result = json_pack("{s:o, s:o, s:o}", "ports", ports, "drops", stats_of_drops(&rx, &tx),
                             "balance", stats_of_balance(&rx, &tx));
    return 0;
}

/* --- shuntd itself ----------------------------------------------------------------------------------- */

int method_version(struct method_call *call)
{
    uint64_t uptime_s = (clock_ms() - call->methods->start_ms) / 1000;

    call->result = json_pack("{s:s, s:i, s:o}", "version", SHUNT_VERSION, "pid", (int)getpid(),
                             "uptime", count(uptime_s));
    return 0;
}

int method_methods(struct method_call *call)
{
    call->result = json_array();
    for (const struct method *method = method_table; method->name; method++)
        json_array_append_new(call->result,
                              json_pack("{s:s, s:s, s:b, s:o}", "name", method->name, "help",
                                        method->help, "takes_options", method->takes_options,
                                        "params", method_describe_options(method->params)));
    return 0;
}
