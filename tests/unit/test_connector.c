/* SPDX-License-Identifier: BSD-3-Clause */
/* A back-end that connects: front-ends that come late, go, refuse, and close what they accepted. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <shunt/log.h>

#include "base/clock.h"
#include "base/connector.h"
#include "lib/pair.h"
#include "lib/process.h"
#include "vhost_user/backend.h"

#define ALL         UINT64_MAX
#define PATIENCE_MS 20000u /* a machine may be busy */

/* --- The connector alone ---------------------------------------------------------------------------- */

static void test_delays(void **state)
{
    static const unsigned expected[] = {0, 50, 100, 200, 400, 800, 800, 800};
    struct connector connector;
    struct shunt_error error;

    assert_int_equal(connector_open(&connector, "/tmp/absent/socket", NULL), 0);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(connector_delay_ms(&connector), expected[i]);
        assert_int_equal(connector_connect(&connector, &error), -ENOENT);
    }
    for (unsigned i = 0; i < 100; i++)
        connector_connect(&connector, NULL);
    assert_int_equal(connector_delay_ms(&connector), 800);
    connector_forgive(&connector);
    assert_int_equal(connector_delay_ms(&connector), 0);
    connector_close(&connector);
    connector_close(&connector);
}

static void test_paths(void **state)
{
    struct connector connector;
    struct shunt_error error;
    char path[109];

    memset(path, 'x', sizeof(path));
    path[108] = '\0';
    assert_int_equal(connector_open(&connector, path, &error), -ENAMETOOLONG);
    assert_non_null(strstr(error.text, "108 bytes long, at most 107"));
    assert_int_equal(connector_open(&connector, "", &error), -EINVAL);
    path[107] = '\0';
    assert_int_equal(connector_open(&connector, path, &error), 0);
    assert_int_equal(connector_connect(&connector, &error), -ENOENT);
    assert_non_null(strstr(error.text, "No such file or directory"));
    connector_close(&connector);
}

