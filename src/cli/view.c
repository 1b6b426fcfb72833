/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/view.h"

#include <stdlib.h>

#include "cli/field.h"
#include "cli/table.h"
#include "cli/text.h"

static void print_unreachable(FILE *out, const struct watch *watch, double interval_s)
{
    char *error = text_printable(client_error(watch->client));

    fprintf(out, "%s\nTrying again every %g s.\n", error, interval_s);
    free(error);
}

static void print_daemon(FILE *out, const struct watch *watch)
{
    char *version = text_printable(field_text(watch->version, "version"));
    char *path = text_printable(client_path(watch->client));
    char uptime[TEXT_NUMBER_BYTES];

    text_duration(uptime, (long long)field_real(watch->version, "uptime"));
    fprintf(out, "shuntd %s on %s, up for %s\n", version, path, uptime);
    free(path);
    free(version);
}

static void print_side_total(FILE *out, const json_t *total, const char *side)
{
    const json_t *rates = json_object_get(total, side);
    char packets[TEXT_NUMBER_BYTES], bits[TEXT_NUMBER_BYTES];

    text_scaled(packets, field_real(rates, "packets"), "");
    text_scaled(bits, field_real(rates, "bits"), "bit/s");
    fprintf(out, "%s %s packets/s, %s; ", side, packets, bits);
}

static void print_total(FILE *out, const json_t *total)
{
    char drops[TEXT_NUMBER_BYTES];

    text_scaled(drops, field_real(total, "drops"), "");
    fputs("all ports: ", out);
    print_side_total(out, total, "rx");
    print_side_total(out, total, "tx");
    fprintf(out, "%s drops/s\n", drops);
}

static void add_rate(struct table *table, const json_t *object, const char *key)
{
    char rate[TEXT_NUMBER_BYTES];

    text_scaled(rate, field_real(object, key), "");
    table_add(table, rate);
}

static void add_worker(struct table *table, const json_t *worker)
{
    table_add_format(table, "%lld", field_number(worker, "id"));
    if (json_is_true(json_object_get(worker, "pinned")))
        table_add_format(table, "%lld", field_number(worker, "cpu"));
    else
        table_add(table, "any");
    table_add(table, field_text(worker, "mode"));
    table_add_number(table, field_number(worker, "queues"));
    table_add_format(table, "%.1f%%", 100 * field_real(worker, "busy"));
    if (json_is_real(json_object_get(worker, "cycles_per_frame")))
        table_add_format(table, "%.0f", field_real(worker, "cycles_per_frame"));
    else
        table_add(table, "-");
    add_rate(table, worker, "frames");
}

static void print_workers(FILE *out, const json_t *workers)
{
    static const struct table_column columns[] = {
        {"WORKER", TABLE_RIGHT},   {"CPU", TABLE_RIGHT},  {"MODE", TABLE_LEFT},
        {"QUEUES", TABLE_RIGHT},   {"BUSY", TABLE_RIGHT}, {"CYCLES/FRAME", TABLE_RIGHT},
        {"FRAMES/S", TABLE_RIGHT},
    };
    struct table *table = table_create(TABLE_COLUMNS(columns));
    size_t idx;
    json_t *worker;

    json_array_foreach (workers, idx, worker) {
        add_worker(table, worker);
    }
    table_print(table, out, 0, 0);
    table_destroy(table);
}

static void add_port(struct table *table, const json_t *port)
{
    const json_t *rx = json_object_get(port, "rx"), *tx = json_object_get(port, "tx");

    table_add(table, field_text(port, "name"));
    table_add(table, field_text(port, "bridge"));
    table_add(table, field_text(port, "state"));
    add_rate(table, rx, "packets");
    add_rate(table, rx, "bits");
    add_rate(table, tx, "packets");
    add_rate(table, tx, "bits");
    add_rate(table, port, "drops");
    table_add(table, field_text(port, "reason"));
}

static void print_ports(FILE *out, const json_t *ports)
{
    static const struct table_column columns[] = {
        {"PORT", TABLE_LEFT},          {"BRIDGE", TABLE_LEFT},    {"STATE", TABLE_LEFT},
        {"RX PACKETS/S", TABLE_RIGHT}, {"RX BIT/S", TABLE_RIGHT}, {"TX PACKETS/S", TABLE_RIGHT},
        {"TX BIT/S", TABLE_RIGHT},     {"DROPS/S", TABLE_RIGHT},  {"MAIN REASON", TABLE_LEFT},
    };
    struct table *table;
    size_t idx;
    json_t *port;

    if (json_array_size(ports) == 0) {
        fputs("There are no ports.\n", out);
        return;
    }
    table = table_create(TABLE_COLUMNS(columns));
    json_array_foreach (ports, idx, port) {
        add_port(table, port);
    }
    table_print(table, out, 0, 0);
    table_destroy(table);
}

void view_print(FILE *out, const struct watch *watch, double interval_s)
{
    if (!watch->version) {
        print_unreachable(out, watch, interval_s);
        return;
    }
    print_daemon(out, watch);
    if (!watch->rates) {
        fputs("measuring\n", out);
        return;
    }
    print_total(out, json_object_get(watch->rates, "total"));
    fputc('\n', out);
    print_workers(out, json_object_get(watch->rates, "workers"));
    fputc('\n', out);
    print_ports(out, json_object_get(watch->rates, "ports"));
}
