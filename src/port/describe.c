/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/describe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtio_net/feature.h"
#include "virtqueue/packed.h"

json_t *describe_bits(uint64_t bits, const char *(*name)(unsigned bit))
{
    json_t *names = json_array();

    for (unsigned bit = 0; bit < 64; bit++) {
        if (feature_is_set(bits, bit) && name(bit))
            json_array_append_new(names, json_string(name(bit)));
    }
    return names;
}

json_t *describe_position(enum ring_format format, uint16_t place)
{
    if (format == RING_SPLIT)
        return json_integer(place);
    return json_sprintf("%u/%u", place & PACKED_POSITION_IDX, (place & PACKED_POSITION_WRAP) != 0);
}

/*
 * The size of the pages that back the mapping at `pages`, as the kernel tells it; 0: it does not.
 */
static uint64_t page_bytes(const void *pages)
{
    static const char key[] = "KernelPageSize:";
    FILE *file = fopen("/proc/self/smaps", "re");
    uint64_t kilobytes = 0;
    bool is_found = false;
    char line[512];

    while (file && kilobytes == 0 && fgets(line, sizeof(line), file)) {
        char *end;
        uint64_t start = strtoull(line, &end, 16);

        if (*end == '-') /* "7f1200000000-7f1240000000 rw-s …": what follows is of this mapping */
            is_found = (uintptr_t)pages >= start && (uintptr_t)pages < strtoull(end + 1, NULL, 16);
        else if (is_found && strncmp(line, key, strlen(key)) == 0)
            kilobytes = strtoull(line + strlen(key), NULL, 10);
    }
    if (file)
        fclose(file);
    return kilobytes * 1024;
}

json_t *describe_region(uint64_t guest_addr, uint64_t bytes, const void *pages)
{
    return json_pack("{s:I, s:I, s:I}", "guest_address", (json_int_t)guest_addr, "bytes",
                     (json_int_t)bytes, "page_bytes", (json_int_t)page_bytes(pages));
}
