/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pieces of a one-line message that hold what others wrote: bounded, without control characters, and
 * cut between characters only.
 */
#ifndef BASE_PHRASE_H
#define BASE_PHRASE_H

#include <stdbool.h>
#include <stddef.h>

#define PHRASE_BYTES 128

/* All zero is an empty one. */
struct phrase {
    char text[PHRASE_BYTES];
    size_t len;
    bool is_cut;
};

/* A value in quotes; one that is cut says how long it is: 'abc…' (140 bytes). Returns its text. */
const char *phrase_quote(struct phrase *phrase, const char *value);

/* Adds a name to a list: "a, b, c", and "a, b, …" from where there is no room. */
void phrase_list(struct phrase *phrase, const char *name);

#endif
