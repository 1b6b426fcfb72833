/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/field.h"
#include "cli/show.h"
#include "cli/table.h"

static void add_ratio(struct table *table, double part, double whole, int decimals,
                      const char *unit)
{
    if (whole > 0)
        table_add_format(table, "%.*f%s", decimals, part / whole, unit);
    else
        table_add(table, "-");
}

static void add_row(struct table *table, const json_t *worker)
{
    double busy = field_real(worker, "busy_cycles"), idle = field_real(worker, "idle_cycles");
    double frames = field_real(worker, "frames"), bursts = field_real(worker, "bursts");

    table_add_format(table, "%lld", field_number(worker, "id"));
    if (json_is_true(json_object_get(worker, "pinned")))
        table_add_format(table, "%lld", field_number(worker, "cpu"));
    else
        table_add(table, "any");
    table_add(table, field_text(worker, "mode"));
    table_add_number(table, field_number(worker, "queues"));
    add_ratio(table, 100 * busy, busy + idle, 1, "%");
    add_ratio(table, busy, frames, 0, "");
    table_add_number(table, field_number(worker, "frames"));
    add_ratio(table, frames, bursts, 1, "");
    table_add_number(table, field_number(worker, "wakeups"));
}

void worker_show(const struct reply *reply)
{
    static const struct table_column columns[] = {
        {"WORKER", TABLE_RIGHT}, {"CPU", TABLE_RIGHT},          {"MODE", TABLE_LEFT},
        {"QUEUES", TABLE_RIGHT}, {"BUSY", TABLE_RIGHT},         {"CYCLES/FRAME", TABLE_RIGHT},
        {"FRAMES", TABLE_RIGHT}, {"FRAMES/BURST", TABLE_RIGHT}, {"WAKEUPS", TABLE_RIGHT},
    };
    struct table *table = table_create(TABLE_COLUMNS(columns));
    size_t idx;
    json_t *worker;

    json_array_foreach (reply->result, idx, worker) {
        add_row(table, worker);
    }
    table_print(table, reply->out, 0, 0);
    table_destroy(table);
}
