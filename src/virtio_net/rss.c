/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio_net/rss.h"

#include <string.h>

#include "virtio_net/flow.h"

/* 32 bits of the key from bit `start` on. */
static uint32_t window(const uint8_t key[RSS_KEY_BYTES], unsigned start)
{
    uint64_t bits = 0;

    for (unsigned i = 0; i < 5; i++) {
        unsigned at = start / 8 + i;

        bits = bits << 8 | (at < RSS_KEY_BYTES ? key[at] : 0);
    }
    return (uint32_t)(bits >> (8 - start % 8));
}

void rss_key_set(struct rss_key *key, const uint8_t *bytes, uint8_t len)
{
    memset(key, 0, sizeof(*key));
    key->len = len;
    memcpy(key->bytes, bytes, len);
    for (unsigned place = 0; place < 2 * RSS_INPUT_BYTES; place++)
        for (unsigned half = 0; half < 16; half++)
            for (unsigned bit = 0; bit < 4; bit++)
                if (half & 8u >> bit)
                    key->sums[place][half] ^= window(key->bytes, 4 * place + bit);
}

uint32_t rss_toeplitz(const struct rss_key *key, const uint8_t *input, unsigned len)
{
    uint32_t hash = 0;

    for (unsigned i = 0; i < len; i++)
        hash ^= key->sums[2 * i][input[i] >> 4] ^ key->sums[2 * i + 1][input[i] & 0xf];
    return hash;
}

/* What there is to hash, beginning with the best. The rows of one network stand together. */
static const struct choice {
    enum flow_network network;
    enum flow_transport transport; /* FLOW_NO_PORTS: whichever it is */
    bool is_extended;              /* takes the addresses of extension headers, if there are any */
    enum rss_type type;
} choices[] = {
    {FLOW_IPV4, FLOW_TCP, false, RSS_TCPV4},     {FLOW_IPV4, FLOW_UDP, false, RSS_UDPV4},
    {FLOW_IPV4, FLOW_NO_PORTS, false, RSS_IPV4}, {FLOW_IPV6, FLOW_TCP, true, RSS_TCPV6_EX},
    {FLOW_IPV6, FLOW_UDP, true, RSS_UDPV6_EX},   {FLOW_IPV6, FLOW_NO_PORTS, true, RSS_IPV6_EX},
    {FLOW_IPV6, FLOW_TCP, false, RSS_TCPV6},     {FLOW_IPV6, FLOW_UDP, false, RSS_UDPV6},
    {FLOW_IPV6, FLOW_NO_PORTS, false, RSS_IPV6},
};

static bool suits(const struct choice *choice, const struct rss *rss, const struct flow *flow)
{
    return rss->hash_types >> choice->type & 1 && choice->network == flow->network &&
           (choice->transport == FLOW_NO_PORTS || choice->transport == flow->transport) &&
           (!choice->is_extended || flow->has_extensions);
}

static uint32_t hash_choice(const struct choice *choice, const struct rss *rss,
                            const struct flow *flow)
{
    unsigned addr_bytes = flow->network == FLOW_IPV4 ? 4 : 16, len = 2 * addr_bytes;
    uint8_t input[RSS_INPUT_BYTES];

    memcpy(input, choice->is_extended ? flow->home_address : flow->source, addr_bytes);
    memcpy(input + addr_bytes, choice->is_extended ? flow->routed_address : flow->destination,
           addr_bytes);
    if (choice->transport != FLOW_NO_PORTS) {
        memcpy(input + len, flow->ports, sizeof(flow->ports));
        len += (unsigned)sizeof(flow->ports);
    }
    return rss_toeplitz(&rss->key, input, len);
}

uint16_t rss_hash(const struct rss *rss, const struct frame *frame, uint32_t *hash)
{
    struct flow flow;

    *hash = 0;
    if (rss->hash_types == 0)
        return RSS_REPORT_NONE;
    flow_parse(frame, &flow);
    for (unsigned i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
        if (!suits(&choices[i], rss, &flow))
            continue;
        *hash = hash_choice(&choices[i], rss, &flow);
        return (uint16_t)(choices[i].type + 1);
    }
    return RSS_REPORT_NONE;
}
