/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost_user/inflight_area.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

int inflight_area_make(uint64_t size, struct shunt_error *error)
{
    int fd = memfd_create("shunt-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return error_set(error, -errno, "the in-flight area cannot be made: %m");
    if (ftruncate(fd, (off_t)size) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        int result = error_set(error, -errno, "an in-flight area of %" PRIu64 " bytes: %m", size);

        close(fd);
        return result;
    }
    return fd;
}

/* Touching what lies behind the end of a file is a SIGBUS, so the end must stay where it is. */
static int check_sealed(int fd, struct shunt_error *error)
{
    int seals = fcntl(fd, F_GET_SEALS);

    if (seals >= 0 && (seals & F_SEAL_SHRINK))
        return 0;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
        return error_set(error, -EINVAL,
                         "the in-flight area is not a memfd that can be sealed against shrinking");
    return 0;
}

int inflight_area_map(struct inflight_area *area, int fd, uint64_t offset, uint64_t size,
                      struct shunt_error *error)
{
    struct mapping fresh = {0};
    int result = check_sealed(fd, error);

    if (result == 0)
        result = mapping_create(&fresh, fd, offset, size, "the in-flight area", error);
    if (result < 0)
        return result;
    inflight_area_unmap(area);
    area->mapping = fresh;
    area->size = size;
    return 0;
}

void inflight_area_unmap(struct inflight_area *area)
{
    mapping_destroy(&area->mapping);
    *area = (struct inflight_area){0};
}
