/* SPDX-License-Identifier: BSD-3-Clause */
/* examples/echo: a program that embeds libshunt sends frames back. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "socket/frame.h"
#include "socket/guest.h"
#include "socket/lab.h"

#define TIMEOUT_MS 3000

static const struct guest_config plain = {.features = GUEST_F_VERSION_1,
                                          .num_pairs = 1,
                                          .ring_size = 64,
                                          .rx_bytes = 65562};
static const struct guest_config everything = {.features = GUEST_F_VERSION_1 | GUEST_F_EVENT_IDX |
                                                           GUEST_F_INDIRECT |
                                                           FRONTEND_F_PROTOCOL_FEATURES,
                                               .num_pairs = 1,
                                               .ring_size = 64,
                                               .rx_bytes = 65562,
                                               .layout = GUEST_PIECES};

static const uint8_t peer[6] = {0x52, 0x54, 0, 1, 2, 3};
static uint8_t frame[FRAME_BYTES + 1];

struct fixture {
    struct lab lab; /* without shuntd */
    char socket[128];
    pid_t pid;
};

static int setup(void **state)
{
    static struct fixture fixture;
    struct frontend probe;
    char option[160];

    fixture.lab = (struct lab){.folder = "/tmp/shunt-lab-XXXXXX"};
    if (!mkdtemp(fixture.lab.folder))
        return -1;
    lab_socket(&fixture.lab, fixture.socket, sizeof(fixture.socket), "echo");
    snprintf(option, sizeof(option), "--socket-path=%s", fixture.socket);
    fixture.pid = lab_spawn(&fixture.lab, "other.log", "examples/echo", option, (char *)NULL);
    *state = &fixture;
    for (unsigned i = 0; i < 1000 && frontend_open(&probe, fixture.socket) < 0; i++)
        usleep(5000);
    frontend_close(&probe);
    return 0;
}

/* It ends by the signal; the socket is left to the next one, which clears it away. */
static int teardown(void **state)
{
    struct fixture *fixture = *state;

    if (lab_stop(fixture->pid) != -1)
        lab_print_output(&fixture->lab, "other.log");
    unlink(fixture->socket);
    fixture->lab.pid = 0;
    *state = &fixture->lab;
    return lab_teardown(state);
}

static void send_frame(struct guest *guest, uint32_t len, uint32_t number)
{
    frame_fill(frame, len, peer, guest->mac, number);
    guest_must_send(guest, 0, frame, len);
}

static void expect(struct guest *guest, uint32_t len, uint32_t number)
{
    uint32_t there;

    assert_true(guest_receive(guest, 0, frame, &there, TIMEOUT_MS));
    assert_int_equal(there, len);
    assert_memory_equal(frame, guest->mac, 6);
    assert_memory_equal(frame + 6, peer, 6);
    assert_true(frame_is(frame, len, number));
}

static void all_sizes(struct fixture *fixture, const struct guest_config *config)
{
    struct guest guest;

    guest_create(&guest, config);
    guest_connect_path(&guest, fixture->socket);
    for (uint32_t len = FRAME_MIN_BYTES; len <= FRAME_BYTES; len += 1 + len / 20) {
        send_frame(&guest, len, len);
        expect(&guest, len, len);
    }
    send_frame(&guest, FRAME_BYTES, 1);
    expect(&guest, FRAME_BYTES, 1);
    guest_destroy(&guest);
}

/* The exit status of a program that ends by itself. */
static int wait_for_end(pid_t pid)
{
    int status = -1;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_plain(void **state)
{
    all_sizes(*state, &plain);
}

static void test_everything(void **state)
{
    all_sizes(*state, &everything);
}

/* It sleeps while nothing is to be done, and wakes up when something is. */
static void test_sleeps(void **state)
{
    struct fixture *fixture = *state;
    struct guest guest;

    guest_create(&guest, &everything);
    guest_connect_path(&guest, fixture->socket);
    for (uint32_t i = 0; i < 200; i++) {
        usleep(i * 7919 % 1000);
        send_frame(&guest, 100, i);
        expect(&guest, 100, i);
    }
    guest_destroy(&guest);
}

/* What is no frame, or finds no room, is lost; the rest goes on. */
static void test_losses(void **state)
{
    struct fixture *fixture = *state;
    struct guest guest;

    guest_create(&guest, &plain);
    guest_connect_path(&guest, fixture->socket);
    guest.keeps_buffers = true;
    memset(frame, 0, sizeof(frame));
    guest_must_send(&guest, 0, frame, 13);
    guest_must_send(&guest, 0, frame, FRAME_BYTES + 1);
    for (uint32_t i = 0; i < 100; i++) {
        send_frame(&guest, 60, i);
        guest_wait_sent(&guest, 0);
    }
    for (uint32_t i = 0; i < plain.ring_size; i++)
        expect(&guest, 60, i);
    guest_assert_quiet(&guest);
    guest_refill(&guest, 0);
    send_frame(&guest, 60, 1);
    expect(&guest, 60, 1);
    guest_destroy(&guest);
}

static void test_guests_come_and_go(void **state)
{
    struct fixture *fixture = *state;
    struct guest guest;

    guest_create(&guest, &everything);
    for (uint32_t i = 0; i < 50; i++) {
        guest_connect_path(&guest, fixture->socket);
        send_frame(&guest, 1000, i);
        expect(&guest, 1000, i);
        guest_reset(&guest);
        send_frame(&guest, 1000, i);
        expect(&guest, 1000, i);
        guest_detach(&guest);
    }
    guest_destroy(&guest);
}

/* "Backend program conventions": what it is, whatever else it is told. */
static void test_capabilities(void **state)
{
    struct fixture *fixture = *state;
    char path[160], said[64] = "";
    FILE *output;
    pid_t pid = lab_spawn(&fixture->lab, "capabilities.log", "examples/echo", "--fd=99",
                          "--print-capabilities", (char *)NULL);

    snprintf(path, sizeof(path), "%s/capabilities.log", fixture->lab.folder);
    assert_int_equal(wait_for_end(pid), 0);
    output = fopen(path, "re");
    assert_non_null(output);
    assert_non_null(fgets(said, sizeof(said), output));
    fclose(output);
    unlink(path);
    assert_string_equal(said, "{\"type\": \"net\"}\n");
}

/* With --fd it serves the connection that it was born with, and ends with it. */
static void test_handed_over(void **state)
{
    struct fixture *fixture = *state;
    struct frontend frontend;
    char option[32], path[160];
    int fds[2];
    pid_t pid;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    fcntl(fds[0], F_SETFD, FD_CLOEXEC);
    snprintf(option, sizeof(option), "--fd=%d", fds[1]);
    pid = lab_spawn(&fixture->lab, "handed.log", "examples/echo", option, (char *)NULL);
    close(fds[1]);
    frontend_adopt(&frontend, fds[0]);
    assert_int_equal(frontend_negotiate(&frontend, UINT64_MAX, UINT64_MAX), 0);
    assert_int_equal(frontend_sync(&frontend), 0);
    frontend_close(&frontend);
    assert_int_equal(wait_for_end(pid), 0);
    snprintf(path, sizeof(path), "%s/handed.log", fixture->lab.folder);
    unlink(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_plain),       TEST(test_everything),         TEST(test_sleeps),
        TEST(test_losses),      TEST(test_guests_come_and_go), TEST(test_capabilities),
        TEST(test_handed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
