/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * YAML text as a JSON tree, and where in the text each value stands.
 *
 * A configuration needs little of YAML, and only that is taken: one document of mappings, lists and
 * scalars. Aliases, anchors and tags are refused, and so are keys that are there twice. Every scalar
 * becomes a text, quoted or not: whether 12 is a number is for the option to say that it is given to.
 * A value that is left out (`br0:`) is null. An empty document is an empty mapping.
 */
#ifndef DAEMON_YAML_H
#define DAEMON_YAML_H

#include <jansson.h>
#include <stddef.h>

#include <shunt/error.h>

#define YAML_MAX_BYTES ((size_t)1 << 20)
#define YAML_MAX_DEPTH 16

/* What was read. Values and keys are found by their path (daemon/path.h). */
struct yaml_source {
    const char *file; /* as messages name it */
    json_t *tree;
    json_t *places; /* path → [line, column of the key, line, column of the value] */
};

/* Lines and columns count from 1. Line 0: the text is empty. */
struct yaml_place {
    unsigned line;
    unsigned column;
};

/*
 * Reads `len` bytes of text. `file` names them in messages and must outlive the source. -EINVAL: not
 * the YAML that is taken, with file, line, column and what is wrong; -EFBIG; -ENOMEM.
 */
int yaml_source_read(struct yaml_source *source, const char *file, const char *text, size_t len,
                     struct shunt_error *error);

/* Frees what reading made. A source that is all zero is empty. */
void yaml_source_free(struct yaml_source *source);

/*
 * Where the key, or the value, of `path` stands; an item of a list is its own key. For what is not in
 * the text (a default) it is the key of what is around it.
 */
struct yaml_place yaml_source_key(const struct yaml_source *source, const char *path);
struct yaml_place yaml_source_value(const struct yaml_source *source, const char *path);

/* Puts "FILE:LINE:COLUMN: " in front of the error's text. */
void yaml_source_blame(const struct yaml_source *source, struct yaml_place place,
                       struct shunt_error *error);

#endif
