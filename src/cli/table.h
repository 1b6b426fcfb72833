/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A table of text with aligned columns, two spaces apart.
 *
 * Cells are added from left to right, row by row. A column with nothing in any row is left out.
 * Where the width of the output is known, the last column is wrapped in it.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stddef.h>
#include <stdio.h>

enum table_align {
    TABLE_LEFT,
    TABLE_RIGHT,
};

struct table_column {
    const char *heading; /* NULL in the first column: the table has no headings */
    enum table_align align;
};

struct table;

/* `columns` are copied. The number of columns of an array: TABLE_COLUMNS(). */
struct table *table_create(const struct table_column *columns, size_t num_columns);
#define TABLE_COLUMNS(columns) (columns), (sizeof(columns) / sizeof((columns)[0]))

void table_destroy(struct table *table);

/* The next cell. Characters that are not printable are escaped; NULL is an empty cell. */
void table_add(struct table *table, const char *text);
void table_add_format(struct table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void table_add_number(struct table *table, long long number);

/*
 * Every line begins with `indent` spaces. `width` in columns, or 0: lines are as long as they are.
 */
void table_print(const struct table *table, FILE *out, size_t indent, size_t width);

#endif
