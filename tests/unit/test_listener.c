/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a socket may be made, and what is left of it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/listener.h"
#include "lib/frontend.h"
#include "lib/process.h"

struct fixture {
    char folder[64];
    char path[96];
    struct listener listener;
    struct shunt_error error;
    unsigned num_fds;
};

static int setup(void **state)
{
    static struct fixture fixture;

    fixture = (struct fixture){.folder = "/tmp/shunt-listener-XXXXXX", .listener = {.fd = -1}};
    fixture.num_fds = process_num_fds(0);
    if (!mkdtemp(fixture.folder))
        return -1;
    snprintf(fixture.path, sizeof(fixture.path), "%s/socket", fixture.folder);
    *state = &fixture;
    return 0;
}

/* The folder must be empty, and nothing open. */
static int teardown(void **state)
{
    struct fixture *fixture = *state;

    listener_close(&fixture->listener);
    if (rmdir(fixture->folder) < 0)
        return -1;
    return process_num_fds(0) == fixture->num_fds ? 0 : -1;
}

static bool exists(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0;
}

static void assert_open_fails(struct fixture *fixture, const char *path, int code, const char *text)
{
    fixture->error = (struct shunt_error){0};
    assert_int_equal(listener_open(&fixture->listener, path, &fixture->error), code);
    assert_int_equal(fixture->error.code, code);
    assert_non_null(strstr(fixture->error.text, text));
    assert_null(strchr(fixture->error.text, '\n'));
    assert_int_equal(fixture->listener.fd, -1);
}

static void assert_opens(struct fixture *fixture)
{
    assert_int_equal(listener_open(&fixture->listener, fixture->path, &fixture->error), 0);
    assert_true(fixture->listener.fd >= 0);
}

static void test_accept(void **state)
{
    struct fixture *fixture = *state;
    struct frontend peers[3];

    assert_opens(fixture);
    assert_int_equal(listener_accept(&fixture->listener), -EAGAIN);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(frontend_open(&peers[i], fixture->path), 0);
    for (unsigned i = 0; i < 3; i++) {
        int fd = listener_accept(&fixture->listener);

        assert_true(fd >= 0);
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
        close(fd);
        frontend_close(&peers[i]);
    }
    assert_int_equal(listener_accept(&fixture->listener), -EAGAIN);
}

static void test_removes_its_file(void **state)
{
    struct fixture *fixture = *state;

    assert_opens(fixture);
    assert_true(exists(fixture->path));
    listener_close(&fixture->listener);
    assert_false(exists(fixture->path));
    listener_close(&fixture->listener);
}

/* Somebody replaced the file meanwhile: it is not ours to remove. */
static void test_leaves_other_file(void **state)
{
    struct fixture *fixture = *state;
    struct listener other = {.fd = -1};

    assert_opens(fixture);
    assert_int_equal(unlink(fixture->path), 0);
    assert_int_equal(listener_open(&other, fixture->path, &fixture->error), 0);
    listener_close(&fixture->listener);
    assert_true(exists(fixture->path));
    listener_close(&other);
}

static void test_path_lengths(void **state)
{
    struct fixture *fixture = *state;
    char path[200];

    assert_open_fails(fixture, "", -EINVAL, "empty");
    memset(path, 'x', sizeof(path));
    memcpy(path, fixture->folder, strlen(fixture->folder));
    path[strlen(fixture->folder)] = '/';
    path[108] = '\0';
    assert_open_fails(fixture, path, -ENAMETOOLONG, "108 bytes long, at most 107");
    path[107] = '\0';
    assert_int_equal(listener_open(&fixture->listener, path, &fixture->error), 0);
}

static void test_stale_socket(void **state)
{
    struct fixture *fixture = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", fixture->path);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    assert_true(exists(fixture->path));
    assert_opens(fixture);
}

static void test_live_socket(void **state)
{
    struct fixture *fixture = *state;
    struct listener live;

    assert_int_equal(listener_open(&live, fixture->path, &fixture->error), 0);
    assert_open_fails(fixture, fixture->path, -EADDRINUSE, "is in use by another program");
    assert_true(exists(fixture->path));
    listener_close(&live);
}

