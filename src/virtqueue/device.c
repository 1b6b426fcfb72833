/* SPDX-License-Identifier: BSD-3-Clause */
/* The public face of the device's side, and the parts of it that are rare. */
#include "virtqueue/device.h"

#include <string.h>

void shunt_virtqueue_lock(struct shunt_virtqueue *queue)
{
    pthread_mutex_lock(&queue->lock);
}

void shunt_virtqueue_unlock(struct shunt_virtqueue *queue)
{
    pthread_mutex_unlock(&queue->lock);
}

bool shunt_virtqueue_is_started(const struct shunt_virtqueue *queue)
{
    return queue->is_running;
}

bool shunt_virtqueue_is_enabled(const struct shunt_virtqueue *queue)
{
    return queue->is_enabled;
}

uint16_t shunt_virtqueue_size(const struct shunt_virtqueue *queue)
{
    return queue->size;
}

int shunt_virtqueue_kick_fd(const struct shunt_virtqueue *queue)
{
    return queue->has_started ? queue->kick_fd : -1;
}

static int why_not_running(const struct shunt_virtqueue *queue)
{
    if (!queue->is_started)
        return -ENOTCONN;
    return queue->fault != FAULT_NONE ? -EPROTO : -EAGAIN;
}

/*
 * Whoever keeps chains must not be given more of them than the ring has entries. In a split ring the
 * driver's index shows it; here, descriptors that are available although we have not returned them.
 */
static int check_room(struct shunt_virtqueue *queue, uint16_t before,
                      const struct shunt_chain *chain)
{
    unsigned num_taken;

    if (queue->format == RING_SPLIT)
        return 1;
    num_taken = packed_distance(queue->next_used, before, queue->size);
    if (num_taken + chain->num_descriptors <= queue->size)
        return 1;
    virtqueue_break(queue, FAULT_AVAILABLE_INDEX, before);
    return -EPROTO;
}

int shunt_virtqueue_pop(struct shunt_virtqueue *queue, struct shunt_chain *chain, struct iovec *iov,
                        unsigned max)
{
    enum ring_format format = queue->format;
    bool is_resubmitted = queue->num_resubmitted > 0;
    uint16_t position = queue->next_available;
    int result;

    if (!queue->is_running)
        return why_not_running(queue);
    if (virtqueue_available(queue, format, 1) == 0)
        return queue->is_running ? 0 : -EPROTO;
    result = virtqueue_fetch(queue, format, chain, iov, max);
    if (result > 0 && !is_resubmitted)
        result = check_room(queue, position, chain);
    if (result > 0 && queue->inflight && !is_resubmitted)
        inflight_take(queue, chain, position);
    return result;
}

void shunt_virtqueue_skip(struct shunt_virtqueue *queue, struct shunt_chain *chain)
{
    struct used_chain used;

    *chain = (struct shunt_chain){.generation = (uint16_t)(queue->generation - 1)};
    if (!queue->is_running || virtqueue_available(queue, queue->format, 1) == 0)
        return; /* a chain that push passes over */
    used = virtqueue_skip(queue, queue->format);
    *chain = (struct shunt_chain){
        .id = used.id,
        .num_descriptors = used.num_descriptors,
        .generation = queue->generation,
    };
}

void shunt_virtqueue_push(struct shunt_virtqueue *queue, const struct shunt_chain *chain,
                          const struct iovec *iov, uint32_t written)
{
    struct used_chain used = chain_used(chain, written);

    if (!queue->is_running || chain->generation != queue->generation)
        return;
    if (queue->is_logging && written > 0)
        virtqueue_mark_pieces(queue, iov + chain->num_readable,
                              written < chain->writable_len ? written : chain->writable_len);
    virtqueue_return(queue, queue->format, &used, 1);
}

void shunt_virtqueue_publish(struct shunt_virtqueue *queue)
{
    if (queue->is_running)
        virtqueue_publish(queue, queue->format);
}

/* --- Notifications by the driver -------------------------------------------------------------------- */

/* Where the device writes the index at which it wants to be notified (VIRTIO 1.3, 2.7.10). */
static uint16_t *avail_event(struct shunt_virtqueue *queue)
{
    return (uint16_t *)(void *)&queue->split.used->ring[queue->size];
}

static void arm_split(struct shunt_virtqueue *queue)
{
    if (queue->has_event_idx)
        STORE_RELAXED(avail_event(queue), queue->next_available);
    else
        STORE_RELAXED(&queue->split.used->flags, 0);
}

/* The position is there before the flags make it count (2.8.10). */
static void arm_packed(struct shunt_virtqueue *queue)
{
    struct packed_event *event = queue->packed.device_event;

    if (queue->has_event_idx)
        STORE_RELAXED(&event->position, queue->next_available);
    STORE_RELEASE(&event->flags,
                  queue->has_event_idx ? PACKED_EVENT_DESCRIPTOR : PACKED_EVENT_ENABLE);
}

/*
 * The driver reads our wish after it made a chain available, and we look for one after we wrote our
 * wish; the fences on both sides make sure that one of the two sees the other (2.7.10.1, 2.8.21.3.1).
 */
