/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/action.h"

#include <assert.h>

#include "base/log.h"

static int run_leave(struct fabric *fabric, struct action *action, struct shunt_error *error)
{
    (void)error;
    fabric_leave(fabric_find_port(fabric, action->name));
    return 0;
}

static bool undo_leave(struct fabric *fabric, struct action *action)
{
    struct fabric_port *port = fabric_find_port(fabric, action->name);
    struct shunt_error error;

    /* It is absent if it ended and could not be made anew. */
    if (!port || fabric_join(port, &error) == 0)
        return true;
    log_error(action->name, "is in no bridge any more: %s", error.text);
    return false;
}

static int run_withdraw_port(struct fabric *fabric, struct action *action,
                             struct shunt_error *error)
{
    struct fabric_port *port = fabric_find_port(fabric, action->name);

    (void)error;
    port->is_leaving = true;
    action->withdrawn = port;
    return 0;
}

static bool undo_withdraw_port(struct fabric *fabric, struct action *action)
{
    struct fabric_port *port = action->withdrawn;

    (void)fabric;
    port->is_leaving = false;
    return true;
}

static void finish_withdraw_port(struct action *action)
{
    fabric_end_port(action->withdrawn);
}

static int run_end_port(struct fabric *fabric, struct action *action, struct shunt_error *error)
{
    (void)error;
    fabric_end_port(fabric_find_port(fabric, action->name));
    return 0;
}

static bool undo_end_port(struct fabric *fabric, struct action *action)
{
    struct shunt_error error;

    if (fabric_make_port(fabric, action->name, action->before, &error) == 0)
        return true;
    log_error(action->name, "is gone, and cannot be made again: %s", error.text);
    return false;
}

static int run_withdraw_bridge(struct fabric *fabric, struct action *action,
                               struct shunt_error *error)
{
    struct fabric_bridge *bridge = fabric_find_bridge(fabric, action->name);

    (void)error;
    bridge->is_leaving = true;
    action->withdrawn = bridge;
    return 0;
}

static bool undo_withdraw_bridge(struct fabric *fabric, struct action *action)
{
    struct fabric_bridge *bridge = action->withdrawn;

    (void)fabric;
    bridge->is_leaving = false;
    return true;
}

static void finish_withdraw_bridge(struct action *action)
{
    fabric_end_bridge(action->withdrawn);
}

static int run_make_bridge(struct fabric *fabric, struct action *action, struct shunt_error *error)
{
    return fabric_make_bridge(fabric, action->name, action->after, error);
}

static bool undo_make_bridge(struct fabric *fabric, struct action *action)
{
    fabric_end_bridge(fabric_find_bridge(fabric, action->name));
    return true;
}

static int run_set_bridge(struct fabric *fabric, struct action *action, struct shunt_error *error)
{
    (void)error;
    fabric_set_bridge(fabric_find_bridge(fabric, action->name), action->after);
    return 0;
}

static bool undo_set_bridge(struct fabric *fabric, struct action *action)
{
    fabric_set_bridge(fabric_find_bridge(fabric, action->name), action->before);
    return true;
}

static int run_set_workers(struct fabric *fabric, struct action *action, struct shunt_error *error)
{
    return fabric_set_workers(fabric, action->after, error);
}

static bool undo_set_workers(struct fabric *fabric, struct action *action)
{
    struct shunt_error error;

    /* The first ones may stay: there is nothing that they were instead. */
    if (!action->before || fabric_set_workers(fabric, action->before, &error) == 0)
        return true;
    log_error("workers", "are not as they were: %s", error.text);
    return false;
}

static int run_make_port(struct fabric *fabric, struct action *action, struct shunt_error *error)
{
    return fabric_make_port(fabric, action->name, action->after, error);
}

static bool undo_make_port(struct fabric *fabric, struct action *action)
{
    fabric_end_port(fabric_find_port(fabric, action->name));
    return true;
}

static int run_set_port(struct fabric *fabric, struct action *action, struct shunt_error *error)
{
    (void)error;
    fabric_set_port(fabric_find_port(fabric, action->name), action->after);
    return 0;
}

static bool undo_set_port(struct fabric *fabric, struct action *action)
{
    fabric_set_port(fabric_find_port(fabric, action->name), action->before);
    return true;
}

static int run_join(struct fabric *fabric, struct action *action, struct shunt_error *error)
{
    return fabric_join(fabric_find_port(fabric, action->name), error);
}

static bool undo_join(struct fabric *fabric, struct action *action)
{
    fabric_leave(fabric_find_port(fabric, action->name));
    return true;
}

static const struct {
    int (*run)(struct fabric *fabric, struct action *action, struct shunt_error *error);
    bool (*undo)(struct fabric *fabric, struct action *action);
    void (*finish)(struct action *action); /* NULL: there is nothing left to do */
} kinds[] = {
    [ACTION_LEAVE] = {run_leave, undo_leave, NULL},
    [ACTION_WITHDRAW_PORT] = {run_withdraw_port, undo_withdraw_port, finish_withdraw_port},
    [ACTION_END_PORT] = {run_end_port, undo_end_port, NULL},
    [ACTION_WITHDRAW_BRIDGE] = {run_withdraw_bridge, undo_withdraw_bridge, finish_withdraw_bridge},
    [ACTION_MAKE_BRIDGE] = {run_make_bridge, undo_make_bridge, NULL},
    [ACTION_SET_BRIDGE] = {run_set_bridge, undo_set_bridge, NULL},
    [ACTION_SET_WORKERS] = {run_set_workers, undo_set_workers, NULL},
    [ACTION_MAKE_PORT] = {run_make_port, undo_make_port, NULL},
    [ACTION_SET_PORT] = {run_set_port, undo_set_port, NULL},
    [ACTION_JOIN] = {run_join, undo_join, NULL},
};
static_assert(sizeof(kinds) / sizeof(kinds[0]) == ACTION_KINDS, "what is done for each kind");

int action_run(struct fabric *fabric, struct action *action, struct shunt_error *error)
{
    return kinds[action->kind].run(fabric, action, error);
}

bool action_undo(struct fabric *fabric, struct action *action)
{
    return kinds[action->kind].undo(fabric, action);
}

void action_finish(struct action *action)
{
    if (kinds[action->kind].finish)
        kinds[action->kind].finish(action);
}
