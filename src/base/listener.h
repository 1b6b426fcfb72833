/* SPDX-License-Identifier: BSD-3-Clause */
/* A listening Unix stream socket at a path, which is cleaned up after those who did not. */
#ifndef BASE_LISTENER_H
#define BASE_LISTENER_H

#include <shunt/error.h>
#include <sys/types.h>

struct listener {
    int fd; /* -1: closed; non-blocking */
    char *path;
    /* Of the file that we made: it is removed only while it is still that one. */
    dev_t device;
    ino_t inode;
};

/*
 * -ENAMETOOLONG; -EEXIST: something else is there; -EADDRINUSE: somebody listens; -ENOENT: no folder;
 * or what the system calls return. Nothing is left behind on failure.
 */
int listener_open(struct listener *listener, const char *path, struct shunt_error *error);

/*
 * Takes over a socket that listens already, whose file is not ours. -ENOTSOCK; -EINVAL: it is of another
 * kind, or does not listen: it then stays the caller's.
 */
int listener_adopt(struct listener *listener, int fd, struct shunt_error *error);

/* Closes the socket and removes its file. */
void listener_close(struct listener *listener);

/* The next connection, non-blocking; -EAGAIN: there is none; or what accept4(2) returns. */
int listener_accept(const struct listener *listener);

#endif
