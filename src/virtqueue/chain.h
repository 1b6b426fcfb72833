/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A descriptor chain while it is gathered: what its buffers may be, and where they lie for us. The same for
 * both formats of the ring, which bring the descriptors.
 *
 * Every word that the guest can write is loaded once, into a local, by an atomic load that the compiler
 * can neither tear nor repeat.
 */
#ifndef VIRTQUEUE_CHAIN_H
#define VIRTQUEUE_CHAIN_H

#include <errno.h>
#include <stdatomic.h>

#include "virtqueue/virtqueue.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))

#define LOAD_RELAXED(pointer)         __atomic_load_n(pointer, __ATOMIC_RELAXED)
#define LOAD_ACQUIRE(pointer)         __atomic_load_n(pointer, __ATOMIC_ACQUIRE)
#define STORE_RELAXED(pointer, value) __atomic_store_n(pointer, value, __ATOMIC_RELAXED)
#define STORE_RELEASE(pointer, value) __atomic_store_n(pointer, value, __ATOMIC_RELEASE)

/* One buffer, as a descriptor of either format names it. */
struct buffer {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
};

/* What nearly every chain is: one buffer, which lies in one piece. */
struct plain_chain {
    uint8_t *start;
    uint32_t len;
    uint16_t id;
    bool is_writable;
};

struct chain_walk {
    struct shunt_virtqueue *queue;
    struct shunt_chain *chain;
    struct iovec *iov;
    unsigned max;
    unsigned num_descriptors; /* so far; a chain is at most as long as the ring (2.6) */
};

/*
 * The range that holds the address: nearly always the one that was used last. -EPROTO or -EAGAIN as of
 * virtqueue_find_range().
 */
static inline int chain_find_range(struct shunt_virtqueue *queue, uint64_t addr, unsigned access,
                                   const struct memory_range **range)
{
    *range = queue->last_range;
    if (__builtin_expect(*range && memory_range_holds(*range, addr) && ((*range)->access & access),
                         1))
        return 0;
    return virtqueue_find_range(queue, addr, access, range);
}

/* What may not come next in a chain. */
static inline enum virtqueue_fault chain_fault(const struct shunt_chain *chain,
                                               const struct buffer *buffer)
{
    if (buffer->len == 0)
        return FAULT_ZERO_LENGTH;
    if (!(buffer->flags & DESCRIPTOR_F_WRITE) && chain->num_writable > 0)
        return FAULT_READABLE_AFTER_WRITABLE;
    return FAULT_NONE;
}

/* Adds the pieces of one buffer to the chain. 0, -ENOBUFS, -EAGAIN, or -EPROTO when the queue broke. */
static inline int chain_add_buffer(struct chain_walk *walk, const struct buffer *buffer)
{
    struct shunt_virtqueue *queue = walk->queue;
    struct shunt_chain *chain = walk->chain;
    bool is_writable = buffer->flags & DESCRIPTOR_F_WRITE;
    uint32_t *total = is_writable ? &chain->writable_len : &chain->readable_len;
    uint64_t addr = buffer->addr, left = buffer->len;
    enum virtqueue_fault fault = chain_fault(chain, buffer);

    if (__builtin_expect(fault != FAULT_NONE, 0)) {
        virtqueue_break(queue, fault, addr);
        return -EPROTO;
    }
    if (__builtin_expect(__builtin_add_overflow(*total, buffer->len, total), 0)) {
        virtqueue_break(queue, FAULT_CHAIN_TOO_LARGE, chain->id);
        return -EPROTO;
    }
    while (left > 0) {
        unsigned at = (unsigned)chain->num_readable + chain->num_writable;
        const struct memory_range *range;
        uint64_t offset, piece;
        int result = chain_find_range(queue, addr, is_writable ? MEMORY_WRITE : MEMORY_READ,
                                      &range);

        if (__builtin_expect(result < 0, 0))
            return result;
        if (__builtin_expect(at == walk->max || at == UINT16_MAX, 0))
            return -ENOBUFS;
        offset = addr - range->addr;
        piece = memory_min(left, range->size - offset);
        walk->iov[at] = (struct iovec){.iov_base = range->host + offset, .iov_len = piece};
        if (is_writable)
            chain->num_writable++;
        else
            chain->num_readable++;
        addr += piece;
        left -= piece;
    }
    return 0;
}

/*
 * Whether the first buffer of a chain is all of it and lies in the range that was used last; else, and when
 * something is wrong with it, the chain is to be walked.
 */
static ALWAYS_INLINE bool chain_is_plain(const struct shunt_virtqueue *queue,
                                         const struct buffer *buffer, struct plain_chain *plain)
{
    const struct memory_range *range = queue->last_range;
    uint64_t offset;

    if (__builtin_expect(!range, 0))
        return false;
    offset = buffer->addr - range->addr;
    plain->start = range->host + offset;
    plain->len = buffer->len;
    plain->is_writable = buffer->flags & DESCRIPTOR_F_WRITE;
    return __builtin_expect(!(buffer->flags & (DESCRIPTOR_F_NEXT | DESCRIPTOR_F_INDIRECT)) &&
                                buffer->len > 0 && offset < range->size &&
                                buffer->len <= range->size - offset &&
                                (range->access & (plain->is_writable ? MEMORY_WRITE : MEMORY_READ)),
                            1);
}

/* One more descriptor: a chain that is longer than the ring is a loop. */
static inline int chain_count_descriptor(struct chain_walk *walk)
{
    if (__builtin_expect(++walk->num_descriptors <= walk->queue->size, 1))
        return 0;
    virtqueue_break(walk->queue, FAULT_CHAIN_TOO_LONG, walk->chain->id);
    return -EPROTO;
}

/* VIRTIO 1.3, 2.7.10: whether `event` lies among the entries from `before` up to `now`. */
static inline bool ring_is_event_crossed(uint16_t event, uint16_t now, uint16_t before)
{
    return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

/* Follows the indirect table that `table` names (VIRTIO 1.3, 2.7.5.3 and 2.8.7). */
int chain_walk_indirect(struct chain_walk *walk, const struct buffer *table);

#endif
