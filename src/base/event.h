/* SPDX-License-Identifier: BSD-3-Clause */
/* Signalling an eventfd, and taking a signal. */
#ifndef BASE_EVENT_H
#define BASE_EVENT_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <unistd.h>

/*
 * Adds one to the eventfd; -1 is passed over. It does not block: the descriptor is non-blocking, and
 * EAGAIN means that the counter is full to the brim, so that a wake-up is waiting there already.
 */
static inline void event_signal(int fd)
{
    uint64_t one = 1;
    ssize_t result;

    if (fd < 0)
        return;
    do
        result = write(fd, &one, sizeof(one));
    while (result < 0 && errno == EINTR);
}

/*
 * True if the eventfd was signalled; it is cleared. -1 never is. It does not block, not even if whoever else has
 * the descriptor made it blocking again, which is theirs to do at any time.
 */
static inline bool event_take(int fd)
{
    uint64_t count;
    struct iovec iov = {.iov_base = &count, .iov_len = sizeof(count)};

    return fd >= 0 && preadv2(fd, &iov, 1, -1, RWF_NOWAIT) == sizeof(count);
}

#endif
