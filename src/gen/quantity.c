/* SPDX-License-Identifier: BSD-3-Clause */
#include "gen/quantity.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Whole numbers are exact in a double up to here. */
#define MOST 9007199254740992.0

struct unit {
    const char *name;
    double factor;
};

static const struct unit prefixes[] = {{"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {0}};

static const struct unit times[] = {{"", 1},     {"s", 1},    {"ms", 1e-3}, {"us", 1e-6},
                                    {"min", 60}, {"h", 3600}, {0}};

/* The number that the text begins with; the rest of it, or NULL: it begins with none. */
static const char *take_number(const char *text, double *number)
{
    char *end;

    /* Neither a sign, nor "inf", nor a hexadecimal number. */
    if (!isdigit((unsigned char)text[0]) || tolower((unsigned char)text[1]) == 'x')
        return NULL;
    *number = strtod(text, &end);
    return isfinite(*number) ? end : NULL;
}

static const char *take_scaled(const char *text, double *number)
{
    const char *rest = take_number(text, number);

    for (const struct unit *prefix = prefixes; rest && prefix->name; prefix++) {
        if (*rest == *prefix->name) {
            *number *= prefix->factor;
            return rest + 1;
        }
    }
    return rest;
}

static bool is_any_of(const char *text, const char *one, const char *other)
{
    return strcmp(text, one) == 0 || strcmp(text, other) == 0;
}

bool quantity_count(const char *text, uint64_t *count)
{
    double number;
    const char *rest = take_scaled(text, &number);

    if (!rest || *rest || number > MOST || number < trunc(number) || number > trunc(number))
        return false;
    *count = (uint64_t)number;
    return true;
}

bool quantity_rate(const char *text, double *rate, bool *is_in_bits)
{
    double number;
    const char *unit = take_scaled(text, &number);
    bool is_bits = unit && is_any_of(unit, "bit", "bit/s");

    if (!unit || number <= 0 || (!is_bits && !is_any_of(unit, "", "pps")))
        return false;
    *rate = number;
    *is_in_bits = is_bits;
    return true;
}

bool quantity_seconds(const char *text, double *seconds)
{
    double number;
    const char *rest = take_number(text, &number);

    for (const struct unit *unit = times; rest && unit->name; unit++) {
        if (strcmp(rest, unit->name) == 0) {
            *seconds = number * unit->factor;
            return true;
        }
    }
    return false;
}

bool quantity_number(const char *text, unsigned least, unsigned most, unsigned *number)
{
    char *end;
    unsigned long value;

    if (!isdigit((unsigned char)*text))
        return false;
    value = strtoul(text, &end, 10);
    if (*end || value < least || value > most)
        return false;
    *number = (unsigned)value;
    return true;
}
