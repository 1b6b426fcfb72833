/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The words after the verb, as parameters of a call: an operand, then pairs of KEY and VALUE in any
 * order, and options.
 */
#ifndef CLI_ARGUMENTS_H
#define CLI_ARGUMENTS_H

#include <jansson.h>

#include "cli/command.h"

/*
 * Puts what the words, which end with NULL, say into the new object `*params`; every value is a
 * text, to be typed by the daemon. Returns a status; what is wrong has been reported.
 */
int arguments_parse(const struct command *command, char **words, json_t **params);

/* Reports a wrong use of the command: the cause as formatted, and how it is used. STATUS_USAGE. */
int arguments_fail(const struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
