/* SPDX-License-Identifier: BSD-3-Clause */
/* A piece of guest memory as a test has it. Functions fail the test if they cannot do what they say. */
#ifndef LIB_AREA_H
#define LIB_AREA_H

#include <shunt/memory.h>
#include <stdint.h>

struct ring_area {
    uint8_t *base;       /* where the test has it mapped */
    uint64_t guest_addr; /* of base[0] */
    uint64_t user_addr;  /* of base[0] */
    uint64_t size;       /* bytes */
    int fd;              /* the file that it is mapped from, from its beginning; -1: none of ours */
};

/* Makes a zeroed area in a memfd of its own. */
void area_create(struct ring_area *area, uint64_t size, uint64_t guest_addr, uint64_t user_addr);
void area_destroy(struct ring_area *area);

/* The region that shares the whole area. */
struct shunt_memory_region area_region(const struct ring_area *area);

/* From a guest address within the area to the test's pointer, and back. */
void *area_at(const struct ring_area *area, uint64_t guest_addr);
uint64_t area_guest(const struct ring_area *area, const void *pointer);

/* The user address of what the test has at `pointer`. */
uint64_t area_user(const struct ring_area *area, const void *pointer);

#endif
