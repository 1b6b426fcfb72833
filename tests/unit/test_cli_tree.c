/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "cli/tree.h"

static void expect(const char *json, const char *expected)
{
    json_t *object = json_loads(json, 0, NULL);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(object);
    tree_print(out, object, 0, 0);
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
    json_decref(object);
}

static void test_prints_a_line_for_each_key(void **state)
{
    expect("{\"type\": \"tap\", \"peer_pid\": 1234567, \"bytes\": 1234567, \"is\": true}",
           "type      tap\n"
           "peer pid  1234567\n"
           "bytes     1,234,567\n"
           "is        yes\n");
}

static void test_prints_lists_in_a_line(void **state)
{
    expect("{\"features\": [\"A\", \"B\"], \"none\": [], \"mixed\": [1, {\"a\": 2, \"b\": [3]}]}",
           "features  A, B\n"
           "none      none\n"
           "mixed     1, a 2, b 3\n");
}

static void test_prints_sections_behind_lines(void **state)
{
    expect("{\"options\": {\"queues\": 2, \"deep\": {\"a\": 1}}, \"name\": \"x\"}", "name  x\n"
                                                                                    "options\n"
                                                                                    "  queues  2\n"
                                                                                    "  deep\n"
                                                                                    "    a  1\n");
}

static void test_prints_a_list_of_objects_as_a_table(void **state)
{
    expect("{\"memory\": [{\"guest_address\": 4096, \"bytes\": 1048576},"
           "              {\"guest_address\": 0, \"bytes\": 4096, \"more\": \"x\"}]}",
           "memory\n"
           "  GUEST ADDRESS      BYTES  MORE\n"
           "         0x1000  1,048,576\n"
           "            0x0      4,096  x\n");
}

static void test_escapes_keys(void **state)
{
    expect("{\"\\u001b\": {\"\\u0007\": 1}}", "\\x1b\n  \\x07  1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prints_a_line_for_each_key),
        cmocka_unit_test(test_prints_lists_in_a_line),
        cmocka_unit_test(test_prints_sections_behind_lines),
        cmocka_unit_test(test_prints_a_list_of_objects_as_a_table),
        cmocka_unit_test(test_escapes_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
