/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory/mapping.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/error.h"

static int check_file(const struct stat *status, uint64_t offset, uint64_t size, const char *what,
                      struct shunt_error *error)
{
    uint64_t file_size = (uint64_t)status->st_size;

    if (!S_ISREG(status->st_mode))
        return error_set(error, -EINVAL, "%s is not backed by a file", what);
    if (size == 0)
        return error_set(error, -EINVAL, "%s has size 0", what);
    if (offset > file_size || size > file_size - offset)
        return error_set(error, -EINVAL,
                         "%s: 0x%" PRIx64 " bytes at offset 0x%" PRIx64
                         " reach beyond its file of 0x%" PRIx64,
                         what, size, offset, file_size);
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

int mapping_create(struct mapping *mapping, int fd, uint64_t offset, uint64_t size,
                   const char *what, struct shunt_error *error)
{
    uint64_t alignment, before; /* bytes between the mapping's start and the piece's */
    struct stat status;
    size_t num_bytes;
    void *pages;
    int result;

    if (fstat(fd, &status) < 0)
        return error_set(error, -errno, "%s: fstat: %m", what);
    result = check_file(&status, offset, size, what, error);
    if (result < 0)
        return result;
    alignment = mapping_alignment(&status);
    before = offset & (alignment - 1);
    num_bytes = (size + before + alignment - 1) & ~(alignment - 1);
    pages = mmap(NULL, num_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
                 (off_t)(offset - before));
    if (pages == MAP_FAILED)
        return error_set(error, -errno, "%s of 0x%" PRIx64 " bytes cannot be mapped: %m", what,
                         size);
    madvise(pages, num_bytes, MADV_DONTDUMP);
    *mapping = (struct mapping){
        .start = (uint8_t *)pages + before,
        .pages = pages,
        .num_bytes = num_bytes,
        .device = status.st_dev,
        .inode = status.st_ino,
    };
    return 0;
}

void mapping_destroy(struct mapping *mapping)
{
    if (mapping->start)
        munmap(mapping->pages, mapping->num_bytes);
    *mapping = (struct mapping){0};
}
