/* SPDX-License-Identifier: BSD-3-Clause */
/* The workers' side of a port for a guest. */
#include "port/vhost_user.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/clock.h"
#include "base/rcu.h"
#include "virtio_net/flow.h"

#define VLAN_TYPE      0x8100
#define VLAN_TAG_BYTES 4u

/* --- From the guest ---------------------------------------------------------------------------------- */

/* The announcement goes alone, before what the guest has sent since. */
static unsigned lend_rarp(struct vhost_user_port *own, struct burst *burst, struct counters *rx)
{
    struct frame *frame = &burst->frames[0];

    own->is_rarp_due = false;
    burst->segments[0] = (struct iovec){.iov_base = own->rarp, .iov_len = sizeof(own->rarp)};
    *frame = (struct frame){
        .segments = burst->segments,
        .num_segments = 1,
        .len = sizeof(own->rarp),
    };
    memcpy(&frame->ethernet, own->rarp, ETHERNET_HEADER_BYTES);
    burst->num = 1;
    burst->num_chains = 0;
    counter_add(&rx->packets, 1);
    counter_add(&rx->bytes, frame->len);
    return 1;
}

/* The link is down: what the guest sends gets nowhere. */
static void discard(struct shunt_virtqueue *virtqueue, struct burst *burst, struct counters *rx)
{
    counter_add(&rx->drops[DROP_LINK_DOWN], burst->num);
    transmitq_give_back(virtqueue, burst);
    burst->num = 0;
}

/* Remembers on which pair the driver sends each flow. Only where it has a choice. */
static void learn_flows(const struct port_queue *queue, struct burst *burst)
{
    const struct vhost_user_port *own = vhost_user_of(queue->port);
    unsigned num = atomic_load_explicit(&queue->port->num_tx_queues, memory_order_relaxed);
    uint32_t now_s;

    if (num < 2 || queue->idx >= num || rcu_follow(&own->current_rules)->rss.steers)
        return;
    now_s = clock_coarse_s();
    for (unsigned i = 0; i < burst->num; i++)
        steering_learn(own->steering, burst_flow_hash(burst, i), queue->idx, now_s);
}

unsigned vhost_user_lend(struct port_queue *queue, struct burst *burst)
{
    struct vhost_user_port *own = vhost_user_of(queue->port);
    struct shunt_virtqueue *virtqueue = transmitq_of(queue);
    unsigned num = 0;

    shunt_virtqueue_lock(virtqueue);
    if (queue->idx == 0 && own->is_rarp_due)
        num = lend_rarp(own, burst, &queue->rx);
    else if (shunt_virtqueue_is_started(virtqueue))
        num = transmitq_lend(virtqueue, &own->format, burst, &queue->rx);
    if (num > 0 && !atomic_load_explicit(&own->is_link_up, memory_order_relaxed)) {
        discard(virtqueue, burst, &queue->rx);
        num = 0;
    }
    if (num > 0)
        learn_flows(queue, burst);
    else
        shunt_virtqueue_unlock(virtqueue);
    return num;
}

void vhost_user_give_back(struct port_queue *queue, struct burst *burst)
{
    struct shunt_virtqueue *virtqueue = transmitq_of(queue);

    transmitq_give_back(virtqueue, burst);
    shunt_virtqueue_unlock(virtqueue);
}

/* --- To the guest -------------------------------------------------------------------------------------- */

/* The frames of a burst by the pair that they go to; each keeps its order. */
struct spread {
    unsigned num;
    unsigned queues[BURST_MAX_FRAMES];
    burst_mask masks[BURST_MAX_FRAMES];
};

static void spread_add(struct spread *spread, unsigned queue, unsigned frame)
{
    unsigned i = 0;

    while (i < spread->num && spread->queues[i] != queue)
        i++;
    if (i == spread->num) {
        spread->queues[i] = queue;
        spread->masks[i] = 0;
        spread->num++;
    }
    spread->masks[i] |= UINT64_C(1) << frame;
}

static bool is_too_big(const struct receive_rules *rules, const struct frame *frame)
{
    bool has_tag = frame->ethernet.type == htons(VLAN_TYPE);

    return frame->len > rules->max_frame_bytes + (has_tag ? VLAN_TAG_BYTES : 0);
}

/* Takes out what is not for the driver, and counts it at the first queue. */
static burst_mask sift(struct port *port, const struct receive_rules *rules,
                       const struct burst *burst, burst_mask which)
{
    uint64_t num_filtered = 0, num_too_big = 0;
    struct counters *tx = &port->queues[0].tx;
    burst_mask left = which;

    while (left) {
        unsigned i = burst_next(&left);
        bool is_wanted = filter_passes(&rules->filter, &burst->frames[i]);

        if (is_wanted && !is_too_big(rules, &burst->frames[i]))
            continue;
        which &= ~(UINT64_C(1) << i);
        if (is_wanted)
            num_too_big++;
        else
            num_filtered++;
    }
    if (num_filtered + num_too_big > 0) {
        shunt_virtqueue_lock(receiveq_of(&port->queues[0]));
        counter_add(&tx->drops[DROP_FILTERED], num_filtered);
        counter_add(&tx->drops[DROP_TOO_BIG], num_too_big);
        shunt_virtqueue_unlock(receiveq_of(&port->queues[0]));
    }
    return which;
}

/* Computes what the driver configured, be it to steer by or to report it. */
static void hash_frames(const struct rss *rss, struct burst *burst, burst_mask which)
{
    while (which) {
        struct frame *frame = &burst->frames[burst_next(&which)];

        frame->hash_report = rss_hash(rss, frame, &frame->hash);
    }
}

