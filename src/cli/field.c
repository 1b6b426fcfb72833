/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/field.h"

const char *field_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

json_int_t field_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

double field_real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

json_int_t field_sum(const json_t *object, const char *key)
{
    json_int_t sum = 0;
    const char *name;
    json_t *number;

    json_object_foreach (json_object_get(object, key), name, number) {
        sum += json_integer_value(number);
    }
    return sum;
}
