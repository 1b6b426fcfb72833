/* SPDX-License-Identifier: BSD-3-Clause */
/* Marking what a queue writes in the log of dirty pages: after it was written, and never before. */
#include "virtqueue/area.h"
#include "virtqueue/device.h"

void virtqueue_mark(struct shunt_virtqueue *queue, const void *host, uint64_t len)
{
    uint64_t addr;

    if (memory_guest_addr_of(queue->space->memory, host, &addr))
        dirty_log_mark(queue->space->log, &queue->marks, addr, len);
}

void virtqueue_mark_pieces(struct shunt_virtqueue *queue, const struct iovec *iov, uint64_t len)
{
    while (len > 0) {
        uint64_t piece = memory_min(len, iov->iov_len);

        virtqueue_mark(queue, iov->iov_base, piece);
        len -= piece;
        iov++;
    }
}

void virtqueue_flush_marks(struct shunt_virtqueue *queue)
{
    if (dirty_log_is_mapped(queue->space->log))
        dirty_log_flush(queue->space->log, &queue->marks);
}

/* `len` bytes at `offset` of the device's area; the front-end says by which address they are logged. */
static void mark_device_area(struct shunt_virtqueue *queue, uint64_t offset, uint64_t len)
{
    if (queue->addresses.is_logged)
        dirty_log_mark(queue->space->log, &queue->marks, queue->addresses.log + offset, len);
}

void virtqueue_mark_used(struct shunt_virtqueue *queue, uint16_t position, unsigned num)
{
    if (!queue->addresses.is_logged)
        return;
    for (unsigned i = 0; i < num; i++) {
        unsigned idx = queue->format == RING_PACKED ? packed_idx(position)
                                                    : (position + i) & (queue->size - 1u);

        if (queue->format == RING_PACKED)
            area_mark(queue, queue->addresses.descriptor + idx * sizeof(struct packed_descriptor),
                      sizeof(struct packed_descriptor));
        else
            mark_device_area(queue,
                             offsetof(struct split_used, ring) +
                                 idx * sizeof(struct split_used_element),
                             sizeof(struct split_used_element));
    }
}

void virtqueue_log_publish(struct shunt_virtqueue *queue, uint16_t before)
{
    if (queue->format == RING_PACKED) {
        virtqueue_mark_used(queue, before, 1); /* its flags were written last */
        mark_device_area(queue, offsetof(struct packed_event, position), sizeof(uint16_t));
    } else {
        virtqueue_mark_used(queue, before, (uint16_t)(queue->next_used - before));
        mark_device_area(queue, offsetof(struct split_used, idx), sizeof(uint16_t));
    }
    dirty_log_flush(queue->space->log, &queue->marks);
}

void virtqueue_log_wish(struct shunt_virtqueue *queue)
{
    uint64_t event = offsetof(struct split_used, ring) +
                     (uint64_t)queue->size * sizeof(struct split_used_element);

    if (queue->format == RING_PACKED)
        mark_device_area(queue, 0, sizeof(struct packed_event));
    else if (queue->has_event_idx)
        mark_device_area(queue, event, sizeof(uint16_t));
    else
        mark_device_area(queue, offsetof(struct split_used, flags), sizeof(uint16_t));
    dirty_log_flush(queue->space->log, &queue->marks);
}
