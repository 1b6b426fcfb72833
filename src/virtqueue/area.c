/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtqueue/area.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

/* What an area is, in each format. */
struct area_kind {
    const char *name;
    unsigned bytes_an_entry;
    unsigned bytes;
    unsigned alignment;
    unsigned access;
};

static const struct area_kind kinds[2][RING_NUM_AREAS] = {
    [RING_SPLIT] =
        {
            {"descriptor area", 16, 0, SPLIT_DESCRIPTOR_ALIGN, MEMORY_READ},
            {"available ring", 2, 6, SPLIT_AVAILABLE_ALIGN, MEMORY_READ},
            {"used ring", 8, 6, SPLIT_USED_ALIGN, MEMORY_READ | MEMORY_WRITE},
        },
    [RING_PACKED] =
        {
            {"descriptor ring", 16, 0, PACKED_DESCRIPTOR_ALIGN, MEMORY_READ | MEMORY_WRITE},
            {"driver event structure", 0, 4, PACKED_EVENT_ALIGN, MEMORY_READ},
            {"device event structure", 0, 4, PACKED_EVENT_ALIGN, MEMORY_READ | MEMORY_WRITE},
        },
};

static uint64_t area_addr(const struct shunt_virtqueue *queue, unsigned idx)
{
    const uint64_t addrs[RING_NUM_AREAS] = {queue->addresses.descriptor, queue->addresses.driver,
                                            queue->addresses.device};

    return addrs[idx];
}

static uint64_t area_bytes(const struct shunt_virtqueue *queue, unsigned idx)
{
    const struct area_kind *kind = &kinds[queue->format][idx];

    return (uint64_t)kind->bytes_an_entry * queue->size + kind->bytes;
}

bool area_overlaps(const struct shunt_virtqueue *queue, uint64_t addr, uint64_t bytes)
{
    if (addr == 0 && bytes == 0)
        return true;
    for (unsigned i = 0; i < RING_NUM_AREAS; i++) {
        uint64_t own = area_addr(queue, i);

        if (own < addr ? addr - own < area_bytes(queue, i) : own - addr < bytes)
            return true;
    }
    return false;
}

/* What is at an address of the ring, as far as it lies in one piece; NULL: nothing that we know of. */
static uint8_t *look_up(const struct shunt_virtqueue *queue, uint64_t addr, uint64_t len,
                        unsigned access, uint64_t *contiguous)
{
    const struct virtqueue_space *space = queue->space;
    const struct memory_range *range;

    *contiguous = 0;
    switch (space->ring_addressing) {
    case RING_AT_USER:
        return shunt_memory_at_user(space->memory, addr, len, contiguous);
    case RING_AT_GUEST:
        return shunt_memory_at_guest(space->memory, addr, len, contiguous);
    case RING_AT_IO:
        range = iotlb_find(space->iotlb, addr);
        if (!range || (range->access & access) != access)
            return NULL;
        *contiguous = memory_min(len, range->size - (addr - range->addr));
        return range->host + (addr - range->addr);
    }
    return NULL;
}

/* Whether all of the area can be looked up; it asks for what the IOTLB lacks. `*is_whole`: in one piece. */
static int survey(struct shunt_virtqueue *queue, uint64_t addr, uint64_t len, unsigned access,
                  bool *is_whole)
{
    const uint8_t *next = NULL;
    uint64_t piece;
    int result = 0;

    *is_whole = true;
    for (uint64_t done = 0; done < len; done += piece) {
        const uint8_t *host = look_up(queue, addr + done, len - done, access, &piece);

        if (!host && queue->space->ring_addressing != RING_AT_IO)
            return -EINVAL;
        if (!host) {
            uint64_t page = IOTLB_PAGE_BYTES - ((addr + done) & (IOTLB_PAGE_BYTES - 1));

            virtqueue_miss(queue, addr + done, access);
            piece = memory_min(page, len - done);
            result = -EAGAIN;
            continue;
        }
        *is_whole &= done == 0 || host == next;
        next = host + piece;
    }
    return result;
}

/* Maps the pages of one piece at `to`; an old size of 0 is how mremap(2) maps shared pages once more. */
static int map_again(uint8_t *to, uint8_t *from, uint64_t bytes)
{
    void *at = mremap(from, 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to);

    return at == MAP_FAILED ? -errno : 0;
}

