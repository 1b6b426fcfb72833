/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MIN_BYTES 4096u

/* What an empty buffer keeps: not much more, since many are idle. */
#define IDLE_BYTES (16 * MIN_BYTES)

/* Moves what it holds to the beginning, which makes all its room one piece. */
static void compact(struct buffer *buffer)
{
    size_t len = buffer_len(buffer);

    if (buffer->begin == 0)
        return;
    memmove(buffer->bytes, buffer_front(buffer), len);
    buffer->begin = 0;
    buffer->end = len;
}

/* Twice as much each time, so that growing costs little in all. */
static int grow(struct buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity > 0 ? buffer->capacity : MIN_BYTES;
    char *bytes;

    while (capacity < needed)
        capacity *= 2;
    bytes = realloc(buffer->bytes, capacity);
    if (!bytes)
        return -ENOMEM;
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return 0;
}

int buffer_append(struct buffer *buffer, const void *bytes, size_t len)
{
    int result = 0;

    if (len > buffer->limit - buffer_len(buffer))
        return -ENOBUFS;
    if (len == 0)
        return 0;
    if (len > buffer->capacity - buffer->end)
        compact(buffer);
    if (len > buffer->capacity - buffer->end)
        result = grow(buffer, buffer->end + len);
    if (result < 0)
        return result;
    memcpy(buffer->bytes + buffer->end, bytes, len);
    buffer->end += len;
    return 0;
}

void buffer_consume(struct buffer *buffer, size_t len)
{
    buffer->begin += len;
    if (buffer->begin < buffer->end)
        return;
    buffer->begin = buffer->end = 0;
    if (buffer->capacity > IDLE_BYTES)
        buffer_free(buffer);
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct buffer){.limit = buffer->limit};
}
