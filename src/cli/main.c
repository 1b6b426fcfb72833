/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/report.h"

/* shuntd answers within milliseconds, but may be busy with a configuration. */
#define TIMEOUT_S     30
#define DEFAULT_WIDTH 80

enum action {
    ACTION_RUN,
    ACTION_HELP,
    ACTION_VERSION,
};

struct options {
    enum action action;
    bool wants_json;
    const char *path;
};

/* Of the terminal that stdout is, in columns; 0: it is none. */
static size_t terminal_width(void)
{
    struct winsize size;

    if (!isatty(STDOUT_FILENO))
        return 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
        return DEFAULT_WIDTH;
    return size.ws_col;
}

static const char *default_path(void)
{
    const char *path = getenv(CLIENT_PATH_VARIABLE);

    return path && *path ? path : CLIENT_DEFAULT_PATH;
}

/* `word` is the one that getopt_long() stumbled over. */
static int fail_option(int problem, const char *word)
{
    if (problem == ':')
        return report_usage("'%s' has no value: it is followed by the PATH of the control socket",
                            word);
    return report_usage("unknown option '%s': 'shuntctl --help' lists them", word);
}

/* Leaves `optind` at the first word of the command. */
static int parse_options(int argc, char **argv, struct options *options)
{
    enum { CONTROL = 256 };
    static const struct option known[] = {
        {"json", no_argument, NULL, 'j'},
        {"control", required_argument, NULL, CONTROL},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {0},
    };

    opterr = 0;
    for (;;) {
        int at = optind;
        int option = getopt_long(argc, argv, "+:jhV", known, NULL);

        if (option == -1)
            return STATUS_OK;
        if (option == 'j')
            options->wants_json = true;
        else if (option == CONTROL)
            options->path = optarg;
        else if (option == 'h')
            options->action = ACTION_HELP;
        else if (option == 'V')
            options->action = ACTION_VERSION;
        else
            return fail_option(option, argv[at]);
    }
}

static int check_path(const char *path)
{
    const size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

    if (!*path)
        return report_usage("the path of the control socket is empty: leave --control out for %s",
                            CLIENT_DEFAULT_PATH);
    if (strlen(path) > max)
        return report_usage(
            "the path of the control socket has %zu bytes, of at most %zu that Linux "
            "allows: give it a shorter one, or a relative one",
            strlen(path), max);
    return STATUS_OK;
}

static int run(char **words, const struct options *options)
{
    struct context context = {.wants_json = options->wants_json, .width = terminal_width()};
    int status = check_path(options->path);

    if (status != STATUS_OK)
        return status;
    context.client = client_create(options->path, TIMEOUT_S);
    status = command_run(words, &context);
    client_destroy(context.client);
    return status;
}

static int act(char **words, const struct options *options)
{
    switch (options->action) {
    case ACTION_HELP:
        command_help(stdout);
        return STATUS_OK;
    case ACTION_VERSION:
        puts("shuntctl " SHUNT_VERSION);
        return STATUS_OK;
    case ACTION_RUN:
        break;
    }
    return run(words, options);
}

int main(int argc, char **argv)
{
    struct options options = {.path = default_path()};
    int status;

    /* Which characters can be printed; numbers stay as they are everywhere. */
    setlocale(LC_CTYPE, "");
    status = parse_options(argc, argv, &options);
    if (status == STATUS_OK)
        status = act(argv + optind, &options);
    /* A full disk must not look like an empty answer. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == STATUS_OK)
        status = report_failure("cannot write the output: %s", strerror(errno));
    return status;
}