static int fill_window(const struct shunt_virtqueue *queue, uint8_t *window, uint64_t addr,
                       uint64_t len, unsigned access)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t first = addr & ~(page - 1), last = (addr + len - 1) & ~(page - 1);

    for (uint64_t at = first; at <= last; at += page) {
        uint64_t from = at < addr ? addr : at; /* what of the page belongs to the area */
        uint64_t wanted = memory_min(at + page, addr + len) - from, piece;
        uint8_t *host = look_up(queue, from, wanted, access, &piece);
        int result;

        if (piece < wanted || (((uintptr_t)host ^ from) & (page - 1)) != 0)
            return -EINVAL; /* pieces that are no pages cannot be put in a row */
        result = map_again(window + (at - first), host - (from - at), page);
        if (result < 0)
            return result;
    }
    return 0;
}

static uint8_t *open_window(const struct shunt_virtqueue *queue, struct area_window *window,
                            uint64_t addr, uint64_t len, unsigned access)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t offset = addr & (page - 1);

    window->bytes = (offset + len + page - 1) & ~(page - 1);
    window->start = mmap(NULL, window->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (window->start == MAP_FAILED) {
        window->start = NULL;
        return NULL;
    }
    if (fill_window(queue, window->start, addr, len, access) < 0)
        return NULL;
    return (uint8_t *)window->start + offset;
}

static int fail(const struct area_kind *kind, uint64_t addr, uint64_t len,
                struct shunt_error *error)
{
    return error_set(error, -EINVAL,
                     "the %s at 0x%" PRIx64 " of %" PRIu64
                     " bytes does not lie in one region of guest memory",
                     kind->name, addr, len);
}

/*
 * The area's words must be aligned where we have them mapped, too, or they could not be loaded in one
 * go.
 */
static int map(struct shunt_virtqueue *queue, unsigned idx, uint8_t **area,
               struct shunt_error *error)
{
    const struct area_kind *kind = &kinds[queue->format][idx];
    uint64_t addr = area_addr(queue, idx), len = area_bytes(queue, idx), piece;
    bool is_whole;
    int result = addr > UINT64_MAX - len ? -EINVAL
                                         : survey(queue, addr, len, kind->access, &is_whole);

    if (result == -EAGAIN)
        return result;
    if (result < 0)
        return fail(kind, addr, len, error);
    *area = is_whole ? look_up(queue, addr, len, kind->access, &piece)
                     : open_window(queue, &queue->windows[idx], addr, len, kind->access);
    if (!*area)
        return fail(kind, addr, len, error);
    if (addr % kind->alignment != 0 || (uintptr_t)*area % kind->alignment != 0)
        return error_set(error, -EINVAL,
                         "the %s at 0x%" PRIx64
                         " is not aligned to %u bytes there or in the file of its region",
                         kind->name, addr, kind->alignment);
    return 0;
}

int area_map_all(struct shunt_virtqueue *queue, struct shunt_error *error)
{
    uint8_t *areas[RING_NUM_AREAS] = {NULL};
    int result = 0;

    area_unmap_all(queue);
    for (unsigned i = 0; i < RING_NUM_AREAS && (result == 0 || result == -EAGAIN); i++) {
        int one = map(queue, i, &areas[i], error);

        result = one < 0 ? one : result;
    }
    if (result < 0) {
        area_unmap_all(queue);
        return result;
    }
    if (queue->format == RING_PACKED) {
        queue->packed.descriptors = (void *)areas[0];
        queue->packed.driver_event = (const void *)areas[1];
        queue->packed.device_event = (void *)areas[2];
    } else {
        queue->split.descriptors = (const void *)areas[0];
        queue->split.available = (const void *)areas[1];
        queue->split.used = (void *)areas[2];
    }
    return 0;
}

void area_unmap_all(struct shunt_virtqueue *queue)
{
    for (unsigned i = 0; i < RING_NUM_AREAS; i++) {
        if (queue->windows[i].start)
            munmap(queue->windows[i].start, queue->windows[i].bytes);
        queue->windows[i].start = NULL;
    }
    queue->split.descriptors = NULL;
    queue->split.available = NULL;
    queue->split.used = NULL;
    queue->last_range = NULL;
}

void area_mark(struct shunt_virtqueue *queue, uint64_t addr, uint64_t len)
{
    uint64_t piece;

    for (uint64_t done = 0; done < len; done += piece) {
        const uint8_t *host = look_up(queue, addr + done, len - done, MEMORY_WRITE, &piece);

        if (!host)
            return;
        virtqueue_mark(queue, host, piece);
    }
}
