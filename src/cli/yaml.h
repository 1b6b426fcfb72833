/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A JSON tree as YAML, in the form in which a person would write a configuration file: a line for
 * each key, lists of scalars within brackets. Reading it gives the same tree again.
 */
#ifndef CLI_YAML_H
#define CLI_YAML_H

#include <jansson.h>
#include <stdio.h>

void yaml_print(FILE *out, json_t *tree);

#endif
