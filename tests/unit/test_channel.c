/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages over a socket pair: framing, file descriptors, and peers that break both. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/frontend.h"
#include "lib/process.h"
#include "vhost_user/channel.h"

struct fixture {
    struct channel channel;
    struct frontend peer;
    struct wire_message message;
    struct shunt_error error;
    int file; /* something to send */
    unsigned num_fds;
};

static int setup(void **state)
{
    static struct fixture fixture;
    int pair[2];

    fixture = (struct fixture){.num_fds = process_num_fds(0)};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ||
        fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0)
        return -1;
    channel_open(&fixture.channel, pair[0]);
    fixture.peer = (struct frontend){.fd = pair[1], .timeout_ms = 1000};
    fixture.file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    *state = &fixture;
    return 0;
}

/* However the test went, nothing is left open. */
static int teardown(void **state)
{
    struct fixture *fixture = *state;

    wire_close_fds(&fixture->message);
    channel_close(&fixture->channel);
    frontend_close(&fixture->peer);
    close(fixture->file);
    return process_num_fds(0) == fixture->num_fds ? 0 : -1;
}

static int receive(struct fixture *fixture)
{
    return channel_receive(&fixture->channel, &fixture->message, &fixture->error);
}

static void send_message(struct fixture *fixture, uint32_t request, uint64_t value,
                         unsigned num_fds)
{
    int fds[253];

    for (unsigned i = 0; i < num_fds; i++)
        fds[i] = fixture->file;
    assert_int_equal(frontend_send(&fixture->peer, request, FRONTEND_VERSION, sizeof(value), &value,
                                   sizeof(value), fds, num_fds),
                     0);
}

static void assert_message(struct fixture *fixture, uint32_t request, uint64_t value,
                           unsigned num_fds)
{
    assert_int_equal(receive(fixture), 1);
    assert_int_equal(fixture->message.header.request, request);
    assert_int_equal(fixture->message.header.size, sizeof(value));
    assert_int_equal(fixture->message.payload.u64, value);
    assert_int_equal(fixture->message.num_fds, num_fds);
    for (unsigned i = 0; i < num_fds; i++)
        assert_int_equal(fcntl(fixture->message.fds[i], F_GETFD), FD_CLOEXEC);
    wire_close_fds(&fixture->message);
    assert_int_equal(fixture->message.num_fds, 0);
}

static void assert_refused(struct fixture *fixture, int code, const char *text)
{
    int result;

    do
        result = receive(fixture);
    while (result > 0);
    assert_int_equal(result, code);
    assert_int_equal(fixture->error.code, code);
    assert_non_null(strstr(fixture->error.text, text));
}

/* --- Framing ---------------------------------------------------------------------------------------- */

static void test_nothing_there(void **state)
{
    assert_int_equal(receive(*state), 0);
}

static void test_message(void **state)
{
    send_message(*state, 2, 0x123456789abcdef0, 0);
    assert_message(*state, 2, 0x123456789abcdef0, 0);
    assert_int_equal(receive(*state), 0);
}

static void test_without_payload(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(frontend_send(&fixture->peer, 1, FRONTEND_VERSION, 0, NULL, 0, NULL, 0), 0);
    assert_int_equal(receive(fixture), 1);
    assert_int_equal(fixture->message.header.request, 1);
    assert_int_equal(fixture->message.header.size, 0);
}

/* Messages that lie in the socket one behind the other are not mixed up, nor are their descriptors. */
static void test_several_at_once(void **state)
{
    send_message(*state, 2, 1, 0);
    send_message(*state, 12, 2, 1);
    send_message(*state, 5, 3, 8);
    send_message(*state, 2, 4, 0);
    assert_message(*state, 2, 1, 0);
    assert_message(*state, 12, 2, 1);
    assert_message(*state, 5, 3, 8);
    assert_message(*state, 2, 4, 0);
    assert_int_equal(receive(*state), 0);
}

