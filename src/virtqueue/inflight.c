/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What follows what, in the words of the specification ("Inflight I/O tracking"):
 *
 *   split:  take      desc[head].counter, .inflight = 1
 *           complete  desc[head].next = last_batch_head; last_batch_head = head
 *           publish   used index; .inflight = 0 along the batch; used_idx = used index
 *   A crash between the steps of a publish is seen by used_idx, which then is behind the used index by the
 *   length of the batch whose marks are to be taken off.
 *
 *   packed: descriptors are overwritten when others are used, so they are copied into entries here, which
 *           form a free list. `old_…` is what held before the batch that is being published: if the ring
 *           does not show that batch, it is rolled back.
 */
#include "virtqueue/inflight.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "virtqueue/device.h"

#define REGION_VERSION 1
#define REGION_ALIGN   64

struct split_entry {
    uint8_t inflight;
    uint8_t padding[5];
    uint16_t next;
    uint64_t counter;
};

struct split_region {
    uint64_t features;
    uint16_t version;
    uint16_t num;
    uint16_t last_batch_head;
    uint16_t used_idx;
    struct split_entry entries[];
};

struct packed_entry {
    uint8_t inflight;
    uint8_t padding;
    uint16_t next;
    uint16_t last;
    uint16_t num;
    uint64_t counter;
    uint16_t id;
    uint16_t flags;
    uint32_t len;
    uint64_t addr;
};

struct packed_region {
    uint64_t features;
    uint16_t version;
    uint16_t num;
    uint16_t free_head;
    uint16_t old_free_head;
    uint16_t used_idx;
    uint16_t old_used_idx;
    uint8_t used_wrap_counter;
    uint8_t old_used_wrap_counter;
    uint8_t padding[7];
    struct packed_entry entries[];
};
static_assert(sizeof(struct split_region) == 16 && sizeof(struct split_entry) == 16,
              "as specified");
static_assert(sizeof(struct packed_entry) == 32, "as specified");

/* A chain of a predecessor, by its entry. */
struct resubmitted {
    uint64_t counter;
    uint16_t entry;
    uint16_t num; /* packed: of its descriptors in the ring, as it was checked */
};

struct inflight {
    union {
        struct split_region *split;
        struct packed_region *packed;
    };
    uint64_t counter;
    unsigned num_returned;  /* split: since the last publish */
    unsigned num_completed; /* packed: entries whose mark comes off with the next publish */
    uint16_t *completed;
    uint16_t *entry_of; /* packed: by buffer id */
    unsigned num_resubmitted;
    struct resubmitted resubmitted[];
};

/* The order of stores is what a successor relies on; processors keep it, the compiler is told to. */
#define THEN() atomic_signal_fence(memory_order_seq_cst)

uint64_t inflight_region_bytes(enum ring_format format, uint16_t size)
{
    uint64_t bytes = format == RING_PACKED ? sizeof(struct packed_region) +
                                                 (uint64_t)size * sizeof(struct packed_entry)
                                           : sizeof(struct split_region) +
                                                 (uint64_t)size * sizeof(struct split_entry);

    return (bytes + REGION_ALIGN - 1) & ~(uint64_t)(REGION_ALIGN - 1);
}

static int by_counter(const void *a, const void *b)
{
    uint64_t first = ((const struct resubmitted *)a)->counter;
    uint64_t second = ((const struct resubmitted *)b)->counter;

    return (first > second) - (first < second);
}

/* Puts what was found into its old order. */
static void sort_resubmitted(struct shunt_virtqueue *queue)
{
    struct inflight *inflight = queue->inflight;

    qsort(inflight->resubmitted, inflight->num_resubmitted, sizeof(inflight->resubmitted[0]),
          by_counter);
    if (inflight->num_resubmitted > 0)
        inflight->counter = inflight->resubmitted[inflight->num_resubmitted - 1].counter + 1;
    queue->num_resubmitted = inflight->num_resubmitted;
}

static void add_resubmitted(struct inflight *inflight, uint64_t counter, uint16_t entry,
                            uint16_t num)
{
    inflight->resubmitted[inflight->num_resubmitted++] = (struct resubmitted){counter, entry, num};
}

/* The chain that is to be fetched next. */
static const struct resubmitted *next_resubmitted(const struct shunt_virtqueue *queue)
{
    const struct inflight *inflight = queue->inflight;

    return &inflight->resubmitted[inflight->num_resubmitted - queue->num_resubmitted];
}

/* --- Split ------------------------------------------------------------------------------------------ */

/* Takes the marks off the `num` entries of the last batch. */
static void split_clear_batch(struct split_region *region, uint16_t size, unsigned num)
{
    uint16_t entry = LOAD_RELAXED(&region->last_batch_head);

    for (unsigned i = 0; i < num && i < size && entry < size; i++) {
        region->entries[entry].inflight = 0;
        entry = LOAD_RELAXED(&region->entries[entry].next);
    }
}

