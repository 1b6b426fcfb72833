/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/plug.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"

#define MAX_PORTS   4u
#define PATIENCE_MS 20000u

static struct shunt_error error;

/* -errno. */
__attribute__((format(printf, 6, 0))) static int create(const char *type, const char *name,
                                                        const struct port_events *events, void *ctx,
                                                        struct port **port, const char *options,
                                                        va_list list)
{
    const struct port_class *class = port_class_find(type);
    json_t *given = json_object(), *checked = json_object();
    char words[512], *rest = words, *key;
    int result;

    vsnprintf(words, sizeof(words), options, list);
    while ((key = strsep(&rest, " ")) && *key)
        json_object_set_new(given, key, json_string(strsep(&rest, " ")));
    result = option_check(&class->options, 1, given, "", checked, NULL, &error);
    if (result == 0)
        result = port_create(class, name, checked, events, ctx, port, &error);
    json_decref(given);
    json_decref(checked);
    return result;
}

struct port *plug_create(const char *type, const char *name, const struct port_events *events,
                         void *ctx, const char *options, ...)
{
    struct port *port = NULL;
    va_list list;
    int result;

    va_start(list, options);
    result = create(type, name, events, ctx, &port, options, list);
    va_end(list);
    if (result < 0)
        fail_msg("%s", error.text);
    return port;
}

const char *plug_refused(const char *type, const char *options, ...)
{
    struct port *port = NULL;
    va_list list;
    int result;

    va_start(list, options);
    result = create(type, "refused", NULL, NULL, &port, options, list);
    va_end(list);
    assert_true(result < 0);
    return error.text;
}

void plug_dispatch(struct port *const *ports, unsigned num, int timeout_ms)
{
    struct pollfd fds[MAX_PORTS];

    assert_true(num <= MAX_PORTS);
    for (unsigned i = 0; i < num; i++)
        fds[i] = (struct pollfd){ports[i] ? ports[i]->class->fd(ports[i]) : -1, POLLIN, 0};
    if (poll(fds, num, timeout_ms) < 0)
        fail_msg("%s", strerror(errno));
    for (unsigned i = 0; i < num; i++) {
        if (ports[i] && fds[i].revents)
            ports[i]->class->dispatch(ports[i]);
    }
}

void plug_wait_state(struct port *const *ports, unsigned num, enum port_state state)
{
    uint64_t start_ms = clock_ms();

    while (ports[0]->state != state) {
        plug_dispatch(ports, num, 10);
        if (clock_ms() - start_ms > PATIENCE_MS)
            fail_msg("port %s stays %s: %s", ports[0]->name, port_state_name(ports[0]->state),
                     ports[0]->reason);
    }
}
