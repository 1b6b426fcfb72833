/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two formats of a virtqueue as it lies in guest memory, split (VIRTIO 1.3, 2.7) and packed (2.8), and
 * the feature bits of rings.
 *
 * All fields are little-endian; legacy drivers use the guest's own order, which for the guests of a
 * little-endian host is the same.
 */
#ifndef VIRTQUEUE_RING_H
#define VIRTQUEUE_RING_H

#include <assert.h>
#include <stdint.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rings are little-endian");

/* Feature bits that concern the ring (VIRTIO 1.3, chapter 6); LOG_ALL is vhost's own. */
#define RING_F_NOTIFY_ON_EMPTY   24
#define RING_F_LOG_ALL           26
#define RING_F_ANY_LAYOUT        27
#define RING_F_INDIRECT_DESC     28
#define RING_F_EVENT_IDX         29
#define RING_F_VERSION_1         32
#define RING_F_ACCESS_PLATFORM   33
#define RING_F_PACKED            34
#define RING_F_IN_ORDER          35
#define RING_F_ORDER_PLATFORM    36
#define RING_F_NOTIFICATION_DATA 38
#define RING_F_RESET             40

#define RING_FEATURE(bit) (UINT64_C(1) << RING_F_##bit)

/*
 * What every device may offer. IN_ORDER is a promise of the device, so it is the device that offers it. RESET is
 * one of the front-end, which has to tell us of each ring that its driver resets: QEMU lets its guests have what
 * is offered here, and tells only vhost devices of the kernel (virtio_net_queue_reset()).
 */
#define RING_FEATURES                                                                              \
    (RING_FEATURE(NOTIFY_ON_EMPTY) | RING_FEATURE(LOG_ALL) | RING_FEATURE(ANY_LAYOUT) |            \
     RING_FEATURE(INDIRECT_DESC) | RING_FEATURE(EVENT_IDX) | RING_FEATURE(VERSION_1) |             \
     RING_FEATURE(ACCESS_PLATFORM) | RING_FEATURE(PACKED) | RING_FEATURE(ORDER_PLATFORM) |         \
     RING_FEATURE(NOTIFICATION_DATA))

enum ring_format { RING_SPLIT, RING_PACKED };

/* For descriptors, for what the driver writes beside them, and for what the device does. */
#define RING_NUM_AREAS 3

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

/* VIRTIO 1.3, 2.8.13: one ring, written by both sides. */
struct packed_descriptor {
    uint64_t addr;
    uint32_t len;
    uint16_t id; /* of the buffer; valid in the last descriptor of a chain, and in a used one */
    uint16_t flags;
};
static_assert(sizeof(struct packed_descriptor) == 16, "as in the specification");

/* Beside NEXT, WRITE and INDIRECT: compared with the wrap counters (2.8.1). */
#define PACKED_F_AVAIL (1 << 7)
#define PACKED_F_USED  (1 << 15)

/* VIRTIO 1.3, 2.8.14: what one side wants to be notified of. Aligned, so it is read in one go. */
struct packed_event {
    uint16_t position; /* for EVENT_DESCRIPTOR */
    uint16_t flags;
};

#define PACKED_EVENT_ENABLE     0
#define PACKED_EVENT_DISABLE    1
#define PACKED_EVENT_DESCRIPTOR 2

/*
 * A place in a packed ring: the descriptor's index, and in the highest bit the wrap counter of the side
 * that is there. So it is what event structures and SET_VRING_BASE hold.
 */
#define PACKED_POSITION_IDX  0x7fff
#define PACKED_POSITION_WRAP 0x8000
#define PACKED_FIRST         PACKED_POSITION_WRAP /* both sides begin at index 0 with wrap counter 1 */

#define PACKED_DESCRIPTOR_BYTES(size) ((uint64_t)16 * (size))
#define PACKED_EVENT_BYTES            4
#define PACKED_DESCRIPTOR_ALIGN       16
#define PACKED_EVENT_ALIGN            4

#endif
