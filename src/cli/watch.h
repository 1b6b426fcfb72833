/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looks at the switch again and again, for rates; outlives a restart of the daemon.
 */
#ifndef CLI_WATCH_H
#define CLI_WATCH_H

#include <jansson.h>
#include <stdbool.h>

#include "cli/client.h"

struct watch {
    struct client *client;
    json_t *version; /* of the daemon, as it says it; NULL: it cannot be reached */
    json_t *sample;  /* the last one; see cli/rates.h */
    double sample_s; /* when it was taken, on the clock of watch_clock_s() */
    json_t *rates;   /* NULL until there are two samples of the same connection */
};

/*
 * Takes a sample, and sets the rates since the last. False: client_error() says why there is none.
 */
bool watch_look(struct watch *watch);

/* Frees what looking made; the client is not its own. */
void watch_fini(struct watch *watch);

/* Seconds on a clock that nobody sets. */
double watch_clock_s(void);

#endif
