/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * userfaultfd(2) over guest memory: whoever touches a page that is not there waits until the holder of the
 * descriptor has put it there. In postcopy migration that is the front-end, to which the descriptor is
 * passed (vhost-user, "Migration").
 *
 * A thread that waits holds what it holds, so what was registered must be unregistered, which wakes it,
 * before anything is locked on the way out.
 *
 * Threads: the control thread.
 */
#ifndef MEMORY_USERFAULT_H
#define MEMORY_USERFAULT_H

#include <shunt/error.h>
#include <shunt/memory.h>
#include <stdbool.h>

/* Whether this process may use it; tmpfs and hugetlbfs included. */
bool userfault_is_available(void);

/*
 * A fresh descriptor, or -errno. Where the kernel grants it for accesses from user space only, accesses by
 * system calls to pages that are not there fail.
 */
int userfault_open(void);

/* Registers all regions; those that are already are passed over. -EINVAL: not of tmpfs or hugetlbfs. */
int userfault_register(int fd, const struct shunt_memory *memory, struct shunt_error *error);

/* Nobody waits any more, nor will. */
void userfault_unregister(int fd, const struct shunt_memory *memory);

#endif
