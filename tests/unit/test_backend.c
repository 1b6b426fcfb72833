/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of a back-end: its connections, one after the other, and the states of its rings. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <shunt/log.h>

#include "lib/pair.h"
#include "lib/process.h"

#define VERSION_1 (UINT64_C(1) << 32)
#define ALL       UINT64_MAX

/* --- Being made ------------------------------------------------------------------------------------- */

static void assert_not_created(const struct shunt_backend_config *config, int code)
{
    static const struct shunt_backend_ops ops;
    struct shunt_backend *backend = NULL;
    struct shunt_error error = {0};

    assert_int_equal(shunt_backend_create(config, &ops, NULL, &backend, &error), code);
    assert_int_equal(error.code, code);
    assert_true(error.text[0] != '\0');
    assert_null(backend);
    assert_int_equal(shunt_backend_create(config, &ops, NULL, &backend, NULL), code);
}

static void test_create_errors(void **state)
{
    struct pair *pair = *state;
    const struct shunt_backend_config good = {.name = "other",
                                              .socket_path = "/tmp/absent/socket",
                                              .num_virtqueues = 2};
    struct shunt_backend_config config = good;

    assert_not_created(&config, -ENOENT);
    config.socket_path = pair->device.path;
    assert_not_created(&config, -EADDRINUSE);
    config.socket_path = pair->device.folder;
    assert_not_created(&config, -EEXIST);
    config.num_virtqueues = 0;
    assert_not_created(&config, -EINVAL);
    config.num_virtqueues = SHUNT_BACKEND_MAX_VIRTQUEUES + 1;
    assert_not_created(&config, -EINVAL);
    config = good;
    config.config_len = 257;
    assert_not_created(&config, -EINVAL);
    shunt_backend_destroy(NULL);
}

static void test_before_connection(void **state)
{
    struct pair *pair = *state;

    assert_false(shunt_backend_is_connected(pair->device.backend));
    assert_int_equal(shunt_backend_features(pair->device.backend), 0);
    assert_int_equal(shunt_memory_num_regions(shunt_backend_memory(pair->device.backend)), 0);
    pair_assert_reason(pair, "waiting for a front-end");
    assert_int_equal(device_echo(&pair->device, 0), -ENOTCONN);
    shunt_backend_dispatch(pair->device.backend);
}

/* A program that is told of nothing. */
static void test_without_ops(void **state)
{
    static const struct shunt_backend_ops none;
    struct pair *pair = *state;
    struct device device = pair->device;
    struct shunt_backend_config config = {.name = "plain",
                                          .socket_path = device.path,
                                          .num_virtqueues = 2,
                                          .config_len = 8};
    uint8_t byte;

    snprintf(device.path, sizeof(device.path), "%s/plain", device.folder);
    assert_int_equal(shunt_backend_create(&config, &none, NULL, &device.backend, NULL), 0);
    device_attach(&device, &pair->driver);
    assert_int_equal(driver_connect(&pair->driver, device.path, PAIR_FEATURES, ALL), 0);
    assert_int_equal(driver_start(&pair->driver, 0), 0);
    device_run(&device);
    assert_true(device_is_started(&device, 0));
    assert_int_equal(frontend_get_config(&pair->driver.frontend, 0, &byte, 1), -EREMOTEIO);
    frontend_set_config(&pair->driver.frontend, 0, &byte, 1);
    assert_int_equal(frontend_wait_closed(&pair->driver.frontend), 0);
    shunt_backend_destroy(device.backend);
}

/* --- Connections ------------------------------------------------------------------------------------ */

static void test_one_after_another(void **state)
{
    struct pair *pair = *state;

    for (unsigned i = 1; i <= 5; i++) {
        pair_connect(pair);
        assert_true(shunt_backend_is_connected(pair->device.backend));
        pair_assert_no_reason(pair);
        assert_int_equal(pair->device.num_connected, i);
        driver_reset_ring(&pair->driver, 0);
        pair_start(pair, 0);
        pair_assert_works(pair, 0);
        pair_disconnect(pair);
        assert_int_equal(pair->device.num_disconnected, i);
        pair_assert_reason(pair, "waiting for a front-end to connect");
        assert_false(device_is_started(&pair->device, 0));
        assert_false(device_is_enabled(&pair->device, 0));
        assert_int_equal(shunt_backend_features(pair->device.backend), 0);
        assert_int_equal(shunt_backend_protocol_features(pair->device.backend), 0);
        assert_int_equal(shunt_memory_num_regions(shunt_backend_memory(pair->device.backend)), 0);
    }
}

