/* SPDX-License-Identifier: BSD-3-Clause */
/* The device's state through a pipe: never in one go, and not always to the end. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/pair.h"

#define SAVE 0
#define LOAD 1

#define PIPE_BYTES  4096
#define STATE_BYTES 100000
#define MAX_BYTES   ((size_t)1 << 20)

#define NO_FD  0x100u
#define FAILED 0x101u

static uint8_t content[MAX_BYTES + 1];

/*
 * fds[0] is to be read, fds[1] to be written; small, so that little goes through at a time. They block, and
 * the back-end may not rely on anybody to change that.
 */
static void make_pipe(int fds[2])
{
    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (uint8_t)(i * 31 + i / 256);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(fcntl(fds[0], F_SETPIPE_SZ, PIPE_BYTES), PIPE_BYTES);
}

/* The back-end's end is closed here afterwards. */
static uint64_t set_fd(struct frontend *frontend, uint32_t direction, uint32_t phase, int fd)
{
    uint32_t transfer[2] = {direction, phase};
    struct frontend_message answer;
    uint64_t result;

    assert_int_equal(frontend_ask_with(frontend, FRONTEND_SET_DEVICE_STATE_FD, transfer,
                                       sizeof(transfer), &fd, 1, &answer),
                     0);
    close(fd);
    assert_int_equal(answer.size, sizeof(result));
    memcpy(&result, answer.payload, sizeof(result));
    return result;
}

static uint64_t check(struct frontend *frontend)
{
    uint64_t result;

    assert_int_equal(frontend_ask_u64(frontend, FRONTEND_CHECK_DEVICE_STATE, &result), 0);
    return result;
}

static void send_check(struct frontend *frontend)
{
    assert_int_equal(frontend_send(frontend, FRONTEND_CHECK_DEVICE_STATE, FRONTEND_VERSION, 0, NULL,
                                   0, NULL, 0),
                     0);
}

static uint64_t receive_check(struct frontend *frontend)
{
    struct frontend_message answer;
    uint64_t result;

    assert_int_equal(frontend_receive(frontend, &answer), 0);
    assert_int_equal(answer.request, FRONTEND_CHECK_DEVICE_STATE);
    assert_int_equal(answer.size, sizeof(result));
    memcpy(&result, answer.payload, sizeof(result));
    return result;
}

static bool is_answered(const struct frontend *frontend)
{
    struct pollfd socket = {.fd = frontend->fd, .events = POLLIN};

    return poll(&socket, 1, 0) > 0;
}

/* Reads to the end, which comes only if the device goes on and closes its end. */
static size_t read_all(struct pair *pair, int fd, uint8_t *bytes, size_t max)
{
    size_t len = 0;
    ssize_t num;

    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    while ((num = read(fd, bytes + len, max - len)) != 0) {
        assert_true(num > 0 || errno == EAGAIN);
        len += num > 0 ? (size_t)num : 0;
        device_run(&pair->device);
    }
    return len;
}

static void write_all(struct pair *pair, int fd, size_t len)
{
    size_t done = 0;

    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    while (done < len) {
        ssize_t num = write(fd, content + done, len - done);

        if (num < 0 && errno == EPIPE)
            return;
        assert_true(num > 0 || errno == EAGAIN);
        done += num > 0 ? (size_t)num : 0;
        device_run(&pair->device);
    }
}

static void test_save(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    uint8_t *bytes = malloc(MAX_BYTES);
    int fds[2];

    make_pipe(fds);
    pair->device.state = content;
    pair->device.state_len = STATE_BYTES;
    assert_int_equal(set_fd(frontend, SAVE, 0, fds[1]), NO_FD);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_int_equal(read_all(pair, fds[0], bytes, MAX_BYTES), STATE_BYTES);
    assert_memory_equal(bytes, content, STATE_BYTES);
    assert_int_equal(check(frontend), 0);
    close(fds[0]);
    free(bytes);
}

