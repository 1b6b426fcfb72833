/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the objects that the daemon sends hold. A newer or older daemon may leave a field out, or
 * send another type: it then reads as an empty text, or 0.
 */
#ifndef CLI_FIELD_H
#define CLI_FIELD_H

#include <jansson.h>

const char *field_text(const json_t *object, const char *key);
json_int_t field_number(const json_t *object, const char *key);

/* An integer or a real. */
double field_real(const json_t *object, const char *key);

/* The sum of the numbers in the object under `key`. */
json_int_t field_sum(const json_t *object, const char *key);

#endif
