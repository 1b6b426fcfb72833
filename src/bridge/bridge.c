/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation.
 *
 * A worker takes a burst from one port and decides for each frame where it goes: to one port, to none, or
 * to all that are up. Frames with the same destination are gathered in a mask, so that each destination is
 * visited once a burst and gets its frames in their order:
 *
 *     frames        0 1 2 3 4 5
 *     goes to       A A * B A *            *: flood
 *     visits        A: 0 1 2 4 5   B: 2 3 5   C: 2 5
 *
 * Balance: each frame that comes in (rx.packets) is delivered or dropped once for each of its destinations,
 * or dropped once at the source if it has none; the deliveries of a flooded frame beyond the first are
 * counted in rx.copies. So over all ports, Σ (rx.packets + rx.copies) = Σ tx.packets + Σ drops.
 *
 * Workers find the members through `members`, a table that is never changed: control publishes another one
 * and frees the old one after a grace period. A member keeps its slot, by which the forwarding table knows
 * it, as long as it lives.
 */
#include "bridge/bridge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/rcu.h"

struct bridge_port {
    struct bridge *bridge;
    struct port *port;
    uint16_t slot;
};

struct members {
    unsigned num_slots;
    struct bridge_port *slots[]; /* NULL: free */
};

struct bridge {
    char *name;
    enum bridge_mode mode;
    unsigned num_ports;
    struct fdb *fdb;
    struct members *_Atomic members;
};

/* --- Forwarding: workers ---------------------------------------------------------------------------- */

/* The destinations of a burst: at most one for each frame, and the flood. */
struct fanout {
    unsigned num;
    uint16_t slots[BURST_MAX_FRAMES];
    burst_mask masks[BURST_MAX_FRAMES];
    burst_mask flood;
};

/* The frames that go to this slot. */
static burst_mask *fanout_to(struct fanout *fanout, uint16_t slot)
{
    for (unsigned i = 0; i < fanout->num; i++) {
        if (fanout->slots[i] == slot)
            return &fanout->masks[i];
    }
    fanout->slots[fanout->num] = slot;
    fanout->masks[fanout->num] = 0;
    return &fanout->masks[fanout->num++];
}

static burst_mask fanout_mask(const struct fanout *fanout, uint16_t slot)
{
    for (unsigned i = 0; i < fanout->num; i++) {
        if (fanout->slots[i] == slot)
            return fanout->masks[i];
    }
    return 0;
}

/* IEEE 802.1Q, 8.6.3: for the two ends of a link only, never forwarded by a bridge. */
static bool is_link_local(const uint8_t mac[6])
{
    static const uint8_t prefix[5] = {0x01, 0x80, 0xc2, 0x00, 0x00};

    return memcmp(mac, prefix, sizeof(prefix)) == 0 && mac[5] < 0x10;
}

/* Where a frame goes: into a mask of the fanout, or to a counter of drops. */
struct decision {
    burst_mask *mask;
    uint64_t *drops;
};

static struct decision decide_one(const struct bridge_port *from,
                                  const struct ethernet_header *ethernet, uint32_t now_s,
                                  struct counters *rx, struct fanout *fanout)
{
    struct fdb *fdb = from->bridge->fdb;
    uint16_t slot;

    fdb_learn(fdb, ethernet->source, from->slot, now_s);
    if (ethernet->destination[0] & 1) {
        if (is_link_local(ethernet->destination))
            return (struct decision){.drops = &rx->drops[DROP_LINK_LOCAL]};
        return (struct decision){.mask = &fanout->flood};
    }
    slot = fdb_lookup(fdb, ethernet->destination, now_s);
    if (slot == FDB_NO_SLOT)
        return (struct decision){.mask = &fanout->flood};
    if (slot == from->slot)
        return (struct decision){.drops = &rx->drops[DROP_SAME_PORT]};
    return (struct decision){.mask = fanout_to(fanout, slot)};
}

static bool has_same_addresses(const struct ethernet_header *a, const struct ethernet_header *b)
{
    return memcmp(a->destination, b->destination, sizeof(a->destination)) == 0 &&
           memcmp(a->source, b->source, sizeof(a->source)) == 0;
}

/*
 * Learns the sources and sorts the frames by destination. Frames between the same two come in rows: what was
 * decided for the one before holds.
 */
static void decide(const struct bridge_port *from, const struct burst *burst, uint32_t now_s,
                   struct counters *rx, struct fanout *fanout)
{
    struct decision decision = {0};

    fanout->num = 0;
    fanout->flood = 0;
    for (unsigned i = 0; i < burst->num; i++) {
        const struct ethernet_header *ethernet = &burst->frames[i].ethernet;

        if (i == 0 || !has_same_addresses(ethernet, &burst->frames[i - 1].ethernet))
            decision = decide_one(from, ethernet, now_s, rx, fanout);
        if (decision.mask)
            *decision.mask |= UINT64_C(1) << i;
        else
            counter_add(decision.drops, 1);
    }
}

