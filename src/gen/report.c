/* SPDX-License-Identifier: BSD-3-Clause */
#include "gen/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

/* The heading comes again after so many lines. */
#define LINES_PER_HEADING 40u

#define NUMBER_BYTES 32

void report_init(struct report *report, const struct plan *plan, double cycles_per_second)
{
    *report = (struct report){.plan = plan, .cycles_per_second = cycles_per_second};
}

/* --- Figures -------------------------------------------------------------------------------------------- */

/* What happened in some seconds, at one port or all. */
struct rates {
    double seconds;
    struct meter tx, rx;
    uint64_t busy, idle;
};

static struct report_moment look(const struct report *report, double seconds, uint64_t busy,
                                 uint64_t idle)
{
    struct report_moment now = {.seconds = seconds, .busy = busy, .idle = idle};

    for (unsigned i = 0; i < report->plan->num_ports; i++) {
        now.tx[i] = report->plan->ports[i].tx;
        now.rx[i] = report->plan->ports[i].rx;
    }
    return now;
}

static struct meter between(struct meter before, struct meter after)
{
    return (struct meter){after.frames - before.frames, after.bytes - before.bytes};
}

static void add(struct meter *sum, struct meter part)
{
    sum->frames += part.frames;
    sum->bytes += part.bytes;
}

static struct rates rates_of(const struct report_moment *before, const struct report_moment *after,
                             unsigned first, unsigned end)
{
    struct rates rates = {
        .seconds = after->seconds - before->seconds,
        .busy = after->busy - before->busy,
        .idle = after->idle - before->idle,
    };

    for (unsigned i = first; i < end; i++) {
        add(&rates.tx, between(before->tx[i], after->tx[i]));
        add(&rates.rx, between(before->rx[i], after->rx[i]));
    }
    return rates;
}

static double per_second(const struct rates *rates, uint64_t number)
{
    return rates->seconds > 0 ? (double)number / rates->seconds : 0;
}

/* A frame that was sent and came back in is one frame; -1: there was none. */
static double cycles_per_frame(const struct rates *rates)
{
    uint64_t frames = rates->tx.frames > rates->rx.frames ? rates->tx.frames : rates->rx.frames;

    return frames ? (double)rates->busy / (double)frames : -1;
}

static double busy_part(const struct rates *rates)
{
    uint64_t all = rates->busy + rates->idle;

    return all ? (double)rates->busy / (double)all : 0;
}

/* From units of frame_time(). */
static double microseconds(const struct report *report, double units)
{
    return units * (1u << FRAME_TIME_SHIFT) * 1e6 / report->cycles_per_second;
}

/* --- Text ----------------------------------------------------------------------------------------------- */

/* Three digits and a prefix: 12.3 Mbit */
static const char *scaled(char text[static NUMBER_BYTES], double number, const char *unit)
{
    static const char *const prefixes[] = {"", "k", "M", "G", "T"};
    unsigned prefix = 0;

    while (number >= 999.5 && prefix + 1 < sizeof(prefixes) / sizeof(prefixes[0])) {
        number /= 1000;
        prefix++;
    }
    snprintf(text, NUMBER_BYTES, "%.*f %s%s", number < 9.995 ? 2 : number < 99.95, number,
             prefixes[prefix], unit);
    return text;
}

static void print_rates(const char *name, const struct rates *rates)
{
    char text[4][NUMBER_BYTES];

    printf("  %-20.20s %10s %11s %11s %11s", name,
           scaled(text[0], per_second(rates, rates->tx.frames), ""),
           scaled(text[1], 8 * per_second(rates, rates->tx.bytes), "bit"),
           scaled(text[2], per_second(rates, rates->rx.frames), ""),
           scaled(text[3], 8 * per_second(rates, rates->rx.bytes), "bit"));
}

static void print_cost(const struct rates *rates)
{
    double cycles = cycles_per_frame(rates);

    printf("  %3.0f%% busy", 100 * busy_part(rates));
    if (cycles >= 0)
        printf(", %.0f cycles a frame", cycles);
}

