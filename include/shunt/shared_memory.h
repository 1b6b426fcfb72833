/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of our own that a back-end may reach: what a program on the driver's side has instead of
 * guest memory. Buffers for the virtqueues of a front-end (<shunt/frontend.h>) are allocated from
 * it.
 *
 *     shunt_shared_memory_create(&memory);
 *     shunt_shared_memory_add(memory, 64 << 20, SHUNT_SHARED_MEMORY_HUGE, &error);
 *     buffer = shunt_shared_memory_allocate(memory, 2112, 64);
 *     … a front-end, for as long as which it must live …
 *     shunt_shared_memory_destroy(memory);
 *
 * Whoever gets it can read and change all of it at any time, and sees our addresses of it: what is
 * copied out of it must be copied before it is checked. It lies in memfds that are sealed against
 * shrinking, so the other side cannot take pages away. Memory is made of pages when it is first
 * touched.
 *
 * Threads: one at a time. Several front-ends may share one memory, in one thread.
 */
#ifndef SHUNT_SHARED_MEMORY_H
#define SHUNT_SHARED_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <shunt/error.h>
#include <shunt/memory.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A table of regions holds 8 (vhost-user, SET_MEM_TABLE), one of which a front-end needs for its
 * rings.
 */
#define SHUNT_SHARED_MEMORY_MAX_REGIONS 7

/* Hugepages, if there are free ones; without them ordinary pages, which the kernel may join. */
#define SHUNT_SHARED_MEMORY_HUGE 1u

struct shunt_shared_memory;

/* Makes one without regions. -ENOMEM. */
int shunt_shared_memory_create(struct shunt_shared_memory **memory);

/* Unmaps all of it. No front-end may use it any more. Accepts NULL. */
void shunt_shared_memory_destroy(struct shunt_shared_memory *memory);

/*
 * Adds a region of at least `bytes` (rounded up to pages), filled with zeros. Front-ends share it
 * from shunt_frontend_share_memory() on, or their next connection.
 * -EINVAL: 0 bytes, or an unknown flag; -ENOSPC: there are SHUNT_SHARED_MEMORY_MAX_REGIONS; or what
 * memfd_create(2), ftruncate(2) and mmap(2) return.
 */
int shunt_shared_memory_add(struct shunt_shared_memory *memory, uint64_t bytes, unsigned flags,
                            struct shunt_error *error);

/*
 * `bytes` in a row, zeroed, at an address that is a multiple of `alignment` (a power of two, at
 * most 4096); NULL when no region has so much left. They are freed with the whole.
 */
void *shunt_shared_memory_allocate(struct shunt_shared_memory *memory, uint64_t bytes,
                                   uint64_t alignment);

unsigned shunt_shared_memory_num_regions(const struct shunt_shared_memory *memory);

/*
 * Region `idx` (< num_regions) as it is told to a back-end: guest and user addresses are our own
 * pointers. Returns its descriptor, which stays the memory's.
 */
int shunt_shared_memory_get_region(const struct shunt_shared_memory *memory, unsigned idx,
                                   struct shunt_memory_region *region);

/* Whether region `idx` is made of hugepages. */
bool shunt_shared_memory_is_huge(const struct shunt_shared_memory *memory, unsigned idx);

#ifdef __cplusplus
}
#endif

#endif
