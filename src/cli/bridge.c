/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "cli/field.h"
#include "cli/show.h"
#include "cli/table.h"
#include "cli/tree.h"

static void add_ageing(struct table *table, const json_t *bridge)
{
    json_int_t seconds = field_number(bridge, "ageing");

    if (seconds > 0)
        table_add_format(table, "%lld s", seconds);
    else
        table_add(table, "never");
}

static void add_row(struct table *table, const json_t *bridge)
{
    const json_t *addresses = json_object_get(bridge, "addresses");
    json_t *ports = json_object_get(bridge, "ports");
    char *names = ports ? tree_line("ports", ports) : NULL;

    table_add(table, field_text(bridge, "name"));
    table_add(table, field_text(bridge, "mode"));
    add_ageing(table, bridge);
    table_add_number(table, field_number(addresses, "now"));
    table_add_number(table, field_number(addresses, "learned"));
    table_add_number(table, field_number(addresses, "moves"));
    table_add_number(table, field_number(addresses, "expired"));
    table_add_number(table, field_number(addresses, "evictions"));
    table_add(table, names);
    free(names);
}

void bridge_show(const struct reply *reply)
{
    static const struct table_column columns[] = {
        {"NAME", TABLE_LEFT},       {"MODE", TABLE_LEFT},     {"AGEING", TABLE_RIGHT},
        {"ADDRESSES", TABLE_RIGHT}, {"LEARNED", TABLE_RIGHT}, {"MOVES", TABLE_RIGHT},
        {"EXPIRED", TABLE_RIGHT},   {"EVICTED", TABLE_RIGHT}, {"PORTS", TABLE_LEFT},
    };
    struct table *table;
    size_t idx;
    json_t *bridge;

    if (json_array_size(reply->result) == 0) {
        fputs("There are no bridges.\n", reply->out);
        return;
    }
    table = table_create(TABLE_COLUMNS(columns));
    json_array_foreach (reply->result, idx, bridge) {
        add_row(table, bridge);
    }
    table_print(table, reply->out, 0, reply->width);
    table_destroy(table);
}
