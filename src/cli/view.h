/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `shuntctl top` shows, as text: a summary, the workers, the ports. An empty line stands
 * before each table.
 */
#ifndef CLI_VIEW_H
#define CLI_VIEW_H

#include <stdio.h>

#include "cli/watch.h"

/* `interval_s` is how often one looks, to be told while there is nothing to be seen. */
void view_print(FILE *out, const struct watch *watch, double interval_s);

#endif
