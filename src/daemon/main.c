/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/command_line.h"
#include "daemon/config.h"
#include "daemon/control.h"
#include "daemon/fabric.h"
#include "daemon/logger.h"
#include "daemon/loop.h"
#include "daemon/methods.h"

#define TAG "shuntd"

struct daemon {
    const struct command_line *line;
    struct loop *loop;
    struct fabric fabric;
    struct methods methods;
    struct control *control;
};

static void on_tick(void *ctx)
{
    struct daemon *daemon = ctx;

    fabric_tick(&daemon->fabric);
    control_tick(daemon->control);
}

static void on_reload(void *ctx)
{
    struct daemon *daemon = ctx;
    const char *file = daemon->line->config;
    struct shunt_error error = {0};

    if (!file)
        log_warning(TAG, "SIGHUP: there is no file to read again, start with --config FILE");
    else if (config_apply_file(&daemon->fabric, file, &error) < 0)
        log_error(TAG, "not applied: %s", error.text);
    else
        log_info(TAG, "%s is applied", file);
}

static int apply_first_config(struct daemon *daemon, struct shunt_error *error)
{
    json_t *tree;
    int result;

    if (daemon->line->config)
        return config_apply_file(&daemon->fabric, daemon->line->config, error);
    tree = json_object();
    result = config_apply(&daemon->fabric, tree, NULL, false, NULL, error);
    json_decref(tree);
    return result;
}

/*
 * The control socket comes first, for it is what tells whether another shuntd runs, which must not be
 * disturbed. Clients that connect meanwhile are served when all is ready.
 */
static int start(struct daemon *daemon, struct shunt_error *error)
{
    static const struct loop_ops ops = {.tick = on_tick, .reload = on_reload};
    int result = loop_create(&ops, daemon, &daemon->loop, error);

    fabric_init(&daemon->fabric, daemon->loop);
    daemon->methods = (struct methods){.fabric = &daemon->fabric, .start_ms = clock_ms()};
    if (result == 0)
        result = control_create(daemon->loop, daemon->line->control, methods_call, &daemon->methods,
                                &daemon->control, error);
    if (result == 0)
        result = apply_first_config(daemon, error);
    return result;
}

static void stop(struct daemon *daemon)
{
    control_destroy(daemon->control);
    fabric_fini(&daemon->fabric);
    loop_destroy(daemon->loop);
}

static int run(const struct command_line *line)
{
    struct daemon daemon = {.line = line};
    struct shunt_error error = {0};
    int result = start(&daemon, &error);

    if (result == 0) {
        log_info(TAG, "version " SHUNT_VERSION " listens on %s", line->control);
        loop_run(daemon.loop);
        log_info(TAG, "ends");
    } else {
        log_error(TAG, "%s", error.text);
    }
    stop(&daemon);
    return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int check(const char *file)
{
    struct shunt_error error = {0};

    if (config_check_file(file, &error) < 0) {
        log_error(TAG, "%s", error.text);
        return EXIT_FAILURE;
    }
    puts("OK");
    return EXIT_SUCCESS;
}

/* What would be opened as one of these descriptors would get our log lines. */
static void open_standard_streams(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

/* A port takes some descriptors, and there may be thousands of ports. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_warning(TAG, "the limit of open files stays low: %m");
}

/*
 * The control side needs little memory. If even that is not to be had, ending is better than going on
 * with half a configuration; the guests' front-ends connect again to the shuntd that follows.
 */
static void *allocate(size_t len)
{
    void *memory = malloc(len);

    if (memory)
        return memory;
    log_error(TAG, "out of memory");
    abort();
}

int main(int argc, char **argv)
{
    struct command_line line;
    int status;

    open_standard_streams();
    status = command_line_parse(argc, argv, &line);
    if (status >= 0)
        return status;
    logger_start(line.log_level);
    json_set_alloc_funcs(allocate, free);
    raise_descriptor_limit();
    return line.is_check ? check(line.config) : run(&line);
}
