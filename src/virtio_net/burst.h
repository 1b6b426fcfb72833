/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A burst: a handful of frames that are handled together, each lying where its source has it.
 *
 * The source *lends* the frames: it fills `frames`, each a list of segments in its own memory (guest
 * memory, a read buffer), beginning at the Ethernet header. The header is copied here once, because a
 * guest may rewrite its memory at any time: decisions are made on the copy, and `len` bytes are what
 * every destination delivers, whatever the guest does meanwhile. A destination *copies* from the
 * segments, with `room` as its scratch space. When all have copied, the burst is *given back*.
 *
 * Owned by a worker, one burst a worker; nothing in it outlives the give_back.
 */
#ifndef VIRTIO_NET_BURST_H
#define VIRTIO_NET_BURST_H

#include <stdint.h>
#include <sys/uio.h>

#include "virtqueue/virtqueue.h"

/* Enough to share the costs that arise once a burst; few enough that it stays in the first cache. */
#define BURST_MAX_FRAMES 32u

/* Longest Ethernet frame: 65,562 bytes with a virtio-net header of 12 (VIRTIO 1.3, 5.1.6.3.1). */
#define FRAME_MAX_BYTES       65550u
#define ETHERNET_HEADER_BYTES 14u

/*
 * Pieces of memory that a burst may hold, and room for a destination's: enough for one chain of the
 * largest ring, each of whose buffers crosses a border between two regions.
 */
#define BURST_MAX_SEGMENTS 65536u

/* Bit n stands for frames[n]. */
typedef uint64_t burst_mask;

struct ethernet_header {
    uint8_t destination[6];
    uint8_t source[6];
    uint16_t type; /* network byte order */
};

struct frame {
    const struct iovec *segments; /* from the Ethernet header on; their lengths add up to `len` */
    uint32_t num_segments;
    uint32_t len;
    struct ethernet_header ethernet;
    uint32_t flow_hash; /* see burst.hashed */
    /* What a destination whose driver wants hashes reports to it (rss.h). */
    uint32_t hash;
    uint16_t hash_report;
};

struct burst {
    unsigned num; /* frames lent */
    struct frame frames[BURST_MAX_FRAMES];
    burst_mask hashed; /* frames whose flow_hash is known; to be cleared before each lend */
    /* Of the source: which chains to return, dropped ones included. */
    unsigned num_chains;
    struct used_chain chains[BURST_MAX_FRAMES];
    /* Scratch: segments of the source, and room and chains of the destination that copies now. */
    struct iovec *segments;  /* BURST_MAX_SEGMENTS */
    struct iovec *room;      /* BURST_MAX_SEGMENTS */
    struct used_chain *used; /* BURST_MAX_SEGMENTS */
};

/* Allocates the scratch space; pages are touched only when used. -ENOMEM. */
int burst_init(struct burst *burst);
void burst_fini(struct burst *burst);

/* All frames that were lent. */
static inline burst_mask burst_all(const struct burst *burst)
{
    return burst->num == 64 ? ~UINT64_C(0) : (UINT64_C(1) << burst->num) - 1;
}

/* Takes the lowest bit out of `mask` and returns its number: frames are handled in order. */
static inline unsigned burst_next(burst_mask *mask)
{
    unsigned idx = (unsigned)__builtin_ctzll(*mask);

    *mask &= *mask - 1;
    return idx;
}

#endif
