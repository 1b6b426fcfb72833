/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio_net/filter.h"

#include <arpa/inet.h>
#include <string.h>

#include "virtio_net/segment.h"

#define TYPE_VLAN 0x8100
#define TAG_BYTES 4u
#define VLAN_MASK 0x0fff

void filter_init(struct filter *filter, const uint8_t mac[6])
{
    *filter = (struct filter){.is_on[FILTER_PROMISC] = true};
    memcpy(filter->mac, mac, sizeof(filter->mac));
}

void filter_set_vlan(struct filter *filter, uint16_t vlan, bool is_wanted)
{
    uint64_t bit = UINT64_C(1) << vlan % 64;

    if (is_wanted)
        filter->vlans[vlan / 64] |= bit;
    else
        filter->vlans[vlan / 64] &= ~bit;
}

bool filter_is_closed(const struct filter *filter)
{
    return filter->has_vlans || (filter->has_addresses && !filter->is_on[FILTER_PROMISC]);
}

static bool holds(const struct filter_table *table, const uint8_t mac[6])
{
    for (unsigned i = 0; i < table->num; i++)
        if (memcmp(table->macs[i], mac, sizeof(table->macs[i])) == 0)
            return true;
    return table->is_overflown;
}

static bool passes_address(const struct filter *filter, const uint8_t mac[6])
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const bool *is_on = filter->is_on;

    if (!filter->has_addresses || is_on[FILTER_PROMISC])
        return true;
    if (memcmp(mac, broadcast, sizeof(broadcast)) == 0)
        return !is_on[FILTER_NOBCAST];
    if (mac[0] & 1)
        return !is_on[FILTER_NOMULTI] && (is_on[FILTER_ALLMULTI] || holds(&filter->multicast, mac));
    if (is_on[FILTER_NOUNI])
        return false;
    return is_on[FILTER_ALLUNI] || memcmp(filter->mac, mac, sizeof(filter->mac)) == 0 ||
           holds(&filter->unicast, mac);
}

/*
 * The tag lies behind the header that was copied. The sender may change it after this look: then a frame of
 * its own gets where it would not have, which the specification allows ("best-effort").
 */
static bool passes_vlan(const struct filter *filter, const struct frame *frame)
{
    struct segment_cursor from = segment_start(frame->segments);
    uint16_t tag = 0;

    if (!filter->has_vlans || frame->ethernet.type != htons(TYPE_VLAN) ||
        frame->len < ETHERNET_HEADER_BYTES + TAG_BYTES)
        return true;
    segment_skip(&from, ETHERNET_HEADER_BYTES);
    segment_read(&from, &tag, sizeof(tag));
    tag = ntohs(tag) & VLAN_MASK;
    return filter->vlans[tag / 64] >> tag % 64 & 1;
}

bool filter_passes(const struct filter *filter, const struct frame *frame)
{
    return passes_address(filter, frame->ethernet.destination) && passes_vlan(filter, frame);
}
