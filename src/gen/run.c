/* SPDX-License-Identifier: BSD-3-Clause */
#include "gen/run.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "gen/receiver.h"
#include "gen/sender.h"

/* Long enough to know the rate of the cycles' clock to a few millionths. */
#define CALIBRATION_NS 10000000

#define HOUSEKEEPING_S 0.001
#define CONNECTING_MS  10

/* Frames of a window that are under way for so long are lost. */
#define GIVE_UP_S 0.1

/* After sending: how long nothing must come, and how long it may take at most. */
#define SILENCE_S 0.1
#define DRAIN_S   2.0

static double seconds_between(const struct run *run, uint64_t before, uint64_t after)
{
    return (double)(after - before) / run->cycles_per_second;
}

static uint64_t to_cycles(const struct run *run, double seconds)
{
    return (uint64_t)(seconds * run->cycles_per_second);
}

/* --- Back-ends ------------------------------------------------------------------------------------------ */

static void dispatch_all(struct run *run, int timeout_ms)
{
    if (poll(run->fds, run->plan.num_ports, timeout_ms) <= 0)
        return;
    for (unsigned i = 0; i < run->plan.num_ports; i++) {
        if (run->fds[i].revents)
            shunt_frontend_dispatch(run->plan.ports[i].frontend);
    }
}

/* The first port that is of no use, or does not run yet; NULL: all run. */
static const struct port *find_missing(const struct run *run)
{
    const struct port *missing = NULL;

    for (unsigned i = run->plan.num_ports; i-- > 0;) {
        const struct port *port = &run->plan.ports[i];

        if (port->failure.code < 0)
            return port;
        if (!port->is_running)
            missing = port;
    }
    return missing;
}

static int connect_all(struct run *run, struct shunt_error *error)
{
    uint64_t end_ms = clock_ms() + (uint64_t)(run->options->timeout_s * 1000);
    const struct port *port;

    while ((port = find_missing(run)) != NULL) {
        if (port->failure.code < 0)
            return error_set(error, port->failure.code, "%.100s: %s", port->options->path,
                             port->failure.text);
        if (*run->is_interrupted)
            return error_set(error, -EINTR, "interrupted");
        if (clock_ms() >= end_ms)
            return error_set(error, -ETIMEDOUT, "%.100s: %s", port->options->path,
                             shunt_frontend_reason(port->frontend));
        dispatch_all(run, CONNECTING_MS);
    }
    return 0;
}

/* --- Life ----------------------------------------------------------------------------------------------- */

static double calibrate(void)
{
    struct timespec pause = {.tv_nsec = CALIBRATION_NS};
    uint64_t ns = clock_ns(), cycles = clock_cycles();

    nanosleep(&pause, NULL);
    cycles = clock_cycles() - cycles;
    ns = clock_ns() - ns;
    return (double)cycles * 1e9 / (double)ns;
}

static int make_plan(struct run *run, struct shunt_error *error)
{
    struct plan *plan = &run->plan;
    const struct options *options = run->options;
    int result = pattern_sizes_create(&options->sizes, &plan->sizes, error);

    if (result < 0)
        return result;
    plan->options = options;
    plan->has_stamps = options->verifies || options->measures_latency || options->window > 0;
    plan->max_size = pattern_most(&options->sizes);
    plan->num_ports = options->num_ports;
    plan->ports = calloc(plan->num_ports, sizeof(*plan->ports));
    plan->scratch = malloc(NET_HEADER_BYTES + FRAME_LIMIT_BYTES);
    return plan->ports && plan->scratch ? 0 : error_set(error, -ENOMEM, "out of memory");
}

/* Front-ends come first: they are asked more often. */
static int list_fds(struct run *run)
{
    unsigned num = run->plan.num_ports;

    for (unsigned i = 0; i < run->plan.num_ports; i++)
        num += 2 * run->options->ports[i].num_queues;
    run->fds = calloc(num, sizeof(*run->fds));
    if (!run->fds)
        return -ENOMEM;
    for (unsigned i = 0; i < run->plan.num_ports; i++)
        run->fds[run->num_fds++] = (struct pollfd){shunt_frontend_fd(run->plan.ports[i].frontend),
                                                   POLLIN, 0};
    for (unsigned i = 0; i < run->plan.num_ports; i++) {
        struct shunt_frontend *frontend = run->plan.ports[i].frontend;

        for (unsigned j = 0; j < 2 * run->options->ports[i].num_queues; j++)
            run->fds[run->num_fds++] = (struct pollfd){shunt_driver_queue_call_fd(
                                                           shunt_frontend_queue(frontend, j)),
                                                       POLLIN, 0};
    }
    return 0;
}

static int create_ports(struct run *run, struct shunt_error *error)
{
    struct shunt_error fault;

    for (unsigned i = 0; i < run->plan.num_ports; i++) {
        int result = port_create(&run->plan.ports[i], &run->plan, i, &fault);

        if (result < 0)
            return error_set(error, result, "%.100s: %s", run->options->ports[i].path, fault.text);
    }
    return list_fds(run) < 0 ? error_set(error, -ENOMEM, "out of memory") : 0;
}

