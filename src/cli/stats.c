/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/field.h"
#include "cli/show.h"
#include "cli/table.h"
#include "cli/text.h"

static void add_side(struct table *table, const json_t *side)
{
    table_add_number(table, field_number(side, "packets"));
    table_add_number(table, field_number(side, "bytes"));
    table_add_number(table, field_sum(side, "drops"));
}

static void print_ports(const struct reply *reply, const json_t *ports)
{
    static const struct table_column columns[] = {
        {"PORT", TABLE_LEFT},      {"BRIDGE", TABLE_LEFT},    {"RX PACKETS", TABLE_RIGHT},
        {"RX BYTES", TABLE_RIGHT}, {"RX DROPS", TABLE_RIGHT}, {"TX PACKETS", TABLE_RIGHT},
        {"TX BYTES", TABLE_RIGHT}, {"TX DROPS", TABLE_RIGHT},
    };
    struct table *table;
    size_t idx;
    json_t *port;

    if (json_array_size(ports) == 0) {
        fputs("There are no ports.\n", reply->out);
        return;
    }
    table = table_create(TABLE_COLUMNS(columns));
    json_array_foreach (ports, idx, port) {
        table_add(table, field_text(port, "name"));
        table_add(table, field_text(port, "bridge"));
        add_side(table, json_object_get(port, "rx"));
        add_side(table, json_object_get(port, "tx"));
    }
    table_print(table, reply->out, 0, 0);
    table_destroy(table);
}

static void print_drops(const struct reply *reply, const json_t *drops)
{
    static const struct table_column columns[] = {{"DROPS BY REASON", TABLE_LEFT},
                                                  {"COUNT", TABLE_RIGHT},
                                                  {"", TABLE_LEFT}};
    struct table *table = table_create(TABLE_COLUMNS(columns));
    size_t idx;
    json_t *drop;

    json_array_foreach (drops, idx, drop) {
        table_add(table, field_text(drop, "reason"));
        table_add_number(table, field_number(drop, "count"));
        table_add(table, field_text(drop, "explanation"));
    }
    fputc('\n', reply->out);
    table_print(table, reply->out, 0, reply->width);
    table_destroy(table);
}

static void print_sum(FILE *out, const char *before, const json_t *balance, const char *key)
{
    char number[TEXT_NUMBER_BYTES];

    text_grouped(number, field_number(balance, key));
    fprintf(out, "%s%s %s", before, key, number);
}

/* Every frame that came in, and every further copy of it, went out or was dropped. */
static void print_balance(FILE *out, const json_t *balance)
{
    print_sum(out, "\nBalance: ", balance, "rx");
    print_sum(out, " + ", balance, "copies");
    print_sum(out, " = ", balance, "tx");
    print_sum(out, " + ", balance, "drops");
    print_sum(out, ", ", balance, "difference");
    fputc('\n', out);
}

void stats_show(const struct reply *reply)
{
    const json_t *balance = json_object_get(reply->result, "balance");

    print_ports(reply, json_object_get(reply->result, "ports"));
    print_drops(reply, json_object_get(reply->result, "drops"));
    if (balance)
        print_balance(reply->out, balance);
}
