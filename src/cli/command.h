/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands, as a table: how each is written, which method of the control API it calls, and how
 * what comes back is shown. All but a few are nothing more than their row.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cli/client.h"

/* What holds for every command of this run. */
struct context {
    struct client *client;
    bool wants_json;
    /* Of the terminal, in columns; 0: output goes elsewhere, and no line is wrapped. */
    size_t width;
};

/* An answer that is to be shown to a person. */
struct reply {
    json_t *params; /* what was asked */
    json_t *result;
    FILE *out;
    size_t width;
};

struct command {
    const char *object;
    const char *verb;     /* NULL: the object stands alone */
    const char *synopsis; /* what follows, as help shows it */
    const char *help;     /* one line */
    const char *method;   /* of the control API */
    const char *operand;  /* the parameter that the first word after the verb is; NULL: none */
    bool is_operand_optional;
    const char *const *keys;  /* those that may follow, each with a value; NULL: none */
    const char *required_key; /* the one that must */
    bool needs_pair;          /* at least one key must follow */
    bool has_dry_run;

    /* Completes the parameters before the call; a status. NULL: they are complete. */
    int (*prepare)(json_t *params);
    /* Shows the result. NULL: success needs no words. */
    void (*show)(const struct reply *reply);
    /* For commands that are more than one call: does everything, and returns a status. */
    int (*run)(const struct command *command, char **words, const struct context *context);
};

/* For `keys`: any will do, the daemon knows them. */
extern const char *const command_any_key[];

/* Ends with an entry without object. */
extern const struct command commands[];

/* Does what the words, which end with NULL, say. Returns a status; errors have been reported. */
int command_run(char **words, const struct context *context);

/* Prints a value on stdout as scripts read it. */
void command_print_json(json_t *value);

/* What 'shuntctl --help' prints. */
void command_help(FILE *out);

#endif
