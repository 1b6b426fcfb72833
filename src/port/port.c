/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/port.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

extern const struct port_class port_class_null, port_class_tap, port_class_vhost_user,
    port_class_virtio_user;

/* To add a type: its file, and its name here. */
const struct port_class *const port_classes[] = {
    &port_class_vhost_user, &port_class_virtio_user, &port_class_tap, &port_class_null, NULL,
};

const struct port_class *port_class_find(const char *type)
{
    for (const struct port_class *const *class = port_classes; *class; class ++) {
        if (strcmp((*class)->type, type) == 0)
            return *class;
    }
    return NULL;
}

const char *port_state_name(enum port_state state)
{
    static const char *const names[] = {
        [PORT_DOWN] = "down",
        [PORT_CONNECTING] = "connecting",
        [PORT_UP] = "up",
    };

    return names[state];
}

int port_create(const struct port_class *class, const char *name, const json_t *options,
                const struct port_events *events, void *ctx, struct port **port,
                struct shunt_error *error)
{
    struct port *fresh = calloc(1, sizeof(*fresh));
    int result;

    if (!fresh)
        return error_set(error, -ENOMEM, "out of memory");
    fresh->class = class;
    fresh->events = events;
    fresh->events_ctx = ctx;
    snprintf(fresh->name, sizeof(fresh->name), "%s", name);
    result = class->open(fresh, options, error);
    if (result < 0) {
        port_destroy(fresh);
        return result;
    }
    *port = fresh;
    return 0;
}

void port_destroy(struct port *port)
{
    if (!port)
        return;
    port->class->close(port);
    free(port->queues);
    free(port);
}

int port_make_queues(struct port *port, unsigned num)
{
    port->queues = aligned_alloc(_Alignof(struct port_queue), num * sizeof(*port->queues));
    if (!port->queues)
        return -ENOMEM;
    memset(port->queues, 0, num * sizeof(*port->queues));
    for (unsigned i = 0; i < num; i++) {
        port->queues[i].port = port;
        port->queues[i].idx = i;
    }
    port->num_queues = num;
    return 0;
}

void port_queue_run(struct port_queue *queue, bool runs)
{
    struct port *port = queue->port;

    if (queue->is_running == runs)
        return;
    queue->is_running = runs;
    if (port->events && port->events->queue_changed)
        port->events->queue_changed(port->events_ctx, queue, runs);
}

void port_set_state(struct port *port, enum port_state state, const char *format, ...)
{
    char reason[PORT_REASON_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    if (port->state == state && strcmp(port->reason, reason) == 0)
        return;
    port->state = state;
    memcpy(port->reason, reason, sizeof(reason));
    if (port->events && port->events->state_changed)
        port->events->state_changed(port->events_ctx, port);
}

/* --- Description ------------------------------------------------------------------------------------ */

static void counters_sum(struct counters *sum, const struct counters *counters)
{
    sum->packets += counter_read(&counters->packets);
    sum->bytes += counter_read(&counters->bytes);
    sum->copies += counter_read(&counters->copies);
    for (unsigned i = 0; i < DROP_NUM; i++)
        sum->drops[i] += counter_read(&counters->drops[i]);
}

void port_sum_counters(const struct port *port, struct counters *rx, struct counters *tx)
{
    *rx = (struct counters){0};
    *tx = (struct counters){0};
    for (unsigned i = 0; i < port->num_queues; i++) {
        counters_sum(rx, &port->queues[i].rx);
        counters_sum(tx, &port->queues[i].tx);
    }
    tx->drops[DROP_PORT_DOWN] += atomic_load_explicit(&port->down_drops, memory_order_relaxed);
}

/* Only reasons that occurred are listed. */
static json_t *describe_counters(const struct counters *sum, bool is_rx)
{
    json_t *object = json_object(), *drops = json_object();

    json_object_set_new(object, "packets", json_integer((json_int_t)sum->packets));
    json_object_set_new(object, "bytes", json_integer((json_int_t)sum->bytes));
    if (is_rx)
        json_object_set_new(object, "copies", json_integer((json_int_t)sum->copies));
    for (unsigned i = 0; i < DROP_NUM; i++) {
        if (sum->drops[i] > 0)
            json_object_set_new(drops, drop_name((enum drop)i),
                                json_integer((json_int_t)sum->drops[i]));
    }
    json_object_set_new(object, "drops", drops);
    return object;
}

json_t *port_describe(const struct port *port)
{
    struct counters rx, tx;
    json_t *object = json_object();

    port_sum_counters(port, &rx, &tx);
    json_object_set_new(object, "name", json_string(port->name));
    json_object_set_new(object, "type", json_string(port->class->type));
    json_object_set_new(object, "state", json_string(port_state_name(port->state)));
    json_object_set_new(object, "reason", json_string(port->reason));
    json_object_set_new(object, "queues", json_integer(port->num_queues));
    json_object_set_new(object, "features", json_array());
    json_object_set_new(object, "rx", describe_counters(&rx, true));
    json_object_set_new(object, "tx", describe_counters(&tx, false));
    if (port->class->describe)
        port->class->describe(port, object);
    return object;
}
