/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of a port for a guest: a virtio-net device that is offered on a vhost-user socket.
 *
 * Queue n of the port is the pair of virtqueues 2n, the receiveq that we copy to, and 2n + 1, the
 * transmitq that we lend from (VIRTIO 1.3, 5.1.2). Their locks are the virtqueues' own.
 *
 *     vhost_user.c         its life, options, and how its state follows from its rings
 *     vhost_user_device.c  the device beside its rings: configuration space, control queue, announcements
 *     vhost_user_queue.c   workers: lending, choosing the receiveq, copying
 *     vhost_user_show.c    what `port show` tells
 *
 * Who has the control queue: a front-end such as QEMU's vhost-user-net emulates it together with the
 * configuration space, and we never hear what the driver says there; then the number of active pairs is what
 * it enables, and we offer only what works without. To one that passes everything on
 * (`control-queue on`), we offer all of it.
 *
 * What workers go by are the *rules*: a snapshot under RCU of what the driver negotiated and said. There
 * are two, one in force and one to be written next, so that no command can fail for want of memory.
 */
#ifndef PORT_VHOST_USER_H
#define PORT_VHOST_USER_H

#include <shunt/backend.h>
#include <stdatomic.h>

#include "port/port.h"
#include "vhost_user/backend.h"
#include "virtio_net/backlog.h"
#include "virtio_net/config.h"
#include "virtio_net/control.h"
#include "virtio_net/feature.h"
#include "virtio_net/queue.h"
#include "virtio_net/steering.h"

struct receive_rules {
    bool is_sifting;          /* some frames may not be for the driver */
    bool reports_hash;        /* HASH_REPORT */
    uint32_t max_frame_bytes; /* with Ethernet header, without VLAN tag */
    struct filter filter;
    struct rss rss;
};

#define RARP_FRAME_BYTES 60u

struct vhost_user_port {
    struct shunt_backend *backend;
    struct net_format format; /* changes only while no ring runs */
    uint64_t features;        /* the driver's */

    /* Control thread. */
    bool has_control_queue; /* it and the configuration space are ours */
    struct net_config config;
    uint16_t max_mtu; /* option `mtu`; 0: not given */
    uint16_t mtu;     /* in force; 0: not known */
    struct control control;
    struct receive_rules rules[2];

    struct receive_rules *_Atomic current_rules;
    struct steering *steering; /* NULL: there is one pair */
    atomic_bool is_link_up;

    /* Under the lock of the first transmitq: a frame that is to be lent as if the guest had sent it. */
    bool is_rarp_due;
    uint8_t rarp[RARP_FRAME_BYTES];

    /* One a pair, under the lock of its receiveq: what waits for the guest's IOMMU. */
    struct backlog *backlogs;
    struct burst flushed; /* control thread: in which they are sent on */
};

static inline struct vhost_user_port *vhost_user_of(const struct port *port)
{
    return port->private;
}

static inline struct shunt_virtqueue *receiveq_of(const struct port_queue *queue)
{
    return shunt_backend_virtqueue(vhost_user_of(queue->port)->backend, 2 * queue->idx);
}

static inline struct shunt_virtqueue *transmitq_of(const struct port_queue *queue)
{
    return shunt_backend_virtqueue(vhost_user_of(queue->port)->backend, 2 * queue->idx + 1);
}

/* --- vhost_user.c ----------------------------------------------------------------------------------- */

enum ring_state { RING_STOPPED, RING_DISABLED, RING_RUNNING, RING_BROKEN };

/* Takes the virtqueue's lock. */
enum ring_state vhost_user_ring_state(struct shunt_virtqueue *virtqueue);

/* Something changed on which the port's state or its active queues depend. */
void vhost_user_update(struct port *port);

/* --- vhost_user_device.c ------------------------------------------------------------------------------ */

extern const struct shunt_backend_ops vhost_user_ops;

/* Takes the device's options over, before there is a back-end. */
int vhost_user_init_device(struct port *port, const json_t *options, struct shunt_error *error);

/* The feature bits of a network device that are offered. */
uint64_t vhost_user_offered(const struct port *port);

/* The index of the control queue, or -1 if there is none, or it is not ours. */
int vhost_user_control_idx(const struct port *port);

/* How many pairs the driver uses, as far as it said so. */
unsigned vhost_user_max_active(const struct port *port);

/* Serves the control queue, if it runs. */
void vhost_user_serve_control(struct port *port);

/* `link`: up or down. */
void vhost_user_set_link(struct port *port, bool is_up);

/* The configuration space as the driver reads it. */
struct net_config vhost_user_config(const struct port *port);

/* --- vhost_user_queue.c: see struct port_class --------------------------------------------------------- */

unsigned vhost_user_lend(struct port_queue *queue, struct burst *burst);
void vhost_user_give_back(struct port_queue *queue, struct burst *burst);
void vhost_user_copy(struct port *port, unsigned hint, struct burst *burst, burst_mask which);

/* Sends on what waits, or drops it if the receiveq has stopped. Control thread. */
void vhost_user_flush(struct port_queue *queue);

bool vhost_user_arm(struct port_queue *queue);
void vhost_user_disarm(struct port_queue *queue);
int vhost_user_wake_fd(const struct port_queue *queue);

/* --- vhost_user_show.c ---------------------------------------------------------------------------------- */

void vhost_user_describe(const struct port *port, json_t *object);

#endif
