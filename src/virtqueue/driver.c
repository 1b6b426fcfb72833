/* SPDX-License-Identifier: BSD-3-Clause */
/* The public face of the driver's side, and the parts of it that are rare. */
#include "virtqueue/driver.h"

void shunt_driver_queue_lock(struct shunt_driver_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
}

void shunt_driver_queue_unlock(struct shunt_driver_queue *queue)
{
    pthread_mutex_unlock(&queue->lock);
}

uint16_t shunt_driver_queue_num_free(const struct shunt_driver_queue *queue)
{
    return queue->num_free;
}

uint16_t shunt_driver_queue_size(const struct shunt_driver_queue *queue)
{
    return queue->size;
}

bool shunt_driver_queue_is_running(const struct shunt_driver_queue *queue)
{
    return queue->is_running;
}

int shunt_driver_queue_call_fd(const struct shunt_driver_queue *queue)
{
    return queue->call_fd;
}

/* --- Chains ----------------------------------------------------------------------------------------- */

/* Whether there is anything to add, and less than 4 GiB of it. */
static bool is_valid(const struct iovec *iov, uint64_t num)
{
    uint64_t left = UINT32_MAX;

    for (uint64_t i = 0; i < num; i++) {
        if (iov[i].iov_len == 0 || iov[i].iov_len > left)
            return false;
        left -= iov[i].iov_len;
    }
    return num > 0;
}

int shunt_driver_queue_add(struct shunt_driver_queue *queue, const struct iovec *iov,
                           unsigned num_readable, unsigned num_writable, void *cookie)
{
    uint64_t num = (uint64_t)num_readable + num_writable;

    if (!queue->has_format)
        return -ENOTCONN;
    if (num > queue->num_free)
        return -ENOSPC;
    if (!is_valid(iov, num))
        return -EINVAL;
    return driver_queue_add(queue, queue->format, iov, num_readable, (unsigned)num, cookie);
}

/*
 * An entry of an indirect table: in a split ring they are linked; in a packed one they follow one
 * another, and only WRITE has a meaning (VIRTIO 1.3, 2.7.5.3 and 2.8.7).
 */
static struct split_descriptor table_entry(enum ring_format format, const struct iovec *piece,
                                           unsigned idx, bool is_writable, bool is_last)
{
    union packed_words packed = {.descriptor = {
                                     .addr = (uintptr_t)piece->iov_base,
                                     .len = (uint32_t)piece->iov_len,
                                     .flags = is_writable ? DESCRIPTOR_F_WRITE : 0,
                                 }};
    union split_words split = {.words = {packed.words[0], packed.words[1]}};

    if (format == RING_PACKED)
        return split.descriptor;
    return (struct split_descriptor){
        .addr = packed.descriptor.addr,
        .len = packed.descriptor.len,
        .flags = (uint16_t)(packed.descriptor.flags | (is_last ? 0 : DESCRIPTOR_F_NEXT)),
        .next = (uint16_t)(is_last ? 0 : idx + 1),
    };
}

static int add_indirect(struct shunt_driver_queue *queue, const struct iovec *iov,
                        unsigned num_readable, unsigned num, void *cookie)
{
    uint16_t head = driver_queue_take_slot(queue);
    struct split_descriptor *table = queue->tables + (size_t)head * queue->max_indirect;
    uint32_t writable_len = 0;

    for (unsigned i = 0; i < num; i++) {
        bool is_writable = i >= num_readable;

        table[i] = table_entry(queue->format, &iov[i], i, is_writable, i + 1 == num);
        writable_len += is_writable ? (uint32_t)iov[i].iov_len : 0;
    }
    driver_queue_put(queue, queue->format, head, head,
                     (struct split_descriptor){
                         .addr = (uintptr_t)table,
                         .len = (uint32_t)(num * sizeof(*table)),
                         .flags = DESCRIPTOR_F_INDIRECT,
                     });
    driver_queue_enter(queue, queue->format, head, 1, writable_len, cookie);
    return head;
}

