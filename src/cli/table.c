/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/table.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report.h"
#include "cli/text.h"

#define GAP 2
/* A column that is narrower than this is not worth wrapping in. */
#define LEAST_WRAP_WIDTH 20

struct table {
    size_t num_columns;
    enum table_align *aligns;
    bool has_headings;
    char **cells; /* printable; the headings are the first row */
    size_t num_cells;
    size_t max_cells;
};

/* How a table is laid out on the page, and how far a row has come. */
struct layout {
    FILE *out;
    size_t indent;
    size_t width;   /* of the page; 0: not bounded */
    size_t *widths; /* of the columns; 0: left out */
    size_t last;    /* the last column that is there */
    size_t column;  /* where the next character of the line goes */
    size_t blanks;  /* spaces that are due before the next text: none at the end of a line */
};

struct table *table_create(const struct table_column *columns, size_t num_columns)
{
    struct table *table = need(calloc(1, sizeof(*table)));

    table->num_columns = num_columns;
    table->aligns = need(calloc(num_columns, sizeof(*table->aligns)));
    table->has_headings = columns[0].heading != NULL;
    for (size_t i = 0; i < num_columns; i++) {
        table->aligns[i] = columns[i].align;
        if (table->has_headings)
            table_add(table, columns[i].heading);
    }
    return table;
}

void table_destroy(struct table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->num_cells; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table->aligns);
    free(table);
}

void table_add(struct table *table, const char *text)
{
    if (table->num_cells == table->max_cells) {
        table->max_cells = table->max_cells ? 2 * table->max_cells : 64;
        table->cells = need(reallocarray(table->cells, table->max_cells, sizeof(*table->cells)));
    }
    table->cells[table->num_cells++] = text_printable(text ? text : "");
}

void table_add_format(struct table *table, const char *format, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    table_add(table, need(text));
    free(text);
}

void table_add_number(struct table *table, long long number)
{
    char text[TEXT_NUMBER_BYTES];

    text_grouped(text, number);
    table_add(table, text);
}

static size_t num_rows(const struct table *table)
{
    return table->num_cells / table->num_columns;
}

static const char *cell(const struct table *table, size_t row, size_t column)
{
    return table->cells[row * table->num_columns + column];
}

/* The width of the widest cell; the heading does not count where all else is empty. */
static size_t column_width(const struct table *table, size_t column)
{
    size_t widest = 0;

    for (size_t row = table->has_headings; row < num_rows(table); row++) {
        size_t width = text_width(cell(table, row, column));

        if (width > widest)
            widest = width;
    }
    if (widest > 0 && table->has_headings) {
        size_t width = text_width(cell(table, 0, column));

        if (width > widest)
            widest = width;
    }
    return widest;
}

/* False: there is nothing in the table. */
static bool measure(const struct table *table, struct layout *layout)
{
    bool is_filled = false;

    for (size_t column = 0; column < table->num_columns; column++) {
        layout->widths[column] = column_width(table, column);
        if (layout->widths[column] == 0)
            continue;
        layout->last = column;
        is_filled = true;
    }
    return is_filled;
}

static void put(struct layout *layout, const char *text, size_t len, size_t width)
{
    if (width == 0)
        return;
    fprintf(layout->out, "%*s%.*s", (int)layout->blanks, "", (int)len, text);
    layout->column += layout->blanks + width;
    layout->blanks = 0;
}

static void begin_line(struct layout *layout, size_t indent)
{
    layout->column = 0;
    layout->blanks = indent;
}

/*
 * Bytes of `text` for one line of `width` columns: up to a space, or all of a word that is longer.
 */
static size_t line_len(const char *text, size_t width)
{
    size_t fits = text_fit(text, width);
    size_t len = fits;

    if (text[fits] == '\0' || text[fits] == ' ')
        return fits;
    while (len > 0 && text[len] != ' ')
        len--;
    return len > 0 ? len : strcspn(text, " ");
}

static void put_wrapped(struct layout *layout, const char *text)
{
    size_t begin = layout->column + layout->blanks;

    while (*text) {
        size_t len = line_len(text, layout->width - begin);

        put(layout, text, len, len); /* the line ends here: its width in columns is not looked at */
        text += len;
        text += strspn(text, " ");
        if (*text) {
            fputc('\n', layout->out);
            begin_line(layout, begin);
        }
    }
}

static bool is_wrapped(const struct table *table, const struct layout *layout, size_t column)
{
    size_t begin = layout->column + layout->blanks;

    return column == layout->last && table->aligns[column] == TABLE_LEFT && layout->width > 0 &&
           layout->width >= begin + LEAST_WRAP_WIDTH;
}

static void put_cell(struct layout *layout, const char *text, size_t width, enum table_align align)
{
    size_t own = text_width(text), padding = width - own;

    if (align == TABLE_RIGHT)
        layout->blanks += padding;
    put(layout, text, strlen(text), own);
    if (align == TABLE_LEFT)
        layout->blanks += padding;
    layout->blanks += GAP;
}

static void print_row(const struct table *table, struct layout *layout, size_t row)
{
    begin_line(layout, layout->indent);
    for (size_t column = 0; column < table->num_columns; column++) {
        const char *text = cell(table, row, column);

        if (layout->widths[column] == 0)
            continue;
        if (is_wrapped(table, layout, column))
            put_wrapped(layout, text);
        else
            put_cell(layout, text, layout->widths[column], table->aligns[column]);
    }
    fputc('\n', layout->out);
}

void table_print(const struct table *table, FILE *out, size_t indent, size_t width)
{
    struct layout layout = {.out = out, .indent = indent, .width = width};

    layout.widths = need(calloc(table->num_columns, sizeof(*layout.widths)));
    if (measure(table, &layout)) {
        for (size_t row = 0; row < num_rows(table); row++)
            print_row(table, &layout, row);
    }
    free(layout.widths);
}