bool shunt_virtqueue_arm(struct shunt_virtqueue *queue)
{
    if (!queue->is_running)
        return true;
    if (queue->format == RING_PACKED)
        arm_packed(queue);
    else
        arm_split(queue);
    queue->is_armed = true;
    if (queue->is_logging)
        virtqueue_log_wish(queue);
    atomic_thread_fence(memory_order_seq_cst);
    if (queue->kick_fd < 0)
        return false;
    if (queue->format == RING_SPLIT && queue->num_resubmitted == 0)
        queue->seen_available = queue->next_available; /* look, whatever was seen before */
    /* A chain that has to wait for the IOTLB is no reason to stay awake: its answer wakes us. */
    return queue->is_blocked || virtqueue_available(queue, queue->format, 1) == 0;
}

/* The position is our place in the ring again, see packed.h. */
static void disarm_packed(struct shunt_virtqueue *queue)
{
    STORE_RELAXED(&queue->packed.device_event->flags, PACKED_EVENT_DISABLE);
    if (queue->has_event_idx && queue->is_settled)
        STORE_RELEASE(&queue->packed.device_event->position,
                      packed_mark_of(queue->published_used, queue->size));
}

/* With EVENT_IDX a split ring needs nothing: the event lies behind the driver's index and stays there. */
void shunt_virtqueue_disarm(struct shunt_virtqueue *queue)
{
    if (!queue->is_running || !queue->is_armed)
        return;
    queue->is_armed = false;
    if (queue->format == RING_PACKED)
        disarm_packed(queue);
    else if (!queue->has_event_idx)
        STORE_RELAXED(&queue->split.used->flags, USED_F_NO_NOTIFY);
    else
        return;
    if (queue->is_logging)
        virtqueue_log_wish(queue);
}

/* --- Indirect tables -------------------------------------------------------------------------------- */

/* Copies one entry out of an indirect table, which may itself cross from one range to the next. */
static int load_entry(struct shunt_virtqueue *queue, uint64_t addr,
                      struct split_descriptor *descriptor)
{
    uint8_t *to = (uint8_t *)descriptor;
    uint64_t left = sizeof(*descriptor), piece;

    while (left > 0) {
        const struct memory_range *range;
        int result = chain_find_range(queue, addr, MEMORY_READ, &range);
        const uint8_t *from;

        if (result < 0)
            return result;
        from = range->host + (addr - range->addr);
        piece = memory_min(left, range->size - (addr - range->addr));
        if (piece == sizeof(*descriptor) && (uintptr_t)from % 8 == 0)
            *descriptor = split_load((const void *)from);
        else
            memcpy(to, from, piece); /* into a local: the caller looks at nothing else */
        addr += piece;
        to += piece;
        left -= piece;
    }
    return 0;
}

/* What an indirect descriptor may be (VIRTIO 1.3, 2.7.5.3 and 2.8.7). */
static enum virtqueue_fault indirect_fault(const struct shunt_virtqueue *queue,
                                           const struct buffer *table)
{
    if (!queue->has_indirect)
        return FAULT_INDIRECT_NOT_NEGOTIATED;
    if (table->flags & DESCRIPTOR_F_NEXT)
        return FAULT_INDIRECT_NESTED;
    if (table->len == 0 || table->len % sizeof(struct split_descriptor) != 0)
        return FAULT_INDIRECT_LENGTH;
    if (table->addr > UINT64_MAX - table->len)
        return FAULT_UNMAPPED;
    return FAULT_NONE;
}

/* Where the format has what in 16 bytes; address and length lie alike. */
static struct buffer entry_buffer(const struct shunt_virtqueue *queue,
                                  const struct split_descriptor *descriptor)
{
    struct buffer buffer = split_buffer(descriptor);

    if (queue->format == RING_PACKED)
        buffer.flags = descriptor->next &
                       DESCRIPTOR_F_WRITE; /* the only one that there is (2.8.7) */
    if (queue->is_read_only)
        buffer.flags &= (uint16_t)~DESCRIPTOR_F_WRITE;
    return buffer;
}

/* Goes to the entry after `*idx`, if there is one: a split table is linked, a packed one a list. */
static bool next_entry(const struct shunt_virtqueue *queue,
                       const struct split_descriptor *descriptor, uint32_t num, uint32_t *idx)
{
    if (queue->format == RING_PACKED)
        return ++*idx < num;
    *idx = descriptor->next;
    return descriptor->flags & DESCRIPTOR_F_NEXT;
}

int chain_walk_indirect(struct chain_walk *walk, const struct buffer *table)
{
    struct shunt_virtqueue *queue = walk->queue;
    uint32_t num = table->len / (uint32_t)sizeof(struct split_descriptor), idx = 0;
    enum virtqueue_fault fault = indirect_fault(queue, table);
    struct split_descriptor descriptor;

    if (fault != FAULT_NONE) {
        virtqueue_break(queue, fault, fault == FAULT_INDIRECT_LENGTH ? table->len : table->addr);
        return -EPROTO;
    }
    do {
        struct buffer buffer;
        int result;

        if (idx >= num) {
            virtqueue_break(queue, FAULT_NEXT, idx);
            return -EPROTO;
        }
        result = load_entry(queue, table->addr + (uint64_t)idx * sizeof(descriptor), &descriptor);
        if (result < 0)
            return result;
        buffer = entry_buffer(queue, &descriptor);
        if (buffer.flags & DESCRIPTOR_F_INDIRECT) {
            virtqueue_break(queue, FAULT_INDIRECT_NESTED, table->addr);
            return -EPROTO;
        }
        result = chain_count_descriptor(walk);
        if (result == 0)
            result = chain_add_buffer(walk, &buffer);
        if (result < 0)
            return result;
    } while (next_entry(queue, &descriptor, num, &idx));
    return 0;
}
