/* SPDX-License-Identifier: BSD-3-Clause */
/* Filling in a `struct shunt_error`: the number for programs, the line for people. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <shunt/error.h>

/* Sets both and returns `code` (a negative errno), so that one can `return error_set(…)`. */
int error_set(struct shunt_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
