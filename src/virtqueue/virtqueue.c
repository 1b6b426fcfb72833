/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtqueue/virtqueue.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/event.h"
#include "memory/numa.h"
#include "virtqueue/area.h"
#include "virtqueue/device.h"

/* A queue has its pages to itself, so that they can lie beside the guest's. */
#define QUEUE_ALIGN ((size_t)4096)

static void init_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attributes;

    /* Held for one burst: the other side spins a little before it sleeps. */
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

int virtqueue_create(const struct virtqueue_space *space, void (*on_event)(void *ctx), void *ctx,
                     struct shunt_virtqueue **queue)
{
    struct shunt_virtqueue *fresh = aligned_alloc(QUEUE_ALIGN, (sizeof(*fresh) + QUEUE_ALIGN - 1) &
                                                                   ~(QUEUE_ALIGN - 1));

    if (!fresh)
        return -ENOMEM;
    *fresh = (struct shunt_virtqueue){
        .space = space,
        .on_event = on_event,
        .on_event_ctx = ctx,
        .kick_fd = -1,
        .call_fd = -1,
        .error_fd = -1,
    };
    init_lock(&fresh->lock);
    *queue = fresh;
    return 0;
}

void virtqueue_destroy(struct shunt_virtqueue *queue)
{
    if (!queue)
        return;
    inflight_stop(queue);
    area_unmap_all(queue);
    virtqueue_replace_fd(&queue->kick_fd, -1);
    virtqueue_replace_fd(&queue->call_fd, -1);
    virtqueue_replace_fd(&queue->error_fd, -1);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

void virtqueue_replace_fd(int *slot, int fd)
{
    if (*slot >= 0)
        close(*slot);
    *slot = fd;
}

/* --- Configuration ---------------------------------------------------------------------------------- */

/* That a split ring's is a power of two is checked at the start, when the format is known. */
int virtqueue_set_size(struct shunt_virtqueue *queue, uint32_t size, struct shunt_error *error)
{
    if (size == 0 || size > SHUNT_VIRTQUEUE_MAX_SIZE)
        return error_set(error, -EINVAL, "ring size %" PRIu32 " is not between 1 and %d", size,
                         SHUNT_VIRTQUEUE_MAX_SIZE);
    if (queue->is_started)
        return error_set(error, -EBUSY, "ring size %" PRIu32 " set while the ring runs", size);
    queue->size = (uint16_t)size;
    return 0;
}

static int check_alignment(const char *what, uint64_t addr, unsigned alignment,
                           struct shunt_error *error)
{
    if (addr % alignment != 0)
        return error_set(error, -EINVAL, "the %s at 0x%" PRIx64 " is not aligned to %u bytes", what,
                         addr, alignment);
    return 0;
}

static int map_and_run(struct shunt_virtqueue *queue, struct shunt_error *error);

/* A started ring has moved, or is to be logged. */
static int move(struct shunt_virtqueue *queue, const struct virtqueue_addresses *before,
                struct shunt_error *error)
{
    bool was_running = queue->is_running;
    int result = map_and_run(queue, error);

    if (result < 0 && result != -EAGAIN) {
        queue->addresses = *before;
        map_and_run(queue, NULL);
        return result;
    }
    if (queue->is_running && !was_running) { /* as virtqueue_remap() says it */
        virtqueue_wake(queue);
        queue->on_event(queue->on_event_ctx);
    }
    return 0;
}

int virtqueue_set_addresses(struct shunt_virtqueue *queue,
                            const struct virtqueue_addresses *addresses, struct shunt_error *error)
{
    struct virtqueue_addresses before = queue->addresses;
    int result;

    /* What both formats ask for; the rest is checked when the areas are mapped. */
    result = check_alignment("descriptor area", addresses->descriptor, SPLIT_DESCRIPTOR_ALIGN,
                             error);
    if (result == 0)
        result = check_alignment("driver area", addresses->driver, SPLIT_AVAILABLE_ALIGN, error);
    if (result == 0)
        result = check_alignment("device area", addresses->device, SPLIT_USED_ALIGN, error);
    if (result < 0)
        return result;
    queue->addresses = *addresses;
    queue->has_addresses = true;
    if (!queue->is_started || queue->fault != FAULT_NONE)
        return 0;
    return move(queue, &before, error);
}

void virtqueue_set_inflight_region(struct shunt_virtqueue *queue, void *region, uint64_t bytes)
{
    queue->inflight_region = region;
    queue->inflight_region_bytes = bytes;
}

/* --- Where the ring goes on ------------------------------------------------------------------------- */

/*
 * The used index in guest memory is what the driver has seen, whatever a front-end says that lost its
 * back-end without a word. What had been taken beyond it is taken again.
 */
static void settle_split(struct shunt_virtqueue *queue)
{
    queue->next_used = LOAD_RELAXED(&queue->split.used->idx);
    queue->next_available = queue->next_used;
    queue->seen_available = queue->next_used;
}

static bool is_used_at(const struct shunt_virtqueue *queue, uint16_t position)
{
    unsigned flags = LOAD_ACQUIRE(&queue->packed.descriptors[packed_idx(position)].flags);

    return (flags & (PACKED_F_AVAIL | PACKED_F_USED)) == packed_used_flags(position);
}

/* A driver begins with descriptors that were never used: the USED bit is set by a device, or in later laps. */
static bool is_new(const struct shunt_virtqueue *queue)
{
    for (unsigned i = 0; i < queue->size; i++) {
        if (LOAD_RELAXED(&queue->packed.descriptors[i].flags) & PACKED_F_USED)
            return false;
    }
    return true;
}

/*
 * What our predecessor left in the event structure, see packed.h; a driver that begins anew clears it. It
 * was written after the descriptors: if these are used already, the crash came in between.
 */
static uint16_t packed_recover(const struct shunt_virtqueue *queue, uint16_t base)
{
    uint16_t left = LOAD_RELAXED(&queue->packed.device_event->position);

    if (left == 0 && is_new(queue))
        return base == 0 ? PACKED_FIRST : base; /* 0: the front-end has said nothing */
    if (left == 0 && base != PACKED_FIRST)
        return base;
    if (packed_idx(left) == queue->size)
        left = (uint16_t)(~left & PACKED_POSITION_WRAP);
    if (left == base || packed_idx(left) >= queue->size)
        return base;
    if (is_used_at(queue, left) && base != PACKED_FIRST)
        return base; /* another back-end's wish: the front-end knows better */
    for (unsigned i = 0; i < queue->size && is_used_at(queue, left); i++)
        left = packed_advance(left, 1, queue->size);
    return left;
}

/* A front-end that says nothing of the used ring means that nothing is in flight. */
static void settle_packed(struct shunt_virtqueue *queue)
{
    uint16_t available = (uint16_t)queue->base, used = (uint16_t)(queue->base >> 16);

    if (used == 0 && available == PACKED_FIRST)
        used = PACKED_FIRST;
    if (available == used)
        available = used = packed_recover(queue, used);
    queue->next_available = available;
    queue->next_used = used;
}

/* As GET_VRING_BASE tells it. */
static uint32_t position_of(const struct shunt_virtqueue *queue)
{
    if (queue->format == RING_SPLIT)
        return queue->next_available;
    return queue->next_available | (uint32_t)queue->next_used << 16;
}

static int settle(struct shunt_virtqueue *queue, struct shunt_error *error)
{
    int result;

    if (queue->format == RING_PACKED)
        settle_packed(queue);
    else
        settle_split(queue);
    queue->published_used = queue->next_used;
    result = inflight_start(queue, error);
    queue->base = position_of(queue);
    return result;
}

/* Both halves of the base must lie in the ring. */
static int check_base(const struct shunt_virtqueue *queue, struct shunt_error *error)
{
    uint32_t base = queue->base;

    if (queue->format == RING_SPLIT && base > UINT16_MAX)
        return error_set(error, -EINVAL, "index 0x%" PRIx32 " does not fit into 16 bits", base);
    if (queue->format == RING_PACKED && (packed_idx((uint16_t)base) >= queue->size ||
                                         packed_idx((uint16_t)(base >> 16)) >= queue->size))
        return error_set(error, -EINVAL,
                         "positions 0x%" PRIx32 " lie beyond a packed ring of %u entries", base,
                         queue->size);
    return 0;
}

/* --- Life ------------------------------------------------------------------------------------------- */

static void apply_features(struct shunt_virtqueue *queue, uint64_t features)
{
    queue->format = features & RING_FEATURE(PACKED) ? RING_PACKED : RING_SPLIT;
    queue->has_event_idx = features & RING_FEATURE(EVENT_IDX);
    queue->has_indirect = features & RING_FEATURE(INDIRECT_DESC);
    queue->notifies_on_empty = features & RING_FEATURE(NOTIFY_ON_EMPTY);
}

/* The ring is mapped: from here on it runs. */
static int run(struct shunt_virtqueue *queue, struct shunt_error *error)
{
    int result = queue->is_settled ? 0 : settle(queue, error);

    if (result < 0)
        return result;
    if (!queue->is_settled && numa_num_nodes() > 1)
        numa_follow(queue, sizeof(*queue), queue->split.descriptors);
    queue->is_running = true;
    if (queue->is_settled)
        return 0;
    queue->is_settled = true;
    /* With EVENT_IDX the flags of a split ring stay 0 (2.7.10). */
    queue->is_armed = true;
    if (queue->format == RING_SPLIT)
        STORE_RELAXED(&queue->split.used->flags, 0);
    shunt_virtqueue_disarm(queue);
    return 0;
}

/* Finds the ring, which then runs. As area_map_all(), or as inflight_start(). */
static int map_and_run(struct shunt_virtqueue *queue, struct shunt_error *error)
{
    int result;

    queue->is_running = false;
    result = area_map_all(queue, error);
    return result < 0 ? result : run(queue, error);
}

int virtqueue_start(struct shunt_virtqueue *queue, uint64_t features, struct shunt_error *error)
{
    int result;

    if (queue->size == 0)
        return error_set(error, -EINVAL, "the ring is started without a size");
    if (!queue->has_addresses)
        return error_set(error, -EINVAL, "the ring is started without addresses");
    apply_features(queue, features);
    if (queue->format == RING_SPLIT && (queue->size & (queue->size - 1)) != 0)
        return error_set(error, -EINVAL,
                         "ring size %u is not a power of two, and the ring is split", queue->size);
    result = check_base(queue, error);
    if (result < 0)
        return result;
    queue->fault = FAULT_NONE;
    queue->is_settled = false;
    result = map_and_run(queue, error);
    if (result < 0 && result != -EAGAIN) {
        area_unmap_all(queue);
        return result;
    }
    queue->is_started = true;
    queue->has_started = true;
    return 0;
}

/* What a device leaves in its own area, which a driver that begins anew clears. */
static bool is_device_area_touched(struct shunt_virtqueue *queue)
{
    bool is_touched = false;

    if (queue->size == 0 || !queue->has_addresses || area_map_all(queue, NULL) < 0) {
        queue->num_misses = 0; /* nobody waits for them before the start */
        return false;
    }
    if (queue->format == RING_PACKED)
        is_touched = LOAD_RELAXED(&queue->packed.device_event->position) != 0;
    else
        is_touched = LOAD_RELAXED(&queue->split.used->idx) != 0;
    area_unmap_all(queue);
    return is_touched;
}

bool virtqueue_is_resumable(struct shunt_virtqueue *queue, uint64_t features)
{
    bool is_fresh = queue->base == 0;

    if (queue->is_started)
        return false;
    apply_features(queue, features);
    if (queue->format == RING_PACKED)
        is_fresh = (uint16_t)queue->base == PACKED_FIRST || queue->base == 0;
    return (!is_fresh && queue->size != 0 && queue->has_addresses) || is_device_area_touched(queue);
}

void virtqueue_stop(struct shunt_virtqueue *queue)
{
    virtqueue_flush_marks(queue); /* of what was never published: its break came before */
    queue->num_misses = 0;
    if (!queue->is_started)
        return;
    if (queue->is_settled)
        queue->base = position_of(queue);
    queue->is_started = false;
    queue->is_settled = false;
    queue->is_running = false;
    queue->fault = FAULT_NONE;
    queue->is_blocked = false;
    queue->generation++;
    inflight_stop(queue);
    area_unmap_all(queue);
}

/*
 * What is no longer known is asked for before it is needed: a guest whose IOMMU forgets all at once does so every
 * few milliseconds, and a frame for it would have to wait in the backlog every time.
 */
static void look_ahead(struct shunt_virtqueue *queue)
{
    if (queue->is_running && queue->space->iotlb && queue->num_misses == 0)
        virtqueue_look_ahead(queue);
}

bool virtqueue_remap(struct shunt_virtqueue *queue)
{
    bool was_running = queue->is_running, had_to_wait;
    int result;

    if (!queue->is_started || queue->fault != FAULT_NONE)
        return false;
    had_to_wait = virtqueue_forget_misses(queue);
    queue->is_blocked &= !had_to_wait;
    result = map_and_run(queue, NULL);
    if (result < 0 && result != -EAGAIN)
        virtqueue_break(queue, FAULT_RING_UNMAPPED, queue->addresses.descriptor);
    look_ahead(queue);
    return queue->is_running && (had_to_wait || !was_running);
}

bool virtqueue_iotlb_changed(struct shunt_virtqueue *queue, uint64_t io_addr, uint64_t bytes)
{
    bool had_to_wait;

    queue->last_range = NULL;
    if (!queue->is_running || area_overlaps(queue, io_addr, bytes))
        return virtqueue_remap(queue);
    had_to_wait = virtqueue_forget_misses(queue);
    queue->is_blocked &= !had_to_wait;
    look_ahead(queue);
    return had_to_wait;
}

bool virtqueue_has_moved(struct shunt_virtqueue *queue)
{
    bool has_moved;

    shunt_virtqueue_lock(queue);
    has_moved = (queue->is_settled && queue->next_available != (uint16_t)queue->base) ||
                (queue->is_running && virtqueue_available(queue, queue->format, 1) > 0);
    shunt_virtqueue_unlock(queue);
    return has_moved;
}

void virtqueue_notify(struct shunt_virtqueue *queue)
{
    queue->stats.notified++;
    event_signal(queue->call_fd);
}

void virtqueue_wake(struct shunt_virtqueue *queue)
{
    if (queue->has_started)
        event_signal(queue->kick_fd);
}
