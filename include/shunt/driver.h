/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtqueue from the driver's side (VIRTIO 1.3, 2.6): we make buffers available, the device reads
 * and writes them and returns them as used. <shunt/frontend.h> makes and runs these queues.
 *
 *     shunt_driver_queue_lock(queue);
 *     while ((num = shunt_driver_queue_take(queue, used, 32)) > 0)
 *         … the buffers of used[i].cookie are ours again, used[i].len bytes were written …
 *     shunt_driver_queue_add(queue, iov, num_readable, num_writable, cookie);
 *     shunt_driver_queue_publish(queue);
 *     shunt_driver_queue_unlock(queue);
 *
 * Buffers lie in the memory that the front-end shares. From add to take they are the device's: they
 * may be filled until publish, and must not be touched after it. A cookie is the program's and
 * comes back with its chain, once.
 *
 * The ring outlives the back-end. When that is gone, what it had not returned stays in the queue
 * and is made available to the next one, in its order; what it had returned can still be taken. A
 * frame that it had sent and not returned is then sent twice. Meanwhile add and publish work, until
 * the ring is full.
 *
 * Receive buffers that are added again in the order in which they came cost the least: descriptors
 * and ring entries that do not change are not written.
 *
 * Threads: every call between shunt_driver_queue_lock() and _unlock(), from any thread, one at a
 * time; the front-end's dispatch takes the same lock. The exceptions are said below.
 *
 * The device is not trusted: a used entry that cannot be makes the queue *broken*, and the
 * front-end then ends the connection, says why, and tries again. What is in the buffers may change
 * at any time.
 */
#ifndef SHUNT_DRIVER_H
#define SHUNT_DRIVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shunt_driver_queue;

/* A chain that came back. */
struct shunt_driver_used {
    void *cookie;
    uint32_t len; /* bytes that the device wrote to its writable buffers, from the first on */
    uint16_t id;  /* as shunt_driver_queue_add() returned it; free from now on */
};

void shunt_driver_queue_lock(struct shunt_driver_queue *queue);
void shunt_driver_queue_unlock(struct shunt_driver_queue *queue);

/*
 * Adds a chain: the first `num_readable` pieces of `iov` are for the device to read, the
 * `num_writable` after them to write. Each takes a descriptor. `iov` is not kept.
 * Returns its id (0 … size - 1), or -ENOSPC: fewer descriptors are free; -EINVAL: no piece, or an
 * empty one, or 4 GiB and more; -ENOTCONN: the queue was not started yet, so its format is not
 * known.
 */
int shunt_driver_queue_add(struct shunt_driver_queue *queue, const struct iovec *iov,
                           unsigned num_readable, unsigned num_writable, void *cookie);

/*
 * The same with one descriptor, which leads to a table of the others (VIRTIO 1.3, 2.7.5.3, 2.8.7).
 * Also -ENOTSUP: the back-end has no INDIRECT_DESC; -EMSGSIZE: more pieces than the front-end was
 * created for.
 */
int shunt_driver_queue_add_indirect(struct shunt_driver_queue *queue, const struct iovec *iov,
                                    unsigned num_readable, unsigned num_writable, void *cookie);

/* Shows all that was added to the device, and notifies it once if it asks for that. */
void shunt_driver_queue_publish(struct shunt_driver_queue *queue);

/*
 * Takes up to `max` chains that the device returned. How many; -EPROTO when there is none and the
 * queue is broken. A device that promised IN_ORDER may return many chains with one entry: of all
 * but the last it is not known how much was written, and `len` is all there is.
 */
int shunt_driver_queue_take(struct shunt_driver_queue *queue, struct shunt_driver_used *used,
                            unsigned max);

/*
 * Asks the device to notify us of the next chain that it returns. Returns true when one may sleep
 * on the call descriptor now; false when there is something to take: look again first.
 */
bool shunt_driver_queue_arm(struct shunt_driver_queue *queue);

/* Tells the device that notifications are not needed: we are polling. A queue starts disarmed. */
void shunt_driver_queue_disarm(struct shunt_driver_queue *queue);

/* Descriptors that are free. */
uint16_t shunt_driver_queue_num_free(const struct shunt_driver_queue *queue);

/* Descriptors in all. Needs no lock. */
uint16_t shunt_driver_queue_size(const struct shunt_driver_queue *queue);

/* True while a device works on it: between `started` and `stopped` of the front-end. */
bool shunt_driver_queue_is_running(const struct shunt_driver_queue *queue);

/*
 * The eventfd by which the device notifies us: non-blocking, the library's, and the same as long as
 * the front-end lives. It is also signalled when the queue is started. The program reads it. Needs
 * no lock.
 */
int shunt_driver_queue_call_fd(const struct shunt_driver_queue *queue);

#ifdef __cplusplus
}
#endif

#endif
