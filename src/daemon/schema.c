/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/schema.h"

#include "worker/pool.h"

#define TEXT_OF(token)         #token
#define TEXT_OF_NUMBER(number) TEXT_OF(number)

const char *const schema_bridge_modes[] = {
    [BRIDGE_LEARN] = "learn",
    [BRIDGE_PATCH] = "patch",
    NULL,
};

const struct option schema_bridge_options[] = {
    {
        .key = "mode",
        .kind = OPTION_CHOICE,
        .fallback = "learn",
        .choices = schema_bridge_modes,
        .help = "learn addresses, or join exactly two ports like a cable (patch)",
    },
    {
        .key = "ageing",
        .kind = OPTION_NUMBER,
        .is_live = true,
        .fallback = TEXT_OF_NUMBER(BRIDGE_DEFAULT_AGEING_S),
        .max = 86400,
        .help = "seconds until an address that is not seen is forgotten; 0: never",
    },
    {0},
};

const struct option schema_port_options[] = {
    {
        .key = "type",
        .kind = OPTION_TEXT,
        .is_required = true,
        .max = 63,
        .help = "what kind of port it is",
    },
    {
        .key = "bridge",
        .kind = OPTION_TEXT,
        .is_live = true,
        .fallback = "br0",
        .max = PORT_NAME_MAX_BYTES,
        .help = "the bridge that it is in",
    },
    {
        .key = "max-addresses",
        .kind = OPTION_NUMBER,
        .is_live = true,
        .fallback = TEXT_OF_NUMBER(BRIDGE_DEFAULT_MAX_ADDRESSES),
        .min = 1,
        .max = FDB_MAX_ADDRESSES,
        .help = "how many addresses are learned on it; the oldest makes room",
    },
    {0},
};

const struct option schema_worker_options[] = {
    {
        .key = "mode",
        .kind = OPTION_CHOICE,
        .is_live = true,
        .fallback = "adaptive",
        .choices = worker_mode_names,
        .help = "poll, sleep until there is work (interrupt), or change between both (adaptive)",
    },
    {
        .key = "cpus",
        .kind = OPTION_ANY,
        .is_live = true,
        .help = "CPU numbers, such as 0,2-3; each gets a worker that is pinned to it",
    },
    {
        .key = "count",
        .kind = OPTION_NUMBER,
        .is_live = true,
        .min = 1,
        .max = WORKER_MAX,
        .help = "how many workers there are, when they are not pinned to CPUs",
    },
    {0},
};

void schema_port_tables(const struct port_class *class,
                        const struct option *tables[SCHEMA_PORT_TABLES])
{
    tables[0] = schema_port_options;
    tables[1] = class->options;
}
