/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * On machines with more than one memory node: keeping what is ours beside the guest memory that it is
 * used with.
 *
 * What is guaranteed: where numa_follow() returns 0, each page of `own` that had been written to lay on
 * the node of `like` at that moment, or the machine lets us use one node only. Contents and addresses do
 * not change, also while other threads use them. Nothing is promised for later (the kernel may balance
 * or swap), nor for pages that were not yet written to. Pages are moved whole: whatever else lies on them
 * goes along, so what is to be placed should have its pages to itself.
 *
 * A failure is never a fault: everything works as well from afar, only slower. Where the kernel has no
 * such calls, or a filter of system calls forbids them, all machines look as if they had one node.
 *
 * Any thread. Moving takes milliseconds: nothing for the data path.
 */
#ifndef MEMORY_NUMA_H
#define MEMORY_NUMA_H

#include <stddef.h>

/* How many nodes this thread may place memory on, at least 1. */
unsigned numa_num_nodes(void);

/*
 * The node on which the page that holds `address` lies, which is fetched if it is not there; or -errno:
 * -EFAULT: there is no such page.
 */
int numa_node_of(const void *address);

/*
 * Moves the pages that hold any of the `len` bytes at `own` to the node of the page that holds `like`.
 * Returns 0, also where there is one node only; or why some page stays elsewhere: -EBUSY: it is in use by
 * the kernel or shared with another process, or the node is full; or what get_mempolicy(2) of `like` and
 * move_pages(2) return.
 */
int numa_follow(void *own, size_t len, const void *like);

#endif
