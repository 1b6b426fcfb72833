/* SPDX-License-Identifier: BSD-3-Clause */
/* The live view: on the screen until a key ends it, or line by line for scripts. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/arguments.h"
#include "cli/rates.h"
#include "cli/report.h"
#include "cli/screen.h"
#include "cli/show.h"
#include "cli/view.h"
#include "cli/watch.h"

#define DEFAULT_INTERVAL_S 1.0
#define LEAST_INTERVAL_S   0.1
#define MOST_INTERVAL_S    3600.0
/* Rates need two looks; the first are not worth a long wait. */
#define FIRST_INTERVAL_S 0.3
/* A view that stands still for longer does not look alive any more. */
#define TIMEOUT_S 2

struct top {
    const struct command *command;
    struct watch watch;
    double interval_s;
    bool is_batch;
    long num; /* views to show; 0: no end */
    bool wants_json;
    enum rates_order order;
};

/* --- The words ------------------------------------------------------------------------------ */

static int take_interval(struct top *top, const char *word)
{
    char *end;

    top->interval_s = strtod(word, &end);
    if (*end || end == word ||
        !(top->interval_s >= LEAST_INTERVAL_S && top->interval_s <= MOST_INTERVAL_S))
        return arguments_fail(top->command, "-i takes %g to %g seconds, not '%s'", LEAST_INTERVAL_S,
                              MOST_INTERVAL_S, word);
    return STATUS_OK;
}

static int take_number(struct top *top, const char *word)
{
    char *end;

    top->num = strtol(word, &end, 10);
    if (*end || end == word || top->num < 1 || top->num > INT_MAX)
        return arguments_fail(top->command, "-n takes a number from 1 on, not '%s'", word);
    return STATUS_OK;
}

static int take_option(struct top *top, int option)
{
    switch (option) {
    case 'i':
        return take_interval(top, optarg);
    case 'n':
        return take_number(top, optarg);
    case 'b':
        top->is_batch = true;
        return STATUS_OK;
    case ':':
        return arguments_fail(top->command, "-%c has no value", optopt);
    default:
        return arguments_fail(top->command, "unknown option '-%c'", optopt);
    }
}

/* getopt() leaves out the first of `words`, and may change their order. */
static int parse(struct top *top, int num, char **words)
{
    int option, status = STATUS_OK;

    optind = 0; /* starts anew */
    opterr = 0;
    while (status == STATUS_OK && (option = getopt(num, words, "+:i:n:b")) != -1)
        status = take_option(top, option);
    if (status == STATUS_OK && words[optind])
        status = arguments_fail(top->command, "'%s' is one word too many", words[optind]);
    return status;
}

static int parse_words(struct top *top, char **words)
{
    char name[] = "top";
    size_t num = 0;
    char **argv;
    int status;

    while (words[num])
        num++;
    argv = need(calloc(num + 2, sizeof(*argv)));
    argv[0] = name;
    memcpy(argv + 1, words, num * sizeof(*argv));
    status = parse(top, (int)num + 1, argv);
    free(argv);
    return status;
}

/* --- Batch ---------------------------------------------------------------------------------- */

static void sleep_until(double time_s)
{
    time_t whole = (time_t)time_s;
    const struct timespec until = {whole, (long)((time_s - (double)whole) * 1e9)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

static void print_view(const struct top *top, bool is_first)
{
    if (top->wants_json) {
        command_print_json(top->watch.rates);
    } else {
        fputs(is_first ? "" : "\n", stdout);
        view_print(stdout, &top->watch, top->interval_s);
    }
    fflush(stdout);
}

static int run_batch(struct top *top)
{
    double next_s = watch_clock_s();
    bool is_there = true, is_first = true;

    for (long i = 0; (top->num == 0 || i < top->num) && !ferror(stdout); i++) {
        bool was_there = is_there;

        next_s += top->interval_s;
        sleep_until(next_s);
        is_there = watch_look(&top->watch);
        if (!is_there && was_there)
            report_failure("%s; trying again every %g s", client_error(top->watch.client),
                           top->interval_s);
        if (!top->watch.rates)
            continue;
        rates_sort(top->watch.rates, top->order);
        print_view(top, is_first);
        is_first = false;
    }
    return is_there ? STATUS_OK : STATUS_FAILED;
}

/* --- On the screen -------------------------------------------------------------------------- */

static void show(const struct top *top)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = need(open_memstream(&text, &size));

    if (top->watch.rates)
        rates_sort(top->watch.rates, top->order);
    view_print(out, &top->watch, top->interval_s);
    fclose(out);
    screen_show(need(text), "sort by: n name, r rx, t tx, d drops   q quit");
    free(text);
}

static double wait_s(const struct top *top)
{
    bool is_first = top->watch.sample && !top->watch.rates;

    return is_first && top->interval_s > FIRST_INTERVAL_S ? FIRST_INTERVAL_S : top->interval_s;
}

/* False: the key ends the view. */
static bool take_key(struct top *top, int key)
{
    static const char keys[] = {
        [RATES_BY_NAME] = 'n',
        [RATES_BY_RX] = 'r',
        [RATES_BY_TX] = 't',
        [RATES_BY_DROPS] = 'd',
    };

    for (size_t i = 0; i < sizeof(keys); i++) {
        if (key == keys[i])
            top->order = (enum rates_order)i;
    }
    return key != 'q' && key != 'Q' && key != SCREEN_END;
}

static void watch_screen(struct top *top)
{
    double next_s = watch_clock_s() + wait_s(top);
    long num = 0;

    while (top->num == 0 || num < top->num) {
        show(top);
        if (!take_key(top, screen_key(next_s - watch_clock_s())))
            return;
        if (watch_clock_s() < next_s)
            continue;
        watch_look(&top->watch);
        next_s = watch_clock_s() + wait_s(top);
        num++;
    }
}

static int run_screen(struct top *top)
{
    if (screen_open() < 0)
        return arguments_fail(top->command, "top needs a terminal: without one, add -b");
    watch_screen(top);
    screen_close();
    return STATUS_OK;
}

int top_run(const struct command *command, char **words, const struct context *context)
{
    struct top top = {
        .command = command,
        .watch.client = context->client,
        .interval_s = DEFAULT_INTERVAL_S,
        .wants_json = context->wants_json,
    };
    int status = parse_words(&top, words);

    if (status != STATUS_OK)
        return status;
    client_set_timeout(context->client, TIMEOUT_S);
    if (watch_look(&top.watch))
        status = top.is_batch || top.wants_json ? run_batch(&top) : run_screen(&top);
    else
        status = report_failure("%s", client_error(context->client));
    watch_fini(&top.watch);
    return status;
}
