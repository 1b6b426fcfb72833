/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation.
 *
 * The live tree and the wanted one are compared object by object. Each object that differs is a step,
 * which is what a person reads, and a few actions, which are what is done. All actions of one kind are
 * done before those of the next; the order of the kinds is chosen so that every action finds what it
 * needs, and so that nothing is lost before all that can fail has been done:
 *
 *     leave             ports that go or move leave their bridge, which makes room in patches
 *     withdraw, end     ports that go
 *     withdraw          bridges that go
 *     make, set         bridges, workers, ports
 *     join              ports that came or moved join their bridge
 *     -- nothing can fail any more --
 *     finish            what was withdrawn ends
 *
 * A port that is withdrawn goes on listening and keeps its guest: should a later action fail, it joins
 * its bridge again, and the guest has seen no more than a pause. Only a port that holds what another one
 * needs (the path of its socket, say) ends before that is made; undoing this makes it anew.
 *
 * When an action fails, those before it are undone in reverse order.
 */
#include "daemon/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "daemon/action.h"
#include "daemon/schema.h"
#include "daemon/tree.h"

/* The most actions that one object takes part in. */
#define MAX_ACTIONS 4

struct plan {
    struct fabric *fabric;
    json_t *before, *after; /* the trees */
    json_t *titles;         /* of the steps: "add port vm3" */
    json_t *lines;          /* the same with details */
    json_t *rebuilt;        /* bridges that are made anew: name → step */
    json_t *claimed;        /* what ports that are to be made will want to hold */
    struct action *actions; /* in the order of kinds, once the plan is made */
    size_t num_actions;
};

/* --- How steps read ---------------------------------------------------------------------------------- */

static void print_value(FILE *out, const json_t *value)
{
    size_t idx;
    json_t *item;

    if (json_is_string(value))
        fputs(json_string_value(value), out);
    else if (json_is_integer(value))
        fprintf(out, "%lld", (long long)json_integer_value(value));
    json_array_foreach (value, idx, item)
        fprintf(out, "%s%lld", idx > 0 ? "," : "", (long long)json_integer_value(item));
}

/* Options are equal that are both absent, too. */
static bool is_equal(const json_t *before, const json_t *after, const char *key)
{
    const json_t *one = json_object_get(before, key), *other = json_object_get(after, key);

    return one == other || (one && other && json_equal(one, other));
}

/* "queues 4, socket /run/shunt/vm1.sock": what is not as before. To be freed. */
static char *list_changes(json_t *before, json_t *after)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    const char *separator = "";
    const char *key;
    json_t *value;

    if (!out)
        return NULL;
    json_object_foreach (after, key, value) {
        if (is_equal(before, after, key))
            continue;
        fprintf(out, "%s%s ", separator, key);
        print_value(out, value);
        separator = ", ";
    }
    json_object_foreach (before, key, value) {
        if (json_object_get(after, key))
            continue;
        fprintf(out, "%sno %s", separator, key);
        separator = ", ";
    }
    fclose(out);
    return text;
}

/* Begins a step. Both texts are new references. */
static size_t add_step(struct plan *plan, json_t *title, json_t *line)
{
    json_array_append_new(plan->titles, title);
    json_array_append_new(plan->lines, line);
    return json_array_size(plan->lines) - 1;
}

/* A step without details. */
static size_t add_plain_step(struct plan *plan, json_t *title)
{
    return add_step(plan, title, json_incref(title));
}

/* A step whose details are what changes. */
static size_t add_change_step(struct plan *plan, json_t *title, json_t *before, json_t *after)
{
    char *changes = list_changes(before, after);
    json_t *line = json_sprintf("%s (%s)", json_string_value(title), changes ? changes : "");

    free(changes);
    return add_step(plan, title, line);
}

/* --- What is to be done ------------------------------------------------------------------------------ */

static void add_action(struct plan *plan, enum action_kind kind, size_t step, const char *name,
                       json_t *before, json_t *after)
{
    plan->actions[plan->num_actions++] =
        (struct action){.kind = kind, .step = step, .name = name, .before = before, .after = after};
}

