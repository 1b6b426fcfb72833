/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log lines on standard error: as a person reads them, "vm1: warning: …", or with the prefixes by which
 * the journal of systemd knows how urgent a line is (sd-daemon(3)).
 */
#ifndef DAEMON_LOGGER_H
#define DAEMON_LOGGER_H

#include <stdbool.h>

#include <shunt/log.h>

/* By enum shunt_log_level; ends with NULL. */
extern const char *const logger_level_names[];

/* Sends lines of `level` and more urgent ones there, from now on. */
void logger_start(enum shunt_log_level level);

#endif
