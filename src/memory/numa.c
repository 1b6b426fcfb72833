/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory/numa.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* No kernel is built for more: a mask that is too short would be refused. */
#define MAX_NODES 4096
#define LONG_BITS (8 * sizeof(unsigned long))

/* Pages that are handed to the kernel at a time. */
#define BATCH_PAGES 64u

unsigned numa_num_nodes(void)
{
    unsigned long mask[MAX_NODES / LONG_BITS] = {0};
    unsigned num = 0;

    if (syscall(SYS_get_mempolicy, NULL, mask, MAX_NODES, NULL, MPOL_F_MEMS_ALLOWED) < 0)
        return 1;
    for (unsigned i = 0; i < MAX_NODES / LONG_BITS; i++)
        num += (unsigned)__builtin_popcountl(mask[i]);
    return num > 0 ? num : 1;
}

int numa_node_of(const void *address)
{
    int node = -1;

    if (syscall(SYS_get_mempolicy, &node, NULL, 0, address, MPOL_F_NODE | MPOL_F_ADDR) < 0)
        return -errno;
    return node;
}

struct batch {
    unsigned num;
    void *pages[BATCH_PAGES];
};

/* Whether a page is there, and not where it is wanted. */
static bool is_astray(int place, int node)
{
    return place != node && place != -ENOENT && place != -EFAULT;
}

/* Leaves only those pages in the batch that are not on the node; returns how many. */
static int keep_astray(struct batch *batch, int node)
{
    int places[BATCH_PAGES];
    unsigned num = 0;

    if (syscall(SYS_move_pages, 0, batch->num, batch->pages, NULL, places, 0) < 0)
        return -errno;
    for (unsigned i = 0; i < batch->num; i++) {
        if (is_astray(places[i], node))
            batch->pages[num++] = batch->pages[i];
    }
    batch->num = num;
    return (int)num;
}

/*
 * Moves only what has to be: it costs the kernel a round over all CPUs. What it says of each page is not
 * to be relied on if some cannot be moved, so we look again.
 */
static int move_batch(struct batch *batch, int node)
{
    int nodes[BATCH_PAGES], places[BATCH_PAGES];
    int left = keep_astray(batch, node), reason = EBUSY;

    if (left <= 0)
        return left;
    for (unsigned i = 0; i < batch->num; i++)
        nodes[i] = node;
    if (syscall(SYS_move_pages, 0, batch->num, batch->pages, nodes, places, MPOL_MF_MOVE) < 0)
        reason = errno;
    left = keep_astray(batch, node);
    return left > 0 ? -reason : left;
}

static int move_pages_to(uintptr_t first, uintptr_t last, uintptr_t page_bytes, int node)
{
    struct batch batch = {0};
    int result = 0;

    for (uintptr_t page = first; page <= last; page += page_bytes) {
        int moved;

        batch.pages[batch.num++] = (void *)page;
        if (batch.num < BATCH_PAGES && page != last)
            continue;
        moved = move_batch(&batch, node);
        result = result < 0 ? result : moved;
        batch.num = 0;
    }
    return result;
}

int numa_follow(void *own, size_t len, const void *like)
{
    uintptr_t page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)own;
    int node;

    if (len == 0 || numa_num_nodes() == 1)
        return 0;
    node = numa_node_of(like);
    if (node < 0)
        return node;
    return move_pages_to(start & ~(page_bytes - 1), (start + len - 1) & ~(page_bytes - 1),
                         page_bytes, node);
}