static void plan_bridge(struct plan *plan, const char *name, json_t *before, json_t *after)
{
    size_t step;

    if (!after) {
        step = add_plain_step(plan, json_sprintf("del bridge %s", name));
        add_action(plan, ACTION_WITHDRAW_BRIDGE, step, name, before, after);
    } else if (!before) {
        step = add_step(plan, json_sprintf("add bridge %s", name),
                        json_sprintf("add bridge %s (%s)", name, option_text(after, "mode")));
        add_action(plan, ACTION_MAKE_BRIDGE, step, name, before, after);
    } else if (!is_equal(before, after, "mode")) {
        step = add_change_step(plan, json_sprintf("replace bridge %s", name), before, after);
        add_action(plan, ACTION_WITHDRAW_BRIDGE, step, name, before, after);
        add_action(plan, ACTION_MAKE_BRIDGE, step, name, before, after);
        json_object_set_new(plan->rebuilt, name, json_integer((json_int_t)step));
    } else if (!json_equal(before, after)) {
        step = add_change_step(plan, json_sprintf("set bridge %s", name), before, after);
        add_action(plan, ACTION_SET_BRIDGE, step, name, before, after);
    }
}

static void plan_workers(struct plan *plan)
{
    json_t *before = json_object_get(plan->before, "workers");
    json_t *after = json_object_get(plan->after, "workers");
    size_t step;

    if (before && json_equal(before, after))
        return;
    step = add_change_step(plan, json_string("set workers"), before, after);
    add_action(plan, ACTION_SET_WORKERS, step, NULL, before, after);
}

/* A type's own options are fixed once the port is made, but for live ones; those of all ports are live. */
static bool is_replaced(json_t *before, json_t *after)
{
    const struct port_class *class = tree_port_class(after);

    if (!is_equal(before, after, "type"))
        return true;
    for (const struct option *option = class->options; option->key; option++)
        if (!option->is_live && !is_equal(before, after, option->key))
            return true;
    return false;
}

/*
 * What a port may hold for itself alone, as far as its options tell: any text among those of its type (a
 * path, an interface), or the port's name, from which a type derives a text that it is not given.
 */
static const char *holding(const struct option *option, const char *name, const json_t *options)
{
    const char *text = option_text(options, option->key);

    if (option->kind != OPTION_TEXT || option->is_shareable)
        return NULL;
    return text ? text : name;
}

/* Collects what ports that are to be made will want to hold. */
static void claim(struct plan *plan, const char *name, json_t *before, json_t *after)
{
    if (!after || (before && !is_replaced(before, after)))
        return;
    for (const struct option *option = tree_port_class(after)->options; option->key; option++) {
        const char *text = holding(option, name, after);

        if (text)
            json_object_set_new(plan->claimed, text, json_true());
    }
}

/* Whether a port that goes holds what another one wants. */
static bool is_in_the_way(const struct plan *plan, const char *name, const json_t *before)
{
    for (const struct option *option = tree_port_class(before)->options; option->key; option++) {
        const char *text = holding(option, name, before);

        if (text && json_object_get(plan->claimed, text))
            return true;
    }
    return false;
}

static void plan_port_end(struct plan *plan, size_t step, const char *name, json_t *before,
                          json_t *after)
{
    bool is_early = is_in_the_way(plan, name, before);

    add_action(plan, ACTION_LEAVE, step, name, before, after);
    add_action(plan, is_early ? ACTION_END_PORT : ACTION_WITHDRAW_PORT, step, name, before, after);
}

static void plan_port_start(struct plan *plan, size_t step, const char *name, json_t *before,
                            json_t *after)
{
    add_action(plan, ACTION_MAKE_PORT, step, name, before, after);
    add_action(plan, ACTION_JOIN, step, name, before, after);
}

/* A port that stays: its live options may change, and its bridge may be made anew. */
static void plan_port_change(struct plan *plan, const char *name, json_t *before, json_t *after)
{
    const json_t *rebuilt = json_object_get(plan->rebuilt, option_text(after, "bridge"));
    bool is_changed = !json_equal(before, after);
    bool is_moved = !is_equal(before, after, "bridge") || rebuilt;
    size_t step = (size_t)json_integer_value(rebuilt);

    if (is_changed) {
        step = add_change_step(plan, json_sprintf("set port %s", name), before, after);
        add_action(plan, ACTION_SET_PORT, step, name, before, after);
    }
    if (is_moved) {
        add_action(plan, ACTION_LEAVE, step, name, before, after);
        add_action(plan, ACTION_JOIN, step, name, before, after);
    }
}

