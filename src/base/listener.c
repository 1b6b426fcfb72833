/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/unix_address.h"

#define BACKLOG 16

/* Whether somebody accepts connections there: 1, 0, or -errno when it cannot be told. */
static int is_answered(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int result = 1;

    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 && errno != EAGAIN)
        result = errno == ECONNREFUSED ? 0 : -errno;
    close(fd);
    return result;
}

/* Makes room at the path: a socket that nobody answers is left from a crash and goes. */
static int clear_path(const struct sockaddr_un *address, struct shunt_error *error)
{
    const char *path = address->sun_path;
    struct stat status;
    int result;

    if (lstat(path, &status) < 0) {
        if (errno == ENOENT)
            return 0; /* also when the folder is absent: bind says so */
        return error_set(error, -errno, "socket path %s: %m", path);
    }
    if (!S_ISSOCK(status.st_mode))
        return error_set(error, -EEXIST,
                         "socket path %s exists and is not a socket: remove it or choose another",
                         path);
    result = is_answered(address);
    if (result > 0)
        return error_set(error, -EADDRINUSE,
                         "socket path %s is in use by another program: stop it or choose another",
                         path);
    if (result < 0)
        return error_set(error, result, "socket path %s: %s", path, strerror(-result));
    if (unlink(path) < 0)
        return error_set(error, -errno, "stale socket %s cannot be removed: %m", path);
    return 0;
}

static int bind_error(const char *path, struct shunt_error *error)
{
    if (errno == ENOENT)
        return error_set(error, -ENOENT,
                         "socket path %s: its folder does not exist: make it with mkdir -p", path);
    return error_set(error, -errno, "socket path %s: %m", path);
}

int listener_open(struct listener *listener, const char *path, struct shunt_error *error)
{
    struct sockaddr_un address;
    struct stat status;
    int result = unix_address_set(&address, path, error);

    *listener = (struct listener){.fd = -1};
    if (result == 0)
        result = clear_path(&address, error);
    if (result < 0)
        return result;
    listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0)
        return error_set(error, -errno, "socket: %m");
    if (bind(listener->fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        result = bind_error(path, error);
        close(listener->fd);
        listener->fd = -1;
        return result;
    }
    listener->path = strdup(path);
    if (!listener->path) {
        result = error_set(error, -ENOMEM, "out of memory");
    } else if (lstat(path, &status) < 0 || listen(listener->fd, BACKLOG) < 0) {
        result = error_set(error, -errno, "socket path %s: %m", path);
    } else {
        listener->device = status.st_dev;
        listener->inode = status.st_ino;
        return 0;
    }
    unlink(path);
    listener_close(listener);
    return result;
}

int listener_adopt(struct listener *listener, int fd, struct shunt_error *error)
{
    int listens = 0, type = 0, flags;
    socklen_t len = sizeof(int);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
        return error_set(error, -errno, "descriptor %d is no socket: %m", fd);
    len = sizeof(int);
    if (type != SOCK_STREAM || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 ||
        !listens)
        return error_set(error, -EINVAL, "descriptor %d is no stream socket that listens", fd);
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return error_set(error, -errno, "descriptor %d: %m", fd);
    *listener = (struct listener){.fd = fd};
    return 0;
}

static bool is_ours(const struct listener *listener)
{
    struct stat status;

    return lstat(listener->path, &status) == 0 && status.st_dev == listener->device &&
           status.st_ino == listener->inode;
}

void listener_close(struct listener *listener)
{
    if (listener->fd < 0)
        return;
    if (listener->path && is_ours(listener))
        unlink(listener->path);
    close(listener->fd);
    free(listener->path);
    *listener = (struct listener){.fd = -1};
}

int listener_accept(const struct listener *listener)
{
    int fd;

    do
        fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    return fd < 0 ? -errno : fd;
}
