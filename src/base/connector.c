/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/connector.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/unix_address.h"

/* The longest delay is reached with this many doublings. */
#define MAX_DOUBLINGS 4
static_assert(CONNECTOR_MIN_DELAY_MS << MAX_DOUBLINGS == CONNECTOR_MAX_DELAY_MS, "a doubled delay");

int connector_open(struct connector *connector, const char *path, struct shunt_error *error)
{
    struct sockaddr_un address;
    int result = unix_address_set(&address, path, error);

    *connector = (struct connector){0};
    if (result < 0)
        return result;
    connector->path = strdup(path);
    return connector->path ? 0 : error_set(error, -ENOMEM, "out of memory");
}

void connector_close(struct connector *connector)
{
    free(connector->path);
    *connector = (struct connector){0};
}

/* What a person can do about it. */
static const char *remedy(int code)
{
    switch (code) {
    case -ENOENT:
    case -ECONNREFUSED:
        return "start the program that listens there";
    case -EACCES:
        return "let us write to the socket and search its folder";
    case -EAGAIN:
        return "it listens, but does not accept";
    case -EPROTOTYPE:
        return "it is no stream socket: choose another path";
    default:
        return "see to it that a program listens there";
    }
}

static int connect_error(const struct connector *connector, int code, struct shunt_error *error)
{
    return error_set(error, code, "connecting to %s: %s (%s)", connector->path, strerror(-code),
                     remedy(code));
}

int connector_connect(struct connector *connector, struct shunt_error *error)
{
    struct sockaddr_un address;
    int fd, result = unix_address_set(&address, connector->path, error);

    if (result < 0)
        return result;
    connector->num_tries++;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set(error, -errno, "socket: %m");
    /* A Unix socket connects at once or not at all. */
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    result = connect_error(connector, -errno, error);
    close(fd);
    return result;
}

void connector_forgive(struct connector *connector)
{
    connector->num_tries = 0;
}

unsigned connector_delay_ms(const struct connector *connector)
{
    unsigned doublings = connector->num_tries > 0 ? connector->num_tries - 1 : 0;

    if (connector->num_tries == 0)
        return 0;
    return CONNECTOR_MIN_DELAY_MS << (doublings < MAX_DOUBLINGS ? doublings : MAX_DOUBLINGS);
}
