/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio_net/burst.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#define SCRATCH_BYTES (BURST_MAX_SEGMENTS * (2 * sizeof(struct iovec) + sizeof(struct used_chain)))

/* Mapped, not allocated: a worker whose frames are of one segment touches one page of each part. */
int burst_init(struct burst *burst)
{
    void *scratch = mmap(NULL, SCRATCH_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (scratch == MAP_FAILED)
        return -errno;
    burst->segments = scratch;
    burst->room = burst->segments + BURST_MAX_SEGMENTS;
    burst->used = (struct used_chain *)(burst->room + BURST_MAX_SEGMENTS);
    burst->num = 0;
    burst->hashed = 0;
    burst->num_chains = 0;
    return 0;
}

void burst_fini(struct burst *burst)
{
    if (burst->segments)
        munmap(burst->segments, SCRATCH_BYTES);
    burst->segments = NULL;
    burst->room = NULL;
    burst->used = NULL;
}
