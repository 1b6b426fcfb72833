/* SPDX-License-Identifier: BSD-3-Clause */
/* YAML text as a tree, and where in the text each value stands. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/yaml.h"

#define FILE_NAME "shunt.yaml"

static void read_good(struct yaml_source *source, const char *text)
{
    struct shunt_error error = {0};

    if (yaml_source_read(source, FILE_NAME, text, strlen(text), &error) < 0)
        fail_msg("%s", error.text);
}

/* The tree in compact JSON must be as expected. */
static void assert_reads(const char *text, const char *expected)
{
    struct yaml_source source;
    char *json;

    read_good(&source, text);
    json = json_dumps(source.tree, JSON_COMPACT | JSON_ENCODE_ANY);
    assert_string_equal(json, expected);
    free(json);
    yaml_source_free(&source);
}

static void assert_refused(const char *text, const char *message)
{
    struct yaml_source source;
    struct shunt_error error = {0};

    assert_int_equal(yaml_source_read(&source, FILE_NAME, text, strlen(text), &error), -EINVAL);
    assert_int_equal(error.code, -EINVAL);
    assert_string_equal(error.text, message);
    assert_null(source.tree);
    assert_null(source.places);
}

static void assert_place(struct yaml_place place, unsigned line, unsigned column)
{
    assert_int_equal(place.line, line);
    assert_int_equal(place.column, column);
}

static void test_scalars_are_texts(void **state)
{
    assert_reads(
        "{a: 12, b: '12', c: true, d: null, e: ~, f: 1.5, g: \"x\\ty\"}",
        "{\"a\":\"12\",\"b\":\"12\",\"c\":\"true\",\"d\":\"null\",\"e\":\"~\",\"f\":\"1.5\","
        "\"g\":\"x\\ty\"}");
    assert_reads("plain", "\"plain\"");
    assert_reads("a: |\n  two\n  lines\n", "{\"a\":\"two\\nlines\\n\"}");
}

static void test_absent_values_are_null(void **state)
{
    assert_reads("a:\nb: ''\nc:\n- 1\n-\n- 2\n",
                 "{\"a\":null,\"b\":\"\",\"c\":[\"1\",null,\"2\"]}");
}

static void test_nesting(void **state)
{
    assert_reads("ports:\n"
                 "  vm1: {type: vhost-user, socket: /run/vm1.sock}\n"
                 "  vm2:\n"
                 "    type: tap\n"
                 "workers:\n"
                 "  cpus:\n"
                 "  - 1\n"
                 "  - 2-3\n",
                 "{\"ports\":{\"vm1\":{\"type\":\"vhost-user\",\"socket\":\"/run/vm1.sock\"},"
                 "\"vm2\":{\"type\":\"tap\"}},\"workers\":{\"cpus\":[\"1\",\"2-3\"]}}");
    assert_reads("[[], {}, [[a]]]", "[[],{},[[\"a\"]]]");
}

static void test_json_is_yaml(void **state)
{
    assert_reads("{\"bridges\": {\"br0\": {}}, \"workers\": {\"cpus\": [1, 2]}}",
                 "{\"bridges\":{\"br0\":{}},\"workers\":{\"cpus\":[\"1\",\"2\"]}}");
}

static void test_empty_documents(void **state)
{
    assert_reads("", "{}");
    assert_reads("# only a comment\n", "{}");
    assert_reads("---\n", "{}");
    assert_reads("---\n...\n", "{}");
}

