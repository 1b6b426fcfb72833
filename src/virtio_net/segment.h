/* SPDX-License-Identifier: BSD-3-Clause */
/* Walking lists of segments: the pieces of memory that a frame, or the room for one, consists of. */
#ifndef VIRTIO_NET_SEGMENT_H
#define VIRTIO_NET_SEGMENT_H

#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

/* So many bytes are copied here; more of them are worth a call. */
#define SEGMENT_INLINE_BYTES 256u

/* One load and one store of 16 bytes. */
static inline void segment_copy_16(uint8_t *to, const uint8_t *from)
{
    memcpy(to, from, 16);
}

/*
 * memcpy() for what is mostly small: whole vectors, the last of which overlaps the one before it. Never a byte
 * before or behind.
 */
static inline void segment_copy_bytes(uint8_t *to, const uint8_t *from, size_t len)
{
    if (__builtin_expect(len < 16 || len > SEGMENT_INLINE_BYTES, 0)) {
        memcpy(to, from, len);
        return;
    }
    for (size_t at = 0; at < len - 16; at += 16)
        segment_copy_16(to + at, from + at);
    segment_copy_16(to + len - 16, from + len - 16);
}

/* A place in a list of segments. The list must hold what is asked of it. */
struct segment_cursor {
    const struct iovec *segment;
    size_t offset; /* in it */
};

static inline struct segment_cursor segment_start(const struct iovec *segments)
{
    return (struct segment_cursor){.segment = segments};
}

/* How many of `len` bytes lie in one piece at the cursor, and where. */
static inline size_t segment_piece(struct segment_cursor *cursor, size_t len, uint8_t **piece)
{
    size_t there;

    while (cursor->offset == cursor->segment->iov_len) {
        cursor->segment++;
        cursor->offset = 0;
    }
    there = cursor->segment->iov_len - cursor->offset;
    *piece = (uint8_t *)cursor->segment->iov_base + cursor->offset;
    if (there > len)
        there = len;
    cursor->offset += there;
    return there;
}

/* Copies out of a list. */
static inline void segment_read(struct segment_cursor *from, void *to, size_t len)
{
    uint8_t *bytes = to, *piece;

    while (len > 0) {
        size_t num = segment_piece(from, len, &piece);

        memcpy(bytes, piece, num);
        bytes += num;
        len -= num;
    }
}

/* Copies into a list. */
static inline void segment_write(struct segment_cursor *to, const void *from, size_t len)
{
    const uint8_t *bytes = from;
    uint8_t *piece;

    while (len > 0) {
        size_t num = segment_piece(to, len, &piece);

        memcpy(piece, bytes, num);
        bytes += num;
        len -= num;
    }
}

/* Skips bytes. */
static inline void segment_skip(struct segment_cursor *cursor, size_t len)
{
    uint8_t *piece;

    while (len > 0)
        len -= segment_piece(cursor, len, &piece);
}

/* Copies from one list into another. */
static inline void segment_copy(struct segment_cursor *to, struct segment_cursor *from, size_t len)
{
    uint8_t *piece;

    while (len > 0) {
        size_t num = segment_piece(from, len, &piece);

        segment_write(to, piece, num);
        len -= num;
    }
}

#endif