int run_create(struct run *run, const struct options *options,
               const volatile sig_atomic_t *is_interrupted, struct shunt_error *error)
{
    int result;

    *run = (struct run){.options = options, .is_interrupted = is_interrupted};
    result = make_plan(run, error);
    if (result == 0)
        result = create_ports(run, error);
    return result < 0 ? result : connect_all(run, error);
}

void run_destroy(struct run *run)
{
    for (unsigned i = 0; run->plan.ports && i < run->plan.num_ports; i++) {
        if (run->plan.ports[i].plan)
            port_destroy(&run->plan.ports[i]);
    }
    pattern_sizes_destroy(&run->plan.sizes);
    free(run->plan.ports);
    free(run->plan.scratch);
    free(run->fds);
}

/* --- A round -------------------------------------------------------------------------------------------- */

static unsigned receive_all(const struct port *port)
{
    unsigned num = 0;

    for (unsigned i = 0; i < port->options->num_queues; i++)
        num += receiver_receive(&port->receivers[i]);
    return num;
}

static unsigned send_all(const struct port *port, double now)
{
    unsigned num = 0;

    if (!port_sends(port) || !port->is_running)
        return 0;
    for (unsigned i = 0; i < port->options->num_queues; i++)
        num += sender_send(&port->senders[i], now);
    return num;
}

/* How many frames moved. */
static unsigned go_round(struct run *run, bool is_sending)
{
    double now = (double)(run->round - run->begin);
    unsigned num = 0;

    for (unsigned i = 0; i < run->plan.num_ports; i++) {
        num += receive_all(&run->plan.ports[i]);
        if (is_sending)
            num += send_all(&run->plan.ports[i], now);
    }
    return num;
}

static void give_up(const struct run *run, struct port *port)
{
    if (port->num_under_way < run->options->window ||
        (double)(run->round - port->last_return) < GIVE_UP_S * run->cycles_per_second)
        return;
    port->num_given_up += port->num_under_way;
    port->num_under_way = 0;
}

static void keep_house(struct run *run)
{
    run->housekeeping = run->round + to_cycles(run, HOUSEKEEPING_S);
    run->seconds = seconds_between(run, run->begin, run->round);
    dispatch_all(run, 0);
    for (unsigned i = 0; run->options->window > 0 && i < run->plan.num_ports; i++)
        give_up(run, &run->plan.ports[i]);
    if (run->options->interval_s > 0 &&
        run->seconds - run->report.last.seconds >= run->options->interval_s) {
        report_interval(&run->report, run->seconds, run->busy, run->idle);
    }
}

/* --- Sleeping ------------------------------------------------------------------------------------------- */

/* Whether the back-end notifies us when there is something to do. */
static bool arm(const struct port *port)
{
    bool may_sleep = true, is_blocked;

    for (unsigned i = 0; i < port->options->num_queues; i++) {
        struct shunt_driver_queue *transmitq = port->senders[i].queue;

        may_sleep &= shunt_driver_queue_arm(port->receivers[i].queue);
        is_blocked = shunt_driver_queue_num_free(transmitq) < shunt_driver_queue_size(transmitq);
        if (port->options->role == ROLE_ECHO ||
            (port_sends(port) && is_blocked && !port->is_limited))
            may_sleep &= shunt_driver_queue_arm(transmitq);
    }
    return may_sleep;
}

static void disarm(const struct port *port)
{
    for (unsigned i = 0; i < port->options->num_queues; i++) {
        shunt_driver_queue_disarm(port->receivers[i].queue);
        shunt_driver_queue_disarm(port->senders[i].queue);
    }
}

/* Cycles since the start at which something is due without notification. */
static double next_due(const struct run *run, bool is_sending)
{
    double now = (double)(run->round - run->begin);
    double due = now + SILENCE_S * run->cycles_per_second / 4;

    if (run->options->interval_s > 0)
        due = fmin(due,
                   (run->report.last.seconds + run->options->interval_s) * run->cycles_per_second);
    if (run->options->duration_s > 0)
        due = fmin(due, fmax(now, run->options->duration_s * run->cycles_per_second));
    for (unsigned i = 0; is_sending && i < run->plan.num_ports; i++) {
        const struct port *port = &run->plan.ports[i];

        if (port->is_limited && port->is_running && port->left > 0)
            due = fmin(due, port->limiter.next);
    }
    return due;
}

static void sleep_until(const struct run *run, double due)
{
    double seconds = fmax(0,
                          (due - (double)(clock_cycles() - run->begin)) / run->cycles_per_second);
    struct timespec time = {
        .tv_sec = (time_t)seconds,
        .tv_nsec = (long)((seconds - floor(seconds)) * 1e9),
    };
    eventfd_t num;

    if (ppoll(run->fds, run->num_fds, &time, NULL) <= 0)
        return;
    for (unsigned i = run->plan.num_ports; i < run->num_fds; i++) {
        if (run->fds[i].revents)
            eventfd_read(run->fds[i].fd, &num);
    }
}

