/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses that a queue does not know. Without a vIOMMU the driver made a mistake; with one they are
 * noted in `misses`, and the back-end asks the front-end for them. The queue goes on with what does not need
 * them, and comes back to the chain when the answer is there.
 */
#include "virtqueue/device.h"

static bool is_known(const struct shunt_virtqueue *queue, uint64_t addr, unsigned access)
{
    const struct memory_range *range = iotlb_find(queue->space->iotlb, addr);

    return range && (range->access & access) == access;
}

void virtqueue_miss(struct shunt_virtqueue *queue, uint64_t addr, unsigned access)
{
    /* Nearly always a page is answered as a whole: one question a page is enough. */
    for (unsigned i = 0; i < queue->num_misses; i++) {
        const struct iotlb_miss *miss = &queue->misses[i];

        if ((miss->io_addr ^ addr) < IOTLB_PAGE_BYTES && miss->access == access)
            return;
    }
    if (queue->num_misses == VIRTQUEUE_MAX_MISSES)
        return; /* asked for when some of these are answered */
    queue->misses[queue->num_misses++] = (struct iotlb_miss){.io_addr = addr, .access = access};
    queue->stats.iotlb_misses++;
    queue->on_event(queue->on_event_ctx);
}

bool virtqueue_forget_misses(struct shunt_virtqueue *queue)
{
    unsigned num = 0, before = queue->num_misses;

    for (unsigned i = 0; i < before; i++) {
        const struct iotlb_miss *miss = &queue->misses[i];

        if (queue->space->iotlb && !is_known(queue, miss->io_addr, miss->access))
            queue->misses[num++] = *miss;
    }
    queue->num_misses = num;
    return num < before;
}

int virtqueue_find_range(struct shunt_virtqueue *queue, uint64_t addr, unsigned access,
                         const struct memory_range **range)
{
    const struct iotlb *iotlb = queue->space->iotlb;

    if (iotlb) {
        *range = iotlb_find(iotlb, addr);
        if (!*range || ((*range)->access & access) != access) {
            virtqueue_miss(queue, addr, access);
            return -EAGAIN;
        }
    } else {
        const struct memory_region *region = memory_find_guest(queue->space->memory, addr);

        if (!region) {
            virtqueue_break(queue, FAULT_UNMAPPED, addr);
            return -EPROTO;
        }
        *range = &region->range;
    }
    queue->last_range = *range;
    return 0;
}

/*
 * Pages that are looked at in one look ahead: those of the longest frames for all that can be asked. A buffer
 * may have 4 GiB of them, and whoever looks has other guests to serve.
 */
#define LOOK_AHEAD_PAGES 2048u

/* Asks for the pages of one buffer that are not known, out of the `*num_pages` that may be looked at. */
static void miss_buffer(struct shunt_virtqueue *queue, const struct buffer *buffer,
                        unsigned *num_pages)
{
    unsigned access = buffer->flags & DESCRIPTOR_F_WRITE ? MEMORY_WRITE : MEMORY_READ;
    uint64_t addr = buffer->addr, left = buffer->len;

    for (; left > 0 && *num_pages > 0; --*num_pages) {
        uint64_t piece = IOTLB_PAGE_BYTES - (addr & (IOTLB_PAGE_BYTES - 1));

        if (!is_known(queue, addr, access))
            virtqueue_miss(queue, addr, access);
        piece = memory_min(piece, left);
        addr += piece;
        left -= piece;
    }
}

static void look_ahead_split(struct shunt_virtqueue *queue)
{
    unsigned num = split_available(queue, VIRTQUEUE_MAX_MISSES), num_pages = LOOK_AHEAD_PAGES;

    for (unsigned i = 0; i < num; i++) {
        uint16_t idx = split_head_at(queue, (uint16_t)(queue->next_available + i));
        unsigned flags = DESCRIPTOR_F_NEXT;

        for (unsigned n = 0; (flags & DESCRIPTOR_F_NEXT) && idx < queue->size && n < 32; n++) {
            struct split_descriptor descriptor = split_load(&queue->split.descriptors[idx]);
            struct buffer buffer = split_buffer(&descriptor);

            miss_buffer(queue, &buffer, &num_pages);
            flags = descriptor.flags;
            idx = descriptor.next;
        }
    }
}

static void look_ahead_packed(struct shunt_virtqueue *queue)
{
    uint16_t position = queue->next_available;
    unsigned num_pages = LOOK_AHEAD_PAGES;

    for (unsigned i = 0; i < VIRTQUEUE_MAX_MISSES && i < queue->size; i++) {
        struct packed_descriptor descriptor = packed_load(
            &queue->packed.descriptors[packed_idx(position)]);
        struct buffer buffer = {descriptor.addr, descriptor.len, descriptor.flags};

        if (!packed_is_available(descriptor.flags, position))
            return;
        miss_buffer(queue, &buffer, &num_pages);
        position = packed_advance(position, 1, queue->size);
    }
}

void virtqueue_look_ahead(struct shunt_virtqueue *queue)
{
    if (queue->format == RING_PACKED)
        look_ahead_packed(queue);
    else
        look_ahead_split(queue);
}

void virtqueue_block(struct shunt_virtqueue *queue)
{
    if (queue->is_blocked)
        return;
    queue->is_blocked = true;
    virtqueue_look_ahead(queue);
}
