/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/command_line.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control.h"
#include "daemon/logger.h"

#define EXIT_USAGE 2
#define GO_ON      (-1)

static const char help[] =
    "Usage: shuntd [OPTION]...\n"
    "The switch daemon: joins the ports of virtual machines and containers.\n"
    "\n"
    "  --config FILE      the configuration, YAML; read again on SIGHUP\n"
    "  --control PATH     the control socket, " CONTROL_DEFAULT_PATH " by default\n"
    "  --check            only tell whether the configuration has errors\n"
    "  --log-level LEVEL  error, warning, info (the default) or debug\n"
    "  --version          print the version\n"
    "  --help             print this\n"
    "\n"
    "Without a configuration there is one bridge, br0, and no port. It stays in the foreground,\n"
    "logs to standard error, and ends on SIGTERM. See shuntctl(8) for what can be done then.\n";

__attribute__((format(printf, 1, 2))) static int complain(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("shuntd: ", stderr);
    vfprintf(stderr, format, args);
    fputs("; try 'shuntd --help'\n", stderr);
    va_end(args);
    return EXIT_USAGE;
}

static int print(const char *text)
{
    fputs(text, stdout);
    return EXIT_SUCCESS;
}

static int take_level(struct command_line *line, const char *name)
{
    for (unsigned level = 0; logger_level_names[level]; level++) {
        if (strcmp(logger_level_names[level], name) == 0) {
            line->log_level = (enum shunt_log_level)level;
            return GO_ON;
        }
    }
    return complain("unknown log level '%s': there are error, warning, info and debug", name);
}

static int take_option(struct command_line *line, int option, const char *word)
{
    switch (option) {
    case 'c':
        line->config = optarg;
        return GO_ON;
    case 's':
        line->control = optarg;
        return GO_ON;
    case 'k':
        line->is_check = true;
        return GO_ON;
    case 'l':
        return take_level(line, optarg);
    case 'v':
        return print("shuntd " SHUNT_VERSION "\n");
    case 'h':
        return print(help);
    case ':':
        return complain("option '%s' needs a value", word);
    default:
        return complain("unknown option '%s'", word);
    }
}

int command_line_parse(int argc, char **argv, struct command_line *line)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"control", required_argument, NULL, 's'},
        {"check", no_argument, NULL, 'k'},
        {"log-level", required_argument, NULL, 'l'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int option;

    *line = (struct command_line){.control = CONTROL_DEFAULT_PATH, .log_level = SHUNT_LOG_INFO};
    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        int status = take_option(line, option, argv[optind - 1]);

        if (status != GO_ON)
            return status;
    }
    if (optind < argc)
        return complain("unexpected '%s'", argv[optind]);
    if (line->is_check && !line->config)
        return complain("--check needs a configuration, --config FILE");
    return GO_ON;
}
