/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One piece of memory that is made to be shared: the regions of <shunt/shared_memory.h>, and rings.
 */
#ifndef MEMORY_SHARED_H
#define MEMORY_SHARED_H

#include <shunt/shared_memory.h>

struct shared_area {
    uint8_t *start; /* NULL: there is none */
    uint64_t size;  /* bytes, whole pages */
    int fd;
    bool is_huge;
};

/* Makes it; flags and errors as of shunt_shared_memory_add(). */
int shared_area_create(struct shared_area *area, uint64_t bytes, unsigned flags,
                       struct shunt_error *error);

/* Accepts one that is all zero. */
void shared_area_destroy(struct shared_area *area);

/* As it is told to a back-end. */
struct shunt_memory_region shared_area_region(const struct shared_area *area);

#endif
