/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/option.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/phrase.h"

#define WHERE_BYTES 192

/* What one check is about. */
struct check {
    const struct option *const *tables;
    unsigned num_tables;
    const char *path;
    const char **bad_key;
    struct shunt_error *error;
};

const char *option_kind_name(enum option_kind kind)
{
    static const char *const names[] = {
        [OPTION_TEXT] = "text",
        [OPTION_NUMBER] = "number",
        [OPTION_CHOICE] = "choice",
        [OPTION_ANY] = "any",
    };

    return names[kind];
}

const struct option *option_find(const struct option *const *tables, unsigned num_tables,
                                 const char *key)
{
    for (unsigned i = 0; i < num_tables; i++)
        for (const struct option *option = tables[i]; option->key; option++)
            if (strcmp(option->key, key) == 0)
                return option;
    return NULL;
}

const char *option_text(const json_t *checked, const char *key)
{
    return json_string_value(json_object_get(checked, key));
}

long option_number(const json_t *checked, const char *key)
{
    return (long)json_integer_value(json_object_get(checked, key));
}

/* The value as a new typed one, or NULL where it is not what the option takes. */
static json_t *text_of(const struct option *option, const json_t *value)
{
    const char *text = json_string_value(value);
    size_t len = text ? strlen(text) : 0;

    if (len == 0 || len > (size_t)option->max)
        return NULL;
    for (const char *at = text; *at != '\0'; at++)
        if (iscntrl((unsigned char)*at))
            return NULL;
    return json_string(text);
}

static json_t *number_of(const struct option *option, const json_t *value)
{
    const char *text = json_string_value(value);
    long long number = json_integer_value(value);
    char *end = NULL;

    if (text) {
        /* No leading blanks or plus sign, which strtoll() would take. */
        if (*text != '-' && !isdigit((unsigned char)*text))
            return NULL;
        errno = 0;
        number = strtoll(text, &end, 10);
        if (errno != 0 || *end != '\0')
            return NULL;
    } else if (!json_is_integer(value)) {
        return NULL;
    }
    return number >= option->min && number <= option->max ? json_integer(number) : NULL;
}

static json_t *choice_of(const struct option *option, const json_t *value)
{
    const char *text = json_string_value(value);

    if (json_is_boolean(value))
        text = json_is_true(value) ? "true" : "false";
    for (const char *const *choice = option->choices; text && *choice; choice++)
        if (strcmp(*choice, text) == 0)
            return json_string(text);
    return NULL;
}

static json_t *any_of(const struct option *option, const json_t *value)
{
    (void)option;
    return json_deep_copy(value);
}

static json_t *typed(const struct option *option, const json_t *value)
{
    static json_t *(*const of_kind[])(const struct option *option, const json_t *value) = {
        [OPTION_TEXT] = text_of,
        [OPTION_NUMBER] = number_of,
        [OPTION_CHOICE] = choice_of,
        [OPTION_ANY] = any_of,
    };

    return of_kind[option->kind](option, value);
}

/* "ports.vm1.queues: ", with as much of it as there is. */
static const char *where(char text[WHERE_BYTES], const char *path, const char *key)
{
    snprintf(text, WHERE_BYTES, "%s%s%s%s", path, *path && *key ? "." : "", key,
             *path || *key ? ": " : "");
    return text;
}

static int refuse_unknown(const struct check *check, const char *key)
{
    struct phrase given = {0}, known = {0};
    char at[WHERE_BYTES];

    for (unsigned i = 0; i < check->num_tables; i++)
        for (const struct option *option = check->tables[i]; option->key; option++)
            phrase_list(&known, option->key);
    *check->bad_key = key;
    return error_set(check->error, -EINVAL, "%sunknown key %s; there are: %s",
                     where(at, check->path, ""), phrase_quote(&given, key),
                     known.len > 0 ? known.text : "none");
}

static int refuse_missing(const struct check *check, const struct option *option)
{
    char at[WHERE_BYTES];

    return error_set(check->error, -EINVAL, "%s'%s' is missing: %s", where(at, check->path, ""),
                     option->key, option->help);
}

/* The value as the user would recognise it. */
static void show(struct phrase *phrase, const json_t *value)
{
    char *json;

    if (json_is_null(value)) {
        phrase_list(phrase, "nothing");
    } else if (json_is_string(value)) {
        phrase_quote(phrase, json_string_value(value));
    } else {
        json = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        phrase_quote(phrase, json ? json : "");
        free(json);
    }
}

static int refuse_value(const struct check *check, const struct option *option, const json_t *value)
{
    struct phrase given = {0}, choices = {0};
    char at[WHERE_BYTES];

    show(&given, value);
    where(at, check->path, option->key);
    *check->bad_key = option->key;
    if (option->kind == OPTION_NUMBER)
        return error_set(check->error, -EINVAL, "%s%s; expected a number from %ld to %ld", at,
                         given.text, option->min, option->max);
    if (option->kind == OPTION_TEXT)
        return error_set(check->error, -EINVAL,
                         "%s%s; expected a text of 1 to %ld bytes "
                         "without control characters",
                         at, given.text, option->max);
    for (const char *const *choice = option->choices; *choice; choice++)
        phrase_list(&choices, *choice);
    return error_set(check->error, -EINVAL, "%s%s; expected one of: %s", at, given.text,
                     choices.text);
}

/* Puts the value that was given, or else the default, into `checked`. */
static int check_one(const struct check *check, const struct option *option, const json_t *given,
                     json_t *checked)
{
    json_t *value = json_object_get(given, option->key);
    json_t *result;
    int code;

    if (!value && option->is_required)
        return refuse_missing(check, option);
    if (!value && !option->fallback)
        return 0;
    value = value ? json_incref(value) : json_string(option->fallback);
    result = typed(option, value);
    code = result ? 0 : refuse_value(check, option, value);
    json_decref(value);
    if (code < 0)
        return code;
    return json_object_set_new(checked, option->key, result) == 0 ? 0 : -ENOMEM;
}

static int check_keys(const struct check *check, json_t *given)
{
    const char *key;
    json_t *value;

    json_object_foreach (given, key, value)
        if (!option_find(check->tables, check->num_tables, key))
            return refuse_unknown(check, key);
    return 0;
}

int option_check(const struct option *const *tables, unsigned num_tables, json_t *given,
                 const char *path, json_t *checked, const char **bad_key, struct shunt_error *error)
{
    const char *unasked;
    const struct check check = {tables, num_tables, path, bad_key ? bad_key : &unasked, error};
    int result;

    *check.bad_key = NULL;
    result = check_keys(&check, given);
    for (unsigned i = 0; i < num_tables && result == 0; i++)
        for (const struct option *option = tables[i]; option->key && result == 0; option++)
            result = check_one(&check, option, given, checked);
    return result;
}