/* Asked too early, the answer comes when it is known. */
static void test_check_waits(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    uint8_t *bytes = malloc(MAX_BYTES);
    int fds[2];

    make_pipe(fds);
    pair->device.state = content;
    pair->device.state_len = STATE_BYTES;
    assert_int_equal(set_fd(frontend, SAVE, 0, fds[1]), NO_FD);
    send_check(frontend);
    device_run(&pair->device);
    assert_false(is_answered(frontend));
    assert_int_equal(read_all(pair, fds[0], bytes, MAX_BYTES), STATE_BYTES);
    assert_int_equal(receive_check(frontend), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    close(fds[0]);
    free(bytes);
}

/* Between a question and its late answer nothing may come. */
static void test_message_while_check_waits(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    int fds[2];

    make_pipe(fds);
    pair->device.state = content;
    pair->device.state_len = STATE_BYTES;
    assert_int_equal(set_fd(frontend, SAVE, 0, fds[1]), NO_FD);
    send_check(frontend);
    frontend_call(frontend, FRONTEND_SET_OWNER, NULL, 0, NULL, 0);
    pair_assert_disconnected(pair, "CHECK_DEVICE_STATE is not answered yet");
    close(fds[0]);
}

static void test_nothing_to_save(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    uint8_t byte;
    int fds[2];

    make_pipe(fds);
    assert_int_equal(set_fd(frontend, SAVE, 0, fds[1]), NO_FD);
    assert_int_equal(read_all(pair, fds[0], &byte, 1), 0);
    assert_int_equal(check(frontend), 0);
    close(fds[0]);
}

/* A reader that is gone: no signal reaches the program (it would end it), and the check says so. */
static void test_reader_leaves(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    int fds[2];

    make_pipe(fds);
    pair->device.state = content;
    pair->device.state_len = STATE_BYTES;
    assert_int_equal(set_fd(frontend, SAVE, 0, fds[1]), NO_FD);
    close(fds[0]);
    device_run(&pair->device);
    assert_int_equal(check(frontend), 1);
    assert_int_equal(frontend_sync(frontend), 0);
}

static void test_load(void **state)
{
    static const size_t sizes[] = {0, 1, PIPE_BYTES, STATE_BYTES, MAX_BYTES};
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);

    pair->device.loaded = malloc(MAX_BYTES);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        int fds[2];

        make_pipe(fds);
        assert_int_equal(set_fd(frontend, LOAD, 0, fds[0]), NO_FD);
        write_all(pair, fds[1], sizes[i]);
        assert_int_equal(pair->device.num_loaded, i);
        close(fds[1]);
        assert_int_equal(check(frontend), 0);
        assert_int_equal(pair->device.num_loaded, i + 1);
        assert_int_equal(pair->device.loaded_len, sizes[i]);
        assert_memory_equal(pair->device.loaded, content, sizes[i]);
    }
    free(pair->device.loaded);
}

static void test_load_too_much(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    int fds[2];

    make_pipe(fds);
    assert_int_equal(set_fd(frontend, LOAD, 0, fds[0]), NO_FD);
    write_all(pair, fds[1], MAX_BYTES);
    send_check(frontend);
    device_run(&pair->device);
    assert_false(is_answered(frontend));
    assert_int_equal(write(fds[1], content, 1), 1);
    assert_int_equal(receive_check(frontend), 1);
    assert_int_equal(pair->device.num_loaded, 0);
    close(fds[1]);
}

static void test_program_refuses(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    int fds[2];

    pair->device.state_result = -EIO;
    make_pipe(fds);
    assert_int_equal(set_fd(frontend, SAVE, 0, fds[1]), FAILED);
    close(fds[0]);
    assert_int_equal(check(frontend), 1);
    make_pipe(fds);
    assert_int_equal(set_fd(frontend, LOAD, 0, fds[0]), NO_FD);
    close(fds[1]);
    assert_int_equal(check(frontend), 1);
    assert_int_equal(pair->device.num_loaded, 1);
}

static void test_refused(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    int fds[2];

    assert_int_equal(check(frontend), 1);
    make_pipe(fds);
    assert_int_equal(set_fd(frontend, 2, 0, fds[0]), FAILED);
    assert_int_equal(set_fd(frontend, SAVE, 1, fds[1]), FAILED);
    assert_int_equal(set_fd(frontend, LOAD, 0, memfd_create("file", MFD_CLOEXEC)), FAILED);
    assert_int_equal(check(frontend), 1);
    pair_start(pair, 0);
    make_pipe(fds);
    assert_int_equal(set_fd(frontend, LOAD, 0, fds[0]), FAILED);
    close(fds[1]);
    pair_assert_works(pair, 0);
}

/* A new transfer takes the place of one that never ended, and a connection's end ends it. */
static void test_abandoned(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    int fds[2], others[2];
    uint8_t byte;

    pair->device.state = content;
    pair->device.state_len = STATE_BYTES;
    make_pipe(fds);
    make_pipe(others);
    assert_int_equal(set_fd(frontend, SAVE, 0, fds[1]), NO_FD);
    assert_int_equal(set_fd(frontend, LOAD, 0, others[0]), NO_FD);
    close(others[1]);
    assert_int_equal(check(frontend), 0);
    close(fds[0]);
    make_pipe(fds);
    assert_int_equal(set_fd(frontend, SAVE, 0, fds[1]), NO_FD);
    pair_disconnect(pair);
    while (read(fds[0], &byte, 1) > 0)
        ;
    close(fds[0]);
    assert_int_equal(check(pair_connect(pair)), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_save),
        TEST(test_check_waits),
        TEST(test_message_while_check_waits),
        TEST(test_nothing_to_save),
        TEST(test_reader_leaves),
        TEST(test_load),
        TEST(test_load_too_much),
        TEST(test_program_refuses),
        TEST(test_refused),
        TEST(test_abandoned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
