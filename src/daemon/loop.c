/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/list.h"
#include "base/log.h"

#define TICK_S     1
#define MAX_EVENTS 64

struct loop_source {
    struct loop *loop;
    int fd;
    loop_fn *fn; /* NULL: removed */
    void *ctx;
    struct list_link removed;
};

struct loop {
    const struct loop_ops *ops;
    void *ctx;
    int epoll_fd;
    int signal_fd;
    int timer_fd;
    struct loop_source *signals;
    struct loop_source *timer;
    bool is_ended;
    /* Events of these may still be waiting in the batch at hand: they are freed behind it. */
    struct list_link removed;
};

static void on_signal(void *ctx, uint32_t events)
{
    struct loop *loop = ctx;
    struct signalfd_siginfo info;

    (void)events;
    if (read(loop->signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    if (info.ssi_signo == SIGHUP)
        loop->ops->reload(loop->ctx);
    else
        loop->is_ended = true;
}

static void on_timer(void *ctx, uint32_t events)
{
    struct loop *loop = ctx;
    uint64_t expirations;

    (void)events;
    if (read(loop->timer_fd, &expirations, sizeof(expirations)) == sizeof(expirations))
        loop->ops->tick(loop->ctx);
}

static int open_signals(struct loop *loop)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    loop->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (loop->signal_fd < 0)
        return -errno;
    return loop_add(loop, loop->signal_fd, EPOLLIN, on_signal, loop, &loop->signals);
}

static int open_timer(struct loop *loop)
{
    const struct itimerspec period = {
        .it_value.tv_sec = TICK_S,
        .it_interval.tv_sec = TICK_S,
    };

    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (loop->timer_fd < 0)
        return -errno;
    timerfd_settime(loop->timer_fd, 0, &period, NULL);
    return loop_add(loop, loop->timer_fd, EPOLLIN, on_timer, loop, &loop->timer);
}

int loop_create(const struct loop_ops *ops, void *ctx, struct loop **loop,
                struct shunt_error *error)
{
    struct loop *self = calloc(1, sizeof(*self));
    int result;

    if (!self)
        return error_set(error, -ENOMEM, "out of memory");
    *self = (struct loop){.ops = ops, .ctx = ctx, .signal_fd = -1, .timer_fd = -1};
    list_init(&self->removed);
    self->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    result = self->epoll_fd < 0 ? -errno : open_signals(self);
    if (result == 0)
        result = open_timer(self);
    if (result < 0) {
        errno = -result;
        error_set(error, result, "the control thread's loop: %m");
        loop_destroy(self);
        return result;
    }
    *loop = self;
    return 0;
}

static void free_removed(struct loop *loop)
{
    struct loop_source *source, *next;

    list_for_each_safe (source, next, &loop->removed, removed)
        free(source);
    list_init(&loop->removed);
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

void loop_destroy(struct loop *loop)
{
    if (!loop)
        return;
    loop_remove(loop->signals);
    loop_remove(loop->timer);
    free_removed(loop);
    close_fd(loop->signal_fd);
    close_fd(loop->timer_fd);
    close_fd(loop->epoll_fd);
    free(loop);
}

void loop_run(struct loop *loop)
{
    struct epoll_event events[MAX_EVENTS];

    while (!loop->is_ended) {
        int num = epoll_wait(loop->epoll_fd, events, MAX_EVENTS, -1);

        for (int i = 0; i < num; i++) {
            const struct loop_source *source = events[i].data.ptr;

            if (source->fn)
                source->fn(source->ctx, events[i].events);
        }
        free_removed(loop);
    }
}

int loop_add(struct loop *loop, int fd, uint32_t events, loop_fn *fn, void *ctx,
             struct loop_source **source)
{
    struct loop_source *self = malloc(sizeof(*self));
    struct epoll_event event = {.events = events, .data.ptr = self};

    if (!self)
        return -ENOMEM;
    *self = (struct loop_source){.loop = loop, .fd = fd, .fn = fn, .ctx = ctx};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        free(self);
        return -errno;
    }
    *source = self;
    return 0;
}

void loop_watch(struct loop_source *source, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};

    if (epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event) < 0)
        log_error("control", "epoll_ctl: %m");
}

void loop_remove(struct loop_source *source)
{
    if (!source)
        return;
    epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    source->fn = NULL;
    list_append(&source->loop->removed, &source->removed);
}
