/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The split virtqueue as it lies in guest memory (VIRTIO 1.3, 2.7), and the feature bits of rings.
 *
 * All fields are little-endian; legacy drivers use the guest's own order, which for the guests of a
 * little-endian host is the same.
 */
#ifndef VIRTQUEUE_RING_H
#define VIRTQUEUE_RING_H

#include <assert.h>
#include <stdint.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rings are little-endian");

/* Feature bits that concern the ring (VIRTIO 1.3, chapter 6). */
#define RING_F_ANY_LAYOUT    27
#define RING_F_INDIRECT_DESC 28
#define RING_F_EVENT_IDX     29
#define RING_F_VERSION_1     32

#define RING_FEATURES                                                                              \
    (UINT64_C(1) << RING_F_ANY_LAYOUT | UINT64_C(1) << RING_F_INDIRECT_DESC |                      \
     UINT64_C(1) << RING_F_EVENT_IDX | UINT64_C(1) << RING_F_VERSION_1)

/* VIRTIO 1.3, 2.7.5 */
struct split_descriptor {
    uint64_t addr; /* guest physical */
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};
static_assert(sizeof(struct split_descriptor) == 16, "as in the specification");

#define DESCRIPTOR_F_NEXT     1
#define DESCRIPTOR_F_WRITE    2
#define DESCRIPTOR_F_INDIRECT 4

/* VIRTIO 1.3, 2.7.6: written by the driver */
struct split_available {
    uint16_t flags;
    uint16_t idx;
    uint16_t ring[]; /* size entries, then used_event */
};

#define AVAILABLE_F_NO_INTERRUPT 1

/* VIRTIO 1.3, 2.7.8: written by the device */
struct split_used_element {
    uint32_t id;
    uint32_t len;
};

struct split_used {
    uint16_t flags;
    uint16_t idx;
    struct split_used_element ring[]; /* size entries, then avail_event */
};

#define USED_F_NO_NOTIFY 1

/* Bytes of the three areas, and what they are aligned to (VIRTIO 1.3, 2.7). */
#define SPLIT_DESCRIPTOR_BYTES(size) ((uint64_t)16 * (size))
#define SPLIT_AVAILABLE_BYTES(size)  (6 + (uint64_t)2 * (size))
#define SPLIT_USED_BYTES(size)       (6 + (uint64_t)8 * (size))
#define SPLIT_DESCRIPTOR_ALIGN       16
#define SPLIT_AVAILABLE_ALIGN        2
#define SPLIT_USED_ALIGN             4

#endif