/* Nothing of a connection is there in the next: neither size nor addresses, index nor descriptors. */
static void test_nothing_is_left(void **state)
{
    struct pair *pair = *state;
    uint32_t base;

    pair_connect(pair);
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
    pair_connect(pair);
    assert_int_equal(shunt_virtqueue_size(pair_virtqueue(pair, 0)), 0);
    assert_int_equal(shunt_virtqueue_kick_fd(pair_virtqueue(pair, 0)), -1);
    assert_int_equal(frontend_get_base(&pair->driver.frontend, 0, &base), 0);
    assert_int_equal(base, 0);
    frontend_set_fd(&pair->driver.frontend, FRONTEND_SET_VRING_KICK, 0, pair->driver.kick_fds[0]);
    driver_kick(&pair->driver, 0);
    assert_int_equal(frontend_wait_closed(&pair->driver.frontend), 0);
    pair_assert_reason(pair, "virtqueue 0: the ring is started without a size");
}

static void test_second_front_end(void **state)
{
    struct pair *pair = *state;
    struct frontend second;

    pair_connect(pair);
    pair_start(pair, 0);
    assert_int_equal(frontend_open(&second, pair->device.path), 0);
    second.idle = pair->driver.idle;
    second.idle_ctx = pair->driver.idle_ctx;
    assert_int_equal(frontend_wait_closed(&second), 0);
    frontend_close(&second);
    assert_int_equal(pair->device.num_connected, 1);
    pair_assert_works(pair, 0);
    assert_int_equal(frontend_sync(&pair->driver.frontend), 0);
}

/* The old one is gone and the next one is there before the back-end was dispatched. */
static void test_quick_successor(void **state)
{
    struct pair *pair = *state;

    pair_connect(pair);
    pair_start(pair, 0);
    driver_disconnect(&pair->driver);
    driver_reset_ring(&pair->driver, 0);
    pair_connect(pair);
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
    assert_int_equal(pair->device.num_connected, 2);
    assert_int_equal(pair->device.num_disconnected, 1);
}

static void test_many_at_once(void **state)
{
    struct pair *pair = *state;
    struct frontend frontends[200];
    unsigned num_fds;

    pair_connect(pair);
    num_fds = process_num_fds(0);
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(frontend_open(&frontends[i], pair->device.path), 0);
        if (i % 8 == 7)
            device_run(&pair->device);
    }
    device_run(&pair->device);
    assert_int_equal(process_num_fds(0), num_fds + 200);
    for (unsigned i = 0; i < 200; i++)
        frontend_close(&frontends[i]);
    assert_int_equal(frontend_sync(&pair->driver.frontend), 0);
}

static void test_half_a_message(void **state)
{
    struct pair *pair = *state;
    uint32_t bytes[4] = {FRONTEND_SET_VRING_CALL, FRONTEND_VERSION, 8, 0};

    pair_connect(pair);
    pair_start(pair, 0);
    assert_int_equal(frontend_send_bytes(&pair->driver.frontend, bytes, sizeof(bytes),
                                         pair->driver.call_fds, 1),
                     0);
    device_run(&pair->device);
    pair_assert_works(pair, 0);
    pair_disconnect(pair);
    assert_int_equal(pair->device.num_disconnected, 1);
}

/* It asks and asks, and reads no answer. */
static void test_front_end_does_not_read(void **state)
{
    uint32_t header[3] = {FRONTEND_GET_FEATURES, FRONTEND_VERSION, 0};
    struct pair *pair = *state;
    ssize_t num;

    pair_connect(pair);
    do {
        num = send(pair->driver.frontend.fd, header, sizeof(header), MSG_DONTWAIT | MSG_NOSIGNAL);
        device_run(&pair->device);
    } while (num > 0);
    assert_false(shunt_backend_is_connected(pair->device.backend));
    pair_assert_reason(pair, "replying to message 1");
}

