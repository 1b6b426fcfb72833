/* SPDX-License-Identifier: BSD-3-Clause */
/* What a user asks shunt-gen for: its command line. */
#ifndef GEN_OPTIONS_H
#define GEN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "gen/pattern.h"

#define OPTIONS_MAX_PORTS  64u
#define OPTIONS_MAX_QUEUES 128u
#define OPTIONS_PATH_BYTES 108u

enum role {
    ROLE_BOTH, /* sends, and takes what comes */
    ROLE_SEND, /* as before, but no other port sends to it */
    ROLE_SINK,
    ROLE_ECHO, /* sends back what comes */
    ROLE_NUM,
};

enum mergeable { MERGEABLE_IF_OFFERED, MERGEABLE_OFF, MERGEABLE_ON };

/* How much of a frame is written anew before it is sent, and read when it came. */
enum touch { TOUCH_NONE, TOUCH_HEADER, TOUCH_ALL };

struct port_options {
    char path[OPTIONS_PATH_BYTES];
    bool is_server;
    bool is_packed;
    bool is_in_order;
    bool has_event_idx;
    enum mergeable mergeable;
    enum role role;
    unsigned num_queues;
    unsigned ring_size;
    unsigned buffer_bytes; /* 0: as is best */
};

struct options {
    unsigned num_ports;
    struct port_options ports[OPTIONS_MAX_PORTS];

    struct pattern_mix sizes;
    bool has_sizes;
    uint64_t num_flows;
    uint64_t num_macs;
    unsigned gso_bytes;
    unsigned id;
    uint8_t to_mac[6];
    bool has_to_mac;

    double rate; /* of each port that sends; 0: as fast as it goes */
    bool is_rate_in_bits;
    unsigned burst; /* 0: as is best */
    uint64_t window;
    uint64_t count;
    double duration_s; /* 0: for ever */

    bool measures_latency;
    bool verifies;
    enum touch touch;
    bool may_sleep;
    int cpu; /* -1: any */
    double timeout_s;
    double interval_s; /* 0: no reports on the way */
    bool is_json;
};

#define OPTIONS_GO_ON (-1)

/* The status to exit with at once, after help or a complaint; OPTIONS_GO_ON: go on. */
int options_parse(int argc, char **argv, struct options *options);

#endif
