/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/yaml.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/report.h"
#include "cli/text.h"

#define STEP 2

/* Without quotes these would not be texts, in one version of YAML or another. */
static const char *const reserved[] = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"};

static bool is_reserved(const char *text)
{
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        if (strcasecmp(text, reserved[i]) == 0)
            return true;
    }
    return false;
}

/*
 * Whether a text stays itself without quotes. Those with unusual characters might too; but a rule
 * that is a little narrow only costs quotes. A leading letter or slash keeps numbers and dates out.
 */
static bool is_plain(const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "_-./";

    if (!isalpha((unsigned char)text[0]) && text[0] != '/')
        return false;
    return text[strspn(text, plain)] == '\0' && !is_reserved(text);
}

static void print_text(FILE *out, const char *text)
{
    char *quoted;

    if (is_plain(text)) {
        fputs(text, out);
        return;
    }
    quoted = text_quoted(text);
    fputs(quoted, out);
    free(quoted);
}

static void print_scalar(FILE *out, const json_t *value)
{
    if (json_is_string(value)) {
        print_text(out, json_string_value(value));
        return;
    }
    char *text = need(json_dumps(value, JSON_ENCODE_ANY));

    fputs(text, out);
    free(text);
}

static bool is_scalar(const json_t *value)
{
    return !json_is_object(value) && !json_is_array(value);
}

static bool is_inline(const json_t *value)
{
    size_t idx;
    json_t *item;

    if (json_is_object(value))
        return json_object_size(value) == 0;
    json_array_foreach (value, idx, item) {
        if (!is_scalar(item))
            return false;
    }
    return true;
}

static void print_inline(FILE *out, const json_t *value)
{
    size_t idx;
    json_t *item;

    if (json_is_object(value)) {
        fputs("{}", out);
    } else if (json_is_array(value)) {
        fputc('[', out);
        json_array_foreach (value, idx, item) {
            fputs(idx > 0 ? ", " : "", out);
            print_scalar(out, item);
        }
        fputc(']', out);
    } else {
        print_scalar(out, value);
    }
}

static void print_block(FILE *out, json_t *value, int indent, bool is_begun);

/* `is_begun`: the first line stands behind the dash of a list already. */
static void print_members(FILE *out, json_t *object, int indent, bool is_begun)
{
    int lead = is_begun ? 0 : indent;
    const char *key;
    json_t *value;

    json_object_foreach (object, key, value) {
        fprintf(out, "%*s", lead, "");
        lead = indent;
        print_text(out, key);
        fputc(':', out);
        if (is_inline(value)) {
            fputc(' ', out);
            print_inline(out, value);
            fputc('\n', out);
        } else {
            fputc('\n', out);
            print_block(out, value, indent + STEP, false);
        }
    }
}

static void print_items(FILE *out, const json_t *array, int indent, bool is_begun)
{
    int lead = is_begun ? 0 : indent;
    size_t idx;
    json_t *item;

    json_array_foreach (array, idx, item) {
        fprintf(out, "%*s- ", lead, "");
        lead = indent;
        print_block(out, item, indent + STEP, true);
    }
}

static void print_block(FILE *out, json_t *value, int indent, bool is_begun)
{
    if (is_inline(value)) {
        print_inline(out, value);
        fputc('\n', out);
    } else if (json_is_object(value)) {
        print_members(out, value, indent, is_begun);
    } else {
        print_items(out, value, indent, is_begun);
    }
}

void yaml_print(FILE *out, json_t *tree)
{
    print_block(out, tree, 0, true);
}
