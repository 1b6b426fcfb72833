/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asking for cache lines before they are needed. For what will be written it must be said so, or the line comes
 * as a copy, and the first store waits for it once more.
 */
#ifndef BASE_PREFETCH_H
#define BASE_PREFETCH_H

#include <stddef.h>
#include <stdint.h>

#define CACHE_LINE_BYTES 64u

/* At the start of a frame so much is asked for at once, which is all of a small one. */
#define PREFETCH_HEAD_BYTES (2 * CACHE_LINE_BYTES)

static inline void prefetch_for_reading(const void *address)
{
    __builtin_prefetch(address);
}

static inline void prefetch_for_writing(void *address)
{
#ifdef __x86_64__
    /* Compilers use it only for processors that must have it; the others pass over it. */
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)address));
#else
    __builtin_prefetch(address, 1);
#endif
}

static inline void prefetch_head_for_reading(const uint8_t *start, size_t len)
{
    prefetch_for_reading(start);
    if (len > CACHE_LINE_BYTES)
        prefetch_for_reading(start + CACHE_LINE_BYTES);
}

static inline void prefetch_head_for_writing(uint8_t *start, size_t len)
{
    prefetch_for_writing(start);
    if (len > CACHE_LINE_BYTES)
        prefetch_for_writing(start + CACHE_LINE_BYTES);
}

#endif
