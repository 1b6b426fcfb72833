/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copying a frame: two vector moves for a small one, with AVX-512 the second by a mask, and the C library
 * for all others.
 */
#ifndef BENCH_COPY_H
#define BENCH_COPY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512BW__) && defined(__BMI2__)
#include <immintrin.h>

#define COPY_MOVE_BYTES 64u

static inline __attribute__((always_inline)) void copy_frame(uint8_t *to, const uint8_t *from,
                                                             size_t len)
{
    __mmask64 first = _bzhi_u64(UINT64_MAX, (unsigned)len);
    __mmask64 second;

    if (__builtin_expect(len > 2u * COPY_MOVE_BYTES, 0)) {
        memcpy(to, from, len);
        return;
    }
    second = len > COPY_MOVE_BYTES ? _bzhi_u64(UINT64_MAX, (unsigned)len - COPY_MOVE_BYTES) : 0;
    _mm512_mask_storeu_epi8(to, first, _mm512_maskz_loadu_epi8(first, from));
    _mm512_mask_storeu_epi8(to + COPY_MOVE_BYTES, second,
                            _mm512_maskz_loadu_epi8(second, from + COPY_MOVE_BYTES));
}

#else

static inline void copy_frame(uint8_t *to, const uint8_t *from, size_t len)
{
    memcpy(to, from, len);
}

#endif

#endif
