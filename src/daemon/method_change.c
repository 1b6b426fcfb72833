/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Methods that change the configuration. Each takes the tree as it stands, changes one place of it, and
 * applies it as a whole, as if it had been read from a file.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/phrase.h"
#include "daemon/config.h"
#include "daemon/method.h"
#include "daemon/schema.h"
#include "daemon/tree.h"
#include "daemon/yaml.h"

static bool is_dry_run(const struct method_call *call)
{
    return strcmp(option_text(call->params, "dry_run"), "true") == 0;
}

/* Applies a tree; the result is the list of steps. */
static int apply(struct method_call *call, json_t *tree, const struct yaml_source *source)
{
    json_t *lines;
    int result = config_apply(call->fabric, tree, source, is_dry_run(call), &lines, call->error);

    if (result == 0)
        call->result = json_pack("{s:o}", "steps", lines);
    return result;
}

/* Applies the tree with one member of a section set to other options, or deleted if they are NULL. */
static int apply_member(struct method_call *call, const char *section, json_t *options)
{
    const char *name = option_text(call->params, "name");
    json_t *tree = fabric_tree(call->fabric);
    json_t *members = json_object_get(tree, section);
    int result;

    if (options)
        json_object_set(members, name, options);
    else
        json_object_del(members, name);
    result = apply(call, tree, NULL);
    json_decref(tree);
    return result;
}

static void replace_result(struct method_call *call, json_t *result)
{
    json_decref(call->result);
    call->result = result;
}

static int refuse_taken(const struct method_call *call, const char *noun)
{
    struct phrase given = {0};

    return error_set(call->error, -EEXIST,
                     "there is a %s %s already: choose another name, or change that one", noun,
                     phrase_quote(&given, option_text(call->params, "name")));
}

/* --- Ports ------------------------------------------------------------------------------------------- */

/* Applies the port's options; the result of more than a dry run is the port. */
static int apply_port(struct method_call *call, json_t *options)
{
    int result = apply_member(call, "ports", options);

    if (result == 0 && !is_dry_run(call))
        replace_result(call, method_describe_port(method_find_port(call, "name")));
    return result;
}

int method_port_add(struct method_call *call)
{
    if (fabric_find_port(call->fabric, option_text(call->params, "name")))
        return refuse_taken(call, "port");
    return apply_port(call, call->rest);
}

int method_port_del(struct method_call *call)
{
    return method_find_port(call, "name") ? apply_member(call, "ports", NULL) : -ENOENT;
}

/* What stays of the port's options: all of them, or the common ones if it is to be of another type. */
static json_t *kept_options(const struct fabric_port *port, const json_t *changes)
{
    json_t *type = json_object_get(changes, "type");
    json_t *kept;

    if (!type || json_equal(type, json_object_get(port->options, "type")))
        return json_deep_copy(port->options);
    kept = json_object();
    for (const struct option *option = schema_port_options; option->key; option++)
        json_object_set(kept, option->key, json_object_get(port->options, option->key));
    return kept;
}

int method_port_set(struct method_call *call)
{
    const struct fabric_port *port = method_find_port(call, "name");
    json_t *options;
    int result;

    if (!port)
        return -ENOENT;
    options = kept_options(port, call->rest);
    json_object_update(options, call->rest);
    result = apply_port(call, options);
    json_decref(options);
    return result;
}

/* --- Bridges ----------------------------------------------------------------------------------------- */

static int apply_bridge(struct method_call *call, json_t *options)
{
    int result = apply_member(call, "bridges", options);

    if (result == 0 && !is_dry_run(call))
        replace_result(call,
                       method_describe_bridge(call->fabric, method_find_bridge(call, "name")));
    return result;
}

int method_bridge_add(struct method_call *call)
{
    if (fabric_find_bridge(call->fabric, option_text(call->params, "name")))
        return refuse_taken(call, "bridge");
    return apply_bridge(call, call->rest);
}

int method_bridge_del(struct method_call *call)
{
    const struct fabric_bridge *bridge = method_find_bridge(call, "name");
    const struct fabric_port *port;
    struct phrase given = {0}, ports = {0};

    if (!bridge)
        return -ENOENT;
    list_for_each (port, &call->fabric->ports, link)
        if (strcmp(option_text(port->options, "bridge"), bridge_name(bridge->bridge)) == 0)
            phrase_list(&ports, port->port->name);
    if (ports.len > 0)
        return error_set(call->error, -EBUSY,
                         "bridge %s still has ports: %s; delete them or move them first",
                         phrase_quote(&given, bridge_name(bridge->bridge)), ports.text);
    return apply_member(call, "bridges", NULL);
}

int method_bridge_set(struct method_call *call)
{
    const struct fabric_bridge *bridge = method_find_bridge(call, "name");
    json_t *options;
    int result;

    if (!bridge)
        return -ENOENT;
    options = json_deep_copy(bridge->options);
    json_object_update(options, call->rest);
    result = apply_bridge(call, options);
    json_decref(options);
    return result;
}

/* --- Workers ----------------------------------------------------------------------------------------- */

/* CPUs and a count exclude each other: who sets one gives up the other. */
int method_worker_set(struct method_call *call)
{
    json_t *tree = fabric_tree(call->fabric);
    json_t *workers = json_object_get(tree, "workers");
    int result;

    if (json_object_get(call->rest, "count"))
        json_object_del(workers, "cpus");
    if (json_object_get(call->rest, "cpus"))
        json_object_del(workers, "count");
    json_object_update(workers, call->rest);
    result = apply(call, tree, NULL);
    json_decref(tree);
    return result;
}

/* --- The whole --------------------------------------------------------------------------------------- */

int method_config_show(struct method_call *call)
{
    call->result = fabric_tree(call->fabric);
    return 0;
}

/* Reads the text that was given. */
static int read_text(struct method_call *call, struct yaml_source *source)
{
    const json_t *text = json_object_get(call->params, "text");
    const char *file = option_text(call->params, "file");

    if (!json_is_string(text))
        return error_set(call->error, -EINVAL, "'text' is missing, or no text: expected YAML");
    return yaml_source_read(source, file ? file : "text", json_string_value(text),
                            json_string_length(text), call->error);
}

int method_config_check(struct method_call *call)
{
    struct yaml_source source = {0};
    json_t *tree = NULL;
    int result = read_text(call, &source);

    if (result < 0)
        return result;
    result = tree_check(source.tree, &source, &tree, call->error);
    yaml_source_free(&source);
    if (result < 0)
        return result;
    json_decref(tree);
    call->result = json_pack("{s:b}", "ok", true);
    return 0;
}

int method_config_apply(struct method_call *call)
{
    json_t *tree = json_object_get(call->params, "tree");
    struct yaml_source source = {0};
    int result;

    if (tree && json_object_get(call->params, "text"))
        return error_set(call->error, -EINVAL, "'text' and 'tree': expected one of them");
    if (tree)
        return apply(call, tree, NULL);
    result = read_text(call, &source);
    if (result < 0)
        return result;
    result = apply(call, source.tree, &source);
    yaml_source_free(&source);
    return result;
}
