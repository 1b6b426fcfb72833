/* SPDX-License-Identifier: BSD-3-Clause */
/* The driver's side of a split ring (VIRTIO 1.3, 2.7). Places are free-running indices. */
#include "lib/ring_class.h"

static uint64_t available_offset(uint16_t size)
{
    return SPLIT_DESCRIPTOR_BYTES(size);
}

static uint64_t used_offset(uint16_t size)
{
    uint64_t end = available_offset(size) + SPLIT_AVAILABLE_BYTES(size);

    return (end + SPLIT_USED_ALIGN - 1) / SPLIT_USED_ALIGN * SPLIT_USED_ALIGN;
}

static void lay_out(struct ring *ring, uint8_t *start)
{
    ring->descriptors = (struct split_descriptor *)(void *)start;
    ring->available = (struct split_available *)(void *)(start + available_offset(ring->size));
    ring->used = (struct split_used *)(void *)(start + used_offset(ring->size));
}

static void begin(struct ring *ring)
{
    for (uint16_t i = 0; i < ring->size; i++)
        ring->shadow[i].next = (uint16_t)((i + 1) % ring->size);
}

static void set_base(struct ring *ring, uint32_t base)
{
    ring->next_available = (uint16_t)base;
    ring->last_used = (uint16_t)base;
    RING_STORE_RELAXED(&ring->available->idx, (uint16_t)base);
    RING_STORE_RELAXED(&ring->used->idx, (uint16_t)base);
}

static uint16_t step(const struct ring *ring, uint16_t place, int distance)
{
    (void)ring;
    return (uint16_t)(place + distance);
}

/* --- Chains ----------------------------------------------------------------------------------------- */

void ring_set_descriptor(struct ring *ring, uint16_t idx, uint64_t addr, uint32_t len,
                         uint16_t flags, uint16_t next)
{
    ring->descriptors[idx] =
        (struct split_descriptor){.addr = addr, .len = len, .flags = flags, .next = next};
}

void ring_offer(struct ring *ring, uint16_t head)
{
    RING_STORE_RELAXED(&ring->available->ring[ring->next_available & (ring->size - 1)], head);
    ring->next_available++;
    ring->num_unkicked++;
}

/* In order, the list of free descriptors is the table itself from some place on, around its end. */
static uint16_t write_chain(struct ring *ring, const struct ring_descriptor *descriptors,
                            unsigned num)
{
    uint16_t head = ring->first_free;

    for (unsigned i = 0; i < num; i++) {
        uint16_t idx = ring->first_free;

        ring->first_free = ring->shadow[idx].next;
        ring_set_descriptor(ring, idx, descriptors[i].addr, descriptors[i].len,
                            descriptors[i].flags, ring->first_free);
    }
    ring_offer(ring, head);
    return head;
}

/* The release pairs with the device's acquire: what lies before the index is there when it sees it. */
static void publish(struct ring *ring)
{
    ring_set_available_idx(ring, ring->next_available);
}

void ring_set_available_idx(struct ring *ring, uint16_t idx)
{
    RING_STORE_RELEASE(&ring->available->idx, idx);
}

/* --- Used ------------------------------------------------------------------------------------------- */

static bool read_used(const struct ring *ring, uint16_t place, struct ring_used *used)
{
    const struct split_used_element *element = &ring->used->ring[place & (ring->size - 1)];

    if (RING_LOAD_ACQUIRE(&ring->used->idx) == place)
        return false;
    used->id = RING_LOAD_RELAXED(&element->id);
    used->len = RING_LOAD_RELAXED(&element->len);
    return true;
}

static uint16_t after_chain(const struct ring *ring, uint16_t place, unsigned num)
{
    (void)ring;
    (void)num;
    return (uint16_t)(place + 1);
}

static void free_chain(struct ring *ring, uint16_t id)
{
    uint16_t last = id;

    if (ring->is_in_order)
        return; /* it is where the list comes round to */
    for (uint16_t i = 1; i < ring->shadow[id].num; i++)
        last = ring->shadow[last].next;
    ring->shadow[last].next = ring->first_free;
    ring->first_free = id;
}

/* --- Notifications ---------------------------------------------------------------------------------- */

static bool device_event(const struct ring *ring, uint16_t *place)
{
    *place = RING_LOAD_RELAXED((const uint16_t *)(const void *)&ring->used->ring[ring->size]);
    return true;
}

static bool is_kick_wanted(const struct ring *ring, uint16_t num)
{
    uint16_t event;

    if (!ring->has_event_idx)
        return !(RING_LOAD_RELAXED(&ring->used->flags) & USED_F_NO_NOTIFY);
    device_event(ring, &event);
    return (uint16_t)(ring->next_available - event - 1) < num;
}

static void want_call_past(struct ring *ring, uint16_t place)
{
    RING_STORE_RELAXED(&ring->available->ring[ring->size], place);
}

static void want_calls(struct ring *ring, bool wanted)
{
    if (ring->has_event_idx)
        want_call_past(ring, (uint16_t)(wanted ? ring->last_used : ring->last_used - 1));
    else
        RING_STORE_RELAXED(&ring->available->flags, wanted ? 0 : AVAILABLE_F_NO_INTERRUPT);
}

const struct ring_class ring_split = {
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
