/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/rates.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli/field.h"
#include "cli/report.h"

struct span {
    const json_t *before;
    const json_t *after;
    double seconds;
};

static json_int_t growth(json_int_t before, json_int_t after)
{
    return after >= before ? after - before : after;
}

static json_int_t growth_of(const struct span *span, const char *key)
{
    return growth(field_number(span->before, key), field_number(span->after, key));
}

static double rate_of(const struct span *span, const char *key)
{
    return (double)growth_of(span, key) / span->seconds;
}

static struct span member_span(const struct span *span, const char *key)
{
    return (struct span){json_object_get(span->before, key), json_object_get(span->after, key),
                         span->seconds};
}

/* The objects of an array by what they have under `key`, for looking them up. */
static json_t *by_key(const json_t *array, const char *key)
{
    json_t *found = need(json_object());
    size_t idx;
    json_t *object;

    json_array_foreach (array, idx, object) {
        json_object_set(found, field_text(object, key), object);
    }
    return found;
}

static json_t *side_rates(const struct span *port, const char *side)
{
    const struct span span = member_span(port, side);

    return need(json_pack("{s:f, s:f}", "packets", rate_of(&span, "packets"), "bits",
                          8 * rate_of(&span, "bytes")));
}

/*
 * What has been dropped on one side of a port: adds to the sum, and finds the most frequent reason.
 */
static void add_drops(const struct span *port, const char *side, double *sum, const char **reason,
                      double *largest)
{
    const struct span span = member_span(port, side);
    const struct span drops = member_span(&span, "drops");
    const char *name;
    json_t *count;

    json_object_foreach (json_object_get(span.after, "drops"), name, count) {
        double rate = rate_of(&drops, name);

        *sum += rate;
        if (rate > *largest) {
            *largest = rate;
            *reason = name;
        }
    }
}

static json_t *port_rates(const struct span *span)
{
    double drops = 0, largest = 0;
    const char *reason = "";

    add_drops(span, "rx", &drops, &reason, &largest);
    add_drops(span, "tx", &drops, &reason, &largest);
    return need(json_pack("{s:s, s:s, s:s, s:o, s:o, s:f, s:s}", "name",
                          field_text(span->after, "name"), "bridge",
                          field_text(span->after, "bridge"), "state",
                          field_text(span->after, "state"), "rx", side_rates(span, "rx"), "tx",
                          side_rates(span, "tx"), "drops", drops, "reason", reason));
}

static json_t *all_port_rates(const struct span *span)
{
    json_t *ports = need(json_array());
    json_t *old = by_key(json_object_get(span->before, "ports"), "name");
    size_t idx;
    json_t *port;

    json_array_foreach (json_object_get(span->after, "ports"), idx, port) {
        const struct span one = {json_object_get(old, field_text(port, "name")), port,
                                 span->seconds};

        json_array_append_new(ports, port_rates(&one));
    }
    json_decref(old);
    return ports;
}

/*
 * The cycles that a worker had. Time that it slept is counted when it wakes up, which may be much
 * later: the clock says better than its counters how much went by.
 */
static double cycles_of(const struct span *worker)
{
    double cycles = field_real(worker->after, "cycles_per_second") * worker->seconds;
    double counted = (double)(growth_of(worker, "busy_cycles") + growth_of(worker, "idle_cycles"));

    return cycles > 0 ? cycles : counted;
}

static double busy_share(const struct span *worker)
{
    double busy = (double)growth_of(worker, "busy_cycles"), all = cycles_of(worker);

    if (all <= 0)
        return 0;
    return busy < all ? busy / all : 1;
}

static json_t *worker_rates(const struct span *span)
{
    double busy = (double)growth_of(span, "busy_cycles");
    double frames = (double)growth_of(span, "frames");
    json_t *cost = frames > 0 ? json_real(busy / frames) : json_null();

    return need(json_pack("{s:I, s:I, s:b, s:s, s:I, s:f, s:o, s:f}", "id",
                          field_number(span->after, "id"), "cpu", field_number(span->after, "cpu"),
                          "pinned", json_is_true(json_object_get(span->after, "pinned")), "mode",
                          field_text(span->after, "mode"), "queues",
                          field_number(span->after, "queues"), "busy", busy_share(span),
                          "cycles_per_frame", cost, "frames", frames / span->seconds));
}

/* Workers have numbers from 0 on: each has its place in both samples. */
static json_t *all_worker_rates(const struct span *span)
{
    const json_t *old = json_object_get(span->before, "workers");
    json_t *workers = need(json_array());
    size_t idx;
    json_t *worker;

    json_array_foreach (json_object_get(span->after, "workers"), idx, worker) {
        const struct span one = {json_array_get(old, idx), worker, span->seconds};

        json_array_append_new(workers, worker_rates(&one));
    }
    return workers;
}

static json_t *side_total(const json_t *ports, const char *side)
{
    double packets = 0, bits = 0;
    size_t idx;
    json_t *port;

    json_array_foreach (ports, idx, port) {
        packets += field_real(json_object_get(port, side), "packets");
        bits += field_real(json_object_get(port, side), "bits");
    }
    return need(json_pack("{s:f, s:f}", "packets", packets, "bits", bits));
}

static json_t *total(const json_t *ports)
{
    double drops = 0;
    size_t idx;
    json_t *port;

    json_array_foreach (ports, idx, port) {
        drops += field_real(port, "drops");
    }
    return need(json_pack("{s:o, s:o, s:f}", "rx", side_total(ports, "rx"), "tx",
                          side_total(ports, "tx"), "drops", drops));
}

json_t *rates_between(const json_t *before, const json_t *after, double seconds)
{
    const struct span span = {before, after, seconds};
    json_t *ports = all_port_rates(&span);

    return need(json_pack("{s:o, s:o, s:o}", "ports", ports, "workers", all_worker_rates(&span),
                          "total", total(ports)));
}

static double order_rate(const json_t *port, enum rates_order order)
{
    switch (order) {
    case RATES_BY_RX:
        return field_real(json_object_get(port, "rx"), "bits");
    case RATES_BY_TX:
        return field_real(json_object_get(port, "tx"), "bits");
    case RATES_BY_DROPS:
        return field_real(port, "drops");
    case RATES_BY_NAME:
        break;
    }
    return 0;
}

/* strverscmp: vm2 stands before vm10. */
static int compare(const void *one, const void *other, void *ctx)
{
    const json_t *left = *(json_t *const *)one, *right = *(json_t *const *)other;
    const enum rates_order *order = ctx;
    double left_rate = order_rate(left, *order), right_rate = order_rate(right, *order);

    if (left_rate < right_rate)
        return 1;
    if (left_rate > right_rate)
        return -1;
    return strverscmp(field_text(left, "name"), field_text(right, "name"));
}

void rates_sort(json_t *rates, enum rates_order order)
{
    const json_t *ports = json_object_get(rates, "ports");
    size_t num = json_array_size(ports);
    json_t **sorted = need(calloc(num + 1, sizeof(json_t *)));
    json_t *array = need(json_array());

    for (size_t i = 0; i < num; i++)
        sorted[i] = json_array_get(ports, i);
    qsort_r(sorted, num, sizeof(json_t *), compare, &order);
    for (size_t i = 0; i < num; i++)
        json_array_append(array, sorted[i]);
    json_object_set_new(rates, "ports", array);
    free(sorted);
}
