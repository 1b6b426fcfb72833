/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One sorted array. A lookup is a binary search; a change is a search for the first and the last entry that
 * it touches and a memmove of what follows.
 *
 * What is told at once is cut where the memory's regions end, so that each entry lies in one region. What
 * continues its neighbour in every respect becomes one with it: a guest that maps all of its memory page by
 * page ends with an entry for each region.
 */
#include "memory/iotlb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

struct entry {
    struct memory_range range; /* by I/O virtual address */
    uint64_t target;           /* as the front-end told it: stays true when the regions change */
    const struct memory_region *region; /* that it lies in: only to tell entries of two apart */
};

struct iotlb {
    const struct shunt_memory *memory;
    enum iotlb_target target;
    unsigned num;
    struct entry *entries; /* IOTLB_MAX_ENTRIES; pages that were never used take no memory */
    uint64_t updates;
    uint64_t invalidations;
};

static struct entry *allocate_entries(void)
{
    return malloc(IOTLB_MAX_ENTRIES * sizeof(struct entry));
}

int iotlb_create(const struct shunt_memory *memory, struct iotlb **iotlb)
{
    struct iotlb *fresh = calloc(1, sizeof(*fresh));
    struct entry *entries = allocate_entries();

    if (!fresh || !entries) {
        free(entries);
        free(fresh);
        return -ENOMEM;
    }
    fresh->memory = memory;
    fresh->entries = entries;
    *iotlb = fresh;
    return 0;
}

void iotlb_destroy(struct iotlb *iotlb)
{
    if (!iotlb)
        return;
    free(iotlb->entries);
    free(iotlb);
}

void iotlb_clear(struct iotlb *iotlb)
{
    iotlb->num = 0;
}

void iotlb_set_target(struct iotlb *iotlb, enum iotlb_target target)
{
    if (iotlb->target != target)
        iotlb_clear(iotlb);
    iotlb->target = target;
}

/* --- The array -------------------------------------------------------------------------------------- */

/* Ranges do not wrap: the last address is one where the one after it need not be. */
static uint64_t last_of(const struct entry *entry)
{
    return entry->range.addr + (entry->range.size - 1);
}

