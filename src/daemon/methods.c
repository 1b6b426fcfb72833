/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/methods.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/phrase.h"
#include "daemon/method.h"

/* --- Parameters -------------------------------------------------------------------------------------- */

#define TEXT_PARAM(param, required, bytes, what)                                                   \
    {                                                                                              \
        .key = (param), .kind = OPTION_TEXT, .is_required = (required), .max = (bytes),            \
        .help = (what)                                                                             \
    }
#define NAME_PARAM(param, required, what) TEXT_PARAM(param, required, PORT_NAME_MAX_BYTES, what)
#define MAC_PARAM                         TEXT_PARAM("mac", true, 63, "a MAC address such as 52:54:00:12:34:56")
#define YAML_PARAM                                                                                 \
    {                                                                                              \
        .key = "text", .kind = OPTION_ANY, .help = "a configuration in YAML"                       \
    }
#define FILE_PARAM TEXT_PARAM("file", false, 4096, "what messages call the text")
#define DRY_RUN_PARAM                                                                              \
    {                                                                                              \
        .key = "dry_run", .kind = OPTION_CHOICE, .fallback = "false", .choices = booleans,         \
        .help = "list the steps, and do none"                                                      \
    }

static const char *const booleans[] = {"false", "true", NULL};

static const struct option no_params[] = {{0}};
static const struct option dry_run[] = {DRY_RUN_PARAM, {0}};
static const struct option any_name[] = {NAME_PARAM("name", false, "which one; all, if left out"),
                                         {0}};
static const struct option changed[] = {NAME_PARAM("name", true, "which one"), DRY_RUN_PARAM, {0}};
static const struct option any_port[] = {NAME_PARAM("port", false, "which port; all, if left out"),
                                         {0}};
static const struct option addresses[] = {
    NAME_PARAM("bridge", false, "only those of this bridge"),
    NAME_PARAM("port", false, "only those of this port"),
    {0},
};
static const struct option new_address[] = {MAC_PARAM,
                                            NAME_PARAM("port", true, "the port behind which it is"),
                                            {0}};
static const struct option old_address[] = {
    MAC_PARAM, NAME_PARAM("bridge", false, "which bridge forgets it; all, if left out"), {0}};
static const struct option config_text[] = {YAML_PARAM, FILE_PARAM, {0}};
static const struct option new_config[] = {
    YAML_PARAM,
    {.key = "tree", .kind = OPTION_ANY, .help = "a configuration in JSON, instead of the text"},
    FILE_PARAM,
    DRY_RUN_PARAM,
    {0},
};

/* --- The table --------------------------------------------------------------------------------------- */

const struct method method_table[] = {
    {"port.add", "adds a port and joins it to a bridge; takes its type and options", changed, true,
     method_port_add},
    {"port.del", "deletes a port", changed, false, method_port_del},
    {"port.set", "changes options of a port", changed, true, method_port_set},
    {"port.show", "tells all about ports", any_name, false, method_port_show},
    {"port.types", "lists the types of ports and their options", no_params, false,
     method_port_types},
    {"bridge.add", "adds a bridge; takes its options", changed, true, method_bridge_add},
    {"bridge.del", "deletes a bridge that has no ports", changed, false, method_bridge_del},
    {"bridge.set", "changes options of a bridge", changed, true, method_bridge_set},
    {"bridge.show", "tells all about bridges", any_name, false, method_bridge_show},
    {"fdb.show", "lists the addresses that bridges know", addresses, false, method_fdb_show},
    {"fdb.add", "adds an address that neither ages nor moves", new_address, false, method_fdb_add},
    {"fdb.del", "forgets an address", old_address, false, method_fdb_del},
    {"fdb.flush", "forgets all addresses that were learned", addresses, false, method_fdb_flush},
    {"worker.show", "tells all about the workers", no_params, false, method_worker_show},
    {"worker.set", "changes mode, CPUs or number of the workers", dry_run, true, method_worker_set},
    {"stats.show", "counts frames, and those dropped by reason", any_port, false,
     method_stats_show},
    {"config.show", "the configuration as it stands", no_params, false, method_config_show},
    {"config.check", "tells whether a configuration has errors", config_text, false,
     method_config_check},
    {"config.apply", "makes a configuration the one that stands, wholly or not at all", new_config,
     false, method_config_apply},
    {"version", "the version, and since when it runs", no_params, false, method_version},
    {"methods", "this list", no_params, false, method_methods},
    {0},
};

/* --- Calling ----------------------------------------------------------------------------------------- */

static const struct method *find_method(const char *name)
{
    for (const struct method *method = method_table; method->name; method++)
        if (strcmp(method->name, name) == 0)
            return method;
    return NULL;
}

/* Parts what the method itself takes from what is an option of the object. */
static void part_params(const struct method *method, json_t *given, json_t *own, json_t *rest)
{
    const char *key;
    json_t *value;

    json_object_foreach (given, key, value)
        json_object_set(option_find(&method->params, 1, key) || !method->takes_options ? own : rest,
                        key, value);
}

static enum rpc_code call_method(const struct method *method, json_t *given,
                                 struct method_call *call)
{
    json_t *own = json_object();
    enum rpc_code code = RPC_OK;

    part_params(method, given, own, call->rest);
    if (option_check(&method->params, 1, own, "", call->params, NULL, call->error) < 0)
        code = RPC_INVALID_PARAMS;
    else if (method->run(call) < 0)
        code = RPC_FAILED;
    json_decref(own);
    return code;
}

enum rpc_code methods_call(void *ctx, const char *name, json_t *params, json_t **result,
                           struct shunt_error *error)
{
    const struct methods *methods = ctx;
    const struct method *method = find_method(name);
    struct method_call call = {.methods = methods, .fabric = methods->fabric, .error = error};
    struct phrase given = {0};
    enum rpc_code code;

    if (!method) {
        error_set(error, -ENOSYS, "unknown method %s; the method 'methods' lists what there is",
                  phrase_quote(&given, name));
        return RPC_METHOD_NOT_FOUND;
    }
    if (params && !json_is_object(params)) {
        error_set(error, -EINVAL, "%s takes its parameters by name; expected an object", name);
        return RPC_INVALID_PARAMS;
    }
    call.params = json_object();
    call.rest = json_object();
    code = call_method(method, params, &call);
    json_decref(call.params);
    json_decref(call.rest);
    *result = call.result;
    return code;
}

/* --- For the methods --------------------------------------------------------------------------------- */

struct fabric_port *method_find_port(const struct method_call *call, const char *key)
{
    const char *name = option_text(call->params, key);
    struct fabric_port *found = fabric_find_port(call->fabric, name);
    const struct fabric_port *port;
    struct phrase given = {0}, known = {0};

    if (found)
        return found;
    list_for_each (port, &call->fabric->ports, link)
        phrase_list(&known, port->port->name);
    error_set(call->error, -ENOENT, "there is no port %s; there are: %s",
              phrase_quote(&given, name), known.len > 0 ? known.text : "none");
    return NULL;
}

struct fabric_bridge *method_find_bridge(const struct method_call *call, const char *key)
{
    const char *name = option_text(call->params, key);
    struct fabric_bridge *found = fabric_find_bridge(call->fabric, name);
    const struct fabric_bridge *bridge;
    struct phrase given = {0}, known = {0};

    if (found)
        return found;
    list_for_each (bridge, &call->fabric->bridges, link)
        phrase_list(&known, bridge_name(bridge->bridge));
    error_set(call->error, -ENOENT, "there is no bridge %s; there are: %s",
              phrase_quote(&given, name), known.len > 0 ? known.text : "none");
    return NULL;
}
