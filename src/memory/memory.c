/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/error.h"

int shunt_memory_create(struct shunt_memory **memory)
{
    *memory = calloc(1, sizeof(**memory));
    return *memory ? 0 : -ENOMEM;
}

static void region_unmap(struct memory_region *region)
{
    munmap(region->mapping, region->mapping_size);
}

void shunt_memory_destroy(struct shunt_memory *memory)
{
    if (!memory)
        return;
    for (unsigned i = 0; i < memory->num_regions; i++)
        region_unmap(&memory->regions[i]);
    free(memory);
}

static bool ranges_overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b ? b - a < a_size : a - b < b_size;
}

static bool regions_overlap(const struct memory_region *a, const struct shunt_memory_region *b)
{
    return ranges_overlap(a->guest_addr, a->size, b->guest_addr, b->size) ||
           ranges_overlap(a->user_addr, a->size, b->user_addr, b->size);
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

/* Touching what lies behind the end of a file is a SIGBUS. */
static int check_file(const struct shunt_memory_region *region, const struct stat *status,
                      struct shunt_error *error)
{
    uint64_t file_size = (uint64_t)status->st_size;

    if (!S_ISREG(status->st_mode))
        return error_set(error, -EINVAL,
                         "memory region at guest address 0x%" PRIx64 " is not backed by a file",
                         region->guest_addr);
    if (region->fd_offset > file_size || region->size > file_size - region->fd_offset)
        return error_set(error, -EINVAL,
                         "memory region at guest address 0x%" PRIx64 ": 0x%" PRIx64
                         " bytes at offset 0x%" PRIx64 " reach beyond its file of 0x%" PRIx64,
                         region->guest_addr, region->size, region->fd_offset, file_size);
    return 0;
}

/*
 * The block size of a file on hugetlbfs is its page size, to which offset and length of a mapping
 * must be aligned; elsewhere it does no harm to align to it if it is a power of two.
 */
static uint64_t mapping_alignment(const struct stat *status)
{
    uint64_t size = (uint64_t)status->st_blksize;

    return size >= 4096 && (size & (size - 1)) == 0 ? size : 4096;
}

static int region_map(struct memory_region *region, const struct shunt_memory_region *wanted,
                      int fd, struct shunt_error *error)
{
    struct stat status;
    uint64_t alignment, before; /* bytes between the mapping's start and the region's */
    int result = check_ranges(wanted, error);

    if (result < 0)
        return result;
    if (fstat(fd, &status) < 0)
        return error_set(error, -errno, "memory region at guest address 0x%" PRIx64 ": fstat: %m",
                         wanted->guest_addr);
    result = check_file(wanted, &status, error);
    if (result < 0)
        return result;
    alignment = mapping_alignment(&status);
    before = wanted->fd_offset & (alignment - 1);
    *region = (struct memory_region){
        .guest_addr = wanted->guest_addr,
        .user_addr = wanted->user_addr,
        .size = wanted->size,
        .fd_offset = wanted->fd_offset,
        .device = status.st_dev,
        .inode = status.st_ino,
        .mapping_size = (wanted->size + before + alignment - 1) & ~(alignment - 1),
    };
    region->mapping = mmap(NULL, region->mapping_size, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_NORESERVE, fd, (off_t)(wanted->fd_offset - before));
    if (region->mapping == MAP_FAILED)
        return error_set(error, -errno,
                         "memory region at guest address 0x%" PRIx64 " of 0x%" PRIx64
                         " bytes cannot be mapped: %m",
                         wanted->guest_addr, wanted->size);
    madvise(region->mapping, region->mapping_size, MADV_DONTDUMP);
    region->host = (uint8_t *)region->mapping + before;
    return 0;
}

/* Puts a mapped region into its place by guest address. */
static void insert(struct shunt_memory *memory, const struct memory_region *region)
{
    unsigned at = memory->num_regions;

    while (at > 0 && memory->regions[at - 1].guest_addr > region->guest_addr) {
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
                             region->guest_addr, region->size, memory->regions[i].guest_addr);
    }
    return 0;
}

/* The mapping of exactly this piece of this file, if `memory` has it. */
static struct memory_region *find_same(struct shunt_memory *memory,
                                       const struct shunt_memory_region *wanted, int fd)
{
    struct stat status;

    for (unsigned i = 0; i < memory->num_regions; i++) {
        struct memory_region *region = &memory->regions[i];

        if (region->guest_addr == wanted->guest_addr && region->user_addr == wanted->user_addr &&
            region->size == wanted->size && region->fd_offset == wanted->fd_offset)
            return fstat(fd, &status) == 0 && status.st_dev == region->device &&
                           status.st_ino == region->inode
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

        if (candidate->guest_addr != region->guest_addr ||
            candidate->user_addr != region->user_addr || candidate->size != region->size)
            continue;
        if (--candidate->num_users > 0)
            return 0;
        region_unmap(candidate);
        memory->num_regions--;
        memmove(candidate, candidate + 1, (memory->num_regions - i) * sizeof(*candidate));
        return 0;
    }
    return error_set(error, -ENOENT,
                     "there is no memory region at guest address 0x%" PRIx64 " of 0x%" PRIx64
                     " bytes",
                     region->guest_addr, region->size);
}

static bool has_mapping(const struct shunt_memory *memory, const void *mapping)
{
    for (unsigned i = 0; i < memory->num_regions; i++) {
        if (memory->regions[i].mapping == mapping)
            return true;
    }
    return false;
}

/* Unmaps what `memory` has and `other` has not. */
static void unmap_difference(struct shunt_memory *memory, const struct shunt_memory *other)
{
    for (unsigned i = 0; i < memory->num_regions; i++) {
        if (!has_mapping(other, memory->regions[i].mapping))
            region_unmap(&memory->regions[i]);
    }
}

int shunt_memory_replace(struct shunt_memory *memory, const struct shunt_memory_region *regions,
                         const int *fds, unsigned num, struct shunt_error *error)
{
    struct shunt_memory *fresh;
    int result = shunt_memory_create(&fresh);

    if (result < 0)
        return error_set(error, result, "out of memory");
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
    if (result == 0) {
        unmap_difference(memory, fresh);
        *memory = *fresh;
    } else {
        unmap_difference(fresh, memory);
    }
    free(fresh);
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
        .guest_addr = own->guest_addr,
        .user_addr = own->user_addr,
        .size = own->size,
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

        if (memory->regions[middle].guest_addr <= guest_addr)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || !memory_region_holds_guest(&memory->regions[low - 1], guest_addr))
        return NULL;
    return &memory->regions[low - 1];
}

void *shunt_memory_at_guest(const struct shunt_memory *memory, uint64_t guest_addr, uint64_t len,
                            uint64_t *contiguous)
{
    const struct memory_region *none = NULL;

    return memory_at_guest(memory, &none, guest_addr, len, contiguous);
}

void *shunt_memory_at_user(const struct shunt_memory *memory, uint64_t user_addr, uint64_t len,
                           uint64_t *contiguous)
{
    for (unsigned i = 0; i < memory->num_regions; i++) {
        const struct memory_region *region = &memory->regions[i];
        uint64_t offset = user_addr - region->user_addr;

        if (offset < region->size) {
            *contiguous = memory_min(len, region->size - offset);
            return region->host + offset;
        }
    }
    *contiguous = 0;
    return NULL;
}
