/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/field.h"
#include "cli/show.h"
#include "cli/table.h"

static void add_row(struct table *table, const json_t *address)
{
    table_add(table, field_text(address, "mac"));
    table_add(table, field_text(address, "bridge"));
    table_add(table, field_text(address, "port"));
    if (json_is_true(json_object_get(address, "static")))
        table_add(table, "static");
    else
        table_add_format(table, "%lld s", field_number(address, "age"));
}

void fdb_show(const struct reply *reply)
{
    static const struct table_column columns[] = {{"ADDRESS", TABLE_LEFT},
                                                  {"BRIDGE", TABLE_LEFT},
                                                  {"PORT", TABLE_LEFT},
                                                  {"AGE", TABLE_RIGHT}};
    struct table *table;
    size_t idx;
    json_t *address;

    if (json_array_size(reply->result) == 0) {
        fputs("No address is known.\n", reply->out);
        return;
    }
    table = table_create(TABLE_COLUMNS(columns));
    json_array_foreach (reply->result, idx, address) {
        add_row(table, address);
    }
    table_print(table, reply->out, 0, reply->width);
    table_destroy(table);
}

void fdb_show_flushed(const struct reply *reply)
{
    json_int_t num = field_number(reply->result, "flushed");

    fprintf(reply->out, "%lld %s forgotten.\n", num, num == 1 ? "address was" : "addresses were");
}
