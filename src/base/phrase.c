/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/phrase.h"

#include <stdio.h>
#include <string.h>

/* Room for what comes behind a cut: "…' (18446744073709551615 bytes)". */
#define TAIL_BYTES        40
#define LONGEST_CHARACTER 4
#define ELLIPSIS          "…"

static bool has_room(const struct phrase *phrase, size_t len)
{
    return phrase->len + len <= sizeof(phrase->text) - TAIL_BYTES;
}

static void append(struct phrase *phrase, const char *bytes, size_t len)
{
    memcpy(phrase->text + phrase->len, bytes, len);
    phrase->len += len;
    phrase->text[phrase->len] = '\0';
}

/* Bytes of the character in UTF-8 that begins at `at`, which is not the end of the text. */
static size_t character_len(const char *at)
{
    size_t len = 1;

    while (len < LONGEST_CHARACTER && ((unsigned char)at[len] & 0xc0) == 0x80)
        len++;
    return len;
}

static void append_character(struct phrase *phrase, const char *at, size_t len)
{
    unsigned char byte = (unsigned char)*at;
    char escape[5];

    if (byte >= ' ' && byte != 0x7f) {
        append(phrase, at, len);
        return;
    }
    snprintf(escape, sizeof(escape), "\\x%02x", byte);
    append(phrase, escape, strlen(escape));
}

const char *phrase_quote(struct phrase *phrase, const char *value)
{
    const char *at = value;
    char count[TAIL_BYTES - sizeof(ELLIPSIS)];

    append(phrase, "'", 1);
    while (*at != '\0' && has_room(phrase, LONGEST_CHARACTER)) {
        size_t len = character_len(at);

        append_character(phrase, at, len);
        at += len;
    }
    if (*at == '\0') {
        append(phrase, "'", 1);
        return phrase->text;
    }
    phrase->is_cut = true;
    append(phrase, ELLIPSIS "'", sizeof(ELLIPSIS));
    snprintf(count, sizeof(count), " (%zu bytes)", strlen(value));
    append(phrase, count, strlen(count));
    return phrase->text;
}

void phrase_list(struct phrase *phrase, const char *name)
{
    const char *separator = phrase->len > 0 ? ", " : "";

    if (phrase->is_cut)
        return;
    append(phrase, separator, strlen(separator));
    phrase->is_cut = !has_room(phrase, strlen(name));
    if (phrase->is_cut)
        append(phrase, ELLIPSIS, strlen(ELLIPSIS));
    else
        append(phrase, name, strlen(name));
}
