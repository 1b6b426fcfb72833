/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/ring_class.h"

/* --- Life ------------------------------------------------------------------------------------------- */

uint64_t ring_bytes(uint16_t size)
{
    /* Split is the longer one; room for aligning its used ring is within the constant. */
    return SPLIT_DESCRIPTOR_BYTES(size) + SPLIT_AVAILABLE_BYTES(size) + SPLIT_USED_ALIGN +
           SPLIT_USED_BYTES(size);
}

static void *must_calloc(size_t num, size_t bytes)
{
    void *memory = calloc(num, bytes);

    if (!memory) {
        perror("calloc");
        abort();
    }
    return memory;
}

void ring_init(struct ring *ring, const struct ring_area *area, uint64_t offset, uint16_t size,
               enum ring_format format)
{
    uint8_t *start = area->base + offset;

    memset(start, 0, ring_bytes(size));
    *ring = (struct ring){
        .area = *area,
        .format = format,
        .size = size,
        .num_free = size,
        .class = format == RING_PACKED ? &ring_packed : &ring_split,
        .shadow = must_calloc(size, sizeof(struct ring_shadow)),
        .order = must_calloc(size, sizeof(uint16_t)),
    };
    ring->class->lay_out(ring, start);
    ring->class->begin(ring);
}

void ring_move(struct ring *ring, const struct ring_area *area, uint64_t offset)
{
    const void *from = ring->format == RING_PACKED ? (const void *)ring->packed : ring->descriptors;

    memmove(area->base + offset, from, ring_bytes(ring->size));
    ring->area = *area;
    ring->class->lay_out(ring, area->base + offset);
}

void ring_fini(struct ring *ring)
{
    free(ring->shadow);
    free(ring->order);
    ring->shadow = NULL;
    ring->order = NULL;
}

void ring_set_base(struct ring *ring, uint32_t base)
{
    ring->class->set_base(ring, base);
    ring->num_unkicked = 0;
}

uint32_t ring_base(const struct ring *ring)
{
    if (ring->format == RING_SPLIT)
        return ring->last_used;
    return (uint32_t)ring->last_used | (uint32_t)ring->last_used << 16;
}

uint16_t ring_step(const struct ring *ring, uint16_t place, int distance)
{
    return ring->class->step(ring, place, distance);
}

struct virtqueue_addresses ring_addresses(const struct ring *ring)
{
    bool is_packed = ring->format == RING_PACKED;
    const void *descriptor = is_packed ? (const void *)ring->packed : ring->descriptors;
    const void *driver = is_packed ? (const void *)ring->driver_event : ring->available;
    const void *device = is_packed ? (const void *)ring->device_event : ring->used;

    return (struct virtqueue_addresses){
        .descriptor = area_user(&ring->area, descriptor),
        .driver = area_user(&ring->area, driver),
        .device = area_user(&ring->area, device),
    };
}

struct ring_area_bytes ring_area_bytes(const struct ring *ring)
{
    if (ring->format == RING_PACKED)
        return (struct ring_area_bytes){PACKED_DESCRIPTOR_BYTES(ring->size), PACKED_EVENT_BYTES,
                                        PACKED_EVENT_BYTES};
    return (struct ring_area_bytes){SPLIT_DESCRIPTOR_BYTES(ring->size),
                                    SPLIT_AVAILABLE_BYTES(ring->size),
                                    SPLIT_USED_BYTES(ring->size)};
}

/* --- Chains ----------------------------------------------------------------------------------------- */

uint16_t ring_next_id(const struct ring *ring)
{
    return ring->first_free;
}

static uint32_t writable_len(const struct ring_descriptor *descriptors, unsigned num)
{
    uint32_t len = 0;

    for (unsigned i = 0; i < num; i++)
        len += descriptors[i].flags & DESCRIPTOR_F_WRITE ? descriptors[i].len : 0;
    return len;
}

int ring_add_descriptors(struct ring *ring, const struct ring_descriptor *descriptors, unsigned num)
{
    uint16_t id;

    if (num == 0 || num > ring->num_free)
        return -1;
    id = ring->class->write_chain(ring, descriptors, num);
    ring->num_free = (uint16_t)(ring->num_free - num);
    ring->shadow[id].num = (uint16_t)num;
    ring->shadow[id].writable_len = writable_len(descriptors, num);
    ring->order[ring->end_of_order++ % ring->size] = id;
    return id;
}

static struct ring_descriptor descriptor_of(const struct ring_buffer *buffer)
{
    return (struct ring_descriptor){
        .addr = buffer->addr,
        .len = buffer->len,
        .flags = buffer->is_writable ? DESCRIPTOR_F_WRITE : 0,
    };
}

int ring_add(struct ring *ring, const struct ring_buffer *buffers, unsigned num)
{
    struct ring_descriptor *descriptors;
    int id;

    if (num == 0 || num > ring->num_free)
        return -1;
    descriptors = must_calloc(num, sizeof(*descriptors));
    for (unsigned i = 0; i < num; i++) {
        descriptors[i] = descriptor_of(&buffers[i]);
        if (i + 1 < num)
            descriptors[i].flags |= DESCRIPTOR_F_NEXT;
    }
    id = ring_add_descriptors(ring, descriptors, num);
    free(descriptors);
    return id;
}

