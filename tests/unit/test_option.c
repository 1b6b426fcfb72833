/* SPDX-License-Identifier: BSD-3-Clause */
/* What a user gives against the table of what there is. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "port/option.h"

static const char *const colours[] = {"red", "green", NULL};
static const char *const booleans[] = {"false", "true", NULL};

static const struct option common[] = {
    {.key = "path", .kind = OPTION_TEXT, .is_required = true, .max = 107, .help = "where it is"},
    {.key = "note", .kind = OPTION_TEXT, .max = 8, .help = "anything short"},
    {0},
};
static const struct option own[] = {
    {.key = "num",
     .kind = OPTION_NUMBER,
     .fallback = "7",
     .min = -2,
     .max = 100,
     .help = "how many"},
    {.key = "colour",
     .kind = OPTION_CHOICE,
     .fallback = "red",
     .choices = colours,
     .help = "which"},
    {.key = "bold", .kind = OPTION_CHOICE, .fallback = "false", .choices = booleans, .help = "if"},
    {.key = "list", .kind = OPTION_ANY, .help = "whatever"},
    {0},
};
static const struct option *const tables[] = {common, own};

/* The object that the JSON text describes, with ' for ". */
static json_t *parse(const char *text)
{
    char json[1024];
    json_t *object;

    snprintf(json, sizeof(json), "%s", text);
    for (char *at = json; *at != '\0'; at++)
        if (*at == '\'')
            *at = '"';
    object = json_loads(json, 0, NULL);
    assert_non_null(object);
    return object;
}

/* The checked object, or NULL. */
static json_t *check(const char *text, struct shunt_error *error)
{
    json_t *given = parse(text), *checked = json_object();

    if (option_check(tables, 2, given, "", checked, NULL, error) < 0) {
        json_decref(checked);
        checked = NULL;
    }
    json_decref(given);
    return checked;
}

static void assert_refused(const char *text, const char *key, const char *message)
{
    struct shunt_error error = {0};
    const char *bad_key = "not set";
    json_t *given = parse(text), *checked = json_object();

    assert_int_equal(option_check(tables, 2, given, "ports.p", checked, &bad_key, &error), -EINVAL);
    assert_int_equal(error.code, -EINVAL);
    assert_string_equal(error.text, message);
    if (key)
        assert_string_equal(bad_key, key);
    else
        assert_null(bad_key);
    json_decref(given);
    json_decref(checked);
}

static void test_defaults(void **state)
{
    json_t *checked = check("{'path': '/x'}", NULL);

    assert_non_null(checked);
    assert_string_equal(option_text(checked, "path"), "/x");
    assert_int_equal(option_number(checked, "num"), 7);
    assert_string_equal(option_text(checked, "colour"), "red");
    assert_null(option_text(checked, "note"));
    assert_null(json_object_get(checked, "list"));
    assert_int_equal(json_object_size(checked), 4);
    json_decref(checked);
}

static void test_text_and_typed_values_are_the_same(void **state)
{
    json_t *text = check("{'path': '/x', 'num': '-2', 'bold': 'true'}", NULL);
    json_t *typed = check("{'path': '/x', 'num': -2, 'bold': true}", NULL);

    assert_non_null(text);
    assert_true(json_equal(text, typed));
    assert_true(json_is_integer(json_object_get(text, "num")));
    json_decref(text);
    json_decref(typed);
}

/* What has been checked is accepted again, and does not change. */
static void test_checked_is_accepted_again(void **state)
{
    json_t *once = check("{'path': '/x', 'num': '3', 'list': [1, {'a': null}]}", NULL);
    json_t *twice = json_object();

    assert_non_null(once);
    assert_int_equal(option_check(tables, 2, once, "", twice, NULL, NULL), 0);
    assert_true(json_equal(once, twice));
    json_decref(once);
    json_decref(twice);
}

