/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtqueue/virtqueue.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "virtqueue/device.h"

static const char *const fault_texts[] = {
    [FAULT_NONE] = "no fault",
    [FAULT_AVAILABLE_INDEX] = "the available index is further ahead than the ring is long: index",
    [FAULT_HEAD] = "the available ring names a descriptor beyond the ring: head",
    [FAULT_NEXT] = "a descriptor's next lies beyond its table: next",
    [FAULT_CHAIN_TOO_LONG] = "a chain is longer than the ring, or a loop: head",
    [FAULT_CHAIN_TOO_LARGE] = "the buffers of a chain add up to 4 GiB or more: head",
    [FAULT_ZERO_LENGTH] = "a descriptor has length 0: address",
    [FAULT_UNMAPPED] = "a descriptor points outside of guest memory: address",
    [FAULT_READABLE_AFTER_WRITABLE] = "a readable buffer follows a writable one: address",
    [FAULT_INDIRECT_NOT_NEGOTIATED] = "an indirect table without INDIRECT_DESC: address",
    [FAULT_INDIRECT_NESTED] = "an indirect table or chain inside an indirect table: address",
    [FAULT_INDIRECT_LENGTH] = "the length of an indirect table is no multiple of 16: length",
    [FAULT_NOT_WRITABLE] = "a receive buffer that the device may not write to: head",
    [FAULT_RING_UNMAPPED] = "the ring no longer lies in guest memory: address",
};
static_assert(sizeof(fault_texts) / sizeof(fault_texts[0]) == FAULT_NUM, "a text for each fault");

const char *virtqueue_fault_text(enum virtqueue_fault fault)
{
    return fault_texts[fault];
}

static void init_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attributes;

    /* Held for one burst: the other side spins a little before it sleeps. */
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

int virtqueue_create(const struct shunt_memory *memory, void (*on_broken)(void *ctx), void *ctx,
                     struct shunt_virtqueue **queue)
{
    struct shunt_virtqueue *fresh = aligned_alloc(64, (sizeof(*fresh) + 63) & ~(size_t)63);

