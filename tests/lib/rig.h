/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtqueue to be tested, with all that it needs: two areas of guest memory that are neighbours for the
 * guest and lie apart for us, a driver's ring at the start of the low one, and the device's queue on it.
 *
 *     guest    RIG_LOW                              RIG_BORDER                          RIG_END
 *              │ ring │ RIG_BUFFERS …               │ …                                 │ nothing
 *
 * Threads: as for `struct ring` and the virtqueue.
 */
#ifndef LIB_RIG_H
#define LIB_RIG_H

#include "lib/ring.h"
#include "virtqueue/device.h"

#define RIG_AREA_BYTES UINT64_C(0x1000000)
#define RIG_LOW        UINT64_C(0x40000000)
#define RIG_BUFFERS    (RIG_LOW + 0x100000)
#define RIG_BORDER     (RIG_LOW + RIG_AREA_BYTES)
#define RIG_END        (RIG_BORDER + RIG_AREA_BYTES)
/* Far from the guest's addresses, and the other way round. */
#define RIG_LOW_USER  UINT64_C(0x7f1200000000)
#define RIG_HIGH_USER UINT64_C(0x7f1100000000)

#define RIG_F_EVENT_IDX RING_FEATURE(EVENT_IDX)
#define RIG_F_INDIRECT  RING_FEATURE(INDIRECT_DESC)
#define RIG_F_PACKED    RING_FEATURE(PACKED)
#define RIG_F_IN_ORDER  RING_FEATURE(IN_ORDER)

struct rig {
    struct shunt_memory *memory;
    struct dirty_log log;
    struct virtqueue_space space; /* of that memory and log */
    struct ring_area low, high;
    struct ring ring;
    struct shunt_virtqueue *queue; /* owns dups of the descriptors below */
    uint64_t features;
    int call_fd, kick_fd, error_fd;
    unsigned num_broken; /* how often the queue told of a fault … */
    unsigned num_missed; /* … and of an address that the IOTLB does not know */
};

/*
 * With a ring of `size`, in the format that the features say; not started. Fails the test if it cannot.
 */
void rig_init(struct rig *rig, uint16_t size, uint64_t features);

/* The same, started and enabled. */
void rig_init_started(struct rig *rig, uint16_t size, uint64_t features);
void rig_fini(struct rig *rig);

/* As a front-end does it, at the queue's base. -errno of virtqueue_start(). */
int rig_start(struct rig *rig);

/* The device's base is this, and the driver's ring is empty there. */
void rig_set_base(struct rig *rig, uint32_t base);

/* A driver's reset: the queue is stopped, and an empty ring begins at its beginning. */
void rig_reset(struct rig *rig);

/*
 * The device dies, and another one takes its place that knows of the ring only where it lies; its base is
 * that of a new ring.
 */
void rig_crash(struct rig *rig);

/* The test's pointer for any guest address that is mapped. */
void *rig_at(const struct rig *rig, uint64_t guest_addr);

/* Whether `pointer` is where the device has the guest address. */
bool rig_is_at(const struct rig *rig, const void *pointer, uint64_t guest_addr);

/* How often an eventfd was signalled since the last time. */
uint64_t rig_signals(int fd);

#endif
