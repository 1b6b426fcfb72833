/* SPDX-License-Identifier: BSD-3-Clause */
/* Each drop reason has a name that a program can rely on, and a sentence for people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <string.h>

#include "base/drop.h"
#include "base/error.h"

static void test_names(void **state)
{
    assert_string_equal(drop_name(DROP_RUNT), "runt");
    assert_string_equal(drop_name(DROP_RING_FULL), "ring-full");
    assert_string_equal(drop_name(DROP_DEVICE_ERROR), "device-error");
    for (unsigned i = 0; i < DROP_NUM; i++) {
        const char *name = drop_name((enum drop)i);

        assert_true(islower((unsigned char)name[0]));
        for (const char *at = name; *at; at++)
            assert_true(islower((unsigned char)*at) ||
                        (*at == '-' && islower((unsigned char)at[1])));
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(name, drop_name((enum drop)j));
    }
}

static void test_explanations(void **state)
{
    for (unsigned i = 0; i < DROP_NUM; i++) {
        const char *text = drop_explanation((enum drop)i);

        assert_true(isupper((unsigned char)text[0]));
        assert_int_equal(text[strlen(text) - 1], '.');
        assert_null(strchr(text, '\n'));
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(text, drop_explanation((enum drop)j));
    }
}

static void test_errors(void **state)
{
    struct shunt_error error = {0};
    char text[SHUNT_ERROR_TEXT_BYTES + 100];

    assert_int_equal(error_set(&error, -22, "port %s: %d", "vm1", 7), -22);
    assert_int_equal(error.code, -22);
    assert_string_equal(error.text, "port vm1: 7");
    assert_int_equal(error_set(NULL, -5, "%s", "nobody listens"), -5);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(error_set(&error, -1, "%s", text), -1);
    assert_int_equal(strlen(error.text), SHUNT_ERROR_TEXT_BYTES - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_explanations),
        cmocka_unit_test(test_errors),
    };

    return cmocka_run_group_tests_name("drop", tests, NULL, NULL);
}
