/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio_net/config.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

static int digit_of(char c)
{
    if (!isxdigit((unsigned char)c))
        return -EINVAL;
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

int net_mac_parse(const char *text, uint8_t mac[6])
{
    uint8_t bytes[6];

    if (strlen(text) != 3 * sizeof(bytes) - 1)
        return -EINVAL;
    for (unsigned i = 0; i < sizeof(bytes); i++, text += 3) {
        int high = digit_of(text[0]), low = digit_of(text[1]);

        if (high < 0 || low < 0 || text[2] != (i < sizeof(bytes) - 1 ? ':' : '\0'))
            return -EINVAL;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    if (bytes[0] & 1 || memcmp(bytes, "\0\0\0\0\0\0", sizeof(bytes)) == 0)
        return -EINVAL;
    memcpy(mac, bytes, sizeof(bytes));
    return 0;
}

/* FNV-1a, of which the high bits are the better ones. */
void net_mac_derive(const char *name, uint8_t mac[6])
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
    hash ^= hash >> 32;
    for (unsigned i = 0; i < 6; i++)
        mac[i] = (uint8_t)(hash >> 8 * i);
    mac[0] = (uint8_t)((mac[0] & ~1u) | 2u);
}

void net_config_read(const struct net_config *config, uint32_t offset, void *data, uint32_t len)
{
    uint32_t there = offset < sizeof(*config) ? (uint32_t)sizeof(*config) - offset : 0;

    if (there > len)
        there = len;
    memcpy(data, (const uint8_t *)config + (there > 0 ? offset : 0), there);
    memset((uint8_t *)data + there, 0, len - there);
}
