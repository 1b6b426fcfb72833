/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes on their way: put in at the end, taken out at the front, and bounded. */
#ifndef DAEMON_BUFFER_H
#define DAEMON_BUFFER_H

#include <stddef.h>

/* With all but the limit zero, an empty one. */
struct buffer {
    size_t limit; /* the most bytes that it may hold */
    char *bytes;
    size_t begin; /* of what it holds */
    size_t end;
    size_t capacity;
};

static inline const char *buffer_front(const struct buffer *buffer)
{
    return buffer->bytes + buffer->begin;
}

static inline size_t buffer_len(const struct buffer *buffer)
{
    return buffer->end - buffer->begin;
}

/* -ENOBUFS: it would hold more than its limit; -ENOMEM. It is then as it was. */
int buffer_append(struct buffer *buffer, const void *bytes, size_t len);

/* Takes `len` bytes out, at most what there is. */
void buffer_consume(struct buffer *buffer, size_t len);

void buffer_free(struct buffer *buffer);

#endif
