/* SPDX-License-Identifier: BSD-3-Clause */
/* Quantities as users write them: 250000, 1.5M, 10Gbit, 500ms. Prefixes are powers of 1,000. */
#ifndef GEN_QUANTITY_H
#define GEN_QUANTITY_H

#include <stdbool.h>
#include <stdint.h>

/* Each returns false, and leaves its result alone, unless all of the text is such a quantity. */

/* 1000, 64k, 1.5M: a whole number, 0 … 2^53. */
bool quantity_count(const char *text, uint64_t *count);

/* Frames a second (250k, 250kpps), or bits a second (10Gbit, 10Gbit/s). More than 0. */
bool quantity_rate(const char *text, double *rate, bool *is_in_bits);

/* Seconds: 10, 1.5s, 500ms, 2min, 1h. Not negative. */
bool quantity_seconds(const char *text, double *seconds);

/* A whole number least … most, without a prefix. */
bool quantity_number(const char *text, unsigned least, unsigned most, unsigned *number);

#endif
