/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log of dirty pages that a front-end keeps while its guest migrates: a bitmap in shared memory, one
 * bit for each 4096 bytes of guest physical memory (vhost-user, "Migration").
 *
 * A page is marked after it was written, never before: the front-end may fetch and clear the log at any
 * moment, and a page that it sends between a mark and the write would arrive without the write. Marks are
 * gathered a word at a time, because what a burst writes lies close together.
 *
 *     … write … dirty_log_mark(log, &marks, addr, len) … dirty_log_flush(log, &marks);
 *
 * Threads: map and unmap in the control thread, while every queue of the device is locked; marking by
 * whoever holds one of those locks, with marks of its own.
 */
#ifndef MEMORY_DIRTY_LOG_H
#define MEMORY_DIRTY_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <shunt/error.h>

#include "memory/mapping.h"

#define DIRTY_LOG_PAGE_BYTES UINT64_C(4096)

/*
 * The protocol speaks of bytes, so the log may begin at any byte of its file and have any number of them.
 * Words are those that are aligned for us: of the first and the last, some bytes may not be the log's, and
 * these two are then marked a byte at a time.
 */
struct dirty_log {
    uint64_t *words;     /* the first holds the log's first byte; NULL: there is no log */
    uint64_t first_byte; /* of the log, counted from the first byte of the words */
    uint64_t num_bytes;
    struct mapping mapping;
    int event_fd; /* signalled when something was marked; -1: nobody asked for it */
};

/* Bits of one word that are still to be written. All zero: none. */
struct dirty_marks {
    uint64_t word_idx;
    uint64_t bits;
    bool is_event_due; /* since the last flush, a word was written that had not all bits */
};

/* No log. */
void dirty_log_init(struct dirty_log *log);

/*
 * Maps `bytes` at `offset` of `fd`, which stays the caller's, in place of what was there. Marks
 * must be flushed before. -EINVAL: no bytes, not a file, or beyond its end; or what fstat(2) and mmap(2)
 * return: the old log is then still there.
 */
int dirty_log_map(struct dirty_log *log, int fd, uint64_t offset, uint64_t bytes,
                  struct shunt_error *error);

/* Takes over an eventfd, which must be non-blocking, or -1; the one that was there is closed. */
void dirty_log_set_event(struct dirty_log *log, int fd);

/* Unmaps the log and closes the eventfd: then there is no log. Marks that were not flushed are for nobody. */
void dirty_log_fini(struct dirty_log *log);

static inline bool dirty_log_is_mapped(const struct dirty_log *log)
{
    return log->words != NULL;
}

/*
 * `len` bytes of guest memory from `addr` on were written. What lies behind the end of the log, or of all
 * addresses, is passed over. No mark is seen by the front-end for certain until the flush.
 */
void dirty_log_mark(const struct dirty_log *log, struct dirty_marks *marks, uint64_t addr,
                    uint64_t len);

/* Writes what is left, and signals the eventfd once if any page was new to the log. */
void dirty_log_flush(const struct dirty_log *log, struct dirty_marks *marks);

#endif
