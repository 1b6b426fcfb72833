/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/table.h"

static const struct table_column columns[] = {{"NAME", TABLE_LEFT},
                                              {"COUNT", TABLE_RIGHT},
                                              {"REASON", TABLE_LEFT}};

/* Prints the table, ends it, and compares. */
static void expect(struct table *table, size_t indent, size_t width, const char *expected)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    table_print(table, out, indent, width);
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
    table_destroy(table);
}

static void add_row(struct table *table, const char *name, long long count, const char *reason)
{
    table_add(table, name);
    table_add_number(table, count);
    table_add(table, reason);
}

static void test_aligns_columns(void **state)
{
    struct table *table = table_create(TABLE_COLUMNS(columns));

    add_row(table, "a", 1, "x");
    add_row(table, "longer", 1234567, "why");
    expect(table, 0, 0,
           "NAME        COUNT  REASON\n"
           "a               1  x\n"
           "longer  1,234,567  why\n");
}

static void test_leaves_no_blanks_at_the_end_of_a_line(void **state)
{
    struct table *table = table_create(TABLE_COLUMNS(columns));

    add_row(table, "a", 1, "");
    add_row(table, "b", 2, "why");
    expect(table, 2, 0,
           "  NAME  COUNT  REASON\n"
           "  a         1\n"
           "  b         2  why\n");
}

static void test_leaves_out_an_empty_column(void **state)
{
    struct table *table = table_create(TABLE_COLUMNS(columns));

    add_row(table, "a", 1, NULL);
    expect(table, 0, 0,
           "NAME  COUNT\n"
           "a         1\n");
}

static void test_prints_headings_without_rows_as_nothing(void **state)
{
    expect(table_create(TABLE_COLUMNS(columns)), 0, 0, "");
}

static void test_prints_without_headings(void **state)
{
    static const struct table_column plain[] = {{NULL, TABLE_LEFT}, {NULL, TABLE_LEFT}};
    struct table *table = table_create(TABLE_COLUMNS(plain));

    table_add(table, "key");
    table_add_format(table, "%d %s", 4, "values");
    expect(table, 4, 0, "    key  4 values\n");
}

static void test_wraps_the_last_column(void **state)
{
    struct table *table = table_create(TABLE_COLUMNS(columns));

    add_row(table, "a", 1, "the quick brown fox jumps over");
    expect(table, 0, 37,
           "NAME  COUNT  REASON\n"
           "a         1  the quick brown fox\n"
           "             jumps over\n");
}

static void test_breaks_no_word(void **state)
{
    struct table *table = table_create(TABLE_COLUMNS(columns));

    add_row(table, "a", 1, "to /a/path/that/is/longer/than/the/line go");
    expect(table, 0, 36,
           "NAME  COUNT  REASON\n"
           "a         1  to\n"
           "             /a/path/that/is/longer/than/the/line\n"
           "             go\n");
}

static void test_wraps_in_no_column_that_is_too_narrow(void **state)
{
    struct table *table = table_create(TABLE_COLUMNS(columns));

    add_row(table, "a", 1, "the quick brown fox");
    expect(table, 0, 20,
           "NAME  COUNT  REASON\n"
           "a         1  the quick brown fox\n");
}

static void test_escapes_what_could_drive_a_terminal(void **state)
{
    struct table *table = table_create(TABLE_COLUMNS(columns));

    add_row(table, "\x1b[31m", 1, "a\nb");
    expect(table, 0, 0,
           "NAME      COUNT  REASON\n"
           "\\x1b[31m      1  a\\x0ab\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aligns_columns),
        cmocka_unit_test(test_leaves_no_blanks_at_the_end_of_a_line),
        cmocka_unit_test(test_leaves_out_an_empty_column),
        cmocka_unit_test(test_prints_headings_without_rows_as_nothing),
        cmocka_unit_test(test_prints_without_headings),
        cmocka_unit_test(test_wraps_the_last_column),
        cmocka_unit_test(test_breaks_no_word),
        cmocka_unit_test(test_wraps_in_no_column_that_is_too_narrow),
        cmocka_unit_test(test_escapes_what_could_drive_a_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