static void test_destroyed_while_connected(void **state)
{
    struct pair *pair = *state;
    struct stat status;

    pair_connect(pair);
    pair_start(pair, 0);
    shunt_backend_destroy(pair->device.backend);
    pair->device.backend = NULL;
    pair->driver.frontend.idle = NULL;
    assert_int_equal(frontend_wait_closed(&pair->driver.frontend), 0);
    assert_int_equal(pair->device.num_disconnected, 1);
    assert_int_equal(pair->device.num_queue_changed[0], 3);
    assert_true(stat(pair->device.path, &status) < 0);
}

/* What was popped before the end is pushed after it, into a ring that may be another one. */
static void test_disconnect_in_the_middle(void **state)
{
    struct pair *pair = *state;
    struct ring_buffer buffer = driver_buffer(&pair->driver, 0, 64, true);
    struct shunt_virtqueue *queue = pair_virtqueue(pair, 0);
    struct shunt_chain chain;
    struct iovec iov;

    pair_connect(pair);
    pair_start(pair, 0);
    driver_add(&pair->driver, 0, &buffer, 1);
    shunt_virtqueue_lock(queue);
    assert_int_equal(shunt_virtqueue_pop(queue, &chain, &iov, 1), 1);
    shunt_virtqueue_unlock(queue);
    pair_disconnect(pair);
    driver_reset_ring(&pair->driver, 0);
    pair_connect(pair);
    pair_start(pair, 0);
    shunt_virtqueue_lock(queue);
    shunt_virtqueue_push(queue, &chain, &iov, 64);
    shunt_virtqueue_publish(queue);
    shunt_virtqueue_unlock(queue);
    assert_int_equal(ring_num_used(&pair->driver.rings[0]), 0);
    pair_assert_works(pair, 0);
}

/* --- No descriptors --------------------------------------------------------------------------------- */

static unsigned num_lines;

static void count_line(void *ctx, enum shunt_log_level level, const char *tag, const char *text)
{
    if (strstr(text, "cannot be accepted: Too many open files"))
        num_lines++;
}

/* No more than are open; what there was before. */
static struct rlimit forbid_descriptors(void)
{
    struct rlimit before, none;
    int next = dup(0);

    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    return before;
}

/* Who cannot be accepted must not keep us busy, and is accepted when there are descriptors again. */
static void test_no_descriptors(void **state)
{
    struct pair *pair = *state;
    struct pollfd events = {.fd = shunt_backend_fd(pair->device.backend), .events = POLLIN};
    struct rlimit before;

    assert_int_equal(frontend_open(&pair->driver.frontend, pair->device.path), 0);
    num_lines = 0;
    shunt_log_set(SHUNT_LOG_WARNING, count_line, NULL);
    before = forbid_descriptors();
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(poll(&events, 1, 20000), 1);
        for (unsigned j = 0; j < 2; j++) /* the timer, and what it makes us look at */
            shunt_backend_dispatch(pair->device.backend);
        assert_int_equal(poll(&events, 1, 0), 0);
        pair_assert_reason(pair, "cannot be accepted: Too many open files");
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    shunt_log_set(SHUNT_LOG_WARNING, NULL, NULL);
    assert_int_equal(num_lines, 1);
    while (!shunt_backend_is_connected(pair->device.backend)) {
        assert_int_equal(poll(&events, 1, 20000), 1);
        shunt_backend_dispatch(pair->device.backend);
    }
    pair_assert_no_reason(pair);
}

/* --- A socket that was handed over ------------------------------------------------------------------ */

static void test_connection_handed_over(void **state)
{
    struct pair *pair = *state;
    struct driver *driver = &pair->driver;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    device_become_adopter(&pair->device, PAIR_NUM_QUEUES, fds[0]);
    assert_int_equal(pair->device.num_connected, 0);
    frontend_adopt(&driver->frontend, fds[1]);
    assert_int_equal(driver_begin(driver, PAIR_FEATURES, ALL), 0);
    assert_int_equal(pair->device.num_connected, 1);
    pair_assert_no_reason(pair);
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
    pair_disconnect(pair);
    assert_int_equal(pair->device.num_disconnected, 1);
    pair_assert_reason(pair, "the only connection has ended: the front-end closed it");
    assert_int_equal(fcntl(fds[0], F_GETFD), -1);
    device_run(&pair->device);
    assert_int_equal(pair->device.num_connected, 1);
}

