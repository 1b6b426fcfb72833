/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"

int shunt_memory_create(struct shunt_memory **memory)
{
    *memory = calloc(1, sizeof(**memory));
    return *memory ? 0 : -ENOMEM;
}

void shunt_memory_destroy(struct shunt_memory *memory)
{
    if (!memory)
        return;
    for (unsigned i = 0; i < memory->num_regions; i++)
        mapping_destroy(&memory->regions[i].mapping);
    free(memory);
}

static bool ranges_overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b ? b - a < a_size : a - b < b_size;
}

static bool regions_overlap(const struct memory_region *a, const struct shunt_memory_region *b)
{
    return ranges_overlap(a->range.addr, a->range.size, b->guest_addr, b->size) ||
           ranges_overlap(a->user_addr, a->range.size, b->user_addr, b->size);
}

/* The last byte of every range must have an address. */
static int check_ranges(const struct shunt_memory_region *region, struct shunt_error *error)
{
    if (region->size == 0)
        return error_set(error, -EINVAL, "memory region at guest address 0x%" PRIx64 " has size 0",
                         region->guest_addr);
    if (region->size - 1 > UINT64_MAX - region->guest_addr ||
        region->size - 1 > UINT64_MAX - region->user_addr)
        return error_set(error, -EINVAL,
                         "memory region at guest address 0x%" PRIx64 ", user address 0x%" PRIx64
                         " of 0x%" PRIx64 " bytes wraps around",
                         region->guest_addr, region->user_addr, region->size);
    return 0;
}

static int region_map(struct memory_region *region, const struct shunt_memory_region *wanted,
                      int fd, struct shunt_error *error)
{
    struct mapping mapping;
    char what[64];
    int result;

    snprintf(what, sizeof(what), "memory region at guest address 0x%" PRIx64, wanted->guest_addr);
    result = mapping_create(&mapping, fd, wanted->fd_offset, wanted->size, what, error);
    if (result < 0)
        return result;
    *region = (struct memory_region){
        .range = {wanted->guest_addr, wanted->size, mapping.start, MEMORY_READ | MEMORY_WRITE},
        .user_addr = wanted->user_addr,
        .fd_offset = wanted->fd_offset,
        .mapping = mapping,
    };
    return 0;
}

/* Puts a mapped region into its place by guest address. */
static void insert(struct shunt_memory *memory, const struct memory_region *region)
{
    unsigned at = memory->num_regions;

    while (at > 0 && memory->regions[at - 1].range.addr > region->range.addr) {
        memory->regions[at] = memory->regions[at - 1];
        at--;
    }
    memory->regions[at] = *region;
    memory->regions[at].num_users = 1;
    memory->num_regions++;
}

/* Whether there is room for the region between those that are there. */
static int check_fits(const struct shunt_memory *memory, const struct shunt_memory_region *region,
                      struct shunt_error *error)
{
    if (memory->num_regions == SHUNT_MEMORY_MAX_REGIONS)
        return error_set(error, -ENOSPC, "more than %u memory regions", SHUNT_MEMORY_MAX_REGIONS);
    for (unsigned i = 0; i < memory->num_regions; i++) {
        if (regions_overlap(&memory->regions[i], region))
            return error_set(error, -EEXIST,
                             "memory region at guest address 0x%" PRIx64 " of 0x%" PRIx64
                             " bytes overlaps the one at 0x%" PRIx64,
                             region->guest_addr, region->size, memory->regions[i].range.addr);
    }
    return 0;
}

static bool has_ranges(const struct memory_region *own, const struct shunt_memory_region *wanted)
{
    return own->range.addr == wanted->guest_addr && own->range.size == wanted->size &&
           own->user_addr == wanted->user_addr;
}

/* The mapping of exactly this piece of this file, if `memory` has it. */
static struct memory_region *find_same(struct shunt_memory *memory,
                                       const struct shunt_memory_region *wanted, int fd)
{
    struct stat status;

    for (unsigned i = 0; i < memory->num_regions; i++) {
        struct memory_region *region = &memory->regions[i];

        if (has_ranges(region, wanted) && region->fd_offset == wanted->fd_offset)
            return fstat(fd, &status) == 0 && status.st_dev == region->mapping.device &&
                           status.st_ino == region->mapping.inode
                       ? region
                       : NULL;
    }
    return NULL;
}

static int add_new(struct shunt_memory *memory, const struct shunt_memory_region *region, int fd,
                   struct shunt_error *error)
{
    struct memory_region mapped = {0};
    int result = check_ranges(region, error);

    if (result == 0)
        result = check_fits(memory, region, error);
    if (result == 0)
        result = region_map(&mapped, region, fd, error);
    if (result == 0)
        insert(memory, &mapped);
    return result;
}

int shunt_memory_add(struct shunt_memory *memory, const struct shunt_memory_region *region, int fd,
                     struct shunt_error *error)
{
    struct memory_region *same = find_same(memory, region, fd);

    if (!same)
        return add_new(memory, region, fd, error);
    same->num_users++;
    return 0;
}