static void wait_for_work(struct run *run, bool is_sending)
{
    bool may_sleep = true;

    if (!run->options->may_sleep) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
        return;
    }
    for (unsigned i = 0; i < run->plan.num_ports; i++)
        may_sleep &= arm(&run->plan.ports[i]);
    if (may_sleep)
        sleep_until(run, next_due(run, is_sending));
    for (unsigned i = 0; i < run->plan.num_ports; i++)
        disarm(&run->plan.ports[i]);
    run->housekeeping = 0;
}

/* --- Sending and draining --------------------------------------------------------------------------------- */

static bool is_anything_left(const struct run *run)
{
    bool is_left = false, has_senders = false;

    for (unsigned i = 0; i < run->plan.num_ports; i++) {
        const struct port *port = &run->plan.ports[i];

        has_senders |= port_sends(port);
        is_left |= port_sends(port) && port->left > 0;
    }
    return is_left || !has_senders;
}

static bool is_time_up(const struct run *run)
{
    return run->options->duration_s > 0 &&
           seconds_between(run, run->begin, run->round) >= run->options->duration_s;
}

static void send_until_end(struct run *run)
{
    while (!*run->is_interrupted && !is_time_up(run) && is_anything_left(run)) {
        bool has_moved = go_round(run, true) > 0;
        uint64_t now;

        if (!has_moved)
            wait_for_work(run, true);
        now = clock_cycles();
        *(has_moved ? &run->busy : &run->idle) += now - run->round;
        run->round = now;
        if (now >= run->housekeeping)
            keep_house(run);
    }
    run->seconds = seconds_between(run, run->begin, run->round);
}

/*
 * Nothing is under way any more. If something was lost, that is never so; and without stamps, what a
 * bridge flooded to a third port cannot be told apart.
 */
static bool is_all_there(const struct run *run)
{
    uint64_t sent = 0, received = 0;

    if (run->plan.num_ports > 2 && !run->plan.has_stamps)
        return false;
    for (unsigned i = 0; i < run->plan.num_ports; i++) {
        const struct port *port = &run->plan.ports[i];

        sent += port->tx.frames;
        received += port->rx.frames - port->num_foreign;
    }
    return sent == received;
}

static void drain(struct run *run)
{
    uint64_t begin = run->round, last = run->round;

    while (!is_all_there(run) && seconds_between(run, last, run->round) < SILENCE_S &&
           seconds_between(run, begin, run->round) < DRAIN_S) {
        if (go_round(run, false) > 0)
            last = run->round;
        else
            wait_for_work(run, false);
        run->round = clock_cycles();
        if (run->round >= run->housekeeping) {
            run->housekeeping = run->round + to_cycles(run, HOUSEKEEPING_S);
            dispatch_all(run, 0);
        }
    }
}

static void begin(struct run *run)
{
    const struct options *options = run->options;

    run->cycles_per_second = calibrate();
    run->begin = run->round = clock_cycles();
    for (unsigned i = 0; i < run->plan.num_ports; i++) {
        struct port *port = &run->plan.ports[i];

        port->is_limited = port_sends(port) && options->rate > 0;
        if (port->is_limited)
            limiter_init(&port->limiter, options->rate, options->is_rate_in_bits,
                         options->burst ? options->burst : 1, run->cycles_per_second, 0);
    }
    report_init(&run->report, &run->plan, run->cycles_per_second);
}

/* --- What was lost at the end ----------------------------------------------------------------------------- */

/* Whether what `from` sends in the stream is to come to `to`. */
static bool is_expected(const struct port *to, const struct port *from, uint32_t stream)
{
    const struct plan *plan = to->plan;
    const struct port *destination;

    if (plan->num_ports == 1)
        return tracker_knows(&to->tracker, from->origin);
    destination = &plan->ports[from->destinations[stream % from->num_destinations]];
    return destination == to || (from == to && destination->options->role == ROLE_ECHO);
}

/* Gaps show only when something comes behind them: what was sent last is compared. */
static void count_missing(struct port *to, const struct port *from)
{
    uint64_t num = (uint64_t)from->num_destinations * from->plan->options->num_flows;

    for (uint32_t stream = 0; stream < num; stream++) {
        if (is_expected(to, from, stream))
            to->tracker.counts.lost += from->sequences[stream] -
                                       tracker_next(&to->tracker, from->origin, stream);
    }
}

static void count_all_missing(const struct run *run)
{
    for (unsigned to = 0; to < run->plan.num_ports; to++) {
        for (unsigned from = 0; from < run->plan.num_ports; from++)
            count_missing(&run->plan.ports[to], &run->plan.ports[from]);
    }
}

void run_traffic(struct run *run)
{
    begin(run);
    send_until_end(run);
    drain(run);
    if (run->options->verifies)
        count_all_missing(run);
    report_end(&run->report, run->seconds, run->busy, run->idle);
}

bool run_found_errors(const struct run *run)
{
    uint64_t num = 0;

    for (unsigned i = 0; i < run->plan.num_ports; i++) {
        const struct tracker_counts *counts = &run->plan.ports[i].tracker.counts;

        num += counts->lost + counts->duplicated + counts->reordered + counts->corrupted;
    }
    return run->options->verifies && num > 0;
}