static void print_interval(struct report *report, const struct report_moment *now)
{
    unsigned num = report->plan->num_ports;
    struct rates all = rates_of(&report->last, now, 0, num);

    if (report->num_lines % LINES_PER_HEADING == 0)
        printf("%10s  %-20s %10s %11s %11s %11s\n", "", "", "sent/s", "", "received/s", "");
    for (unsigned i = 0; i < num; i++) {
        struct rates rates = rates_of(&report->last, now, i, i + 1);

        if (i == 0)
            printf("%8.1f s", now->seconds);
        else
            printf("%10s", "");
        print_rates(port_name(&report->plan->ports[i]), &rates);
        if (num == 1)
            print_cost(&all);
        putchar('\n');
    }
    if (num > 1) {
        printf("%10s", "");
        print_rates("all", &all);
        print_cost(&all);
        putchar('\n');
    }
    report->num_lines++;
}

static const struct {
    const char *name, *key;
    double part;
} quantiles[] = {
    {"p50", "p50_us", 0.5},
    {"p90", "p90_us", 0.9},
    {"p99", "p99_us", 0.99},
    {"p99.9", "p99.9_us", 0.999},
};

#define NUM_QUANTILES (sizeof(quantiles) / sizeof(quantiles[0]))

static double quantile(const struct report *report, const struct histogram *histogram, size_t i)
{
    return microseconds(report, (double)histogram_quantile(histogram, quantiles[i].part));
}

static void print_latency(const struct report *report, const char *name,
                          const struct histogram *histogram)
{
    if (!histogram || histogram->num == 0)
        return;
    printf("  %s (us):", name);
    for (size_t i = 0; i < NUM_QUANTILES; i++)
        printf(" %s %.2f,", quantiles[i].name, quantile(report, histogram, i));
    printf(" max %.2f, mean %.2f, of %" PRIu64 " frames\n",
           microseconds(report, (double)histogram->max),
           microseconds(report, histogram_mean(histogram)), histogram->num);
}

static void print_findings(const struct port *port)
{
    const struct tracker_counts *counts = &port->tracker.counts;

    if (port->plan->options->verifies)
        printf("  verified %" PRIu64 " frames: %" PRIu64 " lost, %" PRIu64 " duplicated, %" PRIu64
               " reordered, %" PRIu64 " corrupted\n",
               counts->verified, counts->lost, counts->duplicated, counts->reordered,
               counts->corrupted);
    if (counts->unknown)
        printf("  %" PRIu64 " frames are not from a shunt-gen\n", counts->unknown);
    if (port->num_foreign)
        printf("  %" PRIu64 " frames were for other ports, and flooded\n", port->num_foreign);
    if (port->num_malformed)
        printf("  %" PRIu64 " buffers came back with a length or header that cannot be\n",
               port->num_malformed);
    if (port->num_given_up)
        printf("  %" PRIu64 " frames of the window did not arrive in time\n", port->num_given_up);
}

static void print_total(const char *name, const struct rates *rates)
{
    char text[4][NUMBER_BYTES];

    printf("%s: sent %" PRIu64 " frames (%s/s, %s/s), received %" PRIu64 " (%s/s, %s/s)\n", name,
           rates->tx.frames, scaled(text[0], per_second(rates, rates->tx.frames), ""),
           scaled(text[1], 8 * per_second(rates, rates->tx.bytes), "bit"), rates->rx.frames,
           scaled(text[2], per_second(rates, rates->rx.frames), ""),
           scaled(text[3], 8 * per_second(rates, rates->rx.bytes), "bit"));
}

static void print_end(const struct report *report, const struct report_moment *now)
{
    static const struct report_moment start;
    unsigned num = report->plan->num_ports;
    struct rates all = rates_of(&start, now, 0, num);
    double cycles = cycles_per_frame(&all);

    printf("--- %.3f s\n", now->seconds);
    for (unsigned i = 0; i < num; i++) {
        const struct port *port = &report->plan->ports[i];
        struct rates rates = rates_of(&start, now, i, i + 1);

        print_total(port_name(port), &rates);
        print_latency(report, "round trip", port->round_trip);
        print_latency(report, "one way", port->one_way);
        print_findings(port);
    }
    if (num > 1)
        print_total("all", &all);
    printf("own cost: busy %.1f%% of the time", 100 * busy_part(&all));
    if (cycles >= 0)
        printf(", %.1f cycles a frame at %.3f GHz", cycles, report->cycles_per_second / 1e9);
    putchar('\n');
}

/* --- JSON ----------------------------------------------------------------------------------------------- */

