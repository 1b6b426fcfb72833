/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of `struct shunt_memory` (see <shunt/memory.h>), for the rings' hot paths.
 *
 * Regions are sorted by guest address and do not overlap, neither by guest nor by user address. A ring
 * remembers the range that it used last: guests have few regions and use one of them nearly always.
 */
#ifndef MEMORY_MEMORY_H
#define MEMORY_MEMORY_H

#include <shunt/memory.h>
#include <stdbool.h>

#include "memory/mapping.h"

/* What may be done with an address. */
#define MEMORY_READ  1u
#define MEMORY_WRITE 2u

/* Addresses that follow one another for us, too: a region, or an entry of an IOTLB. */
struct memory_range {
    uint64_t addr;
    uint64_t size;
    uint8_t *host; /* where we have the first byte */
    unsigned access;
};

static inline bool memory_range_holds(const struct memory_range *range, uint64_t addr)
{
    return addr - range->addr < range->size;
}

struct memory_region {
    struct memory_range range; /* by guest address */
    uint64_t user_addr;
    uint64_t fd_offset;
    struct mapping mapping;
    /* How often it was added: see shunt_memory_add(). */
    unsigned num_users;
};

struct shunt_memory {
    unsigned num_regions;
    struct memory_region regions[SHUNT_MEMORY_MAX_REGIONS];
};

/* The region that holds guest address `guest_addr`, or NULL. */
const struct memory_region *memory_find_guest(const struct shunt_memory *memory,
                                              uint64_t guest_addr);

/* The same by the front-end's user address. */
const struct memory_region *memory_find_user(const struct shunt_memory *memory, uint64_t user_addr);

/* The guest address of what we have at `host`; false if that is not guest memory. */
bool memory_guest_addr_of(const struct shunt_memory *memory, const void *host,
                          uint64_t *guest_addr);

/*
 * shunt_memory_replace() in two steps: `*staged` is what `memory` shall become, mapped, with what is in both
 * mapped once. It then takes its place, or is given up. shunt_memory_add() may add to it.
 */
int memory_stage(struct shunt_memory *memory, const struct shunt_memory_region *regions,
                 const int *fds, unsigned num, struct shunt_memory **staged,
                 struct shunt_error *error);

/* The same, beginning with what is there. -ENOMEM. */
int memory_stage_copy(const struct shunt_memory *memory, struct shunt_memory **staged);

/* Both free `staged`. */
void memory_commit(struct shunt_memory *memory, struct shunt_memory *staged);
void memory_abandon(const struct shunt_memory *memory, struct shunt_memory *staged);

static inline uint64_t memory_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

#endif
