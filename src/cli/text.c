/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "cli/report.h"

/* How UTF-8 leads into 1, 2, 3 and 4 bytes, and the least code point that needs as many. */
static const struct {
    unsigned char mask, lead;
    uint32_t least;
} utf8_forms[] = {
    {0x80, 0x00, 0},
    {0xe0, 0xc0, 0x80},
    {0xf0, 0xe0, 0x800},
    {0xf8, 0xf0, 0x10000},
};

static bool is_code_point(uint32_t code)
{
    return code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

/* Bytes of the UTF-8 sequence at `text`, not at its end, and its code point; 0: it is not one. */
static size_t decode(const char *text, uint32_t *code)
{
    const unsigned char *bytes = (const unsigned char *)text;

    for (size_t form = 0; form < sizeof(utf8_forms) / sizeof(utf8_forms[0]); form++) {
        if ((bytes[0] & utf8_forms[form].mask) != utf8_forms[form].lead)
            continue;
        *code = bytes[0] & (unsigned char)~utf8_forms[form].mask;
        for (size_t i = 1; i <= form; i++) {
            if ((bytes[i] & 0xc0) != 0x80)
                return 0;
            *code = *code << 6 | (bytes[i] & 0x3f);
        }
        return *code >= utf8_forms[form].least && is_code_point(*code) ? form + 1 : 0;
    }
    return 0;
}

/* They draw nothing, but reorder or hide what stands next to them. */
static bool is_invisible(uint32_t code)
{
    return (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2060 && code <= 0x206f) || code == 0xfeff;
}

static int columns(uint32_t code)
{
    if (code < 0x80)
        return code >= ' ' && code != 0x7f ? 1 : -1;
    return is_invisible(code) ? -1 : wcwidth((wchar_t)code);
}

static void write_escape(FILE *out, uint32_t code)
{
    if (code <= 0xff)
        fprintf(out, "\\x%02x", code);
    else if (code <= 0xffff)
        fprintf(out, "\\u%04x", code);
    else
        fprintf(out, "\\U%08x", code);
}

/* Characters of `also` get a backslash. */
static void write_printable(FILE *out, const char *text, const char *also)
{
    while (*text) {
        uint32_t code = (unsigned char)*text;
        size_t len = decode(text, &code);

        if (len == 0 || columns(code) < 0) {
            write_escape(out, len ? code : (unsigned char)*text);
        } else {
            if (strchr(also, *text))
                fputc('\\', out);
            fwrite(text, 1, len, out);
        }
        text += len ? len : 1;
    }
}

static char *escaped(const char *text, const char *quote, const char *also)
{
    char *result = NULL;
    size_t size = 0;
    FILE *out = need(open_memstream(&result, &size));

    fputs(quote, out);
    write_printable(out, text, also);
    fputs(quote, out);
    fclose(out);
    return need(result);
}

char *text_printable(const char *text)
{
    return escaped(text, "", "");
}

char *text_quoted(const char *text)
{
    return escaped(text, "\"", "\"\\");
}

/* Bytes and columns of the next character; a byte that should not be there counts as one column. */
static size_t next_character(const char *text, size_t *width)
{
    uint32_t code;
    size_t len = decode(text, &code);
    int num = len ? columns(code) : 1;

    *width = num < 0 ? 1 : (size_t)num;
    return len ? len : 1;
}

size_t text_width(const char *printable)
{
    size_t total = 0;

    while (*printable) {
        size_t width;

        printable += next_character(printable, &width);
        total += width;
    }
    return total;
}

size_t text_fit(const char *printable, size_t width)
{
    size_t len = 0;

    while (printable[len]) {
        size_t taken;
        size_t bytes = next_character(printable + len, &taken);

        if (taken > width)
            break;
        width -= taken;
        len += bytes;
    }
    return len;
}

void text_grouped(char out[static TEXT_NUMBER_BYTES], long long number)
{
    char digits[TEXT_NUMBER_BYTES];
    int len = snprintf(digits, sizeof(digits), "%lld", number);
    int first = number < 0;

    for (int i = 0; i < len; i++) {
        if (i > first && (len - i) % 3 == 0)
            *out++ = ',';
        *out++ = digits[i];
    }
    *out = '\0';
}

void text_scaled(char out[static TEXT_NUMBER_BYTES], double number, const char *unit)
{
    static const char *const prefixes[] = {"", "k", "M", "G", "T", "P", "E"};
    const size_t last = sizeof(prefixes) / sizeof(prefixes[0]) - 1;
    size_t prefix = 0;

    /* 999.5 would be rounded to 1000. */
    while (number >= 999.5 && prefix < last) {
        number /= 1000;
        prefix++;
    }
    int decimals = number < 9.995 ? 2 : number < 99.95 ? 1 : 0;

    /*
     * Without prefix it is a count: hundredths of it say nothing, but a few tenths are not nothing.
     */
    if (prefix == 0)
        decimals = number >= 0.05 && number < 9.95;
    snprintf(out, TEXT_NUMBER_BYTES, "%.*f%s%s%s", decimals, number,
             *prefixes[prefix] || *unit ? " " : "", prefixes[prefix], unit);
}

void text_duration(char out[static TEXT_NUMBER_BYTES], long long seconds)
{
    long long minutes = seconds / 60, hours = minutes / 60, days = hours / 24;

    if (days > 0)
        snprintf(out, TEXT_NUMBER_BYTES, "%lld d %lld h", days, hours % 24);
    else if (hours > 0)
        snprintf(out, TEXT_NUMBER_BYTES, "%lld h %lld min", hours, minutes % 60);
    else if (minutes > 0)
        snprintf(out, TEXT_NUMBER_BYTES, "%lld min %lld s", minutes, seconds % 60);
    else
        snprintf(out, TEXT_NUMBER_BYTES, "%lld s", seconds);
}
