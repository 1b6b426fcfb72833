/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration, from whatever side it comes: read, checked, and applied to the fabric as a whole.
 */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include <jansson.h>
#include <stdbool.h>

#include <shunt/error.h>

struct fabric;
struct yaml_source;

/*
 * Makes the fabric what `given` says, all of it or nothing; a dry run only checks. `source` is where it
 * was read from, or NULL. `*lines`, if not NULL, becomes the list of steps, a new reference. Errors are
 * those of tree_check(), or of the step that failed.
 */
int config_apply(struct fabric *fabric, json_t *given, const struct yaml_source *source,
                 bool is_dry_run, json_t **lines, struct shunt_error *error);

/* The same for a file. -errno: it cannot be read. */
int config_apply_file(struct fabric *fabric, const char *file, struct shunt_error *error);

/* Whether a file could be applied, as far as that can be told without doing it. */
int config_check_file(const char *file, struct shunt_error *error);

#endif
