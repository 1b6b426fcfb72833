/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of a port that plugs into somebody else's vhost-user back-end: another shuntd, Open
 * vSwitch, testpmd. We are the driver of the network device that is offered there; DPDK calls this
 * virtio-user.
 *
 * Queue n of the port is the pair of virtqueues 2n, the receiveq that we lend from, and 2n + 1, the
 * transmitq that we copy to (VIRTIO 1.3, 5.1.2): the other way round than at a port for a guest,
 * because the names are the driver's. Their locks are the virtqueues' own.
 *
 *     virtio_user.c            its life, options, and how its state follows from the front-end's
 *     virtio_user_receiveq.c   workers: lending what came
 *     virtio_user_transmitq.c  workers: copying what goes
 *     virtio_user_show.c       what `port show` tells
 *
 * All buffers are in one piece of shared memory, which the back-end reads and writes. We copy a
 * frame once: out of a receive buffer into its destination's memory, or out of its source's memory
 * into a buffer of the transmitq.
 *
 *     receiveq    as many buffers as the ring has descriptors; all are the back-end's but for
 *                 those whose frames are lent, which become its again, in their order, when
 *                 these are given back
 *     transmitq   each slot of the ring has a buffer; a frame takes as many slots as it needs
 *
 * A frame may arrive in several receive buffers, if MRG_RXBUF was negotiated; else they have room
 * for the longest. Nothing is allocated after the port was made: how large receive buffers are is
 * known only when the first back-end is there, so there is room for the larger ones. It is not
 * touched, and so costs nothing, where it is not used.
 *
 * Back-ends come and go, and the rings outlive them (see <shunt/driver.h>). What one had taken and
 * not returned is offered to the next one, so it may be sent twice; what it had returned is lent
 * when the queues run again. Of a frame of which it had returned only a part, that part is
 * forgotten.
 */
#ifndef PORT_VIRTIO_USER_H
#define PORT_VIRTIO_USER_H

#include <shunt/frontend.h>

#include "port/port.h"

/* Under the lock of the receiveq, but for what is set once before the queue runs. */
struct virtio_user_rx {
    struct shunt_driver_queue *ring;
    bool is_mergeable;
    uint32_t buffer_bytes;
    uint32_t stride; /* from one buffer to the next */
    uint8_t *buffers;

    /*
     * Buffers that we hold, in the order in which they came, each as far as it is filled: at most
     * as many as there are. The first `num_whole` are of frames that are complete; behind them is
     * the beginning of one of `num_wanted` buffers.
     */
    struct iovec *held;
    unsigned num_held;
    unsigned num_whole;
    unsigned num_wanted;
};

/* Under the lock of the transmitq. */
struct virtio_user_tx {
    struct shunt_driver_queue *ring;
    uint8_t *buffers; /* of slot n at n × VIRTIO_USER_BUFFER_BYTES */
};

struct virtio_user_port {
    struct shunt_shared_memory *memory;
    struct shunt_frontend *frontend;
    bool is_server;
    bool is_set_up; /* the receive buffers were laid out, when the first back-end came */
    char *socket_path;
    uint16_t ring_size;
    struct virtio_user_rx *rx; /* for each queue of the port */
    struct virtio_user_tx *tx;
};

/*
 * A buffer that frames share: room for a usual one with its virtio-net header and two VLAN tags. It
 * is an odd number of cache lines, because buffers that are a power of two apart share few sets of
 * the caches.
 */
#define VIRTIO_USER_BUFFER_BYTES 1600u

static inline struct virtio_user_port *virtio_user_of(const struct port *port)
{
    return port->private;
}

static inline struct virtio_user_rx *virtio_user_rx_of(const struct port_queue *queue)
{
    return &virtio_user_of(queue->port)->rx[queue->idx];
}

static inline struct virtio_user_tx *virtio_user_tx_of(const struct port_queue *queue)
{
    return &virtio_user_of(queue->port)->tx[queue->idx];
}

/* --- virtio_user_receiveq.c: see also struct port_class --------------------------------------- */

/* From one receive buffer to the next. */
uint32_t virtio_user_rx_stride(bool is_mergeable);

/* The first back-end is there: makes all buffers available. */
void virtio_user_rx_fill(struct virtio_user_rx *rx, bool is_mergeable);

/* Another back-end is there: it does not go on with a frame that the last one had begun. */
void virtio_user_rx_resume(struct virtio_user_rx *rx);

unsigned virtio_user_lend(struct port_queue *queue, struct burst *burst);
void virtio_user_give_back(struct port_queue *queue, struct burst *burst);
bool virtio_user_arm(struct port_queue *queue);
void virtio_user_disarm(struct port_queue *queue);
int virtio_user_wake_fd(const struct port_queue *queue);

/* --- virtio_user_transmitq.c ------------------------------------------------------------------ */

void virtio_user_copy(struct port *port, unsigned hint, struct burst *burst, burst_mask which);

/* --- virtio_user_show.c ----------------------------------------------------------------------- */

void virtio_user_describe(const struct port *port, json_t *object);

#endif
