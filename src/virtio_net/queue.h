/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two virtqueues of a network device, in the words of the specification, which are the driver's: on
 * the *transmitq* the driver sends, and we lend its frames to the switch; on the *receiveq* the driver
 * receives, and we copy frames into its buffers (VIRTIO 1.3, 5.1.2).
 *
 * All with the virtqueue locked by the caller, from before the lend until after the give_back.
 */
#ifndef VIRTIO_NET_QUEUE_H
#define VIRTIO_NET_QUEUE_H

#include <stdbool.h>

#include "base/counters.h"
#include "virtio_net/burst.h"
#include "virtqueue/virtqueue.h"

/* What the negotiated features say about frames in the ring. */
struct net_format {
    unsigned header_bytes;
    bool is_mergeable; /* a frame may fill several receive buffers (5.1.6.3.2) */
};

struct net_format net_format_of(uint64_t features);

/*
 * Lends up to a burst of frames. Frames that cannot be delivered are counted in `rx` under their reason,
 * and their chains are returned with the others by transmitq_give_back(). Returns burst->num; when that
 * is 0 the chains have been returned already.
 */
unsigned transmitq_lend(struct shunt_virtqueue *queue, const struct net_format *format,
                        struct burst *burst, struct counters *rx);

/* Returns the chains of the burst to the driver. */
void transmitq_give_back(struct shunt_virtqueue *queue, struct burst *burst);

/*
 * Copies the frames of the mask into the driver's buffers and shows them to it. Each frame ends up in `tx`
 * as a packet or as a drop, but for those that are returned: they wait for the guest's IOMMU.
 */
burst_mask receiveq_copy(struct shunt_virtqueue *queue, const struct net_format *format,
                         struct burst *burst, burst_mask which, struct counters *tx);

#endif