static void test_numbers(void **state)
{
    static const char *const good[] = {"'-2'", "'0'", "'100'", "'007'", "-2", "100"};
    static const char *const bad[] = {"''",
                                      "'-3'",
                                      "'101'",
                                      "' 1'",
                                      "'1 '",
                                      "'+1'",
                                      "'1.0'",
                                      "'0x1'",
                                      "'1e1'",
                                      "'-'",
                                      "1.0",
                                      "true",
                                      "[1]",
                                      "null",
                                      "-3",
                                      "101",
                                      "'99999999999999999999'",
                                      "9223372036854775807"};
    char text[128];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        json_t *checked;

        snprintf(text, sizeof(text), "{'path': '/', 'num': %s}", good[i]);
        checked = check(text, NULL);
        assert_non_null(checked);
        json_decref(checked);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct shunt_error error = {0};

        snprintf(text, sizeof(text), "{'path': '/', 'num': %s}", bad[i]);
        assert_null(check(text, &error));
        assert_non_null(strstr(error.text, "expected a number from -2 to 100"));
    }
}

static void test_messages(void **state)
{
    assert_refused("{'path': '/', 'num': 'many'}", "num",
                   "ports.p.num: 'many'; expected a number from -2 to 100");
    assert_refused("{'path': '/', 'colour': 'blue'}", "colour",
                   "ports.p.colour: 'blue'; expected one of: red, green");
    assert_refused("{'path': '/', 'colour': true}", "colour",
                   "ports.p.colour: 'true'; expected one of: red, green");
    assert_refused("{'path': '/', 'colour': null}", "colour",
                   "ports.p.colour: nothing; expected one of: red, green");
    assert_refused(
        "{'path': ''}", "path",
        "ports.p.path: ''; expected a text of 1 to 107 bytes without control characters");
    assert_refused("{'path': ['/']}", "path",
                   "ports.p.path: '[\"/\"]'; expected a text of 1 to 107 bytes without control "
                   "characters");
    assert_refused("{'num': 1}", NULL, "ports.p: 'path' is missing: where it is");
    assert_refused("{'path': '/', 'colr': 1}", "colr",
                   "ports.p: unknown key 'colr'; there are: path, note, num, colour, bold, list");
}

static void test_messages_without_path(void **state)
{
    struct shunt_error error = {0};

    assert_null(check("{'path': '/', 'num': 'x'}", &error));
    assert_string_equal(error.text, "num: 'x'; expected a number from -2 to 100");
    assert_null(check("{}", &error));
    assert_string_equal(error.text, "'path' is missing: where it is");
}

static void test_text_length(void **state)
{
    char text[256];
    json_t *checked;

    snprintf(text, sizeof(text), "{'path': '%0107d'}", 0);
    checked = check(text, NULL);
    assert_non_null(checked);
    json_decref(checked);
    snprintf(text, sizeof(text), "{'path': '%0108d'}", 0);
    assert_null(check(text, NULL));
    /* In UTF-8 it is bytes that count. */
    assert_null(check("{'path': '/', 'note': 'ääääö'}", NULL));
}

/* Wherever the cut falls, the message is valid UTF-8, and says how long the value was. */
static void test_long_values_are_cut(void **state)
{
    static const char euros[] = "€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€";
    static const char *const prefixes[] = {"", "x", "xx", "xxx"};

    for (unsigned i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        struct shunt_error error = {0};
        char text[512];
        json_t *message;

        snprintf(text, sizeof(text), "{'path': '%s%s'}", prefixes[i], euros);
        assert_null(check(text, &error));
        message = json_string(error.text);
        assert_non_null(message);
        json_decref(message);
        assert_non_null(strstr(error.text, "…' (15"));
        assert_non_null(strstr(error.text, "expected a text of 1 to 107 bytes"));
    }
}

static void test_control_characters(void **state)
{
    struct shunt_error error = {0};

    assert_null(check("{'path': '/a\\nb'}", &error));
    assert_string_equal(error.text, "path: '/a\\x0ab'; expected a text of 1 to 107 bytes without "
                                    "control characters");
    assert_null(check("{'path': '/', 'a\\u001bb\\tc': 1}", &error));
    assert_non_null(strstr(error.text, "unknown key 'a\\x1bb\\x09c'"));
}

static void test_find(void **state)
{
    assert_ptr_equal(option_find(tables, 2, "num"), &own[0]);
    assert_ptr_equal(option_find(tables, 2, "path"), &common[0]);
    assert_null(option_find(tables, 2, "pat"));
    assert_null(option_find(tables, 1, "num"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_text_and_typed_values_are_the_same),
        cmocka_unit_test(test_checked_is_accepted_again),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_messages_without_path),
        cmocka_unit_test(test_text_length),
        cmocka_unit_test(test_long_values_are_cut),
        cmocka_unit_test(test_control_characters),
        cmocka_unit_test(test_find),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
