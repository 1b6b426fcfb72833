/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory: the regions that a front-end shares with us, and translation of its addresses.
 *
 * A region is a range of guest physical addresses that the front-end also has mapped at a range of
 * user addresses of its own, and that we map from a file descriptor. Buffers are named by guest
 * physical address (VIRTIO 1.3, 2.6), the rings by the front-end's user address (vhost-user,
 * "Memory access").
 *
 * Neighbouring guest addresses may lie in different mappings. Translation therefore always takes a
 * length and says how much of it is contiguous for us; callers walk the rest in further pieces.
 *
 * Threads: a `struct shunt_memory` that belongs to an endpoint is changed by the endpoint's dispatch
 * only, with every virtqueue of the device locked; whoever holds one of those locks may translate.
 */
#ifndef SHUNT_MEMORY_H
#define SHUNT_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include <shunt/error.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHUNT_MEMORY_MAX_REGIONS 128

struct shunt_memory;

struct shunt_memory_region {
    uint64_t guest_addr; /* first guest physical address */
    uint64_t user_addr;  /* the same byte in the front-end's address space */
    uint64_t size;       /* bytes */
    uint64_t fd_offset;  /* where the region begins in its file, bytes */
};

/* Makes an empty set of regions. -ENOMEM. Free it with shunt_memory_destroy(). */
int shunt_memory_create(struct shunt_memory **memory);

/* Unmaps all regions. Accepts NULL. */
void shunt_memory_destroy(struct shunt_memory *memory);

/*
 * Maps one more region from `fd`, which stays the caller's and may be closed afterwards. The very same
 * region of the very same file may be added again, and must then be removed as often: QEMU up to 7.2
 * sends ADD_MEM_REG and REM_MEM_REG once for each queue pair.
 * -EINVAL: size 0, a range that wraps, or larger than its file; -EEXIST: overlaps another region;
 * -ENOSPC: SHUNT_MEMORY_MAX_REGIONS are there; or what fstat(2) and mmap(2) return.
 */
int shunt_memory_add(struct shunt_memory *memory, const struct shunt_memory_region *region, int fd,
                     struct shunt_error *error);

/* Unmaps the region with the same addresses and size, or counts down. -ENOENT: there is none. */
int shunt_memory_remove(struct shunt_memory *memory, const struct shunt_memory_region *region,
                        struct shunt_error *error);

/*
 * Replaces the whole set by `num` regions from as many descriptors, which stay the caller's. What is
 * in both sets stays mapped where it is. All or nothing; errors as of shunt_memory_add().
 */
int shunt_memory_replace(struct shunt_memory *memory, const struct shunt_memory_region *regions,
                         const int *fds, unsigned num, struct shunt_error *error);

unsigned shunt_memory_num_regions(const struct shunt_memory *memory);

/* Copies out the description of region `idx` (< num_regions), in order of guest address. */
void shunt_memory_get_region(const struct shunt_memory *memory, unsigned idx,
                             struct shunt_memory_region *region);

/*
 * Where guest physical address `guest_addr` is mapped, or NULL. `*contiguous` becomes how many of
 * the `len` bytes (at least 1) follow one another from there: at most `len`, at least 1, or 0 with
 * NULL. The pointer is valid until the region is removed.
 */
void *shunt_memory_at_guest(const struct shunt_memory *memory, uint64_t guest_addr, uint64_t len,
                            uint64_t *contiguous);

/* The same for an address of the front-end's own address space. */
void *shunt_memory_at_user(const struct shunt_memory *memory, uint64_t user_addr, uint64_t len,
                           uint64_t *contiguous);

#ifdef __cplusplus
}
#endif

#endif