/* The only flag of an entry in the packed format is WRITE (VIRTIO 1.3, 2.8.7). */
void ring_set_entry(const struct ring *ring, void *entry, const struct ring_descriptor *descriptor,
                    uint16_t next)
{
    struct split_descriptor split = {descriptor->addr, descriptor->len, descriptor->flags, next};
    struct packed_descriptor packed = {descriptor->addr, descriptor->len, 0, descriptor->flags};

    if (ring->format == RING_PACKED)
        memcpy(entry, &packed, sizeof(packed));
    else
        memcpy(entry, &split, sizeof(split));
}

int ring_add_indirect(struct ring *ring, void *table, uint64_t table_addr,
                      const struct ring_buffer *buffers, unsigned num)
{
    struct ring_descriptor whole = {table_addr, num * 16, DESCRIPTOR_F_INDIRECT};
    uint32_t writable = 0;
    int id;

    if (num == 0 || ring->num_free == 0)
        return -1;
    for (unsigned i = 0; i < num; i++) {
        struct ring_descriptor entry = descriptor_of(&buffers[i]);

        if (ring->format == RING_SPLIT && i + 1 < num)
            entry.flags |= DESCRIPTOR_F_NEXT;
        writable += buffers[i].is_writable ? buffers[i].len : 0;
        ring_set_entry(ring, (uint8_t *)table + i * 16, &entry, (uint16_t)(i + 1));
    }
    id = ring_add_descriptors(ring, &whole, 1);
    ring->shadow[id].writable_len = writable;
    return id;
}

void ring_publish(struct ring *ring)
{
    ring->class->publish(ring);
}

/* --- Used ------------------------------------------------------------------------------------------- */

static uint16_t id_in_order(const struct ring *ring, uint32_t at)
{
    return ring->order[at % ring->size];
}

/* In order: where a batch ends that begins at `at`, and whose used entry names `id`. */
static uint32_t end_of_batch(const struct ring *ring, uint32_t at, uint32_t id)
{
    while (at != ring->end_of_order) {
        if (id_in_order(ring, at++) == id)
            return at;
    }
    fprintf(stderr, "a used entry names buffer %u, which the device does not have\n", id);
    abort();
}

static uint16_t after_id(const struct ring *ring, uint16_t place, uint32_t id)
{
    bool is_ours = id < ring->size && ring->shadow[id].num > 0;

    return ring->class->after_chain(ring, place, is_ours ? ring->shadow[id].num : 1);
}

/* In order: passes over the chains up to `end`. */
static uint16_t after_batch(const struct ring *ring, uint16_t place, uint32_t at, uint32_t end)
{
    while (at != end)
        place = after_id(ring, place, id_in_order(ring, at++));
    return place;
}

static uint16_t num_used_in_order(const struct ring *ring)
{
    uint32_t at = ring->first_in_order, end = ring->batch_end;
    uint16_t place = ring->last_used;
    struct ring_used used;

    for (;;) {
        place = after_batch(ring, place, at, end);
        at = end;
        if (at == ring->end_of_order || !ring->class->read_used(ring, place, &used))
            return (uint16_t)(at - ring->first_in_order);
        end = end_of_batch(ring, at, used.id);
    }
}

uint16_t ring_num_used(const struct ring *ring)
{
    uint16_t num = 0, place = ring->last_used;
    struct ring_used used;

    if (ring->is_in_order)
        return num_used_in_order(ring);
    while (num < UINT16_MAX && ring->class->read_used(ring, place, &used)) {
        place = after_id(ring, place, used.id);
        num++;
    }
    return num;
}

/* In order: one chain of the batch, of which only the last one has an entry of its own. */
static bool take_in_order(struct ring *ring, struct ring_used *used)
{
    if (ring->first_in_order == ring->batch_end) {
        if (!ring->class->read_used(ring, ring->last_used, used))
            return false;
        ring->batch_end = end_of_batch(ring, ring->first_in_order, used->id);
        ring->batch_len = used->len;
    }
    used->id = id_in_order(ring, ring->first_in_order++);
    used->len = ring->first_in_order == ring->batch_end ? ring->batch_len
                                                        : ring->shadow[used->id].writable_len;
    return true;
}

bool ring_take_used(struct ring *ring, struct ring_used *used)
{
    bool is_there = ring->is_in_order ? take_in_order(ring, used)
                                      : ring->class->read_used(ring, ring->last_used, used);

    if (!is_there)
        return false;
    ring->last_used = after_id(ring, ring->last_used, used->id);
    if (used->id < ring->size && ring->shadow[used->id].num > 0) {
        ring->class->free_chain(ring, (uint16_t)used->id);
        ring->num_free = (uint16_t)(ring->num_free + ring->shadow[used->id].num);
        ring->shadow[used->id].num = 0;
    }
    return true;
}

/* --- Notifications ---------------------------------------------------------------------------------- */

/*
 * The device's wish is read after our entries are visible; the fence pairs with the device's between
 * writing its wish and looking at the ring once more (VIRTIO 1.3, 2.7.10.1 and 2.8.21.3.1).
 */
bool ring_needs_kick(struct ring *ring)
{
    uint16_t num = ring->num_unkicked;

    ring->num_unkicked = 0;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return ring->class->is_kick_wanted(ring, num);
}

void ring_want_calls(struct ring *ring, bool wanted)
{
    ring->class->want_calls(ring, wanted);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void ring_want_call_past(struct ring *ring, uint16_t place)
{
    ring->class->want_call_past(ring, place);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

bool ring_device_event(const struct ring *ring, uint16_t *place)
{
    return ring->class->device_event(ring, place);
}
