/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <locale.h>
#include <stdlib.h>

#include "cli/text.h"

static void expect(char *text, const char *expected)
{
    assert_string_equal(text, expected);
    free(text);
}

static void test_escapes_control_characters(void **state)
{
    expect(text_printable("plain text"), "plain text");
    expect(text_printable("a\x1b[2Jb\tc\r\n\x7f"), "a\\x1b[2Jb\\x09c\\x0d\\x0a\\x7f");
    /* C1: what some terminals take for ESC [ */
    expect(text_printable("\xc2\x9b"), "\\x9b");
}

static void test_escapes_what_hides_or_reorders(void **state)
{
    /* Byte by byte: the compiler's own checks find such characters in literals. */
    static const char right_to_left[] = {'a', '\xe2', '\x80', '\xae', 'b', '\0'};
    static const char no_space[] = {'a', '\xe2', '\x80', '\x8b', 'b', '\0'};
    static const char byte_order_mark[] = {'\xef', '\xbb', '\xbf', '\0'};

    expect(text_printable(right_to_left), "a\\u202eb");
    expect(text_printable(no_space), "a\\u200bb");
    expect(text_printable(byte_order_mark), "\\ufeff");
}

static void test_escapes_what_is_not_utf8(void **state)
{
    expect(text_printable("a\xff"), "a\\xff");
    expect(text_printable("\xc3"), "\\xc3");                   /* cut off */
    expect(text_printable("\xc0\xaf"), "\\xc0\\xaf");          /* longer than need be */
    expect(text_printable("\xed\xa0\x80"), "\\xed\\xa0\\x80"); /* half of a surrogate pair */
    expect(text_printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80"); /* beyond Unicode */
}

static void test_prints_what_the_locale_can(void **state)
{
    assert_non_null(setlocale(LC_CTYPE, "C.UTF-8"));
    expect(text_printable("\xc3\xa4\xe6\xbc\xa2"), "\xc3\xa4\xe6\xbc\xa2");
    assert_int_equal(text_width("\xc3\xa4\xe6\xbc\xa2"), 3);
    setlocale(LC_CTYPE, "C");
    expect(text_printable("\xc3\xa4\xe6\xbc\xa2"), "\\xe4\\u6f22");
}

static void test_quotes(void **state)
{
    expect(text_quoted("say \"no\" to C:\\"), "\"say \\\"no\\\" to C:\\\\\"");
    expect(text_quoted("a\nb"), "\"a\\x0ab\"");
}

static void test_fits_whole_characters(void **state)
{
    assert_int_equal(text_fit("abcdef", 4), 4);
    assert_int_equal(text_fit("ab", 4), 2);
    assert_int_equal(text_fit("ab", 0), 0);
    assert_non_null(setlocale(LC_CTYPE, "C.UTF-8"));
    /* Two characters of two columns and three bytes each. */
    assert_int_equal(text_fit("\xe6\xbc\xa2\xe6\xbc\xa2", 3), 3);
    setlocale(LC_CTYPE, "C");
}

static void expect_grouped(long long number, const char *expected)
{
    char text[TEXT_NUMBER_BYTES];

    text_grouped(text, number);
    assert_string_equal(text, expected);
}

static void test_groups_digits(void **state)
{
    expect_grouped(0, "0");
    expect_grouped(999, "999");
    expect_grouped(1000, "1,000");
    expect_grouped(123456, "123,456");
    expect_grouped(-1234, "-1,234");
    expect_grouped(-123, "-123");
    expect_grouped(INT64_MAX, "9,223,372,036,854,775,807");
    expect_grouped(INT64_MIN, "-9,223,372,036,854,775,808");
}

static void expect_scaled(double number, const char *unit, const char *expected)
{
    char text[TEXT_NUMBER_BYTES];

    text_scaled(text, number, unit);
    assert_string_equal(text, expected);
}

static void test_scales_to_three_digits(void **state)
{
    expect_scaled(0, "", "0");
    expect_scaled(0.4, "", "0.4");
    expect_scaled(3, "", "3.0");
    expect_scaled(42.4, "", "42");
    expect_scaled(999.4, "", "999");
    expect_scaled(999.6, "", "1.00 k");
    expect_scaled(1234, "bit/s", "1.23 kbit/s");
    expect_scaled(12345, "", "12.3 k");
    expect_scaled(123456, "", "123 k");
    expect_scaled(999600, "", "1.00 M");
    expect_scaled(9.87e9, "bit/s", "9.87 Gbit/s");
    expect_scaled(0, "bit/s", "0 bit/s");
    expect_scaled(1e24, "", "1000000 E");
}

static void expect_duration(long long seconds, const char *expected)
{
    char text[TEXT_NUMBER_BYTES];

    text_duration(text, seconds);
    assert_string_equal(text, expected);
}

static void test_tells_a_duration_in_two_units(void **state)
{
    expect_duration(0, "0 s");
    expect_duration(59, "59 s");
    expect_duration(60, "1 min 0 s");
    expect_duration(7512, "2 h 5 min");
    expect_duration(90061, "1 d 1 h");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escapes_control_characters),
        cmocka_unit_test(test_escapes_what_hides_or_reorders),
        cmocka_unit_test(test_escapes_what_is_not_utf8),
        cmocka_unit_test(test_prints_what_the_locale_can),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_fits_whole_characters),
        cmocka_unit_test(test_groups_digits),
        cmocka_unit_test(test_scales_to_three_digits),
        cmocka_unit_test(test_tells_a_duration_in_two_units),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
