/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory/dirty_log.h"

#include <assert.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/event.h"

/* Bit n of the log is bit n % 8 of byte n / 8: within words that is also bit n % 64 of word n / 64. */
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the log is little-endian");

#define WORD_BYTES sizeof(uint64_t)
#define WORD_BITS  (8 * WORD_BYTES)

void dirty_log_init(struct dirty_log *log)
{
    *log = (struct dirty_log){.event_fd = -1};
}

int dirty_log_map(struct dirty_log *log, int fd, uint64_t offset, uint64_t bytes,
                  struct shunt_error *error)
{
    struct mapping mapping;
    int result = mapping_create(&mapping, fd, offset, bytes, "dirty log", error);

    if (result < 0)
        return result;
    mapping_destroy(&log->mapping);
    log->mapping = mapping;
    log->first_byte = (uintptr_t)mapping.start % WORD_BYTES;
    log->num_bytes = bytes;
    /* Below the start lies at most the rest of a word, in the same page. */
    log->words = (uint64_t *)(void *)(mapping.start - log->first_byte);
    return 0;
}

void dirty_log_set_event(struct dirty_log *log, int fd)
{
    if (log->event_fd >= 0)
        close(log->event_fd);
    log->event_fd = fd;
}

void dirty_log_fini(struct dirty_log *log)
{
    mapping_destroy(&log->mapping);
    dirty_log_set_event(log, -1);
    dirty_log_init(log);
}

/* Whether all bytes of the word are the log's. */
static bool word_is_whole(const struct dirty_log *log, uint64_t word_idx)
{
    uint64_t start = word_idx * WORD_BYTES, end = start + WORD_BYTES;

    return start >= log->first_byte && end <= log->first_byte + log->num_bytes;
}

/* Whether a bit was new. */
static bool set_in_word(uint64_t *word, uint64_t bits)
{
    if ((__atomic_load_n(word, __ATOMIC_RELAXED) & bits) == bits)
        return false;
    __atomic_fetch_or(word, bits, __ATOMIC_SEQ_CST);
    return true;
}

static bool set_in_byte(uint8_t *byte, uint8_t bits)
{
    if ((__atomic_load_n(byte, __ATOMIC_RELAXED) & bits) == bits)
        return false;
    __atomic_fetch_or(byte, bits, __ATOMIC_SEQ_CST);
    return true;
}

/* Only bytes with a bit to set, and hence only those of the log, are touched. */
static bool set_in_bytes(uint64_t *word, uint64_t bits)
{
    bool has_new = false;

    for (uint8_t *byte = (uint8_t *)word; bits != 0; byte++, bits >>= 8) {
        if (bits & UINT8_MAX)
            has_new |= set_in_byte(byte, (uint8_t)bits);
    }
    return has_new;
}

/*
 * A bit that is set already stays as it is, so that the cache line need not come over for writing. For
 * that our writes to the page must be seen before we look: else the front-end could clear the bit right
 * after our look and fetch the page as it was before. Pairs with the front-end's atomic exchange of the
 * word, which it does before it reads the page.
 */
static void write_word(const struct dirty_log *log, struct dirty_marks *marks)
{
    uint64_t *word = &log->words[marks->word_idx];
    bool has_new;

    if (marks->bits == 0)
        return;
    atomic_thread_fence(memory_order_seq_cst);
    has_new = word_is_whole(log, marks->word_idx) ? set_in_word(word, marks->bits)
                                                  : set_in_bytes(word, marks->bits);
    marks->is_event_due |= has_new;
    marks->bits = 0;
}

static void add_bits(const struct dirty_log *log, struct dirty_marks *marks, uint64_t word_idx,
                     uint64_t bits)
{
    if (marks->word_idx != word_idx)
        write_word(log, marks);
    marks->word_idx = word_idx;
    marks->bits |= bits;
}

/* Bits `first` to `last`, as counted from the first of the words. */
static void mark_bits(const struct dirty_log *log, struct dirty_marks *marks, uint64_t first,
                      uint64_t last)
{
    uint64_t first_word = first / WORD_BITS, last_word = last / WORD_BITS;
    uint64_t from_first = UINT64_MAX << (first % WORD_BITS);
    uint64_t to_last = UINT64_MAX >> (WORD_BITS - 1 - last % WORD_BITS);

    if (first_word == last_word) {
        add_bits(log, marks, first_word, from_first & to_last);
        return;
    }
    add_bits(log, marks, first_word, from_first);
    for (uint64_t word = first_word + 1; word < last_word; word++)
        add_bits(log, marks, word, UINT64_MAX);
    add_bits(log, marks, last_word, to_last);
}

void dirty_log_mark(const struct dirty_log *log, struct dirty_marks *marks, uint64_t addr,
                    uint64_t len)
{
    /* What is mapped is far below 2^61 bytes, so bits can be counted. */
    uint64_t num_pages = log->num_bytes * 8, first_bit = log->first_byte * 8;
    uint64_t first = addr / DIRTY_LOG_PAGE_BYTES, last;

    if (len == 0 || first >= num_pages)
        return;
    last = (len - 1 > UINT64_MAX - addr ? UINT64_MAX : addr + len - 1) / DIRTY_LOG_PAGE_BYTES;
    if (last >= num_pages)
        last = num_pages - 1;
    mark_bits(log, marks, first_bit + first, first_bit + last);
}

void dirty_log_flush(const struct dirty_log *log, struct dirty_marks *marks)
{
    write_word(log, marks);
    if (marks->is_event_due)
        event_signal(log->event_fd);
    marks->is_event_due = false;
}