/* Visits every member that is up, with what is flooded and what is its own. */
static void deliver_flood(const struct bridge_port *from, const struct members *members,
                          unsigned source_queue, struct burst *burst, struct fanout *fanout,
                          struct counters *rx)
{
    uint64_t num_flooded = (uint64_t)__builtin_popcountll(fanout->flood), num_ports = 0;

    for (unsigned slot = 0; slot < members->num_slots; slot++) {
        const struct bridge_port *to = members->slots[slot];
        burst_mask own;

        if (!to || to == from || !port_is_up(to->port))
            continue;
        own = fanout_mask(fanout, (uint16_t)slot);
        port_copy(to->port, source_queue, burst, own | fanout->flood);
        num_ports++;
        for (unsigned i = 0; own && i < fanout->num; i++) {
            if (fanout->slots[i] == slot)
                fanout->masks[i] = 0;
        }
    }
    if (num_ports == 0)
        counter_add(&rx->drops[DROP_NO_DESTINATION], num_flooded);
    else
        counter_add(&rx->copies, num_flooded * (num_ports - 1));
}

static void forward_learning(const struct bridge_port *from, const struct members *members,
                             struct port_queue *queue, struct burst *burst, uint32_t now_s)
{
    struct fanout fanout;

    decide(from, burst, now_s, &queue->rx, &fanout);
    if (fanout.flood)
        deliver_flood(from, members, queue->idx, burst, &fanout, &queue->rx);
    for (unsigned i = 0; i < fanout.num; i++) {
        const struct bridge_port *to = members->slots[fanout.slots[i]];

        if (!fanout.masks[i])
            continue;
        if (to)
            port_copy(to->port, queue->idx, burst, fanout.masks[i]);
        else /* it left the bridge between the lookup and now */
            counter_add(&queue->rx.drops[DROP_NO_DESTINATION],
                        (uint64_t)__builtin_popcountll(fanout.masks[i]));
    }
}

/* The other one of two. */
static void forward_patch(const struct bridge_port *from, const struct members *members,
                          struct port_queue *queue, struct burst *burst)
{
    const struct bridge_port *to = NULL;

    for (unsigned slot = 0; slot < members->num_slots; slot++) {
        if (members->slots[slot] && members->slots[slot] != from)
            to = members->slots[slot];
    }
    if (to)
        port_copy(to->port, queue->idx, burst, burst_all(burst));
    else
        counter_add(&queue->rx.drops[DROP_NO_DESTINATION], burst->num);
}

unsigned bridge_forward(struct bridge_port *from, struct port_queue *queue, struct burst *burst,
                        uint32_t now_s)
{
    const struct port_class *class = queue->port->class;
    const struct members *members;
    unsigned num;

    burst->hashed = 0;
    num = class->lend(queue, burst);
    if (num == 0)
        return 0;
    members = rcu_follow(&from->bridge->members);
    if (from->bridge->mode == BRIDGE_PATCH)
        forward_patch(from, members, queue, burst);
    else
        forward_learning(from, members, queue, burst, now_s);
    class->give_back(queue, burst);
    return num;
}

/* --- Control ---------------------------------------------------------------------------------------- */

static struct members *members_of(const struct bridge *bridge)
{
    return rcu_follow(&bridge->members);
}

/* Publishes a copy of the table with one slot changed, and frees the old one when nobody reads it. */
static int publish(struct bridge *bridge, uint16_t slot, struct bridge_port *member)
{
    struct members *old = members_of(bridge), *fresh;
    unsigned num = slot < old->num_slots ? old->num_slots : slot + 1u;

    fresh = calloc(1, sizeof(*fresh) + num * sizeof(fresh->slots[0]));
    if (!fresh)
        return -ENOMEM;
    memcpy(fresh->slots, old->slots, old->num_slots * sizeof(old->slots[0]));
    fresh->slots[slot] = member;
    fresh->num_slots = num;
    rcu_publish(&bridge->members, fresh);
    rcu_wait_for_readers();
    free(old);
    return 0;
}

int bridge_create(const char *name, enum bridge_mode mode, unsigned ageing_s,
                  struct bridge **bridge, struct shunt_error *error)
{
    struct bridge *fresh = calloc(1, sizeof(*fresh));
    struct members *members = calloc(1, sizeof(*members));

    if (fresh) {
        fresh->name = strdup(name);
        fresh->fdb = fdb_create(BRIDGE_MAX_PORTS, ageing_s);
    }
    if (!fresh || !members || !fresh->name || !fresh->fdb) {
        free(members);
        bridge_destroy(fresh);
        return error_set(error, -ENOMEM, "out of memory");
    }
    fresh->mode = mode;
    rcu_publish(&fresh->members, members);
    *bridge = fresh;
    return 0;
}

void bridge_destroy(struct bridge *bridge)
{
    if (!bridge)
        return;
    fdb_destroy(bridge->fdb);
    free(members_of(bridge));
    free(bridge->name);
    free(bridge);
}

const char *bridge_name(const struct bridge *bridge)
{
    return bridge->name;
}

enum bridge_mode bridge_mode(const struct bridge *bridge)
{
    return bridge->mode;
}

