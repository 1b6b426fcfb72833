/* SPDX-License-Identifier: BSD-3-Clause */
/* Methods about the addresses that bridges know. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/phrase.h"
#include "daemon/method.h"

#define MAC_TEXT_BYTES sizeof("52:54:00:12:34:56")

static const char *format_mac(char text[MAC_TEXT_BYTES], const uint8_t mac[6])
{
    snprintf(text, MAC_TEXT_BYTES, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
             mac[4], mac[5]);
    return text;
}

static bool parse_mac(const char *text, uint8_t mac[6])
{
    for (unsigned i = 0; i < 6; i++, text += 3) {
        if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]) ||
            text[2] != (i < 5 ? ':' : '\0'))
            return false;
        mac[i] = (uint8_t)strtoul(text, NULL, 16);
    }
    return true;
}

static int take_mac(const struct method_call *call, uint8_t mac[6])
{
    const char *text = option_text(call->params, "mac");
    struct phrase given = {0};

    if (parse_mac(text, mac))
        return 0;
    return error_set(call->error, -EINVAL, "mac: %s; expected six bytes such as 52:54:00:12:34:56",
                     phrase_quote(&given, text));
}

/* Which addresses a call is about. */
struct filter {
    const struct fabric_bridge *bridge; /* NULL: of all bridges */
    const struct fabric_port *port;     /* NULL: of all ports */
};

/* `filter` is all zero. */
static int take_filter(const struct method_call *call, struct filter *filter)
{
    if (option_text(call->params, "bridge")) {
        filter->bridge = method_find_bridge(call, "bridge");
        if (!filter->bridge)
            return -ENOENT;
    }
    if (option_text(call->params, "port")) {
        filter->port = method_find_port(call, "port");
        if (!filter->port)
            return -ENOENT;
    }
    return 0;
}

static bool passes(const struct filter *filter, const struct fabric_bridge *bridge)
{
    if (filter->bridge && filter->bridge != bridge)
        return false;
    return !filter->port || fabric_is_in(filter->port, bridge);
}

/* --- Showing ----------------------------------------------------------------------------------------- */

struct listing {
    const struct port *port; /* NULL: all */
    json_t *array;
};

static void list_address(void *ctx, const struct bridge_address *address)
{
    const struct listing *listing = ctx;
    char mac[MAC_TEXT_BYTES];

    if (listing->port && listing->port != address->port)
        return;
    json_array_append_new(listing->array,
                          json_pack("{s:s, s:s, s:s, s:b, s:I}", "mac",
                                    format_mac(mac, address->mac), "bridge",
                                    bridge_name(address->bridge), "port", address->port->name,
                                    "static", address->is_static, "age",
                                    (json_int_t)address->age_s));
}

int method_fdb_show(struct method_call *call)
{
    const struct fabric_bridge *bridge;
    struct filter filter = {0};
    struct listing listing;

    if (take_filter(call, &filter) < 0)
        return -ENOENT;
    listing = (struct listing){filter.port ? filter.port->port : NULL, json_array()};
    list_for_each (bridge, &call->fabric->bridges, link)
        if (passes(&filter, bridge))
            bridge_walk_addresses(bridge->bridge, clock_coarse_s(), list_address, &listing);
    call->result = listing.array;
    return 0;
}

/* --- Changing ---------------------------------------------------------------------------------------- */

int method_fdb_add(struct method_call *call)
{
    const struct fabric_port *port = method_find_port(call, "port");
    uint8_t mac[6];
    int result;

    if (!port)
        return -ENOENT;
    if (!port->member)
        return error_set(call->error, -ENOTCONN, "port '%s' is in no bridge", port->port->name);
    result = take_mac(call, mac);
    if (result == 0)
        result = bridge_add_address(port->member, mac, clock_coarse_s(), call->error);
    if (result == 0)
        call->result = json_object();
    return result;
}

static int refuse_unknown(const struct method_call *call)
{
    const char *mac = option_text(call->params, "mac");
    const char *bridge = option_text(call->params, "bridge");

    if (bridge)
        return error_set(call->error, -ENOENT, "bridge '%s' does not know the address %s", bridge,
                         mac);
    return error_set(call->error, -ENOENT, "no bridge knows the address %s", mac);
}

int method_fdb_del(struct method_call *call)
{
    const struct fabric_bridge *bridge;
    struct filter filter = {0};
    unsigned num = 0;
    uint8_t mac[6];
    int result = take_mac(call, mac);

    if (result == 0)
        result = take_filter(call, &filter);
    if (result < 0)
        return result;
    list_for_each (bridge, &call->fabric->bridges, link)
        if (passes(&filter, bridge) && bridge_del_address(bridge->bridge, mac) == 0)
            num++;
    if (num == 0)
        return refuse_unknown(call);
    call->result = json_pack("{s:i}", "deleted", (int)num);
    return 0;
}

int method_fdb_flush(struct method_call *call)
{
    const struct fabric_bridge *bridge;
    struct filter filter = {0};
    json_int_t num = 0;

    if (take_filter(call, &filter) < 0)
        return -ENOENT;
    list_for_each (bridge, &call->fabric->bridges, link)
        if (passes(&filter, bridge))
            num += bridge_flush_addresses(bridge->bridge, filter.port ? filter.port->member : NULL);
    call->result = json_pack("{s:I}", "flushed", num);
    return 0;
}
