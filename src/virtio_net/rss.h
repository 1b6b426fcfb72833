/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receive-side scaling as the driver configures it (VIRTIO 1.3, 5.1.6.5.7), and the hash of a frame that
 * it can have reported (5.1.6.4.3, 5.1.6.4.4).
 *
 * The Toeplitz hash of a bit string is the sum (exclusive or) of one window of the key for each bit that is
 * set. So it is a sum over pieces of the string, too: for each half byte at each place, a table made from
 * the key holds what it adds.
 */
#ifndef VIRTIO_NET_RSS_H
#define VIRTIO_NET_RSS_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio_net/burst.h"

#define RSS_KEY_BYTES    40u  /* all that the longest input needs */
#define RSS_TABLE_LENGTH 128u /* as much as a device must have at least */
#define RSS_INPUT_BYTES  36u  /* two IPv6 addresses and two ports */

/* "Supported/enabled hash types"; what is reported is the number of the bit, plus 1. */
enum rss_type {
    RSS_IPV4,
    RSS_TCPV4,
    RSS_UDPV4,
    RSS_IPV6,
    RSS_TCPV6,
    RSS_UDPV6,
    RSS_IPV6_EX,
    RSS_TCPV6_EX,
    RSS_UDPV6_EX,
    RSS_TYPES,
};

#define RSS_SUPPORTED_TYPES ((1u << RSS_TYPES) - 1)
#define RSS_REPORT_NONE     0

struct rss_key {
    uint8_t len;
    uint8_t bytes[RSS_KEY_BYTES]; /* 0 behind `len` */
    uint32_t sums[2 * RSS_INPUT_BYTES][16];
};

struct rss {
    bool steers; /* false: hashes are only reported */
    uint32_t hash_types;
    struct rss_key key;
    /* While it steers: where frames go, by queue pair. */
    uint16_t mask;
    uint16_t unclassified;
    uint16_t queues[RSS_TABLE_LENGTH]; /* mask + 1 of them */
};

/* `len` at most RSS_KEY_BYTES. */
void rss_key_set(struct rss_key *key, const uint8_t *bytes, uint8_t len);

/* `len` at most RSS_INPUT_BYTES. */
uint32_t rss_toeplitz(const struct rss_key *key, const uint8_t *input, unsigned len);

/*
 * The hash of a frame by the types that are enabled, and what was hashed: the number to report,
 * RSS_REPORT_NONE if there is no hash.
 */
uint16_t rss_hash(const struct rss *rss, const struct frame *frame, uint32_t *hash);

/* The queue pair for a frame with this hash. */
static inline unsigned rss_choose(const struct rss *rss, uint32_t hash, uint16_t report)
{
    return report == RSS_REPORT_NONE ? rss->unclassified : rss->queues[hash & rss->mask];
}

#endif
