/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOAD_ACQUIRE(pointer)         __atomic_load_n(pointer, __ATOMIC_ACQUIRE)
#define LOAD_RELAXED(pointer)         __atomic_load_n(pointer, __ATOMIC_RELAXED)
#define STORE_RELAXED(pointer, value) __atomic_store_n(pointer, value, __ATOMIC_RELAXED)
#define STORE_RELEASE(pointer, value) __atomic_store_n(pointer, value, __ATOMIC_RELEASE)

/* What the driver remembers of a descriptor. */
struct ring_shadow {
    uint16_t next; /* of the chain, or of the list of free ones */
    uint16_t num;  /* at the head of a chain of ours: its descriptors; else 0 */
};

static void give_up(const char *what)
{
    perror(what);
    abort();
}

/* --- Memory ----------------------------------------------------------------------------------------- */

void area_create(struct ring_area *area, uint64_t size, uint64_t guest_addr, uint64_t user_addr)
{
    *area = (struct ring_area){.guest_addr = guest_addr, .user_addr = user_addr, .size = size};
    area->fd = memfd_create("guest", MFD_CLOEXEC);
    if (area->fd < 0 || ftruncate(area->fd, (off_t)size) < 0)
        give_up("memfd_create");
    area->base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, area->fd, 0);
    if (area->base == MAP_FAILED)
        give_up("mmap");
}

void area_destroy(struct ring_area *area)
{
    munmap(area->base, area->size);
    close(area->fd);
    area->base = NULL;
    area->fd = -1;
}

struct shunt_memory_region area_region(const struct ring_area *area)
{
    return (struct shunt_memory_region){
        .guest_addr = area->guest_addr,
        .user_addr = area->user_addr,
        .size = area->size,
    };
}

void *area_at(const struct ring_area *area, uint64_t guest_addr)
{
    return area->base + (guest_addr - area->guest_addr);
}

uint64_t area_guest(const struct ring_area *area, const void *pointer)
{
    return area->guest_addr + (uint64_t)((const uint8_t *)pointer - area->base);
}

/* --- Layout ----------------------------------------------------------------------------------------- */

static uint64_t available_offset(uint16_t size)
{
    return SPLIT_DESCRIPTOR_BYTES(size);
}

static uint64_t used_offset(uint16_t size)
{
    uint64_t end = available_offset(size) + SPLIT_AVAILABLE_BYTES(size);

    return (end + SPLIT_USED_ALIGN - 1) / SPLIT_USED_ALIGN * SPLIT_USED_ALIGN;
}

uint64_t ring_bytes(uint16_t size)
{
    return used_offset(size) + SPLIT_USED_BYTES(size);
}

void ring_init(struct ring *ring, const struct ring_area *area, uint64_t offset, uint16_t size)
{
    uint8_t *start = area->base + offset;

    memset(start, 0, ring_bytes(size));
    *ring = (struct ring){
        .area = *area,
        .size = size,
        .descriptors = (struct split_descriptor *)(void *)start,
        .available = (struct split_available *)(void *)(start + available_offset(size)),
        .used = (struct split_used *)(void *)(start + used_offset(size)),
        .num_free = size,
        .shadow = calloc(size, sizeof(struct ring_shadow)),
    };
    if (!ring->shadow)
        give_up("calloc");
    for (uint16_t i = 0; i < size; i++)
        ring->shadow[i].next = (uint16_t)(i + 1);
}

void ring_set_base(struct ring *ring, uint16_t idx)
{
    ring->next_available = idx;
    ring->kicked_up_to = idx;
    ring->last_used = idx;
    STORE_RELAXED(&ring->available->idx, idx);
    STORE_RELAXED(&ring->used->idx, idx);
}

void ring_fini(struct ring *ring)
{
    free(ring->shadow);
    ring->shadow = NULL;
}

static uint64_t user_addr_of(const struct ring *ring, const void *pointer)
{
    return ring->area.user_addr + (uint64_t)((const uint8_t *)pointer - ring->area.base);
}

struct virtqueue_addresses ring_addresses(const struct ring *ring)
{
    return (struct virtqueue_addresses){
        .descriptor = user_addr_of(ring, ring->descriptors),
        .driver = user_addr_of(ring, ring->available),
        .device = user_addr_of(ring, ring->used),
    };
}

/* --- Chains ----------------------------------------------------------------------------------------- */

void ring_set_descriptor(struct ring *ring, uint16_t idx, uint64_t addr, uint32_t len,
                         uint16_t flags, uint16_t next)
{
    ring->descriptors[idx] =
        (struct split_descriptor){.addr = addr, .len = len, .flags = flags, .next = next};
}

/* Takes a descriptor from the list of free ones. */
static uint16_t take_free(struct ring *ring)
{
    uint16_t idx = ring->first_free;

    ring->first_free = ring->shadow[idx].next;
    ring->num_free--;
    return idx;
}