static int make_socket(const char *path, int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void assert_connect(struct connector *connector, int code, const char *text)
{
    struct shunt_error error = {0};

    assert_int_equal(connector_connect(connector, &error), code);
    assert_int_equal(error.code, code);
    assert_non_null(strstr(error.text, connector->path));
    if (!strstr(error.text, text))
        fail_msg("'%s' is not in '%s'", text, error.text);
}

static void test_failures(void **state)
{
    struct pair *pair = *state;
    struct connector connector;
    char path[100];
    int fd;

    snprintf(path, sizeof(path), "%s/other", pair->device.folder);
    assert_int_equal(connector_open(&connector, path, NULL), 0);
    fd = make_socket(path, SOCK_DGRAM);
    assert_connect(&connector, -EPROTOTYPE, "no stream socket");
    close(fd);
    unlink(path);
    fd = make_socket(path, SOCK_STREAM);
    assert_connect(&connector, -ECONNREFUSED, "start the program");
    close(fd);
    assert_connect(&connector, -ECONNREFUSED, "start the program");
    unlink(path);
    connector_close(&connector);
}

/* Connecting does not wait for whoever does not accept. */
static void test_full_backlog(void **state)
{
    struct pair *pair = *state;
    struct connector connector;
    struct shunt_error error;
    int listener, fds[3];
    char path[100];

    snprintf(path, sizeof(path), "%s/other", pair->device.folder);
    assert_int_equal(connector_open(&connector, path, NULL), 0);
    listener = frontend_listen(path);
    assert_true(listener >= 0);
    for (unsigned i = 0; i < 2; i++)
        fds[i] = connector_connect(&connector, &error);
    assert_true(fds[0] >= 0 && fds[1] >= 0);
    assert_connect(&connector, -EAGAIN, "does not accept");
    close(fds[0]);
    close(fds[1]);
    close(listener);
    unlink(path);
    connector_close(&connector);
}

/* --- A back-end that connects ----------------------------------------------------------------------- */

struct lines {
    unsigned num_failed; /* "trying again until" */
    unsigned num_connected;
    unsigned num_other;
};

static void count_line(void *ctx, enum shunt_log_level level, const char *tag, const char *text)
{
    struct lines *lines = ctx;

    if (strstr(text, "trying again until"))
        lines->num_failed++;
    else if (strstr(text, ") connected"))
        lines->num_connected++;
    else
        lines->num_other++;
}

static int setup_client(void **state)
{
    int result = pair_setup(state);
    struct pair *pair = *state;

    device_become_client(&pair->device, PAIR_NUM_QUEUES);
    return result;
}

static int teardown_client(void **state)
{
    shunt_log_set(SHUNT_LOG_WARNING, NULL, NULL);
    return pair_teardown(state);
}

static void run(struct pair *pair, int timeout_ms)
{
    struct pollfd events = {.fd = shunt_backend_fd(pair->device.backend), .events = POLLIN};

    poll(&events, 1, timeout_ms);
    device_run(&pair->device);
}

static void wait_for_reason(struct pair *pair, const char *text)
{
    uint64_t end_ms = clock_ms() + PATIENCE_MS;

    while (!strstr(shunt_backend_reason(pair->device.backend), text) && clock_ms() < end_ms)
        run(pair, 10);
    pair_assert_reason(pair, text);
}

static int start_listening(struct pair *pair)
{
    int fd = frontend_listen(pair->device.path);

    assert_true(fd >= 0);
    return fd;
}

static void stop_listening(struct pair *pair, int listener)
{
    close(listener);
    unlink(pair->device.path);
}

/* The front-end lets the back-end in, and gets to work. */
static void welcome(struct pair *pair, int listener)
{
    struct driver *driver = &pair->driver;

    assert_int_equal(frontend_accept(&driver->frontend, listener, driver->idle, driver->idle_ctx),
                     0);
    assert_int_equal(driver_begin(driver, PAIR_FEATURES, ALL), 0);
    assert_true(shunt_backend_is_connected(pair->device.backend));
    driver_reset_ring(driver, 0);
    pair_start(pair, 0);
    pair_assert_no_reason(pair);
    pair_assert_works(pair, 0);
}

static void test_comes_late(void **state)
{
    struct pair *pair = *state;
    int listener;

    assert_false(shunt_backend_is_connected(pair->device.backend));
    pair_assert_reason(pair, "connecting");
    wait_for_reason(pair, "No such file or directory");
    pair_assert_reason(pair, pair->device.path);
    pair_assert_reason(pair, "trying again");
    assert_int_equal(pair->device.num_connected, 0);
    listener = start_listening(pair);
    welcome(pair, listener);
    assert_int_equal(pair->device.num_connected, 1);
    stop_listening(pair, listener);
}

static void test_is_there_first(void **state)
{
    struct pair *pair = *state;
    int listener = start_listening(pair);

    run(pair, (int)PATIENCE_MS);
    assert_true(shunt_backend_is_connected(pair->device.backend));
    welcome(pair, listener);
    stop_listening(pair, listener);
}

static void test_goes_and_comes_back(void **state)
{
    struct pair *pair = *state;
    int listener = start_listening(pair);

    welcome(pair, listener);
    stop_listening(pair, listener);
    driver_disconnect(&pair->driver);
    wait_for_reason(pair, "trying again");
    assert_false(shunt_backend_is_connected(pair->device.backend));
    assert_false(device_is_started(&pair->device, 0));
    assert_int_equal(pair->device.num_disconnected, 1);
    wait_for_reason(pair, "No such file or directory");
    listener = start_listening(pair);
    welcome(pair, listener);
    stop_listening(pair, listener);
}

static void test_refuses(void **state)
{
    struct pair *pair = *state;
    int listener = make_socket(pair->device.path, SOCK_STREAM);

    wait_for_reason(pair, "Connection refused");
    pair_assert_reason(pair, "start the program that listens there");
    stop_listening(pair, listener);
    listener = start_listening(pair);
    welcome(pair, listener);
    stop_listening(pair, listener);
}

/* A connection that was of use is followed by the next one at once. */
static void test_a_hundred_reconnects(void **state)
{
    struct pair *pair = *state;
    int listener = start_listening(pair);
    unsigned num_fds = 0;

    for (unsigned i = 1; i <= 100; i++) {
        welcome(pair, listener);
        assert_int_equal(pair->device.num_connected, i);
        assert_int_equal(pair->device.num_disconnected, i - 1);
        assert_int_equal(connector_delay_ms(&pair->device.backend->connector), 50);
        if (i == 1)
            num_fds = process_num_fds(0);
        assert_int_equal(process_num_fds(0), num_fds);
        driver_disconnect(&pair->driver);
    }
    stop_listening(pair, listener);
}

/* It breaks a rule: the reason is kept until the next try, and the log. */
static void test_breaks_a_rule(void **state)
{
    struct pair *pair = *state;
    int listener = start_listening(pair);

    welcome(pair, listener);
    stop_listening(pair, listener);
    frontend_send(&pair->driver.frontend, 99, FRONTEND_VERSION, 0, NULL, 0, NULL, 0);
    for (unsigned i = 0; i < 1000 && shunt_backend_is_connected(pair->device.backend); i++) {
        struct pollfd events = {.fd = shunt_backend_fd(pair->device.backend), .events = POLLIN};

        poll(&events, 1, 10);
        shunt_backend_dispatch(pair->device.backend);
    }
    pair_assert_reason(pair, "the last front-end was disconnected: ");
    pair_assert_reason(pair, "99");
}

/* The pauses grow: 0, 50, 150, 350, 750, 1550 ms after the first. A slow machine makes fewer. */
static void test_accepts_and_closes(void **state)
{
    struct pair *pair = *state;
    int listener = start_listening(pair);
    uint64_t end_ms = clock_ms() + 1200;
    struct lines lines = {0};
    struct frontend frontend;
    unsigned num = 0;

    shunt_log_set(SHUNT_LOG_INFO, count_line, &lines);
    while (clock_ms() < end_ms) {
        struct pollfd comes = {.fd = listener, .events = POLLIN};

        run(pair, 1);
        if (poll(&comes, 1, 0) <= 0)
            continue;
        assert_int_equal(frontend_accept(&frontend, listener, NULL, NULL), 0);
        frontend_close(&frontend);
        num++;
    }
    assert_in_range(num, 2, 5);
    wait_for_reason(pair, "the front-end closed the connection");
    assert_int_equal(lines.num_connected, 1);
    assert_int_equal(lines.num_other, 1); /* disconnected */
    welcome(pair, listener);
    assert_int_equal(lines.num_connected, 2);
    assert_int_equal(lines.num_failed, 0);
    stop_listening(pair, listener);
}

/* It closed one connection, and does nothing with the next: after a time that counts as a good one. */
static void test_accepts_and_waits(void **state)
{
    struct pair *pair = *state;
    int listener = start_listening(pair);
    struct frontend frontend;
    uint64_t end_ms;

    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(frontend_accept(&frontend, listener, pair->driver.idle,
                                         pair->driver.idle_ctx),
                         0);
        if (i == 0)
            frontend_close(&frontend);
    }
    pair_assert_reason(pair, "the front-end closed the connection");
    end_ms = clock_ms() + PATIENCE_MS;
    while (shunt_backend_reason(pair->device.backend)[0] && clock_ms() < end_ms)
        run(pair, 10);
    pair_assert_no_reason(pair);
    assert_true(shunt_backend_is_connected(pair->device.backend));
    frontend_close(&frontend);
    stop_listening(pair, listener);
}

