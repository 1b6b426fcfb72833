/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/arguments.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report.h"

struct parser {
    const struct command *command;
    char **words; /* those that are left */
    size_t num_pairs;
    bool takes_no_options; /* from "--" on */
    json_t *params;
};

int arguments_fail(const struct command *command, const char *format, ...)
{
    const char *verb = command->verb ? command->verb : "";
    char *cause = NULL;
    va_list args;
    int status;

    va_start(args, format);
    if (vasprintf(&cause, format, args) < 0)
        cause = NULL;
    va_end(args);
    status = report_usage("%s; usage: shuntctl %s%s%s%s%s", (char *)need(cause), command->object,
                          *verb ? " " : "", verb, *command->synopsis ? " " : "", command->synopsis);
    free(cause);
    return status;
}

static int add_text(struct parser *parser, const char *key, const char *text)
{
    if (json_object_get(parser->params, key))
        return arguments_fail(parser->command, "'%s' is given twice", key);
    /* Nothing but bytes that are not UTF-8 can make this fail. */
    if (json_object_set_new(parser->params, key, json_string(text)) < 0)
        return arguments_fail(parser->command, "'%s' is not a text in UTF-8", text);
    return STATUS_OK;
}

static bool is_option(const struct parser *parser, const char *word)
{
    return !parser->takes_no_options && word[0] == '-' && word[1] != '\0';
}

/* An option of shuntctl itself, which the user put too late. */
static bool is_global_option(const char *word)
{
    return strcmp(word, "-j") == 0 || strcmp(word, "--json") == 0 ||
           strncmp(word, "--control", strlen("--control")) == 0;
}

static int take_option(struct parser *parser)
{
    const char *word = *parser->words++;

    if (strcmp(word, "--") == 0) {
        parser->takes_no_options = true;
        return STATUS_OK;
    }
    if (strcmp(word, "--dry-run") == 0 && parser->command->has_dry_run) {
        json_object_set_new(parser->params, "dry_run", json_true());
        return STATUS_OK;
    }
    if (is_global_option(word))
        return arguments_fail(parser->command, "'%s' goes before '%s'", word,
                              parser->command->object);
    return arguments_fail(parser->command, "unknown option '%s'", word);
}

static int take_options(struct parser *parser)
{
    int status = STATUS_OK;

    while (status == STATUS_OK && *parser->words && is_option(parser, *parser->words))
        status = take_option(parser);
    return status;
}

static int take_operand(struct parser *parser)
{
    const struct command *command = parser->command;

    if (!command->operand)
        return STATUS_OK;
    if (*parser->words)
        return add_text(parser, command->operand, *parser->words++);
    if (command->is_operand_optional)
        return STATUS_OK;
    /* The synopsis begins with the operand's name. */
    return arguments_fail(command, "%.*s is missing", (int)strcspn(command->synopsis, " "),
                          command->synopsis);
}

static bool is_known_key(const struct command *command, const char *key)
{
    for (const char *const *known = command->keys; *known; known++) {
        if (strcmp(key, *known) == 0)
            return true;
    }
    return command->keys == command_any_key;
}

/* What the API calls the operand and the options, no key of a user's may be called. */
static bool is_reserved_key(const struct command *command, const char *key)
{
    return (command->operand && strcmp(key, command->operand) == 0) || strcmp(key, "dry_run") == 0;
}

static int take_pair(struct parser *parser)
{
    const struct command *command = parser->command;
    const char *key = *parser->words++;
    const char *value = *parser->words;

    if (!command->keys)
        return arguments_fail(command, "'%s' is one word too many", key);
    if (!is_known_key(command, key) || is_reserved_key(command, key))
        return arguments_fail(command, "unknown key '%s'", key);
    if (!value || strcmp(value, "--dry-run") == 0)
        return arguments_fail(command, "'%s' has no value", key);
    parser->words++;
    parser->num_pairs++;
    return add_text(parser, key, value);
}

static int check_complete(const struct parser *parser)
{
    const struct command *command = parser->command;

    if (command->required_key && !json_object_get(parser->params, command->required_key))
        return arguments_fail(command, "'%s' is missing", command->required_key);
    if (command->needs_pair && parser->num_pairs == 0)
        return arguments_fail(command, "there is nothing to set");
    return STATUS_OK;
}

int arguments_parse(const struct command *command, char **words, json_t **params)
{
    struct parser parser = {.command = command, .words = words, .params = need(json_object())};
    int status = take_options(&parser);

    if (status == STATUS_OK)
        status = take_operand(&parser);
    while (status == STATUS_OK) {
        status = take_options(&parser);
        if (status != STATUS_OK || !*parser.words)
            break;
        status = take_pair(&parser);
    }
    if (status == STATUS_OK)
        status = check_complete(&parser);
    *params = parser.params;
    if (status != STATUS_OK) {
        json_decref(parser.params);
        *params = NULL;
    }
    return status;
}