static void test_byte_by_byte(void **state)
{
    struct fixture *fixture = *state;
    uint32_t header[3] = {12, FRONTEND_VERSION, 8};
    uint64_t payload = 77;
    uint8_t bytes[sizeof(header) + sizeof(payload)];

    memcpy(bytes, header, sizeof(header));
    memcpy(bytes + sizeof(header), &payload, sizeof(payload));
    for (size_t i = 0; i + 1 < sizeof(bytes); i++) {
        assert_int_equal(frontend_send_bytes(&fixture->peer, &bytes[i], 1, NULL, 0), 0);
        assert_int_equal(receive(fixture), 0);
    }
    assert_int_equal(frontend_send_bytes(&fixture->peer, &bytes[sizeof(bytes) - 1], 1,
                                         &fixture->file, 1),
                     0);
    assert_message(fixture, 12, 77, 1);
}

static void test_largest_payload(void **state)
{
    struct fixture *fixture = *state;
    union wire_payload payload;

    memset(&payload, 0x5a, sizeof(payload));
    assert_int_equal(frontend_send(&fixture->peer, 25, FRONTEND_VERSION, sizeof(payload), &payload,
                                   sizeof(payload), NULL, 0),
                     0);
    assert_int_equal(receive(fixture), 1);
    assert_memory_equal(&fixture->message.payload, &payload, sizeof(payload));
}

static void test_oversize(void **state)
{
    static const uint32_t sizes[] = {sizeof(union wire_payload) + 1, 0x10000, UINT32_MAX};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct fixture *fixture = *state;

        assert_int_equal(frontend_send(&fixture->peer, 5, FRONTEND_VERSION, sizes[i], NULL, 0, NULL,
                                       0),
                         0);
        assert_refused(fixture, -EPROTO, "more than any has");
        fixture->channel.received = 0;
    }
}

static void test_version(void **state)
{
    static const uint32_t flags[] = {0, 2, 3, FRONTEND_NEED_REPLY, 0xfffffffe};

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        struct fixture *fixture = *state;

        assert_int_equal(frontend_send(&fixture->peer, 1, flags[i], 0, NULL, 0, NULL, 0), 0);
        assert_refused(fixture, -EPROTO, "protocol version");
        fixture->channel.received = 0;
    }
}

/* --- The end ---------------------------------------------------------------------------------------- */

static void test_closed(void **state)
{
    struct fixture *fixture = *state;

    send_message(fixture, 2, 5, 0);
    frontend_close(&fixture->peer);
    assert_message(fixture, 2, 5, 0);
    assert_refused(fixture, -EPIPE, "closed the connection");
}

/* In the middle of the header and of the payload; the descriptor that came is closed (see teardown). */
static void closed_after(struct fixture *fixture, size_t len)
{
    uint32_t bytes[5] = {12, FRONTEND_VERSION, 8, 0, 0};

    assert_int_equal(frontend_send_bytes(&fixture->peer, bytes, len, &fixture->file, 1), 0);
    frontend_close(&fixture->peer);
    assert_refused(fixture, -EPIPE, "closed the connection");
}

static void test_closed_in_header(void **state)
{
    closed_after(*state, 7);
}

static void test_closed_after_header(void **state)
{
    closed_after(*state, 12);
}

static void test_closed_in_payload(void **state)
{
    closed_after(*state, 19);
}

