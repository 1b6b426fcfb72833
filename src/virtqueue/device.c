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
    return virtqueue_is_usable(queue);
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

int shunt_virtqueue_pop(struct shunt_virtqueue *queue, struct shunt_chain *chain, struct iovec *iov,
                        unsigned max)
{
    int result;

    if (!queue->is_started)
        return -ENOTCONN;
    if (queue->fault != FAULT_NONE)
        return -EPROTO;
    if (virtqueue_available(queue, 1) == 0)
        return queue->fault == FAULT_NONE ? 0 : -EPROTO;
    result = virtqueue_fetch(queue, chain, iov, max);
    return result < 0 ? result : 1;
}

void shunt_virtqueue_push(struct shunt_virtqueue *queue, const struct shunt_chain *chain,
                          uint32_t written)
{
    if (virtqueue_is_usable(queue) && chain->generation == queue->generation)
        virtqueue_return(queue, chain->head, written);
}

void shunt_virtqueue_publish(struct shunt_virtqueue *queue)
{
    if (virtqueue_is_usable(queue))
        virtqueue_publish(queue);
}

/* Where the device writes the index at which it wants to be notified (VIRTIO 1.3, 2.7.10). */
static uint16_t *avail_event(struct shunt_virtqueue *queue)
{
    return (uint16_t *)(void *)&queue->used->ring[queue->size];
}

/*
 * The driver reads our wish after it moved its index, and we read its index after we wrote our wish;
 * the fences on both sides make sure that one of the two sees the other (2.7.10.1).
 */
bool shunt_virtqueue_arm(struct shunt_virtqueue *queue)
{
    if (!virtqueue_is_usable(queue))
        return true;
    if (queue->has_event_idx)
        STORE_RELAXED(avail_event(queue), queue->next_available);
    else
        STORE_RELAXED(&queue->used->flags, 0);
    queue->is_armed = true;
    atomic_thread_fence(memory_order_seq_cst);
    return queue->kick_fd >= 0 && virtqueue_look(queue) == 0;
}

/* With EVENT_IDX nothing is to be done: the event lies behind the driver's index and stays there. */
void shunt_virtqueue_disarm(struct shunt_virtqueue *queue)
{
    if (!virtqueue_is_usable(queue) || !queue->is_armed)
        return;
    queue->is_armed = false;
    if (!queue->has_event_idx)
        STORE_RELAXED(&queue->used->flags, USED_F_NO_NOTIFY);
}

/* Copies one entry out of an indirect table, which may itself cross from one region to the next. */
static int load_indirect(struct shunt_virtqueue *queue, uint64_t addr,
                         struct split_descriptor *descriptor)
{
    uint8_t *to = (uint8_t *)descriptor;
    uint64_t left = sizeof(*descriptor), piece;

    while (left > 0) {
        const void *from = memory_at_guest(queue->memory, &queue->last_region, addr, left, &piece);

        if (!from) {
            virtqueue_break(queue, FAULT_UNMAPPED, addr);
            return -EPROTO;
        }
        if (piece == sizeof(*descriptor) && (uintptr_t)from % 8 == 0)
            *descriptor = virtqueue_load_descriptor(from);
        else
            memcpy(to, from, piece); /* into a local: the caller looks at nothing else */
        addr += piece;
        to += piece;
        left -= piece;
    }
    return 0;
}

/* VIRTIO 1.3, 2.7.5.3: what an indirect descriptor may be. */
static int check_indirect(struct shunt_virtqueue *queue, const struct split_descriptor *table)
{
    if (!queue->has_indirect)
        virtqueue_break(queue, FAULT_INDIRECT_NOT_NEGOTIATED, table->addr);
    else if (table->flags & DESCRIPTOR_F_NEXT)
        virtqueue_break(queue, FAULT_INDIRECT_NESTED, table->addr);
    else if (table->len == 0 || table->len % sizeof(struct split_descriptor) != 0)
        virtqueue_break(queue, FAULT_INDIRECT_LENGTH, table->len);
    else if (table->addr > UINT64_MAX - table->len)
        virtqueue_break(queue, FAULT_UNMAPPED, table->addr);
    else
        return 0;
    return -EPROTO;
}

int virtqueue_walk_indirect(struct chain_walk *walk, const struct split_descriptor *table)
{
    struct shunt_virtqueue *queue = walk->queue;
    uint32_t num = table->len / (uint32_t)sizeof(*table), idx = 0;
    int result = check_indirect(queue, table);

    while (result == 0) {
        struct split_descriptor desc;

        result = load_indirect(queue, table->addr + (uint64_t)idx * sizeof(desc), &desc);
        if (result < 0)
            break;
        if (desc.flags & DESCRIPTOR_F_INDIRECT) {
            virtqueue_break(queue, FAULT_INDIRECT_NESTED, table->addr);
            return -EPROTO;
        }
        if (++walk->num_descriptors > queue->size) {
            virtqueue_break(queue, FAULT_CHAIN_TOO_LONG, walk->chain->head);
            return -EPROTO;
        }
        result = chain_add_buffer(walk, &desc);
        if (result < 0 || !(desc.flags & DESCRIPTOR_F_NEXT))
            break;
        idx = desc.next;
        if (idx >= num) {
            virtqueue_break(queue, FAULT_NEXT, idx);
            return -EPROTO;
        }
    }
    return result;
}