/* The first entry that does not end before the address: it holds it, or would be next to one that does. */
static unsigned find_place(const struct iotlb *iotlb, uint64_t io_addr)
{
    unsigned low = 0, high = iotlb->num;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        if (last_of(&iotlb->entries[middle]) < io_addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct memory_range *iotlb_find(const struct iotlb *iotlb, uint64_t io_addr)
{
    unsigned at = find_place(iotlb, io_addr);

    if (at == iotlb->num || !memory_range_holds(&iotlb->entries[at].range, io_addr))
        return NULL;
    return &iotlb->entries[at].range;
}

/* Puts what was at `from` and behind it to `to`. */
static void move_tail(struct iotlb *iotlb, unsigned to, unsigned from)
{
    memmove(&iotlb->entries[to], &iotlb->entries[from],
            (iotlb->num - from) * sizeof(iotlb->entries[0]));
    iotlb->num = iotlb->num - from + to;
}

static void drop_front(struct entry *entry, uint64_t bytes)
{
    entry->range.addr += bytes;
    entry->range.size -= bytes;
    entry->range.host += bytes;
    entry->target += bytes;
}

/* Has the entry at `at` end before `io_addr`, and what is left of it follow as one of its own. */
static void split(struct iotlb *iotlb, unsigned at, uint64_t io_addr)
{
    struct entry *entry = &iotlb->entries[at];
    uint64_t bytes = io_addr - entry->range.addr;

    if (iotlb->num == IOTLB_MAX_ENTRIES) {
        iotlb_clear(iotlb);
        return;
    }
    move_tail(iotlb, at + 1, at);
    entry->range.size = bytes;
    drop_front(entry + 1, bytes);
}

/* Makes the address the begin of an entry, if it is within one. */
static void split_at(struct iotlb *iotlb, uint64_t io_addr)
{
    unsigned at = find_place(iotlb, io_addr);

    if (at < iotlb->num && iotlb->entries[at].range.addr < io_addr)
        split(iotlb, at, io_addr);
}

/* Forgets the addresses from `first` to `last`. */
static void erase(struct iotlb *iotlb, uint64_t first, uint64_t last)
{
    unsigned from, to;

    split_at(iotlb, first);
    if (last < UINT64_MAX)
        split_at(iotlb, last + 1);
    from = find_place(iotlb, first);
    to = last < UINT64_MAX ? find_place(iotlb, last + 1) : iotlb->num;
    if (from < to)
        move_tail(iotlb, from, to);
}

static bool continues(const struct entry *entry, const struct entry *next)
{
    uint64_t size = entry->range.size;

    return entry->range.addr + size == next->range.addr && entry->target + size == next->target &&
           entry->region == next->region && entry->range.access == next->range.access;
}

/* Makes one of the entry at `at` and the one behind it, where that is possible. */
static void join(struct iotlb *iotlb, unsigned at)
{
    struct entry *entry = &iotlb->entries[at];

    if (at + 1 >= iotlb->num || !continues(entry, entry + 1))
        return;
    entry->range.size += entry[1].range.size;
    move_tail(iotlb, at + 1, at + 2);
}

/* Nothing is known yet of these addresses. */
static void insert(struct iotlb *iotlb, const struct entry *entry)
{
    unsigned at = find_place(iotlb, entry->range.addr);

    if (at > 0 && continues(&iotlb->entries[at - 1], entry)) {
        iotlb->entries[--at].range.size += entry->range.size;
        join(iotlb, at);
        return;
    }
    if (iotlb->num == IOTLB_MAX_ENTRIES) {
        iotlb_clear(iotlb);
        at = 0;
    }
    move_tail(iotlb, at + 1, at);
    iotlb->entries[at] = *entry;
    join(iotlb, at);
}

/* --- What the front-end tells ----------------------------------------------------------------------- */

/* Where a region begins, in the addresses in which the front-end tells targets. */
static uint64_t start_of(const struct iotlb *iotlb, const struct memory_region *region)
{
    return iotlb->target == IOTLB_TARGET_GUEST ? region->range.addr : region->user_addr;
}

static const struct memory_region *find_region(const struct iotlb *iotlb, uint64_t target)
{
    return iotlb->target == IOTLB_TARGET_GUEST ? memory_find_guest(iotlb->memory, target)
                                               : memory_find_user(iotlb->memory, target);
}

/* Finds as much of the wanted range as lies in one region: false if its first byte lies in none. */
static bool find_piece(const struct iotlb *iotlb, const struct memory_range *wanted,
                       uint64_t target, struct entry *piece)
{
    const struct memory_region *region = find_region(iotlb, target);
    uint64_t offset;

    if (!region)
        return false;
    offset = target - start_of(iotlb, region);
    *piece = (struct entry){
        .range = {wanted->addr, memory_min(wanted->size, region->range.size - offset),
                  region->range.host + offset, wanted->access},
        .target = target,
        .region = region,
    };
    return true;
}

/* The first address of the wanted range that lies in no region; false if there is none such. */
static bool find_stray(const struct iotlb *iotlb, struct memory_range wanted, uint64_t *target)
{
    struct entry piece;

    for (; wanted.size > 0; wanted.size -= piece.range.size, *target += piece.range.size) {
        if (!find_piece(iotlb, &wanted, *target, &piece))
            return true;
    }
    return false;
}

/* How many of the `size` bytes from `target` on, the first of which is in no region, are so. */
static uint64_t hole_size(const struct iotlb *iotlb, uint64_t target, uint64_t size)
{
    for (unsigned i = 0; i < iotlb->memory->num_regions; i++) {
        uint64_t start = start_of(iotlb, &iotlb->memory->regions[i]);

        if (start > target)
            size = memory_min(size, start - target);
    }
    return size;
}

/* Makes entries of what lies in regions. */
static void insert_pieces(struct iotlb *iotlb, struct memory_range wanted, uint64_t target)
{
    while (wanted.size > 0) {
        struct entry piece;
        uint64_t step;

        if (find_piece(iotlb, &wanted, target, &piece)) {
            insert(iotlb, &piece);
            step = piece.range.size;
        } else {
            step = hole_size(iotlb, target, wanted.size);
        }
        wanted.addr += step;
        wanted.size -= step;
        target += step;
    }
}

static int check_update(const struct iotlb *iotlb, const struct memory_range *wanted,
                        uint64_t target, struct shunt_error *error)
{
    uint64_t stray = target;

    if (wanted->size == 0)
        return error_set(error, -EINVAL, "IOTLB entry at I/O address 0x%" PRIx64 " has size 0",
                         wanted->addr);
    if (wanted->access & ~(MEMORY_READ | MEMORY_WRITE))
        return error_set(error, -EINVAL, "IOTLB entry at I/O address 0x%" PRIx64 ": access 0x%x",
                         wanted->addr, wanted->access);
    if (wanted->size - 1 > UINT64_MAX - wanted->addr || wanted->size - 1 > UINT64_MAX - target)
        return error_set(error, -EINVAL,
                         "IOTLB entry at I/O address 0x%" PRIx64 " of 0x%" PRIx64
                         " bytes at 0x%" PRIx64 " wraps around",
                         wanted->addr, wanted->size, target);
    if (find_stray(iotlb, *wanted, &stray))
        return error_set(error, -EINVAL,
                         "IOTLB entry at I/O address 0x%" PRIx64 " of 0x%" PRIx64
                         " bytes: %s address 0x%" PRIx64 " is in no memory region",
                         wanted->addr, wanted->size,
                         iotlb->target == IOTLB_TARGET_GUEST ? "guest" : "user", stray);
    return 0;
}

int iotlb_update(struct iotlb *iotlb, uint64_t io_addr, uint64_t size, uint64_t target_addr,
                 unsigned access, struct shunt_error *error)
{
    struct memory_range wanted = {io_addr, size, NULL, access};
    int result = check_update(iotlb, &wanted, target_addr, error);

    if (result < 0)
        return result;
    erase(iotlb, io_addr, io_addr + (size - 1));
    insert_pieces(iotlb, wanted, target_addr);
    iotlb->updates++;
    return 0;
}

void iotlb_invalidate(struct iotlb *iotlb, uint64_t io_addr, uint64_t size)
{
    bool is_all = io_addr == 0 && (size == 0 || size == UINT64_MAX);

    if (size == 0 && !is_all)
        return;
    if (is_all || size - 1 > UINT64_MAX - io_addr)
        erase(iotlb, io_addr, UINT64_MAX);
    else
        erase(iotlb, io_addr, io_addr + (size - 1));
    iotlb->invalidations++;
}

void iotlb_remap(struct iotlb *iotlb)
{
    struct entry *before = iotlb->entries, *fresh = allocate_entries();
    unsigned num = iotlb->num;

    iotlb_clear(iotlb);
    if (!fresh)
        return;
    iotlb->entries = fresh;
    for (unsigned i = 0; i < num; i++)
        insert_pieces(iotlb, before[i].range, before[i].target);
    free(before);
}

struct iotlb_stats iotlb_stats(const struct iotlb *iotlb)
{
    struct iotlb_stats stats = {
        .num_entries = iotlb->num,
        .updates = iotlb->updates,
        .invalidations = iotlb->invalidations,
    };

    for (unsigned i = 0; i < iotlb->num; i++)
        stats.bytes += iotlb->entries[i].range.size;
    return stats;
}