static uint16_t flags_of(const struct ring_buffer *buffer, bool is_last)
{
    return (uint16_t)((buffer->is_writable ? DESCRIPTOR_F_WRITE : 0) |
                      (is_last ? 0 : DESCRIPTOR_F_NEXT));
}

int ring_add(struct ring *ring, const struct ring_buffer *buffers, unsigned num)
{
    uint16_t head = ring->first_free, idx;

    if (num == 0 || num > ring->num_free)
        return -1;
    for (unsigned i = 0; i < num; i++) {
        idx = take_free(ring);
        ring_set_descriptor(ring, idx, buffers[i].addr, buffers[i].len,
                            flags_of(&buffers[i], i + 1 == num), ring->first_free);
    }
    ring->shadow[head].num = (uint16_t)num;
    ring_offer(ring, head);
    return head;
}

int ring_add_indirect(struct ring *ring, void *table, uint64_t table_addr,
                      const struct ring_buffer *buffers, unsigned num)
{
    struct split_descriptor entry;
    uint16_t head;

    if (num == 0 || ring->num_free == 0)
        return -1;
    head = take_free(ring);
    for (unsigned i = 0; i < num; i++) {
        entry = (struct split_descriptor){
            .addr = buffers[i].addr,
            .len = buffers[i].len,
            .flags = flags_of(&buffers[i], i + 1 == num),
            .next = (uint16_t)(i + 1),
        };
        memcpy((uint8_t *)table + i * sizeof(entry), &entry, sizeof(entry));
    }
    ring_set_descriptor(ring, head, table_addr, (uint32_t)(num * sizeof(entry)),
                        DESCRIPTOR_F_INDIRECT, 0);
    ring->shadow[head].num = 1;
    ring_offer(ring, head);
    return head;
}

void ring_offer(struct ring *ring, uint16_t head)
{
    STORE_RELAXED(&ring->available->ring[ring->next_available & (ring->size - 1)], head);
    ring->next_available++;
}

/* The release pairs with the device's acquire: what lies before the index is there when it sees it. */
void ring_publish(struct ring *ring)
{
    ring_set_available_idx(ring, ring->next_available);
}

void ring_set_available_idx(struct ring *ring, uint16_t idx)
{
    STORE_RELEASE(&ring->available->idx, idx);
}

/* --- Used ------------------------------------------------------------------------------------------- */

uint16_t ring_num_used(const struct ring *ring)
{
    return (uint16_t)(LOAD_ACQUIRE(&ring->used->idx) - ring->last_used);
}

/* Puts the descriptors of a chain back into the list of free ones. */
static void free_chain(struct ring *ring, uint16_t head)
{
    uint16_t last = head;

    for (uint16_t i = 1; i < ring->shadow[head].num; i++)
        last = ring->shadow[last].next;
    ring->shadow[last].next = ring->first_free;
    ring->first_free = head;
    ring->num_free = (uint16_t)(ring->num_free + ring->shadow[head].num);
    ring->shadow[head].num = 0;
}

bool ring_take_used(struct ring *ring, struct split_used_element *element)
{
    const struct split_used_element *next;

    if (ring_num_used(ring) == 0)
        return false;
    next = &ring->used->ring[ring->last_used++ & (ring->size - 1)];
    element->id = LOAD_RELAXED(&next->id);
    element->len = LOAD_RELAXED(&next->len);
    if (element->id < ring->size && ring->shadow[element->id].num > 0)
        free_chain(ring, (uint16_t)element->id);
    return true;
}

/* --- Notifications ---------------------------------------------------------------------------------- */

/*
 * The device's wish is read after our index is visible; the fence pairs with the device's between writing
 * its wish and looking at the index once more (VIRTIO 1.3, 2.7.10.1).
 */
bool ring_needs_kick(struct ring *ring)
{
    uint16_t before = ring->kicked_up_to, now = ring->next_available;

    ring->kicked_up_to = now;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!ring->has_event_idx)
        return !(LOAD_RELAXED(&ring->used->flags) & USED_F_NO_NOTIFY);
    return (uint16_t)(now - ring_avail_event(ring) - 1) < (uint16_t)(now - before);
}

void ring_want_calls(struct ring *ring, bool wanted)
{
    if (ring->has_event_idx)
        ring_set_used_event(ring, (uint16_t)(wanted ? ring->last_used : ring->last_used - 1));
    else
        STORE_RELAXED(&ring->available->flags, wanted ? 0 : AVAILABLE_F_NO_INTERRUPT);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void ring_set_used_event(struct ring *ring, uint16_t idx)
{
    STORE_RELAXED(&ring->available->ring[ring->size], idx);
}

uint16_t ring_avail_event(const struct ring *ring)
{
    return LOAD_RELAXED((const uint16_t *)(const void *)&ring->used->ring[ring->size]);
}
