/* SPDX-License-Identifier: BSD-3-Clause */
/* shunt-gen: sends frames into vhost-user back-ends, takes what comes out, and says how that went. */
#include <errno.h>
#include <sched.h>
#include <shunt/log.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen/options.h"
#include "gen/run.h"

#define EXIT_FINDINGS 3

static volatile sig_atomic_t is_interrupted;

static void on_signal(int number)
{
    (void)number;
    is_interrupted = 1;
}

/* Before the second signal ends us at once, the first ends the run in order. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_DFL);
}

/* Until traffic flows, what goes wrong is told once, and at the end. */
static void log_line(void *ctx, enum shunt_log_level level, const char *tag, const char *text)
{
    (void)level;
    if (*(const bool *)ctx)
        fprintf(stderr, "shunt-gen: %s: %s\n", tag, text);
}

static int complain(const char *what)
{
    fprintf(stderr, "shunt-gen: %s\n", what);
    return EXIT_FAILURE;
}

static bool pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    return sched_setaffinity(0, sizeof(set), &set) == 0;
}

int main(int argc, char **argv)
{
    static struct options options;
    static struct run run;
    static bool is_up;
    struct shunt_error error = {.text = "out of memory"};
    int status = options_parse(argc, argv, &options);

    if (status != OPTIONS_GO_ON)
        return status;
    if (options.cpu >= 0 && !pin(options.cpu))
        return complain("--cpu: there is no such CPU, or it may not be used");
    shunt_log_set(SHUNT_LOG_INFO, log_line, &is_up);
    catch_signals();
    if (run_create(&run, &options, &is_interrupted, &error) < 0) {
        status = complain(error.text);
    } else {
        is_up = true;
        run_traffic(&run);
        is_up = false;
        status = run_found_errors(&run) ? EXIT_FINDINGS : EXIT_SUCCESS;
    }
    run_destroy(&run);
    return status;
}
