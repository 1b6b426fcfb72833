/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory in which chains in flight are noted (vhost-user, "Inflight I/O tracking"): we make it, the
 * front-end keeps it, and hands it to whoever is the back-end next. What is in it, virtqueue/inflight.h
 * knows.
 *
 * Threads: the control thread, while all rings are stopped.
 */
#ifndef VHOST_USER_INFLIGHT_AREA_H
#define VHOST_USER_INFLIGHT_AREA_H

#include <shunt/error.h>
#include <stdint.h>

#include "memory/mapping.h"

struct inflight_area {
    struct mapping mapping; /* start NULL: there is none */
    uint64_t size;          /* bytes */
    uint16_t num_queues;
    uint16_t queue_size; /* entries that each queue has room for */
};

/* A file of `size` zeroes that nobody can shrink. A descriptor, or -errno. */
int inflight_area_make(uint64_t size, struct shunt_error *error);

/*
 * Maps `size` bytes at `offset` of `fd`, which stays the caller's, in place of what was there. -EINVAL: it is
 * no such file, could be shrunk under our hands, or is smaller.
 */
int inflight_area_map(struct inflight_area *area, int fd, uint64_t offset, uint64_t size,
                      struct shunt_error *error);

void inflight_area_unmap(struct inflight_area *area);

#endif
