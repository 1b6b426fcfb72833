/* SPDX-License-Identifier: BSD-3-Clause */
/* What one may say about bridges, about ports of any type, and about the workers. */
#ifndef DAEMON_SCHEMA_H
#define DAEMON_SCHEMA_H

#include "bridge/bridge.h"
#include "port/option.h"
#include "port/port.h"

extern const struct option schema_bridge_options[];
extern const struct option schema_port_options[];
extern const struct option schema_worker_options[];

/* By enum bridge_mode; ends with NULL. */
extern const char *const schema_bridge_modes[];

/* The tables of a port, for option_find() and option_check(): the common options, then its type's. */
#define SCHEMA_PORT_TABLES 2
void schema_port_tables(const struct port_class *class,
                        const struct option *tables[SCHEMA_PORT_TABLES]);

#endif
