/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/command.h"

#include <stdlib.h>
#include <string.h>

#include "cli/arguments.h"
#include "cli/report.h"

#define MAX_NAMES    16
#define DEFAULT_VERB "show"
#define HELP         "help"
#define HELP_COLUMN  38

/* Words of which a user means one. */
struct names {
    const char *list[MAX_NAMES];
    size_t num;
};

static void add_name(struct names *names, const char *name)
{
    for (size_t i = 0; i < names->num; i++) {
        if (strcmp(names->list[i], name) == 0)
            return;
    }
    if (names->num < MAX_NAMES)
        names->list[names->num++] = name;
}

/* "add, del or show"; to be freed. */
static char *join(const struct names *names)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = need(open_memstream(&text, &size));

    for (size_t i = 0; i < names->num; i++) {
        const char *separator = i == 0 ? "" : i + 1 < names->num ? ", " : " or ";

        fprintf(out, "%s%s", separator, names->list[i]);
    }
    fclose(out);
    return need(text);
}

static void report_unknown(const struct names *names, const char *what, const char *word)
{
    char *all = join(names);

    report_usage("unknown %s '%s': it must be %s", what, word, all);
    free(all);
}

static void report_ambiguous(const struct names *meant, const char *what, const char *word)
{
    char *all = join(meant);

    report_usage("%s '%s' may be %s: write more of it", what, word, all);
    free(all);
}

/* The name that `word` is, or the only one that it begins; NULL: it is reported why there is none. */
static const char *pick(const struct names *names, const char *what, const char *word)
{
    struct names meant = {.num = 0};

    for (size_t i = 0; i < names->num; i++) {
        if (strcmp(names->list[i], word) == 0)
            return names->list[i];
        if (strncmp(names->list[i], word, strlen(word)) == 0)
            add_name(&meant, names->list[i]);
    }
    if (meant.num == 1)
        return meant.list[0];
    if (meant.num > 1)
        report_ambiguous(&meant, what, word);
    else
        report_unknown(names, what, word);
    return NULL;
}

static struct names all_objects(void)
{
    struct names names = {.num = 0};

    for (const struct command *command = commands; command->object; command++)
        add_name(&names, command->object);
    add_name(&names, HELP);
    return names;
}

static struct names all_verbs(const char *object)
{
    struct names names = {.num = 0};

    for (const struct command *command = commands; command->object; command++) {
        if (strcmp(command->object, object) == 0 && command->verb)
            add_name(&names, command->verb);
    }
    add_name(&names, HELP);
    return names;
}

static const struct command *find(const char *object, const char *verb)
{
    for (const struct command *command = commands; command->object; command++) {
        if (strcmp(command->object, object) != 0)
            continue;
        if (!command->verb || strcmp(command->verb, verb) == 0)
            return command;
    }
    return NULL;
}

static bool is_help_option(const char *word)
{
    return word && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0);
}

/* The command in one column, what it does in the next, or below where there is no room. */
static void print_command(FILE *out, const struct command *command)
{
    const char *verb = command->verb ? command->verb : "";
    int len = fprintf(out, "  %s%s%s%s%s", command->object, *verb ? " " : "", verb,
                      *command->synopsis ? " " : "", command->synopsis);

    if (len > HELP_COLUMN - 2)
        len = fprintf(out, "\n") - 1;
    fprintf(out, "%*s%s\n", HELP_COLUMN - len, "", command->help);
}

/* The commands of one object, or all. */
static void print_help(FILE *out, const char *object)
{
    for (const struct command *command = commands; command->object; command++) {
        if (!object || strcmp(command->object, object) == 0)
            print_command(out, command);
    }
}

void command_help(FILE *out)
{
    fprintf(out, "usage: shuntctl [-j|--json] [--control PATH] OBJECT VERB ...\n\n"
                 "Controls the virtual switch shuntd.\n\n");
    print_help(out, NULL);
    fprintf(out,
            "\nAn OBJECT alone means its show; words may be shortened while they stay unique.\n\n"
            "  -j, --json      print the answer as JSON, for scripts\n"
            "  --control PATH  the control socket, " CLIENT_DEFAULT_PATH "\n"
            "                  or what the environment says in " CLIENT_PATH_VARIABLE "\n"
            "  -h, --help      this text; 'shuntctl OBJECT help' tells about one object\n"
            "  -V, --version   the version of shuntctl; 'shuntctl version' asks shuntd too\n");
}

void command_print_json(json_t *value)
{
    /* What is not ASCII is escaped: no terminal and no locale can take harm from it. */
    json_dumpf(value, stdout,
               JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    putchar('\n');
}

static int ask(const struct command *command, json_t *params, const struct context *context)
{
    json_t *result = client_call(context->client, command->method, params);

    if (!result)
        return report_failure("%s", client_error(context->client));
    if (context->wants_json)
        command_print_json(result);
    else if (command->show)
        command->show(&(struct reply){params, result, stdout, context->width});
    json_decref(result);
    return STATUS_OK;
}

static int run(const struct command *command, char **words, const struct context *context)
{
    json_t *params = NULL;
    int status;

    if (command->run)
        return command->run(command, words, context);
    status = arguments_parse(command, words, &params);
    if (status == STATUS_OK && command->prepare)
        status = command->prepare(params);
    if (status == STATUS_OK)
        status = ask(command, params, context);
    json_decref(params);
    return status;
}

/* The verb that the words begin with; they are moved on behind it. NULL: it is reported why not. */
static const char *take_verb(const char *object, char ***words)
{
    const struct names verbs = all_verbs(object);
    const char *word = **words;

    if (is_help_option(word))
        return HELP;
    if (verbs.num == 1) /* help alone: the object is the whole command */
        return word && strcmp(word, HELP) == 0 ? HELP : "";
    if (!word)
        return DEFAULT_VERB;
    ++*words;
    return is_help_option(**words) ? HELP : pick(&verbs, "verb", word);
}

/* `words` follow the object. */
static int run_object(const char *object, char **words, const struct context *context)
{
    const char *verb = take_verb(object, &words);

    if (!verb)
        return STATUS_USAGE;
    if (strcmp(verb, HELP) == 0) {
        print_help(stdout, object);
        return STATUS_OK;
    }
    return run(find(object, verb), words, context);
}

int command_run(char **words, const struct context *context)
{
    const struct names objects = all_objects();
    const char *object;

    if (!*words)
        return report_usage("nothing to do: 'shuntctl --help' lists what there is");
    object = pick(&objects, "object", *words);
    if (!object)
        return STATUS_USAGE;
    if (strcmp(object, HELP) == 0) {
        command_help(stdout);
        return STATUS_OK;
    }
    return run_object(object, words + 1, context);
}
