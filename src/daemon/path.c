/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/path.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/phrase.h"

static bool is_plain(const char *key)
{
    const char *at = key;

    while (isalnum((unsigned char)*at) || *at == '-' || *at == '_')
        at++;
    return *at == '\0' && at - key > 0 && at - key < PHRASE_BYTES / 2;
}

__attribute__((format(printf, 2, 3))) static size_t append(struct path *path, const char *format,
                                                           ...)
{
    size_t back = path->len;
    size_t room = sizeof(path->text) - back;
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(path->text + back, room, format, args);
    va_end(args);
    path->len += (size_t)len < room ? (size_t)len : room - 1;
    return back;
}

size_t path_enter(struct path *path, const char *key)
{
    struct phrase quoted = {0};

    return append(path, "%s%s", path->len > 0 ? "." : "",
                  is_plain(key) ? key : phrase_quote(&quoted, key));
}

size_t path_enter_item(struct path *path, size_t idx)
{
    return append(path, "[%zu]", idx);
}

void path_leave(struct path *path, size_t back)
{
    path->len = back;
    path->text[back] = '\0';
}