static void split_recover(struct shunt_virtqueue *queue)
{
    struct split_region *region = queue->inflight->split;
    uint16_t used_idx = queue->next_used;

    split_clear_batch(region, queue->size, (uint16_t)(used_idx - LOAD_RELAXED(&region->used_idx)));
    STORE_RELAXED(&region->used_idx, used_idx);
    for (unsigned i = 0; i < queue->size; i++) {
        if (LOAD_RELAXED(&region->entries[i].inflight))
            add_resubmitted(queue->inflight, LOAD_RELAXED(&region->entries[i].counter), (uint16_t)i,
                            1);
    }
    queue->next_available = (uint16_t)(used_idx + queue->inflight->num_resubmitted);
    queue->seen_available = queue->next_available;
}

static void split_reset(struct shunt_virtqueue *queue)
{
    struct split_region *region = queue->inflight->split;

    *region = (struct split_region){
        .num = queue->size,
        .used_idx = queue->next_used,
    };
    for (unsigned i = 0; i < queue->size; i++)
        region->entries[i] = (struct split_entry){0};
    THEN();
    region->version = REGION_VERSION;
}

static void split_complete(struct shunt_virtqueue *queue, uint16_t head)
{
    struct split_region *region = queue->inflight->split;

    if (head >= queue->size)
        return;
    region->entries[head].next = LOAD_RELAXED(&region->last_batch_head);
    THEN();
    STORE_RELAXED(&region->last_batch_head, head);
    queue->inflight->num_returned++;
}

/* --- Packed ----------------------------------------------------------------------------------------- */

/* A position as the area holds it, which may be anything. */
static uint16_t packed_position(const struct shunt_virtqueue *queue, const uint16_t *from_idx,
                                const uint8_t *wrap_counter)
{
    uint16_t idx = LOAD_RELAXED(from_idx);

    return (uint16_t)((idx < queue->size ? idx : 0) |
                      (LOAD_RELAXED(wrap_counter) ? PACKED_POSITION_WRAP : 0));
}

static void packed_set_used(struct packed_region *region, uint16_t position)
{
    STORE_RELAXED(&region->used_idx, (uint16_t)packed_idx(position));
    STORE_RELAXED(&region->used_wrap_counter, (uint8_t)(position >> 15));
}

/* The free list as it is, and the position in the used ring that goes with it. */
static void packed_set_old(struct packed_region *region, uint16_t position)
{
    STORE_RELAXED(&region->old_free_head, LOAD_RELAXED(&region->free_head));
    STORE_RELAXED(&region->old_used_idx, (uint16_t)packed_idx(position));
    STORE_RELAXED(&region->old_used_wrap_counter, (uint8_t)(position >> 15));
}

/* What was being published when the predecessor died: done, if the ring shows it, or rolled back. */
static void packed_settle_batch(struct shunt_virtqueue *queue)
{
    struct packed_region *region = queue->inflight->packed;
    uint16_t old = packed_position(queue, &region->old_used_idx, &region->old_used_wrap_counter);
    uint16_t used = packed_position(queue, &region->used_idx, &region->used_wrap_counter);
    uint16_t flags = LOAD_ACQUIRE(&queue->packed.descriptors[packed_idx(old)].flags);

    if (used != old && !packed_is_available(flags, old)) {
        packed_set_old(region, used);
        return;
    }
    STORE_RELAXED(&region->free_head, LOAD_RELAXED(&region->old_free_head));
    packed_set_used(region, old);
}

static void packed_clear_free(struct packed_region *region, uint16_t size)
{
    uint16_t entry = LOAD_RELAXED(&region->free_head);

    for (unsigned i = 0; i < size && entry < size; i++) {
        region->entries[entry].inflight = 0;
        entry = LOAD_RELAXED(&region->entries[entry].next);
    }
}

static void packed_recover_entries(struct shunt_virtqueue *queue)
{
    struct packed_region *region = queue->inflight->packed;
    unsigned num = 0;

    packed_settle_batch(queue);
    packed_clear_free(region, queue->size);
    for (unsigned i = 0; i < queue->size; i++) {
        const struct packed_entry *entry = &region->entries[i];
        uint16_t length = LOAD_RELAXED(&entry->num);

        if (!LOAD_RELAXED(&entry->inflight) || length == 0 || length > queue->size - num)
            continue;
        num += length;
        add_resubmitted(queue->inflight, LOAD_RELAXED(&entry->counter), (uint16_t)i, length);
    }
    queue->next_used = packed_position(queue, &region->used_idx, &region->used_wrap_counter);
    queue->next_available = packed_advance(queue->next_used, num, queue->size);
    queue->published_used = queue->next_used;
}

