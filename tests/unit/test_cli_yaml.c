/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "cli/yaml.h"

static void expect(const char *json, const char *expected)
{
    json_t *tree = json_loads(json, JSON_DECODE_ANY, NULL);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(tree);
    yaml_print(out, tree);
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
    json_decref(tree);
}

static void test_prints_a_configuration(void **state)
{
    expect("{\"bridges\": {\"br0\": {}},"
           " \"ports\": {\"vm1\": {\"type\": \"vhost-user\", \"queues\": 2}},"
           " \"workers\": {\"cpus\": [1, 2]}}",
           "bridges:\n"
           "  br0: {}\n"
           "ports:\n"
           "  vm1:\n"
           "    type: vhost-user\n"
           "    queues: 2\n"
           "workers:\n"
           "  cpus: [1, 2]\n");
}

static void test_prints_what_is_empty(void **state)
{
    expect("{}", "{}\n");
    expect("{\"a\": [], \"b\": null, \"c\": \"\"}", "a: []\nb: null\nc: \"\"\n");
}

static void test_prints_scalars(void **state)
{
    expect("{\"a\": true, \"b\": -3, \"c\": 0.5}", "a: true\nb: -3\nc: 0.5\n");
}

/* Without quotes they would be read as something else, or not at all. */
static void test_quotes_texts_that_need_it(void **state)
{
    expect("[\"plain\", \"/run/a-b_c.sock\", \"x1\"]", "[plain, /run/a-b_c.sock, x1]\n");
    expect("[\"1\", \"-1\", \"1e3\", \"0x10\", \".5\", \"1:20\"]",
           "[\"1\", \"-1\", \"1e3\", \"0x10\", \".5\", \"1:20\"]\n");
    expect("[\"yes\", \"No\", \"TRUE\", \"null\", \"~\", \"on\", \"y\"]",
           "[\"yes\", \"No\", \"TRUE\", \"null\", \"~\", \"on\", \"y\"]\n");
    expect("[\"a b\", \"a: b\", \"a #b\", \"- a\", \"a,b\", \"[\", \"*a\", \"&a\", \"!a\"]",
           "[\"a b\", \"a: b\", \"a #b\", \"- a\", \"a,b\", \"[\", \"*a\", \"&a\", \"!a\"]\n");
    expect("{\"a b\": \"say \\\"x\\\\\\\"\"}", "\"a b\": \"say \\\"x\\\\\\\"\"\n");
    expect("[\"a\\nb\\u001b\\u202e\"]", "[\"a\\x0ab\\x1b\\u202e\"]\n");
}

static void test_prints_lists_of_objects(void **state)
{
    expect("{\"a\": [{\"b\": 1, \"c\": {\"d\": 2}}, {}, [[1], [2, 3]]]}", "a:\n"
                                                                          "  - b: 1\n"
                                                                          "    c:\n"
                                                                          "      d: 2\n"
                                                                          "  - {}\n"
                                                                          "  - - [1]\n"
                                                                          "    - [2, 3]\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prints_a_configuration),
        cmocka_unit_test(test_prints_what_is_empty),
        cmocka_unit_test(test_prints_scalars),
        cmocka_unit_test(test_quotes_texts_that_need_it),
        cmocka_unit_test(test_prints_lists_of_objects),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
