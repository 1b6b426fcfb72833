/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a front-end told of its guest's IOMMU: where I/O virtual addresses lie, and what may be done there
 * (vhost-user, "IOMMU support").
 *
 * Entries are sorted and do not overlap; each lies in one piece for us. They are kept by what the
 * front-end said, so that they survive a change of the memory's regions.
 *
 * Threads: as `struct shunt_memory`: changed in the control thread with every queue of the device locked,
 * looked up by whoever holds one of those locks.
 */
#ifndef MEMORY_IOTLB_H
#define MEMORY_IOTLB_H

#include "memory/memory.h"

/*
 * More than a guest of sane size maps at a time. When one more is needed, all are forgotten: they are asked
 * for again as they are used.
 */
#define IOTLB_MAX_ENTRIES 65536u

/* The least that an IOMMU maps: what is asked for goes by it. */
#define IOTLB_PAGE_BYTES UINT64_C(4096)

struct iotlb;

/* Makes an empty one over `memory`, which must outlive it. -ENOMEM. */
int iotlb_create(const struct shunt_memory *memory, struct iotlb **iotlb);

/* Accepts NULL. */
void iotlb_destroy(struct iotlb *iotlb);

/* In which addresses the front-end tells where entries lie (protocol feature GPA_ADDRESSES). */
enum iotlb_target { IOTLB_TARGET_USER, IOTLB_TARGET_GUEST };

/* The first is what an IOTLB begins with. A change forgets all entries: they mean nothing any more. */
void iotlb_set_target(struct iotlb *iotlb, enum iotlb_target target);

/*
 * `size` bytes from `io_addr` on lie at `target_addr`; `access` of MEMORY_READ and MEMORY_WRITE, or
 * 0. Replaces what was there. -EINVAL: size 0, a range that wraps, any byte outside of the memory, or other
 * bits of access: nothing has changed then.
 */
int iotlb_update(struct iotlb *iotlb, uint64_t io_addr, uint64_t size, uint64_t target_addr,
                 unsigned access, struct shunt_error *error);

/*
 * Nothing is known of these addresses any more. All, as front-ends say it, is address 0 with size 0 (that is
 * 2^64, wrapped) or size UINT64_MAX; what else wraps ends at the last address, and another size 0 is nothing.
 */
void iotlb_invalidate(struct iotlb *iotlb, uint64_t io_addr, uint64_t size);

/* Forgets all. */
void iotlb_clear(struct iotlb *iotlb);

/* The regions changed: finds every entry again; what of it lies outside of them is forgotten. */
void iotlb_remap(struct iotlb *iotlb);

/* The entry that holds the address, or NULL. Valid until the next change. */
const struct memory_range *iotlb_find(const struct iotlb *iotlb, uint64_t io_addr);

/* Entries now, and since it was made: updates and invalidations that were obeyed. */
struct iotlb_stats {
    unsigned num_entries;
    uint64_t bytes; /* that the entries cover */
    uint64_t updates;
    uint64_t invalidations;
};
struct iotlb_stats iotlb_stats(const struct iotlb *iotlb);

#endif
