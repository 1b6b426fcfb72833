/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Options: what a user may say about an object, as a table.
 *
 * A configuration file, a control call and a command line all end in the same check: an object of
 * texts or typed values is held against the table and becomes an object of typed values with every
 * default filled in. After that nobody checks again: option_text() and its kin cannot fail.
 */
#ifndef PORT_OPTION_H
#define PORT_OPTION_H

#include <jansson.h>
#include <stdbool.h>

#include <shunt/error.h>

enum option_kind {
    OPTION_TEXT,   /* any text of 1 … max bytes without control characters */
    OPTION_NUMBER, /* an integer, min … max */
    OPTION_CHOICE, /* one of `choices`; "true" and "false" may be given as booleans */
    OPTION_ANY,    /* any value: the owner of the option checks it */
};

struct option {
    const char *key;
    enum option_kind kind;
    bool is_required;
    bool is_live;               /* can be changed without making the object anew */
    bool is_shareable;          /* of a text: it names nothing that one object has for itself */
    const char *fallback;       /* the default, as a user would write it; NULL: none */
    long min, max;              /* of a number; `max` of a text: bytes */
    const char *const *choices; /* ends with NULL */
    const char *help;           /* one line, for documentation and error messages */
};

/*
 * Checks `given` (texts, or already typed values; it is not changed) against the `num_tables` tables,
 * each of which ends with an entry without key, and puts the typed values and the defaults into the
 * object `checked`. `path` names `given` in messages ("ports.vm1"; "" for none). On failure, -EINVAL
 * with one line that names the key, the value and what was expected, and `*bad_key` (if not NULL) is
 * the key in question, of the table or of `given`, or NULL where one is missing.
 */
int option_check(const struct option *const *tables, unsigned num_tables, json_t *given,
                 const char *path, json_t *checked, const char **bad_key,
                 struct shunt_error *error);

/* The entry for `key`, or NULL. */
const struct option *option_find(const struct option *const *tables, unsigned num_tables,
                                 const char *key);

/* The kind as documentation names it: "text", "number", "choice", "any". */
const char *option_kind_name(enum option_kind kind);

/* Of a checked object. A text without value is NULL. */
const char *option_text(const json_t *checked, const char *key);
long option_number(const json_t *checked, const char *key);

#endif
