/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/arguments.h"
#include "cli/report.h"

static const char *const two_keys[] = {"bridge", "port", NULL};

static const struct command any = {
    .object = "port",
    .verb = "add",
    .synopsis = "NAME KEY VALUE...",
    .operand = "name",
    .keys = command_any_key,
    .required_key = "type",
    .has_dry_run = true,
};
static const struct command some = {.object = "fdb",
                                    .verb = "show",
                                    .synopsis = "",
                                    .keys = two_keys};
static const struct command none = {.object = "port",
                                    .verb = "del",
                                    .synopsis = "NAME",
                                    .operand = "name"};
static const struct command set = {
    .object = "worker",
    .verb = "set",
    .synopsis = "",
    .keys = command_any_key,
    .needs_pair = true,
    .has_dry_run = true,
};

#define MAX_WORDS 16

/* What the line, split at its spaces, becomes: JSON, or NULL for wrong usage. */
static char *parse(const struct command *command, const char *line)
{
    char *copy = strdup(line), *words[MAX_WORDS + 1] = {0}, *rest = copy, *text;
    json_t *params;
    int status;

    for (size_t i = 0; i < MAX_WORDS && (words[i] = strsep(&rest, " ")); i++)
        ;
    status = arguments_parse(command, *line ? words : words + MAX_WORDS, &params);
    assert_int_equal(status, params ? STATUS_OK : STATUS_USAGE);
    text = params ? json_dumps(params, JSON_COMPACT) : NULL;
    json_decref(params);
    free(copy);
    return text;
}

static void expect(const struct command *command, const char *line, const char *expected)
{
    char *text = parse(command, line);

    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}

static void expect_wrong(const struct command *command, const char *line)
{
    assert_null(parse(command, line));
}

static void test_takes_operand_and_pairs(void **state)
{
    expect(&any, "vm1 type null queues 2", "{\"name\":\"vm1\",\"type\":\"null\",\"queues\":\"2\"}");
    expect(&none, "vm1", "{\"name\":\"vm1\"}");
    expect(&some, "", "{}");
    expect(&some, "port a bridge b", "{\"port\":\"a\",\"bridge\":\"b\"}");
}

static void test_takes_dry_run_anywhere_between(void **state)
{
    const char *expected = "{\"name\":\"a\",\"type\":\"null\",\"dry_run\":true}";

    expect(&any, "a type null --dry-run", expected);
    expect(&any, "--dry-run a type null", "{\"dry_run\":true,\"name\":\"a\",\"type\":\"null\"}");
    expect_wrong(&any, "a type --dry-run");
    expect_wrong(&none, "a --dry-run");
}

static void test_refuses_pairs_that_are_wrong(void **state)
{
    expect_wrong(&any, "a type");
    expect_wrong(&any, "a type null type tap");
    expect_wrong(&any, "a type null name b");
    expect_wrong(&any, "a type null dry_run 1");
    expect_wrong(&some, "brige a");
    expect_wrong(&none, "a b");
}

static void test_refuses_what_is_incomplete(void **state)
{
    expect_wrong(&any, "");
    expect_wrong(&any, "a queues 2");
    expect_wrong(&none, "");
    expect_wrong(&set, "");
    expect_wrong(&set, "--dry-run");
}

static void test_refuses_unknown_options(void **state)
{
    expect_wrong(&any, "a type null --dryrun");
    expect_wrong(&none, "-j");
    expect_wrong(&some, "--json");
}

static void test_two_dashes_end_the_options(void **state)
{
    expect(&none, "-- -a", "{\"name\":\"-a\"}");
    expect(&none, "-", "{\"name\":\"-\"}");
}

static void test_refuses_what_is_not_utf8(void **state)
{
    expect_wrong(&none, "a\xff");
    expect(&none, "\xc3\xa4", "{\"name\":\"\xc3\xa4\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takes_operand_and_pairs),
        cmocka_unit_test(test_takes_dry_run_anywhere_between),
        cmocka_unit_test(test_refuses_pairs_that_are_wrong),
        cmocka_unit_test(test_refuses_what_is_incomplete),
        cmocka_unit_test(test_refuses_unknown_options),
        cmocka_unit_test(test_two_dashes_end_the_options),
        cmocka_unit_test(test_refuses_what_is_not_utf8),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