static void choose_queues(const struct vhost_user_port *own, const struct receive_rules *rules,
                          unsigned num, struct burst *burst, burst_mask which,
                          struct spread *spread)
{
    while (which) {
        unsigned i = burst_next(&which);
        const struct frame *frame = &burst->frames[i];

        if (rules->rss.steers)
            spread_add(spread, rss_choose(&rules->rss, frame->hash, frame->hash_report), i);
        else
            spread_add(spread, steering_choose(own->steering, burst_flow_hash(burst, i), num), i);
    }
}

static bool takes_frames(const struct vhost_user_port *own, const struct shunt_virtqueue *virtqueue)
{
    return virtqueue->is_started && virtqueue->is_enabled && virtqueue->fault == FAULT_NONE &&
           atomic_load_explicit(&own->is_link_up, memory_order_relaxed);
}

/* Behind those that wait already, frames have to wait, too. What cannot is returned. */
static burst_mask copy_or_wait(struct port_queue *queue, struct burst *burst, burst_mask which)
{
    const struct vhost_user_port *own = vhost_user_of(queue->port);
    struct shunt_virtqueue *virtqueue = receiveq_of(queue);

    if (shunt_virtqueue_is_started(virtqueue) && own->backlogs[queue->idx].num == 0)
        which = receiveq_copy(virtqueue, &own->format, burst, which, &queue->tx);
    while (which) {
        burst_mask before = which;

        if (!backlog_keep(&own->backlogs[queue->idx], &burst->frames[burst_next(&which)]))
            return before;
    }
    return 0;
}

static void copy_to(struct port_queue *queue, struct burst *burst, burst_mask which)
{
    struct shunt_virtqueue *virtqueue = receiveq_of(queue);
    enum drop drop = DROP_PORT_DOWN;

    shunt_virtqueue_lock(virtqueue);
    if (takes_frames(vhost_user_of(queue->port), virtqueue)) {
        which = copy_or_wait(queue, burst, which);
        drop = DROP_IOTLB_MISS;
    }
    if (which)
        counter_add(&queue->tx.drops[drop], (uint64_t)__builtin_popcountll(which));
    shunt_virtqueue_unlock(virtqueue);
}

/* A bunch of those that wait. False: no more can go now. */
static bool flush_some(struct port_queue *queue, struct burst *burst)
{
    const struct vhost_user_port *own = vhost_user_of(queue->port);
    struct backlog *backlog = &own->backlogs[queue->idx];
    struct shunt_virtqueue *virtqueue = receiveq_of(queue);
    unsigned num = backlog_lend(backlog, burst);
    burst_mask waiting = 0;

    if (num == 0)
        return false;
    if (!takes_frames(own, virtqueue))
        counter_add(&queue->tx.drops[DROP_PORT_DOWN], num);
    else if (shunt_virtqueue_is_started(virtqueue))
        waiting = receiveq_copy(virtqueue, &own->format, burst, burst_all(burst), &queue->tx);
    else
        return false;
    backlog_forget(backlog, num - (unsigned)__builtin_popcountll(waiting));
    return waiting == 0;
}

void vhost_user_flush(struct port_queue *queue)
{
    struct vhost_user_port *own = vhost_user_of(queue->port);
    struct shunt_virtqueue *virtqueue = receiveq_of(queue);

    shunt_virtqueue_lock(virtqueue);
    if (own->backlogs[queue->idx].num > 0 &&
        (own->flushed.segments || burst_init(&own->flushed) == 0)) {
        while (flush_some(queue, &own->flushed))
            ;
    }
    shunt_virtqueue_unlock(virtqueue);
}

/* A guest with one pair pays for nothing of all this. */
void vhost_user_copy(struct port *port, unsigned hint, struct burst *burst, burst_mask which)
{
    struct vhost_user_port *own = vhost_user_of(port);
    const struct receive_rules *rules = rcu_follow(&own->current_rules);
    unsigned num = atomic_load_explicit(&port->num_tx_queues, memory_order_acquire);
    struct spread spread;

    (void)hint;
    if (num == 0) {
        port_count_down(port, (uint64_t)__builtin_popcountll(which));
        return;
    }
    if (rules->is_sifting)
        which = sift(port, rules, burst, which);
    if (rules->reports_hash || rules->rss.steers)
        hash_frames(&rules->rss, burst, which);
    if (num == 1 && !rules->rss.steers) {
        if (which)
            copy_to(&port->queues[0], burst, which);
        return;
    }
    spread.num = 0;
    choose_queues(own, rules, num, burst, which, &spread);
    for (unsigned i = 0; i < spread.num; i++)
        copy_to(&port->queues[spread.queues[i]], burst, spread.masks[i]);
}

/* --- Sleeping ------------------------------------------------------------------------------------------- */

bool vhost_user_arm(struct port_queue *queue)
{
    const struct vhost_user_port *own = vhost_user_of(queue->port);
    struct shunt_virtqueue *virtqueue = transmitq_of(queue);
    bool may_sleep;

    shunt_virtqueue_lock(virtqueue);
    may_sleep = shunt_virtqueue_arm(virtqueue) && !(queue->idx == 0 && own->is_rarp_due);
    shunt_virtqueue_unlock(virtqueue);
    return may_sleep;
}

void vhost_user_disarm(struct port_queue *queue)
{
    struct shunt_virtqueue *virtqueue = transmitq_of(queue);

    shunt_virtqueue_lock(virtqueue);
    shunt_virtqueue_disarm(virtqueue);
    shunt_virtqueue_unlock(virtqueue);
}

int vhost_user_wake_fd(const struct port_queue *queue)
{
    return shunt_virtqueue_kick_fd(transmitq_of(queue));
}
