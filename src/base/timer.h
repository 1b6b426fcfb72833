/* SPDX-License-Identifier: BSD-3-Clause */
/* A timerfd that goes off once. */
#ifndef BASE_TIMER_H
#define BASE_TIMER_H

#include <stdint.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* It polls readable in so many milliseconds; 0: at once. */
static inline void timer_set_ms(int fd, unsigned delay_ms)
{
    struct itimerspec time = {
        .it_value =
            {
                .tv_sec = delay_ms / 1000,
                /* 0 would stop it. */
                .tv_nsec = (long)(delay_ms % 1000) * 1000000 + (delay_ms == 0),
            },
    };

    timerfd_settime(fd, 0, &time, NULL);
}

/* Whether it went off since it was last asked. */
static inline int timer_has_expired(int fd)
{
    uint64_t num;

    return read(fd, &num, sizeof(num)) == sizeof(num);
}

#endif
