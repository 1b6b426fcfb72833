/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "cli/field.h"
#include "cli/report.h"
#include "cli/show.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/tree.h"

#define STEP 2

static void show_list(const struct reply *reply)
{
    static const struct table_column columns[] = {
        {"NAME", TABLE_LEFT},        {"TYPE", TABLE_LEFT},    {"BRIDGE", TABLE_LEFT},
        {"STATE", TABLE_LEFT},       {"QUEUES", TABLE_RIGHT}, {"RX PACKETS", TABLE_RIGHT},
        {"TX PACKETS", TABLE_RIGHT}, {"DROPS", TABLE_RIGHT},  {"REASON", TABLE_LEFT},
    };
    struct table *table = table_create(TABLE_COLUMNS(columns));
    size_t idx;
    json_t *port;

    json_array_foreach (reply->result, idx, port) {
        const json_t *rx = json_object_get(port, "rx"), *tx = json_object_get(port, "tx");

        table_add(table, field_text(port, "name"));
        table_add(table, field_text(port, "type"));
        table_add(table, field_text(port, "bridge"));
        table_add(table, field_text(port, "state"));
        table_add_number(table, field_number(port, "queues"));
        table_add_number(table, field_number(rx, "packets"));
        table_add_number(table, field_number(tx, "packets"));
        table_add_number(table, field_sum(rx, "drops") + field_sum(tx, "drops"));
        table_add(table, field_text(port, "reason"));
    }
    table_print(table, reply->out, 0, reply->width);
    table_destroy(table);
}

/* A side's counters, with the sum of its drops, and a row for each reason of them. */
static void add_side(const json_t *port, const char *name, json_t *traffic, json_t *drops)
{
    const json_t *side = json_object_get(port, name);
    json_t *row = need(
        json_pack("{s:s, s:O*, s:O*, s:O*, s:I}", "side", name, "packets",
                  json_object_get(side, "packets"), "bytes", json_object_get(side, "bytes"),
                  "copies", json_object_get(side, "copies"), "drops", field_sum(side, "drops")));
    const char *reason;
    json_t *count;

    json_array_append_new(traffic, row);
    json_object_foreach (json_object_get(side, "drops"), reason, count) {
        row = need(json_pack("{s:s, s:s, s:O}", "side", name, "reason", reason, "count", count));
        json_array_append_new(drops, row);
    }
}

/* A port that is up has no reason, and one without a peer no memory: they need no line. */
static bool is_empty(const json_t *value)
{
    if (json_is_string(value))
        return !*json_string_value(value);
    return json_is_array(value) && json_array_size(value) == 0;
}

/* The port as it is to be printed: counters as tables, and nothing that is empty. */
static json_t *readable(json_t *port)
{
    json_t *object = need(json_object());
    json_t *traffic = need(json_array()), *drops = need(json_array());
    const char *key;
    json_t *value;

    add_side(port, "rx", traffic, drops);
    add_side(port, "tx", traffic, drops);
    json_object_set_new(object, "traffic", traffic);
    if (json_array_size(drops) > 0)
        json_object_set(object, "drops", drops);
    json_decref(drops);
    json_object_foreach (port, key, value) {
        bool is_shown = strcmp(key, "name") == 0 || strcmp(key, "rx") == 0 ||
                        strcmp(key, "tx") == 0;

        if (!is_shown && !is_empty(value))
            json_object_set(object, key, value);
    }
    return object;
}

static void show_one(const struct reply *reply, json_t *port)
{
    json_t *object = readable(port);
    char *name = text_printable(field_text(port, "name"));

    fprintf(reply->out, "%s\n", name);
    tree_print(reply->out, object, STEP, reply->width);
    free(name);
    json_decref(object);
}

void port_show(const struct reply *reply)
{
    if (json_array_size(reply->result) == 0)
        fputs("There are no ports.\n", reply->out);
    else if (json_object_get(reply->params, "name"))
        show_one(reply, json_array_get(reply->result, 0));
    else
        show_list(reply);
}

/* What an option takes: "server|client", "1 to 128", or the kind of value. */
static void add_values(struct table *table, const json_t *option)
{
    const json_t *choices = json_object_get(option, "choices");
    size_t idx;
    json_t *choice;
    char *text = NULL;
    size_t size = 0;
    FILE *out = need(open_memstream(&text, &size));

    json_array_foreach (choices, idx, choice) {
        if (json_is_string(choice))
            fprintf(out, "%s%s", idx > 0 ? "|" : "", json_string_value(choice));
    }
    if (json_object_get(option, "min"))
        fprintf(out, "%lld to %lld", field_number(option, "min"), field_number(option, "max"));
    else if (!choices)
        fputs(field_text(option, "kind"), out);
    fclose(out);
    table_add(table, need(text));
    free(text);
}

static void print_options(const struct reply *reply, const json_t *options)
{
    static const struct table_column columns[] = {{"KEY", TABLE_LEFT},
                                                  {"VALUE", TABLE_LEFT},
                                                  {"DEFAULT", TABLE_LEFT},
                                                  {"", TABLE_LEFT}};
    struct table *table = table_create(TABLE_COLUMNS(columns));
    size_t idx;
    json_t *option;

    json_array_foreach (options, idx, option) {
        if (strcmp(field_text(option, "key"), "type") == 0)
            continue; /* it stands above the table */
        json_t *fallback = json_object_get(option, "default");
        char *line = fallback && !json_is_null(fallback) ? tree_line("default", fallback) : NULL;

        table_add(table, field_text(option, "key"));
        add_values(table, option);
        table_add(table, json_is_true(json_object_get(option, "required")) ? "required" : line);
        table_add(table, field_text(option, "help"));
        free(line);
    }
    table_print(table, reply->out, STEP, reply->width);
    table_destroy(table);
}

void port_show_types(const struct reply *reply)
{
    size_t idx;
    json_t *type;

    json_array_foreach (reply->result, idx, type) {
        const json_t *options = json_object_get(type, "options");

        fprintf(reply->out, "%s%s: %s\n", idx > 0 ? "\n" : "", field_text(type, "type"),
                field_text(type, "help"));
        if (json_array_size(options) > 0)
            print_options(reply, options);
    }
}
