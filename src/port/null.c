/* SPDX-License-Identifier: BSD-3-Clause */
/* A port that takes every frame and sends none: a sink for measurements and for traffic to be rid of. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/error.h"
#include "port/port.h"

struct null_port {
    pthread_mutex_t lock; /* of the counters: several workers may copy at once */
};

static int null_open(struct port *port, const json_t *options, struct shunt_error *error)
{
    struct null_port *own = calloc(1, sizeof(*own));

    (void)options;
    if (!own || port_make_queues(port, 1) < 0) {
        free(own);
        return error_set(error, -ENOMEM, "out of memory");
    }
    pthread_mutex_init(&own->lock, NULL);
    port->private = own;
    atomic_store_explicit(&port->num_tx_queues, 1, memory_order_release);
    port_set_state(port, PORT_UP, "%s", "");
    return 0;
}

static void null_close(struct port *port)
{
    struct null_port *own = port->private;

    if (!own)
        return;
    pthread_mutex_destroy(&own->lock);
    free(own);
}

static void null_copy(struct port *port, unsigned hint, struct burst *burst, burst_mask which)
{
    struct null_port *own = port->private;
    struct counters *tx = &port->queues[0].tx;
    uint64_t packets = (uint64_t)__builtin_popcountll(which), bytes = 0;

    (void)hint;
    while (which)
        bytes += burst->frames[burst_next(&which)].len;
    pthread_mutex_lock(&own->lock);
    counter_add(&tx->packets, packets);
    counter_add(&tx->bytes, bytes);
    pthread_mutex_unlock(&own->lock);
}

static const struct option no_options[] = {{0}};

/* Its queue never runs, so nobody lends from it. */
extern const struct port_class port_class_null;
const struct port_class port_class_null = {
    .type = "null",
    .help = "takes every frame and sends none",
    .options = no_options,
    .open = null_open,
    .close = null_close,
    .copy = null_copy,
};