/* One line when it fails, however often, and one when it works. */
static void test_log(void **state)
{
    struct pair *pair = *state;
    struct lines lines = {0};
    int listener;

    shunt_log_set(SHUNT_LOG_INFO, count_line, &lines);
    for (uint64_t end_ms = clock_ms() + 500; clock_ms() < end_ms;)
        run(pair, 10);
    assert_int_equal(lines.num_failed, 1);
    listener = start_listening(pair);
    welcome(pair, listener);
    assert_int_equal(lines.num_connected, 1);
    assert_int_equal(lines.num_failed, 1);
    assert_int_equal(lines.num_other, 0);
    stop_listening(pair, listener);
    driver_disconnect(&pair->driver);
    wait_for_reason(pair, "No such file or directory");
    assert_int_equal(lines.num_failed, 2);
    assert_int_equal(lines.num_other, 1); /* disconnected */
}

static void test_destroyed_while_trying(void **state)
{
    struct pair *pair = *state;
    struct stat status;

    wait_for_reason(pair, "trying again");
    shunt_backend_destroy(pair->device.backend);
    pair->device.backend = NULL;
    assert_int_equal(pair->device.num_disconnected, 0);
    assert_true(stat(pair->device.path, &status) < 0);
}

static void test_create_errors(void **state)
{
    static const struct shunt_backend_ops ops;
    struct shunt_backend_config config = {.name = "client",
                                          .socket_path = "",
                                          .is_client = true,
                                          .num_virtqueues = 1};
    struct shunt_backend *backend = NULL;
    struct shunt_error error;

    assert_int_equal(shunt_backend_create(&config, &ops, NULL, &backend, &error), -EINVAL);
    assert_null(backend);
}

static void test_peer_name(void **state)
{
    struct pair *pair = *state;
    int listener = start_listening(pair);
    const struct shunt_backend *backend = pair->device.backend;

    welcome(pair, listener);
    assert_int_equal(backend->peer_pid, getpid());
    assert_string_equal(backend->peer_name, "test_connector");
    stop_listening(pair, listener);
}

#define TEST(name)   cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)
#define CLIENT(name) cmocka_unit_test_setup_teardown(name, setup_client, teardown_client)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_delays),
        TEST(test_paths),
        TEST(test_failures),
        TEST(test_full_backlog),
        CLIENT(test_comes_late),
        CLIENT(test_is_there_first),
        CLIENT(test_goes_and_comes_back),
        CLIENT(test_refuses),
        CLIENT(test_a_hundred_reconnects),
        CLIENT(test_breaks_a_rule),
        CLIENT(test_accepts_and_closes),
        CLIENT(test_accepts_and_waits),
        CLIENT(test_log),
        CLIENT(test_destroyed_while_trying),
        TEST(test_create_errors),
        CLIENT(test_peer_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