int shunt_memory_remove(struct shunt_memory *memory, const struct shunt_memory_region *region,
                        struct shunt_error *error)
{
    for (unsigned i = 0; i < memory->num_regions; i++) {
        struct memory_region *candidate = &memory->regions[i];

        if (!has_ranges(candidate, region))
            continue;
        if (--candidate->num_users > 0)
            return 0;
        mapping_destroy(&candidate->mapping);
        memory->num_regions--;
        memmove(candidate, candidate + 1, (memory->num_regions - i) * sizeof(*candidate));
        return 0;
    }
    return error_set(error, -ENOENT,
                     "there is no memory region at guest address 0x%" PRIx64 " of 0x%" PRIx64
                     " bytes",
                     region->guest_addr, region->size);
}

static bool has_pages(const struct shunt_memory *memory, const void *pages)
{
    for (unsigned i = 0; i < memory->num_regions; i++) {
        if (memory->regions[i].mapping.pages == pages)
            return true;
    }
    return false;
}

/* Unmaps what `memory` has and `other` has not. */
static void unmap_difference(struct shunt_memory *memory, const struct shunt_memory *other)
{
    for (unsigned i = 0; i < memory->num_regions; i++) {
        if (!has_pages(other, memory->regions[i].mapping.pages))
            mapping_destroy(&memory->regions[i].mapping);
    }
}

int memory_stage(struct shunt_memory *memory, const struct shunt_memory_region *regions,
                 const int *fds, unsigned num, struct shunt_memory **staged,
                 struct shunt_error *error)
{
    struct shunt_memory *fresh;
    int result = shunt_memory_create(&fresh);

    if (result < 0) {
        error_set(error, result, "out of memory");
        return result;
    }
    for (unsigned i = 0; i < num && result == 0; i++) {
        struct memory_region *same = find_same(memory, &regions[i], fds[i]);

        if (!same) {
            result = add_new(fresh, &regions[i], fds[i], error);
            continue;
        }
        result = check_fits(fresh, &regions[i], error);
        if (result == 0)
            insert(fresh, same);
    }
    if (result < 0) {
        memory_abandon(memory, fresh);
        return result;
    }
    *staged = fresh;
    return 0;
}

int memory_stage_copy(const struct shunt_memory *memory, struct shunt_memory **staged)
{
    int result = shunt_memory_create(staged);

    if (result == 0)
        **staged = *memory;
    return result;
}

void memory_commit(struct shunt_memory *memory, struct shunt_memory *staged)
{
    unmap_difference(memory, staged);
    *memory = *staged;
    free(staged);
}

void memory_abandon(const struct shunt_memory *memory, struct shunt_memory *staged)
{
    unmap_difference(staged, memory);
    free(staged);
}

int shunt_memory_replace(struct shunt_memory *memory, const struct shunt_memory_region *regions,
                         const int *fds, unsigned num, struct shunt_error *error)
{
    struct shunt_memory *staged;
    int result = memory_stage(memory, regions, fds, num, &staged, error);

    if (result == 0)
        memory_commit(memory, staged);
    return result;
}

unsigned shunt_memory_num_regions(const struct shunt_memory *memory)
{
    return memory->num_regions;
}

void shunt_memory_get_region(const struct shunt_memory *memory, unsigned idx,
                             struct shunt_memory_region *region)
{
    const struct memory_region *own = &memory->regions[idx];

    *region = (struct shunt_memory_region){
        .guest_addr = own->range.addr,
        .user_addr = own->user_addr,
        .size = own->range.size,
        .fd_offset = own->fd_offset,
    };
}

/* Binary search for the last region that begins at or before the address. */
const struct memory_region *memory_find_guest(const struct shunt_memory *memory,
                                              uint64_t guest_addr)
{
    unsigned low = 0, high = memory->num_regions;

    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (memory->regions[middle].range.addr <= guest_addr)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || !memory_range_holds(&memory->regions[low - 1].range, guest_addr))
        return NULL;
    return &memory->regions[low - 1];
}

const struct memory_region *memory_find_user(const struct shunt_memory *memory, uint64_t user_addr)
{
    for (unsigned i = 0; i < memory->num_regions; i++) {
        const struct memory_region *region = &memory->regions[i];

        if (user_addr - region->user_addr < region->range.size)
            return region;
    }
    return NULL;
}

bool memory_guest_addr_of(const struct shunt_memory *memory, const void *host, uint64_t *guest_addr)
{
    for (unsigned i = 0; i < memory->num_regions; i++) {
        const struct memory_range *range = &memory->regions[i].range;
        uint64_t offset = (uintptr_t)host - (uintptr_t)range->host;

        if (offset < range->size) {
            *guest_addr = range->addr + offset;
            return true;
        }
    }
    return false;
}

/* Where `offset` of the region is mapped, and how much of `len` from there. */
static void *at_offset(const struct memory_region *region, uint64_t offset, uint64_t len,
                       uint64_t *contiguous)
{
    *contiguous = memory_min(len, region->range.size - offset);
    return region->range.host + offset;
}

void *shunt_memory_at_guest(const struct shunt_memory *memory, uint64_t guest_addr, uint64_t len,
                            uint64_t *contiguous)
{
    const struct memory_region *region = memory_find_guest(memory, guest_addr);

    *contiguous = 0;
    return region ? at_offset(region, guest_addr - region->range.addr, len, contiguous) : NULL;
}

void *shunt_memory_at_user(const struct shunt_memory *memory, uint64_t user_addr, uint64_t len,
                           uint64_t *contiguous)
{
    const struct memory_region *region = memory_find_user(memory, user_addr);

    *contiguous = 0;
    return region ? at_offset(region, user_addr - region->user_addr, len, contiguous) : NULL;
}