unsigned bridge_num_ports(const struct bridge *bridge)
{
    return bridge->num_ports;
}

void bridge_set_ageing(struct bridge *bridge, unsigned ageing_s)
{
    fdb_set_ageing(bridge->fdb, ageing_s);
}

unsigned bridge_ageing(const struct bridge *bridge)
{
    return fdb_ageing(bridge->fdb);
}

static uint16_t free_slot(const struct bridge *bridge)
{
    const struct members *members = members_of(bridge);
    unsigned slot = 0;

    while (slot < members->num_slots && members->slots[slot])
        slot++;
    return (uint16_t)slot;
}

int bridge_add_port(struct bridge *bridge, struct port *port, unsigned max_addresses,
                    struct bridge_port **member, struct shunt_error *error)
{
    unsigned places = bridge->mode == BRIDGE_PATCH ? 2 : BRIDGE_MAX_PORTS;
    struct bridge_port *fresh;

    if (bridge->num_ports == places)
        return error_set(error, -ENOSPC, "bridge %s has %u ports already, as many as %s has",
                         bridge->name, places, places == 2 ? "a patch" : "a bridge");
    fresh = calloc(1, sizeof(*fresh));
    if (!fresh)
        return error_set(error, -ENOMEM, "out of memory");
    *fresh = (struct bridge_port){.bridge = bridge, .port = port, .slot = free_slot(bridge)};
    fdb_set_limit(bridge->fdb, fresh->slot, max_addresses);
    if (publish(bridge, fresh->slot, fresh) < 0) {
        free(fresh);
        return error_set(error, -ENOMEM, "out of memory");
    }
    bridge->num_ports++;
    *member = fresh;
    return 0;
}

/* Shrinking in place when memory is short: a slot that is cleared is as good as a table without it. */
static void withdraw(struct bridge *bridge, uint16_t slot)
{
    if (publish(bridge, slot, NULL) < 0) {
        __atomic_store_n(&members_of(bridge)->slots[slot], NULL, __ATOMIC_RELEASE);
        rcu_wait_for_readers();
    }
}

/*
 * Flushed twice: the first time so that no more is sent there, and again because a worker may have
 * learned between that and the grace period.
 */
void bridge_remove_port(struct bridge_port *member)
{
    struct bridge *bridge = member->bridge;

    fdb_flush(bridge->fdb, member->slot, true);
    withdraw(bridge, member->slot);
    fdb_flush(bridge->fdb, member->slot, true);
    bridge->num_ports--;
    free(member);
}

struct bridge *bridge_port_bridge(const struct bridge_port *member)
{
    return member->bridge;
}

struct port *bridge_port_port(const struct bridge_port *member)
{
    return member->port;
}

void bridge_port_set_max_addresses(struct bridge_port *member, unsigned max_addresses)
{
    fdb_set_limit(member->bridge->fdb, member->slot, max_addresses);
}

void bridge_age(struct bridge *bridge, uint32_t now_s)
{
    fdb_age(bridge->fdb, now_s);
}

struct walk {
    const struct bridge *bridge;
    void (*fn)(void *ctx, const struct bridge_address *address);
    void *ctx;
};

static void on_address(void *ctx, const struct fdb_address *found)
{
    const struct walk *walk = ctx;
    struct bridge_address address = {
        .bridge = walk->bridge,
        .port = members_of(walk->bridge)->slots[found->slot]->port,
        .is_static = found->is_static,
        .age_s = found->age_s,
    };

    memcpy(address.mac, found->mac, sizeof(address.mac));
    walk->fn(walk->ctx, &address);
}

void bridge_walk_addresses(const struct bridge *bridge, uint32_t now_s,
                           void (*fn)(void *ctx, const struct bridge_address *address), void *ctx)
{
    struct walk walk = {bridge, fn, ctx};

    fdb_walk(bridge->fdb, now_s, on_address, &walk);
}

int bridge_add_address(struct bridge_port *member, const uint8_t mac[6], uint32_t now_s,
                       struct shunt_error *error)
{
    int result = fdb_add_static(member->bridge->fdb, mac, member->slot, now_s);

    if (result == -EINVAL)
        return error_set(error, result, "a group address cannot belong to one port");
    if (result < 0)
        return error_set(error, result, "no room for the address in the table of bridge %s",
                         member->bridge->name);
    return 0;
}

int bridge_del_address(struct bridge *bridge, const uint8_t mac[6])
{
    return fdb_remove(bridge->fdb, mac);
}

unsigned bridge_flush_addresses(struct bridge *bridge, const struct bridge_port *member_or_null)
{
    unsigned num = 0;

    if (member_or_null)
        return fdb_flush(bridge->fdb, member_or_null->slot, false);
    for (unsigned slot = 0; slot < members_of(bridge)->num_slots; slot++)
        num += fdb_flush(bridge->fdb, (uint16_t)slot, false);
    return num;
}

struct fdb_stats bridge_address_stats(const struct bridge *bridge)
{
    return fdb_stats(bridge->fdb);
}