int shunt_driver_queue_add_indirect(struct shunt_driver_queue *queue, const struct iovec *iov,
                                    unsigned num_readable, unsigned num_writable, void *cookie)
{
    uint64_t num = (uint64_t)num_readable + num_writable;

    if (!queue->has_format)
        return -ENOTCONN;
    if (!queue->has_indirect)
        return -ENOTSUP;
    if (num > queue->max_indirect || num > queue->size)
        return -EMSGSIZE;
    if (queue->num_free == 0)
        return -ENOSPC;
    if (!is_valid(iov, num))
        return -EINVAL;
    return add_indirect(queue, iov, num_readable, (unsigned)num, cookie);
}

void shunt_driver_queue_publish(struct shunt_driver_queue *queue)
{
    if (queue->has_format)
        driver_queue_publish(queue, queue->format);
}

int shunt_driver_queue_take(struct shunt_driver_queue *queue, struct shunt_driver_used *used,
                            unsigned max)
{
    return queue->has_format ? driver_queue_take(queue, queue->format, used, max) : 0;
}

/* --- Notifications by the device -------------------------------------------------------------------- */

/* Where the driver writes the index at which it wants to be notified (VIRTIO 1.3, 2.7.7). */
static uint16_t *used_event(struct shunt_driver_queue *queue)
{
    return &queue->split.available->ring[queue->size];
}

static void arm_split(struct shunt_driver_queue *queue)
{
    if (queue->has_event_idx)
        STORE_RELAXED(used_event(queue), queue->next_used);
    else
        STORE_RELAXED(&queue->split.available->flags, 0);
}

/* The position is there before the flags make it count (2.8.10). */
static void arm_packed(struct shunt_driver_queue *queue)
{
    struct packed_event *event = queue->packed.driver_event;

    if (queue->has_event_idx)
        STORE_RELAXED(&event->position, queue->next_used);
    STORE_RELEASE(&event->flags,
                  queue->has_event_idx ? PACKED_EVENT_DESCRIPTOR : PACKED_EVENT_ENABLE);
}

static bool is_something_used(struct shunt_driver_queue *queue)
{
    if (queue->num_backlog > 0 || queue->is_in_batch || queue->fault != DRIVER_FAULT_NONE)
        return queue->fault == DRIVER_FAULT_NONE;
    return queue->format == RING_PACKED
               ? driver_packed_is_used(queue, driver_packed_load(queue).flags)
               : driver_split_look(queue);
}

/*
 * The device reads our wish after it returned a chain, and we look for one after we wrote our wish;
 * the fences on both sides make sure that one of the two sees the other (2.7.7.2, 2.8.21.3.1).
 */
bool shunt_driver_queue_arm(struct shunt_driver_queue *queue)
{
    if (!queue->has_format)
        return true;
    queue->is_armed = true;
    if (queue->format == RING_PACKED)
        arm_packed(queue);
    else
        arm_split(queue);
    atomic_thread_fence(memory_order_seq_cst);
    return !is_something_used(queue);
}

/* With EVENT_IDX a split ring needs nothing once the event lies behind the device's index. */
void shunt_driver_queue_disarm(struct shunt_driver_queue *queue)
{
    if (!queue->has_format || !queue->is_armed)
        return;
    queue->is_armed = false;
    if (queue->format == RING_PACKED)
        STORE_RELAXED(&queue->packed.driver_event->flags, PACKED_EVENT_DISABLE);
    else if (!queue->has_event_idx)
        STORE_RELAXED(&queue->split.available->flags, AVAILABLE_F_NO_INTERRUPT);
    else if (LOAD_RELAXED(used_event(queue)) == queue->next_used)
        STORE_RELAXED(used_event(queue), (uint16_t)(queue->next_used - 1));
}
