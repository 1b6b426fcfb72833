/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost_user/postcopy.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "memory/memory.h"
#include "memory/userfault.h"

int postcopy_advise(struct postcopy *postcopy, struct shunt_error *error)
{
    int fd = userfault_open();

    if (fd < 0)
        return error_set(error, fd, "userfaultfd: %s", strerror(-fd));
    if (postcopy->phase != POSTCOPY_NONE)
        close(postcopy->fd);
    *postcopy = (struct postcopy){.phase = POSTCOPY_ADVISED, .fd = fd};
    return 0;
}

int postcopy_stage_table(struct postcopy *postcopy, struct shunt_memory *memory,
                         const struct shunt_memory_region *regions, const int *fds, unsigned num,
                         struct shunt_error *error)
{
    int result = memory_stage(memory, regions, fds, num, &postcopy->staged, error);

    if (result == 0)
        postcopy->phase = POSTCOPY_STAGED;
    return result;
}

int postcopy_stage_region(struct postcopy *postcopy, const struct shunt_memory *memory,
                          const struct shunt_memory_region *region, int fd,
                          struct shunt_error *error)
{
    if (postcopy->phase != POSTCOPY_STAGED) {
        if (memory_stage_copy(memory, &postcopy->staged) < 0)
            return error_set(error, -ENOMEM, "out of memory");
        postcopy->phase = POSTCOPY_STAGED;
    }
    return shunt_memory_add(postcopy->staged, region, fd, error);
}

void postcopy_tell_address(const struct postcopy *postcopy, struct wire_region *region)
{
    const struct memory_region *own = memory_find_guest(postcopy->staged, region->guest_addr);

    region->user_addr = (uintptr_t)own->range.host;
}

int postcopy_commit(struct postcopy *postcopy, struct shunt_memory *memory,
                    struct shunt_error *error)
{
    int result = userfault_register(postcopy->fd, postcopy->staged, error);

    if (result == 0)
        memory_commit(memory, postcopy->staged);
    else
        memory_abandon(memory, postcopy->staged);
    postcopy->staged = NULL;
    postcopy->phase = POSTCOPY_LISTENING;
    return result;
}

void postcopy_end(struct postcopy *postcopy, const struct shunt_memory *memory)
{
    if (postcopy->phase == POSTCOPY_NONE)
        return;
    if (postcopy->phase == POSTCOPY_STAGED)
        memory_abandon(memory, postcopy->staged);
    userfault_unregister(postcopy->fd, memory);
    close(postcopy->fd);
    *postcopy = (struct postcopy){.phase = POSTCOPY_NONE};
}