static json_t *json_of_meter(const struct rates *rates, struct meter meter)
{
    return json_pack("{s:I, s:I, s:f, s:f}", "frames", (json_int_t)meter.frames, "bytes",
                     (json_int_t)meter.bytes, "frames_per_second", per_second(rates, meter.frames),
                     "bits_per_second", 8 * per_second(rates, meter.bytes));
}

static json_t *json_of_rates(const struct rates *rates)
{
    return json_pack("{s:o, s:o}", "tx", json_of_meter(rates, rates->tx), "rx",
                     json_of_meter(rates, rates->rx));
}

/* null without a frame. */
static json_t *json_of_cost(const struct report *report, const struct rates *rates)
{
    double cycles = cycles_per_frame(rates);

    return json_pack("{s:I, s:I, s:f, s:o, s:f}", "busy_cycles", (json_int_t)rates->busy,
                     "idle_cycles", (json_int_t)rates->idle, "busy", busy_part(rates),
                     "cycles_per_frame", cycles >= 0 ? json_real(cycles) : json_null(),
                     "cycles_per_second", report->cycles_per_second);
}

static void add_latency(json_t *object, const char *key, const struct report *report,
                        const struct histogram *histogram)
{
    json_t *latency;

    if (!histogram || histogram->num == 0)
        return;
    latency = json_pack("{s:I, s:f, s:f}", "frames", (json_int_t)histogram->num, "mean_us",
                        microseconds(report, histogram_mean(histogram)), "max_us",
                        microseconds(report, (double)histogram->max));
    for (size_t i = 0; i < NUM_QUANTILES; i++)
        json_object_set_new(latency, quantiles[i].key, json_real(quantile(report, histogram, i)));
    json_object_set_new(object, key, latency);
}

static void add_findings(json_t *object, const struct port *port)
{
    const struct tracker_counts *counts = &port->tracker.counts;

    if (port->plan->options->verifies)
        json_object_set_new(object, "verify",
                            json_pack("{s:I, s:I, s:I, s:I, s:I}", "frames",
                                      (json_int_t)counts->verified, "lost",
                                      (json_int_t)counts->lost, "duplicated",
                                      (json_int_t)counts->duplicated, "reordered",
                                      (json_int_t)counts->reordered, "corrupted",
                                      (json_int_t)counts->corrupted));
    json_object_set_new(object, "unknown", json_integer((json_int_t)counts->unknown));
    json_object_set_new(object, "flooded", json_integer((json_int_t)port->num_foreign));
    json_object_set_new(object, "malformed", json_integer((json_int_t)port->num_malformed));
    json_object_set_new(object, "given_up", json_integer((json_int_t)port->num_given_up));
}

static void print_json(const struct report *report, const struct report_moment *before,
                       const struct report_moment *now, bool is_end)
{
    unsigned num = report->plan->num_ports;
    struct rates all = rates_of(before, now, 0, num);
    json_t *ports = json_array(), *object;

    for (unsigned i = 0; i < num; i++) {
        const struct port *port = &report->plan->ports[i];
        struct rates rates = rates_of(before, now, i, i + 1);
        json_t *entry = json_of_rates(&rates);

        json_object_set_new(entry, "path", json_string(port->options->path));
        if (is_end) {
            add_latency(entry, "round_trip", report, port->round_trip);
            add_latency(entry, "one_way", report, port->one_way);
            add_findings(entry, port);
        }
        json_array_append_new(ports, entry);
    }
    object = json_pack("{s:s, s:f, s:f, s:o, s:o, s:o}", "report", is_end ? "end" : "interval",
                       "at", now->seconds, "seconds", all.seconds, "ports", ports, "all",
                       json_of_rates(&all), "cpu", json_of_cost(report, &all));
    json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
    putchar('\n');
    json_decref(object);
}

/* --- Both ----------------------------------------------------------------------------------------------- */

void report_interval(struct report *report, double seconds, uint64_t busy, uint64_t idle)
{
    struct report_moment now = look(report, seconds, busy, idle);

    if (report->plan->options->is_json)
        print_json(report, &report->last, &now, false);
    else
        print_interval(report, &now);
    fflush(stdout);
    report->last = now;
}

void report_end(struct report *report, double seconds, uint64_t busy, uint64_t idle)
{
    static const struct report_moment start;
    struct report_moment now = look(report, seconds, busy, idle);

    if (report->plan->options->is_json)
        print_json(report, &start, &now, true);
    else
        print_end(report, &now);
    fflush(stdout);
}
