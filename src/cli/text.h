/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text as a terminal may show it, and numbers as people take them in.
 *
 * Names come from users and, through them, from guests: nothing is printed before its control
 * characters have been replaced by visible escapes. What the locale cannot print is escaped too, so
 * the width of the result is always known.
 */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stddef.h>

#define TEXT_NUMBER_BYTES 32

/*
 * `text` with an escape like \x1b or \u202e for each character that is not printable. To be freed.
 */
char *text_printable(const char *text);

/* The same between double quotes, as YAML and C read it: quotes and backslashes are escaped too. */
char *text_quoted(const char *text);

/* How many columns a printable text takes. */
size_t text_width(const char *printable);

/* How many of its bytes fit into `width` columns. */
size_t text_fit(const char *printable, size_t width);

/* 1234567 as 1,234,567 */
void text_grouped(char out[static TEXT_NUMBER_BYTES], long long number);

/*
 * 1234567 as 1.23 Mbit/s: three digits, an SI prefix, and the unit, which may be "". Not negative.
 */
void text_scaled(char out[static TEXT_NUMBER_BYTES], double number, const char *unit);

/* Seconds as 42 s, 3 min 5 s, 2 h 10 min or 5 d 3 h. */
void text_duration(char out[static TEXT_NUMBER_BYTES], long long seconds);

#endif
