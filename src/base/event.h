/* SPDX-License-Identifier: BSD-3-Clause */
/* Signalling an eventfd. */
#ifndef BASE_EVENT_H
#define BASE_EVENT_H

#include <errno.h>
#include <stdint.h>
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

#endif