static void test_places(void **state)
{
    struct yaml_source source;

    read_good(&source, "# configuration\n"
                       "ports:\n"
                       "  vm1: {type: vhost-user,\n"
                       "        socket:\n"
                       "          /run/vm1.sock}\n"
                       "  é.1:   {type: tap}\n"
                       "workers:\n"
                       "  cpus: [1,  2]\n"
                       "  mode:\n");
    assert_place(yaml_source_key(&source, ""), 2, 1);
    assert_place(yaml_source_key(&source, "ports"), 2, 1);
    assert_place(yaml_source_value(&source, "ports"), 3, 3);
    assert_place(yaml_source_key(&source, "ports.vm1"), 3, 3);
    assert_place(yaml_source_value(&source, "ports.vm1"), 3, 8);
    assert_place(yaml_source_value(&source, "ports.vm1.type"), 3, 15);
    assert_place(yaml_source_key(&source, "ports.vm1.socket"), 4, 9);
    assert_place(yaml_source_value(&source, "ports.vm1.socket"), 5, 11);
    /* Columns count characters; a key with a dot is in quotes. */
    assert_place(yaml_source_value(&source, "ports.'é.1'.type"), 6, 17);
    assert_place(yaml_source_value(&source, "workers.cpus[0]"), 8, 10);
    assert_place(yaml_source_value(&source, "workers.cpus[1]"), 8, 14);
    assert_place(yaml_source_key(&source, "workers.mode"), 9, 3);
    yaml_source_free(&source);
}

static void test_places_do_not_mix(void **state)
{
    struct yaml_source source;

    read_good(&source, "ports:\n"
                       "  a.type: {}\n"
                       "  a: {type: x}\n"
                       "  'a[0]': y\n");
    assert_place(yaml_source_key(&source, "ports.'a.type'"), 2, 3);
    assert_place(yaml_source_key(&source, "ports.a.type"), 3, 7);
    assert_place(yaml_source_key(&source, "ports.'a[0]'"), 4, 3);
    yaml_source_free(&source);
}

/* What is not in the text is where it would be. */
static void test_places_around(void **state)
{
    struct yaml_source source;

    read_good(&source, "\n"
                       "ports:\n"
                       "  vm.1:\n"
                       "    type: tap\n");
    assert_place(yaml_source_value(&source, "ports.'vm.1'.bridge"), 3, 3);
    assert_place(yaml_source_key(&source, "ports.'vm.1'.bridge"), 3, 3);
    assert_place(yaml_source_value(&source, "ports.other.bridge"), 2, 1);
    assert_place(yaml_source_value(&source, "workers.cpus[1]"), 2, 1);
    yaml_source_free(&source);
    read_good(&source, "");
    assert_place(yaml_source_value(&source, "workers"), 0, 0);
    yaml_source_free(&source);
}

static void test_blame(void **state)
{
    struct yaml_source source;
    struct shunt_error error = {-EINVAL, "it is wrong"};

    read_good(&source, "a: 1");
    yaml_source_blame(&source, yaml_source_value(&source, "a"), &error);
    assert_string_equal(error.text, "shunt.yaml:1:4: it is wrong");
    assert_int_equal(error.code, -EINVAL);
    yaml_source_blame(&source, yaml_source_value(&source, "b"), &error);
    assert_string_equal(error.text, "shunt.yaml:1:1: shunt.yaml:1:4: it is wrong");
    yaml_source_blame(&source, yaml_source_value(&source, "b"), NULL);
    yaml_source_free(&source);
}

/* However long the path of the file is, what is wrong is still said. */
static void test_long_file_names(void **state)
{
    struct yaml_source source;
    struct shunt_error error;
    char file[400];

    snprintf(file, sizeof(file), "%0380d/shunt.yaml", 0);
    assert_int_equal(yaml_source_read(&source, file, "a: [", 4, &error), -EINVAL);
    assert_memory_equal(error.text, "…000", strlen("…000"));
    assert_non_null(strstr(error.text, "0/shunt.yaml:2:1: expected YAML, but did not find"));
}

static void test_syntax_errors(void **state)
{
    assert_refused("ports: {vm1: {type: tap}\nbridges: {}\n",
                   "shunt.yaml:2:1: expected YAML, but did not find expected ',' or '}' while "
                   "parsing a flow mapping");
    assert_refused("a: 1\n\tb: 2\n",
                   "shunt.yaml:2:1: expected YAML, but found a tab character that "
                   "violates indentation while scanning a plain scalar");
    assert_refused("a: b: c\n", "shunt.yaml:1:5: expected YAML, but mapping values are not allowed "
                                "in this context");
    assert_refused("a: \"open\n",
                   "shunt.yaml:2:1: expected YAML, but found unexpected end of stream "
                   "while scanning a quoted scalar");
}

