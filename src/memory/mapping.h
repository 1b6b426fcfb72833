/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A piece of a file, mapped shared for reading and writing, whatever the page size of its file system:
 * tmpfs, hugetlbfs, a disk. The piece may begin and end anywhere in the file.
 *
 * It must lie within the file, because touching what lies behind its end is a SIGBUS.
 */
#ifndef MEMORY_MAPPING_H
#define MEMORY_MAPPING_H

#include <shunt/error.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mapping {
    uint8_t *start; /* the first byte of the piece; NULL: nothing is mapped */
    /* What mmap(2) returned: whole pages around the piece. */
    void *pages;
    size_t num_bytes;
    /* To recognise the file. */
    dev_t device;
    ino_t inode;
};

/*
 * Maps `size` bytes at `offset` of `fd`, which stays the caller's. `what` is what an error's text begins
 * with. -EINVAL: no bytes, not a file, or beyond its end; or what fstat(2) and mmap(2) return: `mapping`
 * is then as it was.
 */
int mapping_create(struct mapping *mapping, int fd, uint64_t offset, uint64_t size,
                   const char *what, struct shunt_error *error);

/* Unmaps it, if anything is mapped. */
void mapping_destroy(struct mapping *mapping);

#endif
