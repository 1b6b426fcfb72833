/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio_net/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define STATE_VERSION 1

static const char magic[4] = {'S', 'H', 'N', 'T'};

enum { FLAG_UNICAST_OVERFLOWN = FILTER_SWITCHES, FLAG_MULTICAST_OVERFLOWN, NUM_FLAGS };

/* The part that every string has; see the header. */
struct __attribute__((packed)) fixed_part {
    char magic[4];
    uint16_t version;
    uint16_t flags;
    uint8_t mac[6];
    uint16_t num_pairs;
    uint16_t num_unicast;
    uint16_t num_multicast;
    uint64_t vlans[FILTER_NUM_VLANS / 64];
    uint32_t hash_types;
    uint8_t steers;
    uint8_t key_len;
    uint8_t key[RSS_KEY_BYTES];
    uint16_t mask;
    uint16_t unclassified;
};
_Static_assert(sizeof(struct fixed_part) == 582, "as the header says");

#define MAC_BYTES sizeof(((struct filter_table *)0)->macs[0])

void net_state_init(struct net_state *state, const uint8_t mac[6], unsigned num_pairs)
{
    static const uint8_t no_key[1];

    *state = (struct net_state){.num_pairs = (uint16_t)num_pairs};
    filter_init(&state->filter, mac);
    rss_key_set(&state->rss.key, no_key, 0);
}

int net_state_check_rss(const struct rss *rss, unsigned max_pairs)
{
    if ((rss->hash_types & ~RSS_SUPPORTED_TYPES) || (rss->hash_types && rss->key.len == 0))
        return -EINVAL;
    if (rss->mask >= RSS_TABLE_LENGTH || (rss->mask & (rss->mask + 1)) != 0 ||
        rss->unclassified >= max_pairs)
        return -EINVAL;
    for (unsigned i = 0; i <= rss->mask; i++)
        if (rss->queues[i] >= max_pairs)
            return -EINVAL;
    return 0;
}

static uint16_t flags_of(const struct filter *filter)
{
    unsigned flags = (unsigned)filter->unicast.is_overflown << FLAG_UNICAST_OVERFLOWN |
                     (unsigned)filter->multicast.is_overflown << FLAG_MULTICAST_OVERFLOWN;

    for (unsigned i = 0; i < FILTER_SWITCHES; i++)
        flags |= (unsigned)filter->is_on[i] << i;
    return (uint16_t)flags;
}

static size_t total_bytes(const struct fixed_part *fixed)
{
    return sizeof(*fixed) + 2 * (fixed->mask + 1u) +
           MAC_BYTES * ((size_t)fixed->num_unicast + fixed->num_multicast);
}

int net_state_save(const struct net_state *state, void **data, size_t *len)
{
    const struct filter *filter = &state->filter;
    const struct rss *rss = &state->rss;
    struct fixed_part fixed = {
        .version = STATE_VERSION,
        .flags = flags_of(filter),
        .num_pairs = state->num_pairs,
        .num_unicast = filter->unicast.num,
        .num_multicast = filter->multicast.num,
        .hash_types = rss->hash_types,
        .steers = rss->steers,
        .key_len = rss->key.len,
        .mask = rss->mask,
        .unclassified = rss->unclassified,
    };
    size_t table_bytes = 2 * (rss->mask + 1u), unicast_bytes = MAC_BYTES * filter->unicast.num;
    uint8_t *to = malloc(total_bytes(&fixed));

    if (!to)
        return -ENOMEM;
    memcpy(fixed.magic, magic, sizeof(magic));
    memcpy(fixed.mac, filter->mac, sizeof(fixed.mac));
    memcpy(fixed.vlans, filter->vlans, sizeof(fixed.vlans));
    memcpy(fixed.key, rss->key.bytes, sizeof(fixed.key));
    *data = to;
    *len = total_bytes(&fixed);
    memcpy(to, &fixed, sizeof(fixed));
    to += sizeof(fixed);
    memcpy(to, rss->queues, table_bytes);
    memcpy(to + table_bytes, filter->unicast.macs, unicast_bytes);
    memcpy(to + table_bytes + unicast_bytes, filter->multicast.macs,
           MAC_BYTES * filter->multicast.num);
    return 0;
}

static int check_fixed(const struct fixed_part *fixed, size_t len, unsigned max_pairs,
                       struct shunt_error *error)
{
    if (memcmp(fixed->magic, magic, sizeof(magic)) != 0 || fixed->version != STATE_VERSION)
        return error_set(error, -EINVAL,
                         "the state of the device is not one of Shunt's network device, version %d",
                         STATE_VERSION);
    if (fixed->num_pairs == 0 || fixed->num_pairs > max_pairs)
        return error_set(error, -EINVAL,
                         "the state has %u active queue pairs, and this port has %u: "
                         "raise its 'queues'",
                         fixed->num_pairs, max_pairs);
    if (fixed->mask >= RSS_TABLE_LENGTH || fixed->key_len > RSS_KEY_BYTES || fixed->steers > 1 ||
        fixed->num_unicast > FILTER_MAX_ADDRESSES || fixed->num_multicast > FILTER_MAX_ADDRESSES ||
        fixed->flags >> NUM_FLAGS != 0 || (fixed->mac[0] & 1) || len != total_bytes(fixed))
        return error_set(error, -EINVAL, "the state of the device contradicts itself");
    return 0;
}

static void load_filter(struct filter *filter, const struct fixed_part *fixed, const uint8_t *macs)
{
    size_t unicast_bytes = MAC_BYTES * fixed->num_unicast;

    for (unsigned i = 0; i < FILTER_SWITCHES; i++)
        filter->is_on[i] = fixed->flags >> i & 1;
    filter->unicast.is_overflown = fixed->flags >> FLAG_UNICAST_OVERFLOWN & 1;
    filter->multicast.is_overflown = fixed->flags >> FLAG_MULTICAST_OVERFLOWN & 1;
    memcpy(filter->mac, fixed->mac, sizeof(filter->mac));
    memcpy(filter->vlans, fixed->vlans, sizeof(filter->vlans));
    filter->unicast.num = fixed->num_unicast;
    filter->multicast.num = fixed->num_multicast;
    memcpy(filter->unicast.macs, macs, unicast_bytes);
    memcpy(filter->multicast.macs, macs + unicast_bytes, MAC_BYTES * fixed->num_multicast);
}

int net_state_load(struct net_state *state, const void *data, size_t len, unsigned max_pairs,
                   struct shunt_error *error)
{
    const uint8_t *from = data;
    struct fixed_part fixed;
    struct rss rss = {0};
    int result;

    if (len < sizeof(fixed))
        return error_set(error, -EINVAL, "the state of the device is cut off");
    memcpy(&fixed, from, sizeof(fixed));
    result = check_fixed(&fixed, len, max_pairs, error);
    if (result < 0)
        return result;
    from += sizeof(fixed);
    rss.steers = fixed.steers;
    rss.hash_types = fixed.hash_types;
    rss.mask = fixed.mask;
    rss.unclassified = fixed.unclassified;
    rss_key_set(&rss.key, fixed.key, fixed.key_len);
    memcpy(rss.queues, from, 2 * (fixed.mask + 1u));
    if (net_state_check_rss(&rss, max_pairs) < 0)
        return error_set(error, -EINVAL,
                         "the state of the device has a steering that it cannot do");
    state->rss = rss;
    state->num_pairs = fixed.num_pairs;
    load_filter(&state->filter, &fixed, from + 2 * (fixed.mask + 1u));
    return 0;
}