static void plan_port(struct plan *plan, const char *name, json_t *before, json_t *after)
{
    size_t step;

    if (!after) {
        step = add_plain_step(plan, json_sprintf("del port %s", name));
        plan_port_end(plan, step, name, before, after);
    } else if (!before) {
        step = add_step(plan, json_sprintf("add port %s", name),
                        json_sprintf("add port %s (%s, bridge %s)", name,
                                     option_text(after, "type"), option_text(after, "bridge")));
        plan_port_start(plan, step, name, before, after);
    } else if (is_replaced(before, after)) {
        step = add_change_step(plan, json_sprintf("replace port %s", name), before, after);
        plan_port_end(plan, step, name, before, after);
        plan_port_start(plan, step, name, before, after);
    } else {
        plan_port_change(plan, name, before, after);
    }
}

/* Compares the objects of both trees: first those that are wanted, then those that are not any more. */
static void plan_section(struct plan *plan, const char *section,
                         void (*compare)(struct plan *plan, const char *name, json_t *before,
                                         json_t *after))
{
    json_t *before = json_object_get(plan->before, section);
    json_t *after = json_object_get(plan->after, section);
    const char *name;
    json_t *options;

    json_object_foreach (after, name, options)
        compare(plan, name, json_object_get(before, name), options);
    json_object_foreach (before, name, options)
        if (!json_object_get(after, name))
            compare(plan, name, options, NULL);
}

/* By kind; actions of one kind stay in the order of steps. */
static int compare_actions(const void *one, const void *other)
{
    const struct action *a = one, *b = other;

    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return (a->step > b->step) - (a->step < b->step);
}

static size_t max_actions(const struct plan *plan)
{
    static const char *const sections[] = {"bridges", "ports"};
    size_t num_objects = 1; /* the workers */

    for (unsigned i = 0; i < 2; i++)
        num_objects += json_object_size(json_object_get(plan->before, sections[i])) +
                       json_object_size(json_object_get(plan->after, sections[i]));
    return MAX_ACTIONS * num_objects;
}

int plan_make(struct fabric *fabric, json_t *wanted, struct plan **plan, struct shunt_error *error)
{
    struct plan *self = calloc(1, sizeof(*self));

    if (!self)
        return error_set(error, -ENOMEM, "out of memory");
    *self = (struct plan){
        .fabric = fabric,
        .before = fabric_tree(fabric),
        .after = json_incref(wanted),
        .titles = json_array(),
        .lines = json_array(),
        .rebuilt = json_object(),
        .claimed = json_object(),
    };
    self->actions = calloc(max_actions(self), sizeof(*self->actions));
    if (!self->actions) {
        plan_free(self);
        return error_set(error, -ENOMEM, "out of memory");
    }
    plan_section(self, "bridges", plan_bridge);
    plan_workers(self);
    plan_section(self, "ports", claim);
    plan_section(self, "ports", plan_port);
    qsort(self->actions, self->num_actions, sizeof(*self->actions), compare_actions);
    *plan = self;
    return 0;
}

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    json_decref(plan->before);
    json_decref(plan->after);
    json_decref(plan->titles);
    json_decref(plan->lines);
    json_decref(plan->rebuilt);
    json_decref(plan->claimed);
    free(plan->actions);
    free(plan);
}

const json_t *plan_lines(const struct plan *plan)
{
    return plan->lines;
}

/* --- Running ----------------------------------------------------------------------------------------- */

/* Undoes the first `num` actions. */
static bool undo(struct plan *plan, size_t num)
{
    bool is_complete = true;

    while (num-- > 0)
        if (!action_undo(plan->fabric, &plan->actions[num]))
            is_complete = false;
    return is_complete;
}

int plan_run(struct plan *plan, struct shunt_error *error)
{
    struct shunt_error cause = {0};
    bool is_undone;

    for (size_t i = 0; i < plan->num_actions; i++) {
        const struct action *action = &plan->actions[i];
        const char *title = json_string_value(json_array_get(plan->titles, action->step));

        if (action_run(plan->fabric, &plan->actions[i], &cause) == 0)
            continue;
        is_undone = undo(plan, i);
        return error_set(error, cause.code, "%s: %s%s", title, cause.text,
                         is_undone ? "" : "; not all could be put back: see the log of shuntd");
    }
    for (size_t i = 0; i < plan->num_actions; i++)
        action_finish(&plan->actions[i]);
    return 0;
}
