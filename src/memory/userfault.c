/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory/userfault.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "memory/memory.h"

/* Linux 5.11; what the headers of older systems do not have. */
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

#define NEEDED_FEATURES (UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MISSING_HUGETLBFS)

static int open_fd(int flags)
{
    return (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags);
}

int userfault_open(void)
{
    struct uffdio_api api = {.api = UFFD_API};
    int fd = open_fd(0), result = 0;

    if (fd < 0 && errno == EPERM)
        fd = open_fd(UFFD_USER_MODE_ONLY);
    if (fd < 0)
        return -errno;
    if (ioctl(fd, UFFDIO_API, &api) < 0)
        result = -errno;
    else if ((api.features & NEEDED_FEATURES) != NEEDED_FEATURES)
        result = -ENOTSUP;
    if (result == 0)
        return fd;
    close(fd);
    return result;
}

bool userfault_is_available(void)
{
    int fd = userfault_open();

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static struct uffdio_range range_of(const struct memory_region *region)
{
    return (struct uffdio_range){
        .start = (uintptr_t)region->mapping.pages,
        .len = region->mapping.num_bytes,
    };
}

/*
 * What was touched before a page was discarded needs no care: the kernel unmapped it when the hole was made
 * in the file. But no huge page may be put over pages that are still to come.
 */
static int register_region(int fd, const struct memory_region *region, struct shunt_error *error)
{
    struct uffdio_register wanted = {
        .range = range_of(region),
        .mode = UFFDIO_REGISTER_MODE_MISSING,
    };

    madvise(region->mapping.pages, region->mapping.num_bytes, MADV_NOHUGEPAGE);
    if (ioctl(fd, UFFDIO_REGISTER, &wanted) < 0)
        return error_set(error, -errno,
                         "memory region at guest address 0x%" PRIx64
                         " cannot be registered with userfaultfd: %m",
                         region->range.addr);
    if (!(wanted.ioctls & (UINT64_C(1) << _UFFDIO_COPY)))
        return error_set(error, -EINVAL,
                         "pages cannot be put into the memory region at guest address 0x%" PRIx64,
                         region->range.addr);
    return 0;
}

int userfault_register(int fd, const struct shunt_memory *memory, struct shunt_error *error)
{
    int result = 0;

    for (unsigned i = 0; i < memory->num_regions && result == 0; i++)
        result = register_region(fd, &memory->regions[i], error);
    return result;
}

void userfault_unregister(int fd, const struct shunt_memory *memory)
{
    for (unsigned i = 0; i < memory->num_regions; i++) {
        const struct memory_region *region = &memory->regions[i];
        struct uffdio_range range = range_of(region);

        if (ioctl(fd, UFFDIO_UNREGISTER, &range) == 0)
            madvise(region->mapping.pages, region->mapping.num_bytes, MADV_HUGEPAGE);
    }
}
