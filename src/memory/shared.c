/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

/*
 * The size that all machines have which have any; its logarithm is in the flags (memfd_create(2)).
 */
#define HUGEPAGE_BYTES UINT64_C(0x200000)
#define HUGEPAGE_FLAGS (MFD_HUGETLB | 21u << 26)

/* --- One area --------------------------------------------------------------------------------------- */

/* Neither the peer nor we can cut it: touching what is gone would be a SIGBUS. */
static int make_file(uint64_t bytes, unsigned flags)
{
    int fd = memfd_create("shunt", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags), result = 0;

    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)bytes) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        result = -errno;
    if (result == 0)
        return fd;
    close(fd);
    return result;
}

static int map_file(struct shared_area *area, uint64_t bytes, uint64_t page_bytes, unsigned flags)
{
    uint64_t size = (bytes + page_bytes - 1) & ~(page_bytes - 1);
    int result, fd = make_file(size, flags);
    void *start;

    if (fd < 0)
        return fd;
    start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (start == MAP_FAILED) {
        result = -errno;
        close(fd);
        return result;
    }
    *area = (struct shared_area){start, size, fd, flags & MFD_HUGETLB};
    return 0;
}

int shared_area_create(struct shared_area *area, uint64_t bytes, unsigned flags,
                       struct shunt_error *error)
{
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    bool wants_huge = flags & SHUNT_SHARED_MEMORY_HUGE;
    int result = -ENOMEM;

    if (bytes == 0 || bytes > INT64_MAX - HUGEPAGE_BYTES || (flags & ~SHUNT_SHARED_MEMORY_HUGE))
        return error_set(error, -EINVAL, "%" PRIu64 " bytes of shared memory with flags 0x%x",
                         bytes, flags);
    if (wants_huge)
        result = map_file(area, bytes, HUGEPAGE_BYTES, HUGEPAGE_FLAGS);
    if (result < 0)
        result = map_file(area, bytes, page_bytes, 0);
    if (result < 0) {
        errno = -result;
        return error_set(error, result, "%" PRIu64 " bytes of shared memory: %m", bytes);
    }
    if (wants_huge && !area->is_huge)
        madvise(area->start, area->size, MADV_HUGEPAGE); /* as good as nothing where it fails */
    return 0;
}

void shared_area_destroy(struct shared_area *area)
{
    if (!area->start)
        return;
    munmap(area->start, area->size);
    close(area->fd);
    *area = (struct shared_area){0};
}

struct shunt_memory_region shared_area_region(const struct shared_area *area)
{
    return (struct shunt_memory_region){
        .guest_addr = (uintptr_t)area->start,
        .user_addr = (uintptr_t)area->start,
        .size = area->size,
    };
}

/* --- All areas of a program ------------------------------------------------------------------------- */

struct shunt_shared_memory {
    unsigned num;
    struct shared_area areas[SHUNT_SHARED_MEMORY_MAX_REGIONS];
    uint64_t used[SHUNT_SHARED_MEMORY_MAX_REGIONS]; /* bytes of each that are allocated */
};

int shunt_shared_memory_create(struct shunt_shared_memory **memory)
{
    *memory = calloc(1, sizeof(**memory));
    return *memory ? 0 : -ENOMEM;
}

void shunt_shared_memory_destroy(struct shunt_shared_memory *memory)
{
    for (unsigned i = 0; memory && i < memory->num; i++)
        shared_area_destroy(&memory->areas[i]);
    free(memory);
}

int shunt_shared_memory_add(struct shunt_shared_memory *memory, uint64_t bytes, unsigned flags,
                            struct shunt_error *error)
{
    int result;

    if (memory->num == SHUNT_SHARED_MEMORY_MAX_REGIONS)
        return error_set(error, -ENOSPC,
                         "there are %d regions of shared memory already: add larger "
                         "ones",
                         SHUNT_SHARED_MEMORY_MAX_REGIONS);
    result = shared_area_create(&memory->areas[memory->num], bytes, flags, error);
    if (result == 0)
        memory->num++;
    return result;
}

void *shunt_shared_memory_allocate(struct shunt_shared_memory *memory, uint64_t bytes,
                                   uint64_t alignment)
{
    for (unsigned i = 0; i < memory->num; i++) {
        const struct shared_area *area = &memory->areas[i];
        uint64_t offset = (memory->used[i] + alignment - 1) & ~(alignment - 1);

        if (offset > area->size || bytes > area->size - offset)
            continue;
        memory->used[i] = offset + bytes;
        return area->start + offset;
    }
    return NULL;
}

unsigned shunt_shared_memory_num_regions(const struct shunt_shared_memory *memory)
{
    return memory->num;
}

int shunt_shared_memory_get_region(const struct shunt_shared_memory *memory, unsigned idx,
                                   struct shunt_memory_region *region)
{
    *region = shared_area_region(&memory->areas[idx]);
    return memory->areas[idx].fd;
}

bool shunt_shared_memory_is_huge(const struct shunt_shared_memory *memory, unsigned idx)
{
    return memory->areas[idx].is_huge;
}
