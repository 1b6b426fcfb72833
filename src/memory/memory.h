/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of `struct shunt_memory` (see <shunt/memory.h>), for the rings' hot paths.
 *
 * Regions are sorted by guest address and do not overlap, neither by guest nor by user address. A ring
 * remembers the region that it used last: guests have few regions and use one of them nearly always.
 */
#ifndef MEMORY_MEMORY_H
#define MEMORY_MEMORY_H

#include <shunt/memory.h>
#include <stdbool.h>
#include <sys/types.h>

struct memory_region {
    uint64_t guest_addr;
    uint64_t user_addr;
    uint64_t size;
    uint8_t *host; /* where we have the region's first byte */
    /* What is mapped: the file from fd_offset rounded down to a page. */
    void *mapping;
    size_t mapping_size;
    /* How often it was added: see shunt_memory_add(). */
    unsigned num_users;
    /* To recognise the same piece of the same file. */
    uint64_t fd_offset;
    dev_t device;
    ino_t inode;
};

struct shunt_memory {
    unsigned num_regions;
    struct memory_region regions[SHUNT_MEMORY_MAX_REGIONS];
};

/* The region that holds guest address `guest_addr`, or NULL. */
const struct memory_region *memory_find_guest(const struct shunt_memory *memory,
                                              uint64_t guest_addr);

static inline bool memory_region_holds_guest(const struct memory_region *region,
                                             uint64_t guest_addr)
{
    return guest_addr - region->guest_addr < region->size;
}

static inline uint64_t memory_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/*
 * As shunt_memory_at_guest(), beginning with the region that was used last; `*last` may be NULL and
 * is updated.
 */
static inline void *memory_at_guest(const struct shunt_memory *memory,
                                    const struct memory_region **last, uint64_t guest_addr,
                                    uint64_t len, uint64_t *contiguous)
{
    const struct memory_region *region = *last;
    uint64_t offset;

    if (__builtin_expect(!region || !memory_region_holds_guest(region, guest_addr), 0)) {
        region = memory_find_guest(memory, guest_addr);
        if (!region) {
            *contiguous = 0;
            return NULL;
        }
        *last = region;
    }
    offset = guest_addr - region->guest_addr;
    *contiguous = memory_min(len, region->size - offset);
    return region->host + offset;
}

#endif
