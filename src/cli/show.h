/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the rows of the command table are filled with: one file an object, named after it.
 */
#ifndef CLI_SHOW_H
#define CLI_SHOW_H

#include "cli/command.h"

void port_show(const struct reply *reply);
void port_show_types(const struct reply *reply);

void bridge_show(const struct reply *reply);

void fdb_show(const struct reply *reply);
void fdb_show_flushed(const struct reply *reply);

void worker_show(const struct reply *reply);

void stats_show(const struct reply *reply);

/* Puts the contents of the parameter `file`, or of stdin for "-", beside it as `text`. */
int config_read(json_t *params);
void config_show(const struct reply *reply);
void config_show_checked(const struct reply *reply);

/* The steps that a change takes, or would take; and only the latter. */
void steps_show(const struct reply *reply);
void steps_show_if_dry(const struct reply *reply);

void version_show(const struct reply *reply);

int top_run(const struct command *command, char **words, const struct context *context);

#endif
