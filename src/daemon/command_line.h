/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of shuntd. */
#ifndef DAEMON_COMMAND_LINE_H
#define DAEMON_COMMAND_LINE_H

#include <stdbool.h>

#include <shunt/log.h>

/* Texts are those of argv. */
struct command_line {
    const char *config; /* NULL: none */
    const char *control;
    enum shunt_log_level log_level;
    bool is_check;
};

/* The status to exit with at once, after help or a complaint; -1: go on. */
int command_line_parse(int argc, char **argv, struct command_line *line);

#endif
