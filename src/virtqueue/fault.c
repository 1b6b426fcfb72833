/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>

#include "base/event.h"
#include "virtqueue/virtqueue.h"

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
    [FAULT_IO_ACCESS] = "the guest's IOMMU does not let the device access an I/O virtual address",
};
static_assert(sizeof(fault_texts) / sizeof(fault_texts[0]) == FAULT_NUM, "a text for each fault");

const char *virtqueue_fault_text(enum virtqueue_fault fault)
{
    return fault_texts[fault];
}

void virtqueue_break(struct shunt_virtqueue *queue, enum virtqueue_fault fault, uint64_t value)
{
    if (queue->fault != FAULT_NONE)
        return;
    queue->fault = fault;
    queue->fault_value = value;
    queue->is_running = false;
    event_signal(queue->error_fd);
    queue->on_event(queue->on_event_ctx);
}