static void packed_reset(struct shunt_virtqueue *queue)
{
    struct packed_region *region = queue->inflight->packed;

    *region = (struct packed_region){.num = queue->size};
    for (unsigned i = 0; i < queue->size; i++)
        region->entries[i] = (struct packed_entry){.next = (uint16_t)(i + 1)};
    packed_set_used(region, queue->next_used);
    packed_set_old(region, queue->next_used);
    THEN();
    region->version = REGION_VERSION;
}

/* Copies the chain into free entries. An area that is full or broken notes it not: it cannot be full
 * unless the front-end has changed it. */
static void packed_take(struct shunt_virtqueue *queue, const struct shunt_chain *chain,
                        uint16_t position)
{
    struct packed_region *region = queue->inflight->packed;
    uint16_t head = LOAD_RELAXED(&region->old_free_head), at = head;

    if (head >= queue->size || LOAD_RELAXED(&region->free_head) != head)
        return;
    region->entries[head].num = 0;
    region->entries[head].counter = queue->inflight->counter++;
    region->entries[head].inflight = 1;
    for (unsigned i = 0; i < chain->num_descriptors && at < queue->size; i++) {
        const struct packed_descriptor descriptor = packed_load(
            &queue->packed.descriptors[packed_idx(position)]);
        struct packed_entry *entry = &region->entries[at];

        entry->addr = descriptor.addr;
        entry->len = descriptor.len;
        entry->flags = descriptor.flags;
        entry->id = descriptor.id;
        region->entries[head].last = at;
        region->entries[head].num = (uint16_t)(i + 1);
        at = LOAD_RELAXED(&entry->next);
        STORE_RELAXED(&region->free_head, at);
        position = packed_advance(position, 1, queue->size);
    }
    THEN();
    STORE_RELAXED(&region->old_free_head, at);
    queue->inflight->entry_of[chain->id] = (uint16_t)(head + 1);
}

static void packed_complete(struct shunt_virtqueue *queue, uint16_t id)
{
    struct inflight *inflight = queue->inflight;
    uint16_t head = (uint16_t)(inflight->entry_of[id] - 1);

    if (inflight->entry_of[id] == 0 || inflight->num_completed == queue->size)
        return; /* fetched and returned under one lock */
    inflight->entry_of[id] = 0;
    inflight->completed[inflight->num_completed++] = head;
}

/* Only now, so that a chain that is taken in between finds the list as it was. */
static void packed_free_completed(struct shunt_virtqueue *queue)
{
    struct inflight *inflight = queue->inflight;
    struct packed_region *region = inflight->packed;

    for (unsigned i = 0; i < inflight->num_completed; i++) {
        uint16_t head = inflight->completed[i];
        uint16_t last = LOAD_RELAXED(&region->entries[head].last);

        if (last >= queue->size)
            continue;
        region->entries[last].next = LOAD_RELAXED(&region->free_head);
        THEN();
        STORE_RELAXED(&region->free_head, head);
    }
    packed_set_used(region, queue->next_used);
}

static int packed_refetch(struct chain_walk *walk)
{
    struct shunt_virtqueue *queue = walk->queue;
    const struct packed_region *region = queue->inflight->packed;
    const struct resubmitted *chain = next_resubmitted(queue);
    uint16_t at = chain->entry;

    walk->chain->num_descriptors = chain->num;
    for (unsigned i = 0; i < chain->num && at < queue->size; i++) {
        const struct packed_entry *entry = &region->entries[at];
        struct buffer buffer = {LOAD_RELAXED(&entry->addr), LOAD_RELAXED(&entry->len),
                                LOAD_RELAXED(&entry->flags)};
        bool is_indirect = buffer.flags & DESCRIPTOR_F_INDIRECT;
        int result = is_indirect ? 0 : chain_count_descriptor(walk);

        walk->chain->id = LOAD_RELAXED(&entry->id);
        if (result == 0)
            result = is_indirect ? chain_walk_indirect(walk, &buffer)
                                 : chain_add_buffer(walk, &buffer);
        if (result < 0)
            return result;
        at = LOAD_RELAXED(&entry->next);
    }
    queue->inflight->entry_of[walk->chain->id] = (uint16_t)(chain->entry + 1);
    return 0;
}

/* --- Both ------------------------------------------------------------------------------------------- */

