/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a value stands in the configuration tree, as messages say it: ports.vm1.type,
 * workers.cpus[1]. A key that is no plain word is in quotes, so that no two places look the same:
 * ports.'vm.1'.type. Bounded; what is cut off at the end is missing in messages, and nothing worse.
 */
#ifndef DAEMON_PATH_H
#define DAEMON_PATH_H

#include <stddef.h>

#define PATH_TEXT_BYTES 160

/* All zero is the root. */
struct path {
    char text[PATH_TEXT_BYTES];
    size_t len;
};

/* Go one level down; the return value leads back: path_leave(path, path_enter(path, "ports")). */
size_t path_enter(struct path *path, const char *key);
size_t path_enter_item(struct path *path, size_t idx);
void path_leave(struct path *path, size_t back);

#endif
