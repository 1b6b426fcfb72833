/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One method of the control API: a row of the table in methods.c, and a function.
 *
 * To add one: its function in the file of its noun, its line below, its row in the table.
 */
#ifndef DAEMON_METHOD_H
#define DAEMON_METHOD_H

#include <jansson.h>
#include <stdbool.h>

#include <shunt/error.h>

#include "daemon/fabric.h"
#include "daemon/methods.h"
#include "port/option.h"

struct method_call {
    const struct methods *methods;
    struct fabric *fabric;
    json_t *params; /* checked: those of the method's own table */
    json_t *rest;   /* what else was given, if the method takes options of an object */
    json_t *result; /* to be set to a new reference; NULL where the method failed */
    struct shunt_error *error;
};

/* 0, or a negative errno with the error set. */
typedef int method_fn(struct method_call *call);

struct method {
    const char *name;
    const char *help;
    const struct option *params;
    bool takes_options; /* other keys are handed on, as `rest` */
    method_fn *run;
};

/* Ends with an entry without name. */
extern const struct method method_table[];

/* The object that the parameter `key` names; NULL with the error set where there is none. */
struct fabric_port *method_find_port(const struct method_call *call, const char *key);
struct fabric_bridge *method_find_bridge(const struct method_call *call, const char *key);

/* A table of options as documentation: an array of objects, a new reference. */
json_t *method_describe_options(const struct option *options);

/* As port.show and bridge.show tell of it: a new reference. */
json_t *method_describe_port(const struct fabric_port *port);
json_t *method_describe_bridge(const struct fabric *fabric, const struct fabric_bridge *bridge);

/* method_change.c */
method_fn method_port_add, method_port_del, method_port_set;
method_fn method_bridge_add, method_bridge_del, method_bridge_set;
method_fn method_worker_set;
method_fn method_config_show, method_config_check, method_config_apply;

/* method_show.c */
method_fn method_port_show, method_port_types, method_bridge_show, method_worker_show;
method_fn method_stats_show, method_version, method_methods;

/* method_fdb.c */
method_fn method_fdb_show, method_fdb_add, method_fdb_del, method_fdb_flush;

#endif