static void test_handed_over_and_not_begun(void **state)
{
    struct pair *pair = *state;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    device_become_adopter(&pair->device, PAIR_NUM_QUEUES, fds[0]);
    shunt_backend_destroy(pair->device.backend);
    pair->device.backend = NULL;
    assert_int_equal(pair->device.num_disconnected, 0);
    assert_int_equal(fcntl(fds[0], F_GETFD), -1);
    close(fds[1]);
}

static void test_listening_socket_handed_over(void **state)
{
    struct pair *pair = *state;
    char path[sizeof(pair->device.path)];

    snprintf(path, sizeof(path), "%s/handed", pair->device.folder);
    device_become_adopter(&pair->device, PAIR_NUM_QUEUES, frontend_listen(path));
    memcpy(pair->device.path, path, sizeof(path));
    for (unsigned i = 1; i <= 3; i++) {
        pair_assert_reason(pair, "waiting for a front-end to connect");
        pair_connect(pair);
        driver_reset_ring(&pair->driver, 0);
        pair_start(pair, 0);
        pair_assert_works(pair, 0);
        pair_disconnect(pair);
        assert_int_equal(pair->device.num_connected, i);
    }
    unlink(path);
}

static void test_handed_over_in_error(void **state)
{
    struct shunt_backend_config config = {.name = "adopter", .num_virtqueues = 2};
    int fds[2] = {socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
                  open("/dev/null", O_RDWR | O_CLOEXEC)};

    config.fd = fds[0];
    assert_not_created(&config, -ENOTCONN);
    config.fd = fds[1];
    assert_not_created(&config, -ENOTSOCK);
    config.fd = -1;
    assert_not_created(&config, -EBADF);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(close(fds[i]), 0); /* they are still ours */
}

/* --- Many rounds ------------------------------------------------------------------------------------ */

/* One round of what breaks connections. */
static void one_round(struct pair *pair, unsigned round)
{
    struct driver *driver = &pair->driver;

    driver_reset_ring(driver, 0);
    pair_connect(pair);
    pair_start(pair, 0);
    if (round % 4 == 0)
        pair_break_queue(pair, 0);
    if (round % 4 == 1)
        frontend_set_state(&driver->frontend, FRONTEND_SET_VRING_NUM, 0, 3);
    if (round % 4 == 2)
        frontend_send(&driver->frontend, FRONTEND_SET_MEM_TABLE, FRONTEND_VERSION, 300, NULL, 0,
                      driver->kick_fds, 3);
    driver_disconnect(driver);
    device_run(&pair->device);
    assert_false(shunt_backend_is_connected(pair->device.backend));
}

static void test_a_thousand_rounds(void **state)
{
    struct pair *pair = *state;
    unsigned num_fds, num_mappings;

    one_round(pair, 0);
    num_fds = process_num_fds(0);
    num_mappings = process_num_mappings(0);
    for (unsigned round = 0; round < 1000; round++)
        one_round(pair, round);
    assert_int_equal(process_num_fds(0), num_fds);
    assert_int_equal(process_num_mappings(0), num_mappings);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

static const struct CMUnitTest tests[] = {
    TEST(test_create_errors),
    TEST(test_before_connection),
    TEST(test_without_ops),
    TEST(test_one_after_another),
    TEST(test_nothing_is_left),
    TEST(test_second_front_end),
    TEST(test_quick_successor),
    TEST(test_many_at_once),
    TEST(test_half_a_message),
    TEST(test_front_end_does_not_read),
    TEST(test_destroyed_while_connected),
    TEST(test_disconnect_in_the_middle),
    TEST(test_no_descriptors),
    TEST(test_connection_handed_over),
    TEST(test_handed_over_and_not_begun),
    TEST(test_listening_socket_handed_over),
    TEST(test_handed_over_in_error),
    TEST(test_a_thousand_rounds),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