    if (!fresh)
        return -ENOMEM;
    *fresh = (struct shunt_virtqueue){
        .memory = memory,
        .on_broken = on_broken,
        .on_broken_ctx = ctx,
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

int virtqueue_set_size(struct shunt_virtqueue *queue, uint32_t size, struct shunt_error *error)
{
    if (size == 0 || size > SHUNT_VIRTQUEUE_MAX_SIZE || (size & (size - 1)) != 0)
        return error_set(error, -EINVAL, "ring size %" PRIu32 " is not a power of two from 1 to %d",
                         size, SHUNT_VIRTQUEUE_MAX_SIZE);
    if (queue->is_started)
        return error_set(error, -EBUSY, "ring size %" PRIu32 " set while the ring runs", size);
    queue->size = (uint16_t)size;
    return 0;
}

/*
 * One area of the ring must lie in one piece, or we could not index it; and its words must be aligned
 * where we have them mapped, too, or they could not be loaded in one go.
 */
static int find_area(const struct shunt_virtqueue *queue, const char *what, uint64_t user_addr,
                     uint64_t len, unsigned alignment, void **area, struct shunt_error *error)
{
    uint64_t contiguous;

    *area = shunt_memory_at_user(queue->memory, user_addr, len, &contiguous);
    if (contiguous < len)
        return error_set(error, -EINVAL,
                         "the %s at user address 0x%" PRIx64 " of %" PRIu64
                         " bytes does not lie in one region of guest memory",
                         what, user_addr, len);
    if ((uintptr_t)*area % alignment != 0)
        return error_set(error, -EINVAL,
                         "the %s at user address 0x%" PRIx64
                         " is not aligned to %u bytes in the file of its region",
                         what, user_addr, alignment);
    return 0;
}

static int map_ring(struct shunt_virtqueue *queue, struct shunt_error *error)
{
    void *descriptors = NULL, *available = NULL, *used = NULL;
    int result;

    result = find_area(queue, "descriptor area", queue->addresses.descriptor,
                       SPLIT_DESCRIPTOR_BYTES(queue->size), SPLIT_DESCRIPTOR_ALIGN, &descriptors,
                       error);
    if (result == 0)
        result = find_area(queue, "available ring", queue->addresses.driver,
                           SPLIT_AVAILABLE_BYTES(queue->size), SPLIT_AVAILABLE_ALIGN, &available,
                           error);
    if (result == 0)
        result = find_area(queue, "used ring", queue->addresses.device,
                           SPLIT_USED_BYTES(queue->size), SPLIT_USED_ALIGN, &used, error);
    if (result < 0)
        return result;
    queue->descriptors = descriptors;
    queue->available = available;
    queue->used = used;
    queue->last_region = NULL;
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

int virtqueue_set_addresses(struct shunt_virtqueue *queue,
                            const struct virtqueue_addresses *addresses, struct shunt_error *error)
{
    struct virtqueue_addresses before = queue->addresses;
    int result;

    result = check_alignment("descriptor area", addresses->descriptor, SPLIT_DESCRIPTOR_ALIGN,
                             error);
    if (result == 0)
        result = check_alignment("available ring", addresses->driver, SPLIT_AVAILABLE_ALIGN, error);
    if (result == 0)
        result = check_alignment("used ring", addresses->device, SPLIT_USED_ALIGN, error);
    if (result < 0)
        return result;
    queue->addresses = *addresses;
    queue->has_addresses = true;
    if (!queue->is_started)
        return 0;
    result = map_ring(queue, error);
    if (result < 0)
        queue->addresses = before;
    return result;
}

int virtqueue_start(struct shunt_virtqueue *queue, uint64_t features, struct shunt_error *error)
{
    int result;

    if (queue->size == 0)
        return error_set(error, -EINVAL, "the ring is started without a size");
    if (!queue->has_addresses)
        return error_set(error, -EINVAL, "the ring is started without addresses");
    result = map_ring(queue, error);
    if (result < 0)
        return result;
    queue->has_event_idx = features >> RING_F_EVENT_IDX & 1;
    queue->has_indirect = features >> RING_F_INDIRECT_DESC & 1;
    queue->next_available = queue->base;
    queue->seen_available = queue->base;
    queue->next_used = LOAD_RELAXED(&queue->used->idx);
    queue->published_used = queue->next_used;
    queue->fault = FAULT_NONE;
    queue->is_started = true;
    queue->has_started = true;
    queue->is_armed = true;
    /* With EVENT_IDX the flags stay 0 (2.7.10); without it, disarming sets them. */
    STORE_RELAXED(&queue->used->flags, 0);
    shunt_virtqueue_disarm(queue);
    return 0;
}

void virtqueue_stop(struct shunt_virtqueue *queue)
{
    if (!queue->is_started)
        return;
    queue->base = queue->next_available;
    queue->is_started = false;
    queue->fault = FAULT_NONE;
    queue->generation++;
    queue->descriptors = NULL;
    queue->available = NULL;
    queue->used = NULL;
    queue->last_region = NULL;
}

void virtqueue_remap(struct shunt_virtqueue *queue)
{
    if (!queue->is_started)
        return;
    if (map_ring(queue, NULL) < 0) {
        virtqueue_break(queue, FAULT_RING_UNMAPPED, queue->addresses.descriptor);
        queue->descriptors = NULL;
        queue->available = NULL;
        queue->used = NULL;
    }
}

bool virtqueue_has_moved(struct shunt_virtqueue *queue)
{
    bool has_moved;

    shunt_virtqueue_lock(queue);
    has_moved = queue->next_available != queue->base ||
                (virtqueue_is_usable(queue) && virtqueue_look(queue) > 0);
    shunt_virtqueue_unlock(queue);
    return has_moved;
}

/*
 * Never blocks: eventfds that peers hand us are non-blocking. EAGAIN means that the counter is full to
 * the brim, so a wake-up is waiting there already.
 */
static void signal_eventfd(int fd)
{
    uint64_t one = 1;
    ssize_t result;

    if (fd < 0)
        return;
    do
        result = write(fd, &one, sizeof(one));
    while (result < 0 && errno == EINTR);
}

void virtqueue_break(struct shunt_virtqueue *queue, enum virtqueue_fault fault, uint64_t value)
{
    if (queue->fault != FAULT_NONE)
        return;
    queue->fault = fault;
    queue->fault_value = value;
    signal_eventfd(queue->error_fd);
    queue->on_broken(queue->on_broken_ctx);
}

void virtqueue_notify(struct shunt_virtqueue *queue)
{
    queue->stats.notified++;
    signal_eventfd(queue->call_fd);
}
