/* SPDX-License-Identifier: BSD-3-Clause */
/* The address of a Unix socket. */
#ifndef BASE_UNIX_ADDRESS_H
#define BASE_UNIX_ADDRESS_H

#include <shunt/error.h>
#include <sys/un.h>

/* -EINVAL: the path is empty; -ENAMETOOLONG: it is longer than 107 bytes. */
int unix_address_set(struct sockaddr_un *address, const char *path, struct shunt_error *error);

#endif
