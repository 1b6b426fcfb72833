/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/tree.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report.h"
#include "cli/table.h"
#include "cli/text.h"

#define STEP 2

/* The last word of a key tells what its numbers are: most are counts, these are names. */
static const char *const name_words[] = {"pid", "id", "fd", "cpu", "index"};
static const char *const address_words[] = {"address", "addr"};
#define NUM(array) (sizeof(array) / sizeof((array)[0]))

static bool is_one_of(const char *key, const char *const *words, size_t num)
{
    const char *end = strrchr(key, '_');
    const char *last = end ? end + 1 : key;

    for (size_t i = 0; i < num; i++) {
        if (strcmp(last, words[i]) == 0)
            return true;
    }
    return false;
}

static void write_number(FILE *out, const char *key, json_int_t number)
{
    char grouped[TEXT_NUMBER_BYTES];

    if (is_one_of(key, address_words, NUM(address_words))) {
        fprintf(out, "0x%llx", (unsigned long long)number);
    } else if (is_one_of(key, name_words, NUM(name_words))) {
        fprintf(out, "%lld", number);
    } else {
        text_grouped(grouped, number);
        fputs(grouped, out);
    }
}

static void write_line(FILE *out, const char *key, json_t *value);

static void write_members(FILE *out, json_t *object)
{
    const char *separator = "";
    const char *key;
    json_t *value;

    if (json_object_size(object) == 0)
        fputs("none", out);
    json_object_foreach (object, key, value) {
        fprintf(out, "%s%s ", separator, key);
        write_line(out, key, value);
        separator = ", ";
    }
}

static void write_items(FILE *out, const char *key, const json_t *array)
{
    size_t idx;
    json_t *value;

    if (json_array_size(array) == 0)
        fputs("none", out);
    json_array_foreach (array, idx, value) {
        fputs(idx > 0 ? ", " : "", out);
        write_line(out, key, value);
    }
}

static void write_line(FILE *out, const char *key, json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        write_members(out, value);
        break;
    case JSON_ARRAY:
        write_items(out, key, value);
        break;
    case JSON_STRING:
        fputs(json_string_value(value), out);
        break;
    case JSON_INTEGER:
        write_number(out, key, json_integer_value(value));
        break;
    case JSON_REAL:
        fprintf(out, "%.6g", json_real_value(value));
        break;
    case JSON_TRUE:
        fputs("yes", out);
        break;
    case JSON_FALSE:
        fputs("no", out);
        break;
    case JSON_NULL:
        fputs("none", out);
        break;
    }
}

char *tree_line(const char *key, json_t *value)
{
    char *line = NULL;
    size_t size = 0;
    FILE *out = need(open_memstream(&line, &size));

    write_line(out, key, value);
    fclose(out);
    return need(line);
}

static bool is_section(json_t *value)
{
    if (json_is_array(value))
        return json_is_object(json_array_get(value, 0));
    return json_object_size(value) > 0;
}

/* peer_pid as "peer pid", or as "PEER PID" over a column. To be freed. */
static char *label(const char *key, bool is_heading)
{
    char *text = need(strdup(key));

    for (char *at = text; *at; at++) {
        if (*at == '_')
            *at = ' ';
        else if (is_heading && *at >= 'a' && *at <= 'z')
            *at = (char)toupper(*at);
    }
    return text;
}

static void print_lines(FILE *out, json_t *object, size_t indent, size_t width)
{
    static const struct table_column columns[] = {{NULL, TABLE_LEFT}, {NULL, TABLE_LEFT}};
    struct table *table = table_create(TABLE_COLUMNS(columns));
    const char *key;
    json_t *value;

    json_object_foreach (object, key, value) {
        if (is_section(value))
            continue;
        char *name = label(key, false), *line = tree_line(key, value);

        table_add(table, name);
        table_add(table, line);
        free(name);
        free(line);
    }
    table_print(table, out, indent, width);
    table_destroy(table);
}

/* An object with every key that is in any of the rows, and the first value that stands under it. */
static json_t *all_keys(const json_t *rows)
{
    json_t *keys = need(json_object());
    size_t idx;
    json_t *row;

    json_array_foreach (rows, idx, row) {
        json_object_update_missing(keys, row);
    }
    return keys;
}

static struct table *create_table(json_t *keys)
{
    size_t num = json_object_size(keys), i = 0;
    struct table_column *columns = need(calloc(num, sizeof(*columns)));
    char **headings = need(calloc(num, sizeof(*headings)));
    const char *key;
    json_t *value;

    json_object_foreach (keys, key, value) {
        headings[i] = label(key, true);
        columns[i].heading = headings[i];
        columns[i++].align = json_is_number(value) ? TABLE_RIGHT : TABLE_LEFT;
    }
    struct table *table = table_create(columns, num);

    while (i > 0)
        free(headings[--i]);
    free(headings);
    free(columns);
    return table;
}

static void add_row(struct table *table, json_t *keys, const json_t *row)
{
    const char *key;
    json_t *unused;

    json_object_foreach (keys, key, unused) {
        json_t *value = json_object_get(row, key);
        char *line = value ? tree_line(key, value) : NULL;

        table_add(table, line);
        free(line);
    }
}

static void print_rows(FILE *out, const json_t *rows, size_t indent, size_t width)
{
    json_t *keys = all_keys(rows);
    struct table *table = create_table(keys);
    size_t idx;
    json_t *row;

    json_array_foreach (rows, idx, row) {
        add_row(table, keys, row);
    }
    table_print(table, out, indent, width);
    table_destroy(table);
    json_decref(keys);
}

static void print_section(FILE *out, const char *key, json_t *value, size_t indent, size_t width)
{
    char *name = label(key, false), *printable = text_printable(name);

    fprintf(out, "%*s%s\n", (int)indent, "", printable);
    if (json_is_array(value))
        print_rows(out, value, indent + STEP, width);
    else
        tree_print(out, value, indent + STEP, width);
    free(printable);
    free(name);
}

void tree_print(FILE *out, json_t *object, size_t indent, size_t width)
{
    const char *key;
    json_t *value;

    print_lines(out, object, indent, width);
    json_object_foreach (object, key, value) {
        if (is_section(value))
            print_section(out, key, value, indent, width);
    }
}