static void test_bytes_that_are_not_utf8(void **state)
{
    assert_refused("a: 1\nb: é\xff\n",
                   "shunt.yaml:2:5: expected text in UTF-8, but invalid leading UTF-8 octet");
    assert_refused(
        "a: \x01\n",
        "shunt.yaml:1:4: expected text in UTF-8, but control characters are not allowed");
    assert_refused("a: \"\\0\"\n", "shunt.yaml:1:4: a NUL character; expected a text without");
}

static void test_duplicate_keys(void **state)
{
    assert_refused(
        "ports:\n  vm1: {}\n  vm2: {}\n  vm1: {}\n",
        "shunt.yaml:4:3: ports.vm1 is there twice, first in line 2; expected each key once");
    assert_refused("{a: 1, 'a': 2}",
                   "shunt.yaml:1:8: a is there twice, first in line 1; expected each key once");
}

static void test_what_is_not_taken(void **state)
{
    assert_refused("a: &x 1\nb: *x\n",
                   "shunt.yaml:1:4: anchor '&x'; expected a plain value: repeat "
                   "it where it is needed");
    assert_refused("a: *x\n", "shunt.yaml:1:4: alias '*x'; expected a plain value: repeat it");
    assert_refused("a: !!int 1\n", "shunt.yaml:1:4: tag 'tag:yaml.org,2002:int'; expected a plain "
                                   "value: leave the tag out");
    assert_refused("a: &x {b: 1}\n",
                   "shunt.yaml:1:4: anchor '&x'; expected a plain value: repeat it "
                   "where it is needed");
    assert_refused("[a]: 1\n", "shunt.yaml:1:1: a list or mapping as a key; expected a plain key");
    assert_refused("a: 1\n---\nb: 1\n",
                   "shunt.yaml:2:1: a second document; expected the end of the file");
}

/* "[[[…]]]", `depth` times. */
static void nest(char *text, unsigned depth)
{
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    text[2 * (size_t)depth] = '\0';
}

static void test_depth(void **state)
{
    struct yaml_source source;
    char text[2 * 1000 + 1];

    nest(text, YAML_MAX_DEPTH);
    read_good(&source, text);
    yaml_source_free(&source);
    nest(text, YAML_MAX_DEPTH + 1);
    assert_refused(text, "shunt.yaml:1:17: nested too deeply; expected at most 16 levels");
    nest(text, 1000);
    assert_refused(text, "shunt.yaml:1:17: nested too deeply; expected at most 16 levels");
}

static void test_size(void **state)
{
    struct yaml_source source;
    struct shunt_error error;
    char *text = malloc(YAML_MAX_BYTES + 1);

    memset(text, '\n', YAML_MAX_BYTES + 1);
    assert_int_equal(yaml_source_read(&source, FILE_NAME, text, YAML_MAX_BYTES, &error), 0);
    yaml_source_free(&source);
    assert_int_equal(yaml_source_read(&source, FILE_NAME, text, YAML_MAX_BYTES + 1, &error),
                     -EFBIG);
    assert_string_equal(error.text, "shunt.yaml: 1048577 bytes; expected at most 1 MB");
    free(text);
}

/* A thousand keys, and each is found again. */
static void test_many(void **state)
{
    struct yaml_source source;
    char *text = malloc(64 * 1000);
    size_t len = 0;

    for (unsigned i = 0; i < 1000; i++)
        len += (size_t)sprintf(text + len, "key%u: {value: %u}\n", i, i);
    read_good(&source, text);
    free(text);
    for (unsigned i = 0; i < 1000; i++) {
        char path[32];

        snprintf(path, sizeof(path), "key%u.value", i);
        assert_int_equal(yaml_source_value(&source, path).line, i + 1);
    }
    yaml_source_free(&source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars_are_texts),
        cmocka_unit_test(test_absent_values_are_null),
        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_json_is_yaml),
        cmocka_unit_test(test_empty_documents),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_places_do_not_mix),
        cmocka_unit_test(test_places_around),
        cmocka_unit_test(test_blame),
        cmocka_unit_test(test_long_file_names),
        cmocka_unit_test(test_syntax_errors),
        cmocka_unit_test(test_bytes_that_are_not_utf8),
        cmocka_unit_test(test_duplicate_keys),
        cmocka_unit_test(test_what_is_not_taken),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