static int make(struct shunt_virtqueue *queue)
{
    struct inflight *fresh;

    fresh = calloc(1, sizeof(*fresh) + queue->size * sizeof(fresh->resubmitted[0]));
    if (!fresh)
        return -ENOMEM;
    queue->inflight = fresh;
    fresh->split = queue->inflight_region;
    if (queue->format == RING_SPLIT)
        return 0;
    fresh->completed = calloc(queue->size, sizeof(fresh->completed[0]));
    fresh->entry_of = calloc(UINT16_MAX + 1, sizeof(fresh->entry_of[0]));
    return fresh->completed && fresh->entry_of ? 0 : -ENOMEM;
}

/* Version and number are at the same place in both formats. */
static int recover(struct shunt_virtqueue *queue, struct shunt_error *error)
{
    const struct split_region *region = queue->inflight->split;
    uint16_t version = LOAD_RELAXED(&region->version), num = LOAD_RELAXED(&region->num);
    bool is_packed = queue->format == RING_PACKED;

    if (version == 0) {
        is_packed ? packed_reset(queue) : split_reset(queue);
        return 0;
    }
    if (version != REGION_VERSION || num != queue->size)
        return error_set(error, -EINVAL,
                         "the in-flight area has version %u and %u entries instead of %d and %u",
                         version, num, REGION_VERSION, queue->size);
    is_packed ? packed_recover_entries(queue) : split_recover(queue);
    sort_resubmitted(queue);
    return 0;
}

int inflight_start(struct shunt_virtqueue *queue, struct shunt_error *error)
{
    uint64_t needed = inflight_region_bytes(queue->format, queue->size);
    int result;

    if (!queue->inflight_region)
        return 0;
    if (queue->inflight_region_bytes < needed)
        return error_set(error, -EINVAL,
                         "the in-flight area has %" PRIu64
                         " bytes for the queue instead of %" PRIu64,
                         queue->inflight_region_bytes, needed);
    result = make(queue);
    if (result == 0)
        result = recover(queue, error);
    else
        error_set(error, result, "out of memory");
    if (result < 0)
        inflight_stop(queue);
    return result;
}

void inflight_stop(struct shunt_virtqueue *queue)
{
    if (queue->inflight) {
        free(queue->inflight->completed);
        free(queue->inflight->entry_of);
        free(queue->inflight);
    }
    queue->inflight = NULL;
    queue->num_resubmitted = 0;
}

int inflight_fetch(struct chain_walk *walk)
{
    struct shunt_virtqueue *queue = walk->queue;
    int result = queue->format == RING_PACKED ? packed_refetch(walk)
                                              : split_gather(walk, next_resubmitted(queue)->entry);

    if (result < 0)
        return result;
    queue->num_resubmitted--;
    return 1;
}

struct used_chain inflight_skip(struct shunt_virtqueue *queue)
{
    const struct packed_region *region = queue->inflight->packed;
    const struct resubmitted *chain = next_resubmitted(queue);
    struct used_chain used = {.id = chain->entry, .num_descriptors = chain->num};
    uint16_t last;

    queue->num_resubmitted--;
    if (queue->format == RING_SPLIT)
        return used;
    last = LOAD_RELAXED(&region->entries[chain->entry].last);
    used.id = LOAD_RELAXED(&region->entries[last < queue->size ? last : chain->entry].id);
    queue->inflight->entry_of[used.id] = (uint16_t)(chain->entry + 1);
    return used;
}

void inflight_take(struct shunt_virtqueue *queue, const struct shunt_chain *chain,
                   uint16_t position)
{
    struct split_entry *entry;

    if (queue->format == RING_PACKED) {
        packed_take(queue, chain, position);
        return;
    }
    entry = &queue->inflight->split->entries[chain->id];
    entry->counter = queue->inflight->counter++;
    THEN();
    entry->inflight = 1;
}

void inflight_complete(struct shunt_virtqueue *queue, const struct used_chain *used, unsigned num)
{
    for (unsigned i = 0; i < num; i++) {
        if (queue->format == RING_PACKED)
            packed_complete(queue, used[i].id);
        else
            split_complete(queue, used[i].id);
    }
}

void inflight_before_publish(struct shunt_virtqueue *queue)
{
    THEN();
    if (queue->format == RING_PACKED)
        packed_free_completed(queue);
    THEN();
}

void inflight_after_publish(struct shunt_virtqueue *queue)
{
    struct inflight *inflight = queue->inflight;

    THEN();
    if (queue->format == RING_PACKED) {
        for (unsigned i = 0; i < inflight->num_completed; i++)
            inflight->packed->entries[inflight->completed[i]].inflight = 0;
        inflight->num_completed = 0;
        THEN();
        packed_set_old(inflight->packed, queue->next_used);
        return;
    }
    split_clear_batch(inflight->split, queue->size, inflight->num_returned);
    inflight->num_returned = 0;
    THEN();
    STORE_RELAXED(&inflight->split->used_idx, queue->next_used);
}
