/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtqueue from the device's side (VIRTIO 1.3, 2.6): the driver makes buffers available, the
 * device takes them, reads and writes them in place, and returns them as used.
 *
 * Whatever the device is, its main loop is the same:
 *
 *     shunt_virtqueue_lock(queue);
 *     while (shunt_virtqueue_pop(queue, &chain, iov, MAX) > 0) {
 *         … read the first chain.num_readable entries of iov, write to the others …
 *         shunt_virtqueue_push(queue, &chain, iov, written_bytes);
 *     }
 *     shunt_virtqueue_publish(queue);
 *     shunt_virtqueue_unlock(queue);
 *
 * Chains may be pushed in any order and later, also after an unlock: what was popped stays the
 * device's until it is pushed, or until the queue is stopped. A generation in the chain makes a push
 * that comes after a stop harmless.
 *
 * Threads: every call between shunt_virtqueue_lock() and _unlock(), from any thread, one at a time;
 * the endpoint's dispatch takes the same lock when it reconfigures the queue. The exceptions are
 * said below.
 *
 * The guest is hostile: it may change its memory at any time. Descriptors are read once and checked;
 * the buffers that a chain points to always lie in guest memory, but their content must be copied
 * before it is checked. A driver that breaks the rules of the ring makes the queue *broken*: pop
 * returns -EPROTO until the driver resets the device.
 */
#ifndef SHUNT_VIRTQUEUE_H
#define SHUNT_VIRTQUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHUNT_VIRTQUEUE_MAX_SIZE 32768

struct shunt_virtqueue;

/* A descriptor chain that was taken from the ring. */
struct shunt_chain {
    uint16_t id;              /* the ring's name for it */
    uint16_t num_descriptors; /* of the ring that it takes */
    uint16_t num_readable;    /* entries of the caller's iov that the device reads, first */
    uint16_t num_writable;    /* entries after those that the device writes */
    uint16_t generation;      /* of the queue, see above */
    uint32_t readable_len;    /* bytes in all the readable entries */
    uint32_t writable_len;    /* bytes in all the writable entries */
};

void shunt_virtqueue_lock(struct shunt_virtqueue *queue);
void shunt_virtqueue_unlock(struct shunt_virtqueue *queue);

/*
 * True between the driver's start of the queue and its stop, while it is not broken, and behind a vIOMMU
 * while it is known where the ring lies.
 */
bool shunt_virtqueue_is_started(const struct shunt_virtqueue *queue);

/*
 * True when the driver also enabled it (vhost-user, "Ring states"). A started queue that is not
 * enabled must be processed without side effects: a network device discards what it transmits.
 */
bool shunt_virtqueue_is_enabled(const struct shunt_virtqueue *queue);

/* Entries of the ring, as the driver configured it: in a split ring a power of two. */
uint16_t shunt_virtqueue_size(const struct shunt_virtqueue *queue);

/*
 * Takes the next available chain; its buffers are put into `iov`, of which there are `max`. A buffer
 * that crosses from one memory region into another takes an entry for each piece.
 * Returns 1; or 0 when nothing is available; -ENOTCONN when the queue is not started; -ENOBUFS when
 * the chain has more than `max` pieces (it stays available: see shunt_virtqueue_skip()); -EAGAIN when a
 * guest's IOMMU has yet to tell where a buffer lies: it is being asked, the kick descriptor becomes
 * readable when it has answered; -EPROTO when the queue is broken.
 */
int shunt_virtqueue_pop(struct shunt_virtqueue *queue, struct shunt_chain *chain, struct iovec *iov,
                        unsigned max);

/* Takes the next chain without its buffers, after an -ENOBUFS: it can only be pushed, with 0 bytes. */
void shunt_virtqueue_skip(struct shunt_virtqueue *queue, struct shunt_chain *chain);

/*
 * Makes the chain used, with `written` bytes (<= writable_len) in its writable buffers from the first on.
 * `iov` is as pop filled it: a guest that migrates must hear of the pages that were written. Visible after
 * publish.
 */
void shunt_virtqueue_push(struct shunt_virtqueue *queue, const struct shunt_chain *chain,
                          const struct iovec *iov, uint32_t written);

/* Shows all that was pushed to the driver, and notifies it once if it asks for that. */
void shunt_virtqueue_publish(struct shunt_virtqueue *queue);

/*
 * Asks the driver to notify us of the next buffer. Returns true when one may sleep on the kick
 * descriptor now; false when something became available in the meantime: look again first.
 */
bool shunt_virtqueue_arm(struct shunt_virtqueue *queue);

/* Tells the driver that notifications are not needed: we are polling. A queue starts disarmed. */
void shunt_virtqueue_disarm(struct shunt_virtqueue *queue);

/*
 * The eventfd by which the driver notifies us; -1 if we are to poll, or the queue has not started. It
 * stays the library's, is non-blocking, and is valid until the endpoint's `queue_changed` says that the
 * queue stopped.
 */
int shunt_virtqueue_kick_fd(const struct shunt_virtqueue *queue);

#ifdef __cplusplus
}
#endif

#endif