/* One whose backlog is full answers nobody, but it lives. */
static void test_busy_socket(void **state)
{
    struct fixture *fixture = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct frontend peer;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", fixture->path);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(frontend_open(&peer, fixture->path), 0);
    assert_open_fails(fixture, fixture->path, -EADDRINUSE, "is in use by another program");
    frontend_close(&peer);
    close(fd);
    unlink(fixture->path);
}

static void assert_not_touched(struct fixture *fixture)
{
    assert_open_fails(fixture, fixture->path, -EEXIST, "exists and is not a socket");
    assert_true(exists(fixture->path));
}

static void test_something_else(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(close(open(fixture->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), 0);
    assert_not_touched(fixture);
    unlink(fixture->path);

    assert_int_equal(mkdir(fixture->path, 0700), 0);
    assert_not_touched(fixture);
    rmdir(fixture->path);

    assert_int_equal(symlink("elsewhere", fixture->path), 0);
    assert_not_touched(fixture);
    unlink(fixture->path);
}

static void test_socket_of_other_type(void **state)
{
    struct fixture *fixture = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", fixture->path);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_open_fails(fixture, fixture->path, -EPROTOTYPE, fixture->path);
    assert_true(exists(fixture->path));
    close(fd);
    unlink(fixture->path);
}

static void test_folder(void **state)
{
    struct fixture *fixture = *state;
    char path[128];

    snprintf(path, sizeof(path), "%s/absent/socket", fixture->folder);
    assert_open_fails(fixture, path, -ENOENT, "its folder does not exist");
    snprintf(path, sizeof(path), "%s/file", fixture->folder);
    assert_int_equal(close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), 0);
    strcat(path, "/socket");
    assert_open_fails(fixture, path, -ENOTDIR, path);
    snprintf(path, sizeof(path), "%s/file", fixture->folder);
    unlink(path);
}

/* As root everything may be written: where it may not, is a file system that is read-only. */
static void test_read_only(void **state)
{
    struct shunt_error error = {0};
    struct listener listener;

    assert_true(listener_open(&listener, "/proc/self/socket", &error) < 0);
    assert_non_null(strstr(error.text, "/proc/self/socket"));
    assert_int_equal(listener.fd, -1);
}

/* --- A socket that listens already ------------------------------------------------------------------ */

static void test_adopt(void **state)
{
    struct fixture *fixture = *state;
    struct frontend peer;
    int fd = frontend_listen(fixture->path);

    assert_int_equal(listener_adopt(&fixture->listener, fd, &fixture->error), 0);
    assert_int_equal(fixture->listener.fd, fd);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(listener_accept(&fixture->listener), -EAGAIN);
    assert_int_equal(frontend_open(&peer, fixture->path), 0);
    fd = listener_accept(&fixture->listener);
    assert_true(fd >= 0);
    close(fd);
    frontend_close(&peer);
    /* Whoever made the file removes it. */
    listener_close(&fixture->listener);
    assert_true(exists(fixture->path));
    unlink(fixture->path);
}

static void assert_not_adopted(struct fixture *fixture, int fd, int code, const char *text)
{
    assert_int_equal(listener_adopt(&fixture->listener, fd, &fixture->error), code);
    assert_int_equal(fixture->error.code, code);
    assert_non_null(strstr(fixture->error.text, text));
    assert_int_equal(fixture->listener.fd, -1);
    if (fd >= 0)
        assert_int_equal(close(fd), 0); /* it is still ours */
}

static void test_adopt_errors(void **state)
{
    struct fixture *fixture = *state;

    assert_not_adopted(fixture, open("/dev/null", O_RDONLY | O_CLOEXEC), -ENOTSOCK, "no socket");
    assert_not_adopted(fixture, socket(AF_UNIX, SOCK_STREAM, 0), -EINVAL, "listens");
    assert_not_adopted(fixture, socket(AF_UNIX, SOCK_DGRAM, 0), -EINVAL, "no stream socket");
    assert_not_adopted(fixture, -1, -EBADF, "no socket");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_accept),       TEST(test_removes_its_file), TEST(test_leaves_other_file),
        TEST(test_path_lengths), TEST(test_stale_socket),     TEST(test_live_socket),
        TEST(test_busy_socket),  TEST(test_something_else),   TEST(test_socket_of_other_type),
        TEST(test_folder),       TEST(test_read_only),        TEST(test_adopt),
        TEST(test_adopt_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
