/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/tree.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/phrase.h"
#include "bridge/bridge.h"
#include "daemon/cpus.h"
#include "daemon/path.h"
#include "daemon/schema.h"
#include "daemon/yaml.h"
#include "worker/pool.h"

static const struct option sections[] = {
    {.key = "bridges", .kind = OPTION_ANY},
    {.key = "ports", .kind = OPTION_ANY},
    {.key = "workers", .kind = OPTION_ANY},
    {0},
};

/* One check of a tree. */
struct checker {
    const struct yaml_source *source; /* may be NULL */
    struct path path;                 /* of what is looked at */
    json_t *tree;                     /* what has been checked */
    struct shunt_error *error;
};

const struct port_class *tree_port_class(const json_t *port)
{
    return port_class_find(option_text(port, "type"));
}

/* Says where in the text the key, or the value, stands that the error is about. */
static int blame_key(const struct checker *checker)
{
    if (checker->source)
        yaml_source_blame(checker->source, yaml_source_key(checker->source, checker->path.text),
                          checker->error);
    return -EINVAL;
}

static int blame_value(const struct checker *checker)
{
    if (checker->source)
        yaml_source_blame(checker->source, yaml_source_value(checker->source, checker->path.text),
                          checker->error);
    return -EINVAL;
}

/* The error is what is wrong with the value at the path. */
__attribute__((format(printf, 2, 3))) static int refuse(const struct checker *checker,
                                                        const char *format, ...)
{
    char text[SHUNT_ERROR_TEXT_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return error_set(checker->error, -EINVAL, "%s%s%s", checker->path.text,
                     checker->path.len > 0 ? ": " : "", text);
}

/* The keys and values that `value` has; one that is left out has none. */
static json_t *object_of(const struct checker *checker, json_t *value)
{
    if (!value || json_is_null(value))
        return json_object();
    if (json_is_object(value))
        return json_incref(value);
    refuse(checker, "a single value or a list; expected keys with values");
    blame_value(checker);
    return NULL;
}

static int check_options(struct checker *checker, const struct option *const *tables,
                         unsigned num_tables, json_t *given, json_t *checked)
{
    const char *bad_key;
    int result = option_check(tables, num_tables, given, checker->path.text, checked, &bad_key,
                              checker->error);
    size_t back;

    if (result == 0)
        return 0;
    if (!bad_key)
        return blame_key(checker);
    back = path_enter(&checker->path, bad_key);
    if (option_find(tables, num_tables, bad_key))
        blame_value(checker);
    else
        blame_key(checker);
    path_leave(&checker->path, back);
    return result;
}

/* Which rule a name breaks, and what is expected; NULL for a good one. */
static const char *name_problem(const char *name)
{
    if (*name == '\0')
        return "an empty name; expected 1 to 63 bytes";
    if (strlen(name) > PORT_NAME_MAX_BYTES)
        return "the name is too long; expected 1 to 63 bytes";
    for (; *name != '\0'; name++) {
        if (*name == '/')
            return "the name has a slash; expected a name without /";
        if (*name == '\\')
            return "the name has a backslash; expected a name without \\";
        if (isspace((unsigned char)*name))
            return "the name has white space; expected a name without";
        if (iscntrl((unsigned char)*name))
            return "the name has a control character; expected a name without";
    }
    return NULL;
}
static_assert(PORT_NAME_MAX_BYTES == 63, "as the messages say");

/* Checks the one bridge or port that the path leads to. */
typedef int check_fn(struct checker *checker, json_t *given, json_t *checked);

static int check_member(struct checker *checker, const char *name, json_t *given, check_fn *check,
                        json_t *members)
{
    size_t back = path_enter(&checker->path, name);
    const char *problem = name_problem(name);
    json_t *checked = json_object();
    json_t *object = NULL;
    int result = -EINVAL;

    if (problem) {
        refuse(checker, "%s", problem);
        blame_key(checker);
    } else {
        object = object_of(checker, given);
        if (object)
            result = check(checker, object, checked);
    }
    path_leave(&checker->path, back);
    json_object_set_new(members, name, checked);
    json_decref(object);
    return result;
}

/* Checks all bridges, or all ports. */
static int check_members(struct checker *checker, const char *section, json_t *given,
                         check_fn *check)
{
    json_t *members = json_object();
    size_t back = path_enter(&checker->path, section);
    json_t *object = object_of(checker, given);
    const char *name;
    json_t *member;
    int result = object ? 0 : -EINVAL;

    json_object_foreach (object, name, member) {
        result = check_member(checker, name, member, check, members);
        if (result < 0)
            break;
    }
    path_leave(&checker->path, back);
    json_object_set_new(checker->tree, section, members);
    json_decref(object);
    return result;
}

static int check_bridge(struct checker *checker, json_t *given, json_t *checked)
{
    const struct option *const tables[] = {schema_bridge_options};

    return check_options(checker, tables, 1, given, checked);
}

static int refuse_type(struct checker *checker, json_t *type)
{
    struct phrase given = {0}, known = {0};
    size_t back;

    for (const struct port_class *const *class = port_classes; *class; class ++)
        phrase_list(&known, (*class)->type);
    if (!type) {
        refuse(checker, "'type' is missing; there are: %s", known.text);
        return blame_key(checker);
    }
    back = path_enter(&checker->path, "type");
    if (json_is_string(type))
        refuse(checker, "unknown type %s; there are: %s",
               phrase_quote(&given, json_string_value(type)), known.text);
    else
        refuse(checker, "not a text; expected one of: %s", known.text);
    blame_value(checker);
    path_leave(&checker->path, back);
    return -EINVAL;
}

static int check_port(struct checker *checker, json_t *given, json_t *checked)
{
    const struct option *tables[SCHEMA_PORT_TABLES];
    json_t *type = json_object_get(given, "type");
    const struct port_class *class = NULL;

    if (json_is_string(type))
        class = port_class_find(json_string_value(type));
    if (!class)
        return refuse_type(checker, type);
    schema_port_tables(class, tables);
    return check_options(checker, tables, SCHEMA_PORT_TABLES, given, checked);
}

/* Adds the CPUs that `given` names; the path leads to it. */
static int add_cpus(struct checker *checker, json_t *given, struct cpus *cpus)
{
    struct shunt_error error;

    if (cpus_add(cpus, given, &error) == 0)
        return 0;
    refuse(checker, "%s", error.text);
    return blame_value(checker);
}

static int check_cpus(struct checker *checker, json_t *given, struct cpus *cpus)
{
    size_t back = path_enter(&checker->path, "cpus");
    int result = 0;
    size_t idx;
    json_t *item;

    if (given && !json_is_array(given))
        result = add_cpus(checker, given, cpus);
    json_array_foreach (given, idx, item) {
        size_t item_back = path_enter_item(&checker->path, idx);

        result = add_cpus(checker, item, cpus);
        path_leave(&checker->path, item_back);
        if (result < 0)
            break;
    }
    path_leave(&checker->path, back);
    return result;
}

/* Each pinned worker is one of `cpus`, so there is nothing to count. */
static int check_count(struct checker *checker, json_t *checked, const struct cpus *cpus)
{
    long count = option_number(checked, "count");
    size_t back;

    if (count == 0 || count == (long)cpus->num)
        return 0;
    back = path_enter(&checker->path, "count");
    refuse(checker, "%ld workers for %u CPUs; expected count to be left out, each CPU has one",
           count, cpus->num);
    blame_value(checker);
    path_leave(&checker->path, back);
    return -EINVAL;
}

static int settle_workers(struct checker *checker, json_t *checked)
{
    struct cpus cpus = {0};
    int result = check_cpus(checker, json_object_get(checked, "cpus"), &cpus);
    json_t *ids;

    if (result == 0 && cpus.num > 0)
        result = check_count(checker, checked, &cpus);
    if (result < 0)
        return result;
    json_object_del(checked, "cpus");
    if (cpus.num == 0) {
        if (option_number(checked, "count") == 0)
            json_object_set_new(checked, "count", json_integer(1));
        return 0;
    }
    json_object_del(checked, "count");
    ids = json_array();
    for (unsigned i = 0; i < cpus.num; i++)
        json_array_append_new(ids, json_integer(cpus.ids[i]));
    json_object_set_new(checked, "cpus", ids);
    return 0;
}

static int check_workers(struct checker *checker, json_t *given)
{
    const struct option *const tables[] = {schema_worker_options};
    size_t back = path_enter(&checker->path, "workers");
    json_t *checked = json_object();
    json_t *object = object_of(checker, given);
    int result = object ? check_options(checker, tables, 1, object, checked) : -EINVAL;

    if (result == 0)
        result = settle_workers(checker, checked);
    path_leave(&checker->path, back);
    json_object_set_new(checker->tree, "workers", checked);
    json_decref(object);
    return result;
}

/* What the ports that were looked at so far have taken. */
struct taken {
    json_t *sockets; /* path → name of the port */
    json_t *places;  /* bridge → number of ports */
};

static int check_port_bridge(struct checker *checker, const json_t *port, const struct taken *taken)
{
    const char *name = option_text(port, "bridge");
    json_t *bridges = json_object_get(checker->tree, "bridges");
    const json_t *bridge = json_object_get(bridges, name);
    json_int_t num = json_integer_value(json_object_get(taken->places, name));
    struct phrase given = {0}, known = {0};
    const char *key;
    json_t *value;

    phrase_quote(&given, name);
    if (!bridge) {
        json_object_foreach (bridges, key, value)
            phrase_list(&known, key);
        return refuse(checker, "unknown bridge %s; there are: %s", given.text,
                      known.len > 0 ? known.text : "none");
    }
    json_object_set_new(taken->places, name, json_integer(num + 1));
    if (num >= 2 && strcmp(option_text(bridge, "mode"), schema_bridge_modes[BRIDGE_PATCH]) == 0)
        return refuse(checker, "bridge %s is a patch, which joins two ports, and has them already",
                      given.text);
    return 0;
}

static int check_port_socket(struct checker *checker, const char *name, const json_t *port,
                             const struct taken *taken)
{
    const char *socket = option_text(port, "socket");
    const json_t *owner;
    struct phrase given = {0};

    if (!socket)
        return 0;
    owner = json_object_get(taken->sockets, socket);
    if (owner)
        return refuse(checker, "%s is the socket of port '%s' already; expected one of its own",
                      phrase_quote(&given, socket), json_string_value(owner));
    json_object_set_new(taken->sockets, socket, json_string(name));
    return 0;
}

/* What a port refers to must be there, and not be taken. The path leads to the port. */
static int check_references(struct checker *checker, const char *name, const json_t *port,
                            const struct taken *taken)
{
    size_t back = path_enter(&checker->path, "bridge");
    int result = check_port_bridge(checker, port, taken);

    if (result < 0)
        return blame_value(checker);
    path_leave(&checker->path, back);
    path_enter(&checker->path, "socket");
    result = check_port_socket(checker, name, port, taken);
    if (result < 0)
        return blame_value(checker);
    path_leave(&checker->path, back);
    return 0;
}

static int check_all_references(struct checker *checker)
{
    struct taken taken = {json_object(), json_object()};
    int result = 0;
    const char *name;
    json_t *port;

    json_object_foreach (json_object_get(checker->tree, "ports"), name, port) {
        size_t back = path_enter(&checker->path, "ports");

        path_enter(&checker->path, name);
        result = check_references(checker, name, port, &taken);
        path_leave(&checker->path, back);
        if (result < 0)
            break;
    }
    json_decref(taken.sockets);
    json_decref(taken.places);
    return result;
}

static int check_sections(struct checker *checker, json_t *parts)
{
    json_t *bridges = json_object_get(parts, "bridges");
    int result;

    /* Who says nothing of bridges has one. */
    if (!bridges) {
        bridges = json_pack("{s:{}}", "br0");
        json_object_set_new(parts, "bridges", bridges);
    }
    result = check_members(checker, "bridges", bridges, check_bridge);
    if (result == 0)
        result = check_members(checker, "ports", json_object_get(parts, "ports"), check_port);
    if (result == 0)
        result = check_workers(checker, json_object_get(parts, "workers"));
    if (result == 0)
        result = check_all_references(checker);
    return result;
}

int tree_check(json_t *given, const struct yaml_source *source, json_t **tree,
               struct shunt_error *error)
{
    const struct option *const tables[] = {sections};
    struct checker checker = {.source = source, .tree = json_object(), .error = error};
    json_t *parts = json_object();
    json_t *object = object_of(&checker, given);
    int result = object ? check_options(&checker, tables, 1, object, parts) : -EINVAL;

    if (result == 0)
        result = check_sections(&checker, parts);
    json_decref(object);
    json_decref(parts);
    if (result == 0)
        *tree = checker.tree;
    else
        json_decref(checker.tree);
    return result;
}
