/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any JSON value as a person reads it, for what shuntctl does not know by name: what a port type
 * tells about its ports. An object becomes lines of "key  value", an array of objects a table.
 */
#ifndef CLI_TREE_H
#define CLI_TREE_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

/*
 * Prints the members of `object`: first those of one line, then the others, each under its key.
 * Lines begin with `indent` spaces. `width` in columns, or 0: lines are as long as they are.
 */
void tree_print(FILE *out, json_t *object, size_t indent, size_t width);

/*
 * A value in one line, to be freed. `key` is what it is called, which tells a number from a name.
 */
char *tree_line(const char *key, json_t *value);

#endif
