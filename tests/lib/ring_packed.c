/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's side of a packed ring (VIRTIO 1.3, 2.8). Places are slots of the descriptor ring, with the
 * wrap counter in the highest bit.
 *
 * A chain's first descriptor becomes available last. Of all that is added before it is published, that is
 * the first descriptor of the first chain: the device passes over none that is not available.
 */
#include "lib/ring_class.h"

#define AVAILABLE_AND_USED (PACKED_F_AVAIL | PACKED_F_USED)

static uint16_t slot_of(uint16_t place)
{
    return place & PACKED_POSITION_IDX;
}

static bool wrap_of(uint16_t place)
{
    return place & PACKED_POSITION_WRAP;
}

/* 2.8.1 */
uint16_t ring_available_flags(uint16_t place)
{
    return wrap_of(place) ? PACKED_F_AVAIL : PACKED_F_USED;
}

uint16_t ring_used_flags(uint16_t place)
{
    return wrap_of(place) ? AVAILABLE_AND_USED : 0;
}

/* Two laps are all that a place tells apart: it is a number below twice the size. */
static uint16_t step(const struct ring *ring, uint16_t place, int distance)
{
    int laps = 2 * (int)ring->size;
    int at = slot_of(place) + (wrap_of(place) ? 0 : (int)ring->size);

    at = ((at + distance) % laps + laps) % laps;
    return (uint16_t)(at % ring->size | (at < ring->size ? PACKED_POSITION_WRAP : 0));
}

/* --- Layout ----------------------------------------------------------------------------------------- */

static void lay_out(struct ring *ring, uint8_t *start)
{
    ring->packed = (struct packed_descriptor *)(void *)start;
    ring->driver_event = (struct packed_event *)(void *)(start +
                                                         PACKED_DESCRIPTOR_BYTES(ring->size));
    ring->device_event = ring->driver_event + 1;
}

/* Ids begin in the middle and go down, so that they are not mistaken for slots. */
static void begin(struct ring *ring)
{
    uint16_t size = ring->size;

    ring->next_available = PACKED_FIRST;
    ring->last_used = PACKED_FIRST;
    ring->first_free = size / 2;
    for (uint16_t id = 0; id < size; id++)
        ring->shadow[id].next = (uint16_t)((id + size - 1) % size);
}

/* What lies before the place was used in this lap, what lies after it in the one before. */
static void set_base(struct ring *ring, uint32_t base)
{
    uint16_t place = (uint16_t)base;

    for (uint16_t i = 0; i < ring->size; i++) {
        bool is_of_this_lap = i < slot_of(place);

        ring->packed[i].flags = ring_used_flags(
            is_of_this_lap ? place : (uint16_t)(place ^ PACKED_POSITION_WRAP));
    }
    *ring->device_event = (struct packed_event){0};
    ring->next_available = place;
    ring->last_used = place;
    ring->has_hidden = false;
}

/* --- Chains ----------------------------------------------------------------------------------------- */

static uint16_t take_id(struct ring *ring)
{
    uint16_t id = ring->first_free;

    ring->first_free = ring->shadow[id].next;
    return id;
}

static void write_descriptor(struct ring *ring, const struct ring_descriptor *from, uint16_t id)
{
    struct packed_descriptor *slot = &ring->packed[slot_of(ring->next_available)];
    uint16_t flags = from->flags ^ ring_available_flags(ring->next_available);

    slot->addr = from->addr;
    slot->len = from->len;
    slot->id = id;
    if (ring->has_hidden) {
        RING_STORE_RELAXED(&slot->flags, flags);
    } else {
        ring->has_hidden = true;
        ring->hidden_at = slot_of(ring->next_available);
        ring->hidden_flags = flags;
    }
    ring->next_available = step(ring, ring->next_available, 1);
    ring->num_unkicked++;
}

/* The id is only looked at in the last descriptor (2.8.6); the others have one that is never ours. */
static uint16_t write_chain(struct ring *ring, const struct ring_descriptor *descriptors,
                            unsigned num)
{
    uint16_t id = take_id(ring);

    for (unsigned i = 0; i < num; i++)
        write_descriptor(ring, &descriptors[i], i + 1 == num ? id : UINT16_MAX);
    return id;
}

/* The release pairs with the device's acquire of these flags: it then sees all that lies behind them. */
static void publish(struct ring *ring)
{
    if (ring->has_hidden)
        RING_STORE_RELEASE(&ring->packed[ring->hidden_at].flags, ring->hidden_flags);
    ring->has_hidden = false;
}

/* --- Used ------------------------------------------------------------------------------------------- */

/* Without WRITE the length is reserved (2.8.4). */
static bool read_used(const struct ring *ring, uint16_t place, struct ring_used *used)
{
    const struct packed_descriptor *slot = &ring->packed[slot_of(place)];
    uint16_t flags = RING_LOAD_ACQUIRE(&slot->flags);

    if ((flags & AVAILABLE_AND_USED) != ring_used_flags(place))
        return false;
    used->id = RING_LOAD_RELAXED(&slot->id);
    used->len = flags & DESCRIPTOR_F_WRITE ? RING_LOAD_RELAXED(&slot->len) : 0;
    return true;
}

static uint16_t after_chain(const struct ring *ring, uint16_t place, unsigned num)
{
    return step(ring, place, (int)num);
}

/* In order, an id comes to the end of the list; else to its front, so that they are soon mixed up. */
static void free_chain(struct ring *ring, uint16_t id)
{
    if (ring->is_in_order)
        return; /* the list is a circle, and this is where it comes round to */
    ring->shadow[id].next = ring->first_free;
    ring->first_free = id;
}

/* --- Notifications ---------------------------------------------------------------------------------- */

static bool device_event(const struct ring *ring, uint16_t *place)
{
    *place = RING_LOAD_RELAXED(&ring->device_event->position);
    return (RING_LOAD_RELAXED(&ring->device_event->flags) & 3) == PACKED_EVENT_DESCRIPTOR;
}

/* Looks for the place among those that were filled, one by one: that is what the words mean (2.8.10). */
static bool is_kick_wanted(const struct ring *ring, uint16_t num)
{
    unsigned flags = RING_LOAD_RELAXED(&ring->device_event->flags) & 3;
    uint16_t event;

    if (!ring->has_event_idx || !device_event(ring, &event))
        return flags != PACKED_EVENT_DISABLE;
    for (int i = 1; i <= num; i++) {
        if (step(ring, ring->next_available, -i) == event)
            return true;
    }
    return false;
}

static void want_call_past(struct ring *ring, uint16_t place)
{
    RING_STORE_RELAXED(&ring->driver_event->position, place);
    RING_STORE_RELEASE(&ring->driver_event->flags, PACKED_EVENT_DESCRIPTOR);
}

static void want_calls(struct ring *ring, bool wanted)
{
    if (wanted && ring->has_event_idx)
        want_call_past(ring, ring->last_used);
    else
        RING_STORE_RELAXED(&ring->driver_event->flags,
                           wanted ? PACKED_EVENT_ENABLE : PACKED_EVENT_DISABLE);
}

const struct ring_class ring_packed = {
    .lay_out = lay_out,
    .begin = begin,
    .set_base = set_base,
    .step = step,
    .write_chain = write_chain,
    .publish = publish,
    .read_used = read_used,
    .after_chain = after_chain,
    .free_chain = free_chain,
    .is_kick_wanted = is_kick_wanted,
    .want_calls = want_calls,
    .want_call_past = want_call_past,
    .device_event = device_event,
};