static void test_silence_in_the_middle(void **state)
{
    struct fixture *fixture = *state;
    uint32_t bytes[4] = {12, FRONTEND_VERSION, 8, 0};

    assert_int_equal(frontend_send_bytes(&fixture->peer, bytes, sizeof(bytes), &fixture->file, 1),
                     0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(receive(fixture), 0);
}

/* --- File descriptors ------------------------------------------------------------------------------- */

static void test_take_fd(void **state)
{
    struct fixture *fixture = *state;
    int fd;

    send_message(fixture, 5, 0, 2);
    assert_int_equal(receive(fixture), 1);
    fd = wire_take_fd(&fixture->message, 1);
    assert_true(fd >= 0);
    assert_int_equal(wire_take_fd(&fixture->message, 1), -1);
    assert_int_equal(wire_take_fd(&fixture->message, 2), -1);
    wire_close_fds(&fixture->message);
    assert_int_equal(close(fd), 0);
}

static void refuses_fds(struct fixture *fixture, unsigned num)
{
    send_message(fixture, 5, 0, num);
    assert_refused(fixture, -EPROTO, "more than 8 file descriptors");
}

static void test_one_fd_too_many(void **state)
{
    refuses_fds(*state, 9);
}

/* More than there is room for: the kernel keeps them (MSG_CTRUNC). */
static void test_truncated_fds(void **state)
{
    refuses_fds(*state, 253);
}

/* Five and four in two pieces are nine of one message. */
static void test_surplus_fds_in_pieces(void **state)
{
    struct fixture *fixture = *state;
    uint32_t bytes[5] = {12, FRONTEND_VERSION, 8, 0, 0};
    int fds[8];

    for (unsigned i = 0; i < 8; i++)
        fds[i] = fixture->file;
    assert_int_equal(frontend_send_bytes(&fixture->peer, bytes, 8, fds, 5), 0);
    assert_int_equal(receive(fixture), 0);
    assert_int_equal(frontend_send_bytes(&fixture->peer, bytes + 2, 12, fds, 4), 0);
    assert_refused(fixture, -EPROTO, "more than 8 file descriptors");
}

/* Three and five in two pieces are eight of one message. */
static void test_fds_in_pieces(void **state)
{
    struct fixture *fixture = *state;
    uint32_t bytes[5] = {12, FRONTEND_VERSION, 8, 9, 0};
    int fds[8];

    for (unsigned i = 0; i < 8; i++)
        fds[i] = fixture->file;
    assert_int_equal(frontend_send_bytes(&fixture->peer, bytes, 14, fds, 3), 0);
    assert_int_equal(receive(fixture), 0);
    assert_int_equal(frontend_send_bytes(&fixture->peer, (const uint8_t *)bytes + 14, 6, fds, 5),
                     0);
    assert_message(fixture, 12, 9, 8);
}

/* --- Sending ---------------------------------------------------------------------------------------- */

static struct wire_message reply_of(uint64_t value)
{
    return (struct wire_message){
        .header = {.request = 1, .flags = WIRE_VERSION | WIRE_FLAG_REPLY, .size = sizeof(value)},
        .payload = {.u64 = value},
    };
}

static void test_send(void **state)
{
    struct fixture *fixture = *state;
    struct wire_message reply = reply_of(42);
    struct frontend_message answer;

    assert_int_equal(channel_send(&fixture->channel, &reply, &fixture->error), 0);
    assert_int_equal(frontend_receive(&fixture->peer, &answer), 0);
    assert_int_equal(answer.request, 1);
    assert_int_equal(answer.flags, FRONTEND_VERSION | FRONTEND_REPLY);
    assert_int_equal(answer.size, 8);
    assert_int_equal(answer.payload[0], 42);
}

static void test_send_to_full_socket(void **state)
{
    struct fixture *fixture = *state;
    struct wire_message reply = reply_of(42);
    int result;

    do
        result = channel_send(&fixture->channel, &reply, &fixture->error);
    while (result == 0);
    assert_int_equal(result, -EAGAIN);
    assert_int_equal(fixture->error.code, -EAGAIN);
}

static void test_send_to_nobody(void **state)
{
    struct fixture *fixture = *state;
    struct wire_message reply = reply_of(42);

    frontend_close(&fixture->peer);
    assert_int_equal(channel_send(&fixture->channel, &reply, &fixture->error), -EPIPE);
}

/* --- Sending what can wait -------------------------------------------------------------------------- */

static void put(struct fixture *fixture, uint64_t value, int fd)
{
    struct wire_message message = reply_of(value);

    if (fd >= 0)
        message.fds[message.num_fds++] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    assert_true(channel_is_flushed(&fixture->channel));
    channel_put(&fixture->channel, &message);
    assert_int_equal(message.num_fds, 0);
    assert_false(channel_is_flushed(&fixture->channel));
}

static void assert_peer_receives(struct fixture *fixture, uint64_t value, bool has_fd)
{
    struct frontend_message message;
    uint64_t received;
    int fd;

    assert_int_equal(frontend_receive_fd(&fixture->peer, &message, &fd), 0);
    assert_int_equal(message.size, sizeof(received));
    memcpy(&received, message.payload, sizeof(received));
    assert_int_equal(received, value);
    assert_int_equal(fd >= 0, has_fd);
    if (has_fd)
        close(fd);
}

static void test_flush(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(channel_flush(&fixture->channel, &fixture->error), 0);
    for (unsigned i = 0; i < 10; i++) {
        put(fixture, i, i % 2 ? fixture->file : -1);
        assert_int_equal(channel_flush(&fixture->channel, &fixture->error), 0);
        assert_true(channel_is_flushed(&fixture->channel));
        assert_peer_receives(fixture, i, i % 2);
    }
}

/* Nothing is lost or torn, however often the socket is full. */
static void test_flush_to_full_socket(void **state)
{
    struct fixture *fixture = *state;
    uint64_t num_sent = 0, num_received = 0;

    for (unsigned round = 0; round < 3; round++) {
        int result;

        do {
            if (channel_is_flushed(&fixture->channel))
                put(fixture, num_sent++, fixture->file);
            result = channel_flush(&fixture->channel, &fixture->error);
        } while (result == 0);
        assert_true(result == -EAGAIN || result == -ETOOMANYREFS);
        assert_false(channel_is_flushed(&fixture->channel));
        while (num_received < num_sent - 1)
            assert_peer_receives(fixture, num_received++, true);
        assert_int_equal(channel_flush(&fixture->channel, &fixture->error), 0);
        assert_peer_receives(fixture, num_received++, true);
    }
    assert_true(num_sent > 10);
}

static void test_flush_to_nobody(void **state)
{
    struct fixture *fixture = *state;

    put(fixture, 1, fixture->file);
    frontend_close(&fixture->peer);
    assert_int_equal(channel_flush(&fixture->channel, &fixture->error), -EPIPE);
}

/* What was not sent is closed with the channel: the teardown counts. */
static void test_close_before_flush(void **state)
{
    struct fixture *fixture = *state;

    put(fixture, 1, fixture->file);
    channel_close(&fixture->channel);
    assert_true(channel_is_flushed(&fixture->channel));
}

static void test_send_fd(void **state)
{
    struct fixture *fixture = *state;
    struct wire_message reply = reply_of(42);

    assert_int_equal(channel_send_fd(&fixture->channel, &reply, fixture->file, &fixture->error), 0);
    assert_peer_receives(fixture, 42, true);
    assert_int_equal(channel_send(&fixture->channel, &reply, &fixture->error), 0);
    assert_peer_receives(fixture, 42, false);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_there),
        TEST(test_message),
        TEST(test_without_payload),
        TEST(test_several_at_once),
        TEST(test_byte_by_byte),
        TEST(test_largest_payload),
        TEST(test_oversize),
        TEST(test_version),
        TEST(test_closed),
        TEST(test_closed_in_header),
        TEST(test_closed_after_header),
        TEST(test_closed_in_payload),
        TEST(test_silence_in_the_middle),
        TEST(test_take_fd),
        TEST(test_one_fd_too_many),
        TEST(test_truncated_fds),
        TEST(test_surplus_fds_in_pieces),
        TEST(test_fds_in_pieces),
        TEST(test_send),
        TEST(test_send_to_full_socket),
        TEST(test_send_to_nobody),
        TEST(test_flush),
        TEST(test_flush_to_full_socket),
        TEST(test_flush_to_nobody),
        TEST(test_close_before_flush),
        TEST(test_send_fd),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
