/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON-RPC over a stream that comes in pieces of any size. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/rpc.h"

struct fixture {
    struct rpc_stream stream;
    struct buffer out;
    unsigned num_calls;
};

/* `echo` returns its parameters; `fail` says why, as they tell. */
static enum rpc_code call(void *ctx, const char *method, json_t *params, json_t **result,
                          struct shunt_error *error)
{
    struct fixture *fixture = ctx;

    fixture->num_calls++;
    if (strcmp(method, "echo") == 0) {
        *result = params ? json_incref(params) : json_null();
        return RPC_OK;
    }
    if (strcmp(method, "fail") == 0) {
        snprintf(error->text, sizeof(error->text), "%s",
                 json_string_value(json_array_get(params, 0)));
        return RPC_FAILED;
    }
    if (strcmp(method, "broken") == 0) {
        /* As when a message is cut within a character. */
        snprintf(error->text, sizeof(error->text), "cut \xe2\x82");
        return RPC_FAILED;
    }
    snprintf(error->text, sizeof(error->text), "no such method");
    return RPC_METHOD_NOT_FOUND;
}

static int setup(void **state)
{
    static struct fixture fixture;

    fixture = (struct fixture){.out.limit = 4 * RPC_MAX_BYTES};
    rpc_stream_init(&fixture.stream, call, &fixture);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    rpc_stream_fini(&fixture->stream);
    buffer_free(&fixture->out);
    return 0;
}

/* Feeds, and answers what is complete. */
static int feed(struct fixture *fixture, const char *bytes, size_t len)
{
    int result;

    assert_int_equal(rpc_stream_feed(&fixture->stream, bytes, len), 0);
    do
        result = rpc_stream_answer(&fixture->stream, &fixture->out);
    while (result > 0);
    return result;
}

static int feed_text(struct fixture *fixture, const char *text)
{
    return feed(fixture, text, strlen(text));
}

/* Takes all that was answered, which must be `text`. */
static void assert_answered(struct fixture *fixture, const char *text)
{
    size_t len = buffer_len(&fixture->out);
    char *copy = strndup(len > 0 ? buffer_front(&fixture->out) : "", len);

    assert_string_equal(copy, text);
    free(copy);
    buffer_consume(&fixture->out, len);
}

/* Takes one line, and the code in it. */
static void assert_error(struct fixture *fixture, int code, const char *id)
{
    char expected[64];
    const char *front = buffer_front(&fixture->out);
    const char *end = memchr(front, '\n', buffer_len(&fixture->out));
    char *line;

    assert_non_null(end);
    line = strndup(front, (size_t)(end - front));
    snprintf(expected, sizeof(expected), "{\"jsonrpc\":\"2.0\",\"id\":%s,\"error\":{\"code\":%d,",
             id, code);
    assert_memory_equal(line, expected, strlen(expected));
    free(line);
    buffer_consume(&fixture->out, (size_t)(end - front) + 1);
}

#define ECHO(id, value)                                                                            \
    "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"echo\",\"params\":[" value "]}"
#define ECHOED(id, value) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"result\":[" value "]}"

static void test_one_request(void **state)
{
    assert_int_equal(feed_text(*state, ECHO("1", "{\"a\":true}")), 0);
    assert_answered(*state, ECHOED("1", "{\"a\":true}") "\n");
}

static void test_ids(void **state)
{
    assert_int_equal(feed_text(*state, ECHO("\"x\"", "") ECHO("null", "") ECHO("-7", "")), 0);
    assert_answered(*state, ECHOED("\"x\"", "") "\n" ECHOED("null", "") "\n" ECHOED("-7", "") "\n");
}

static void test_requests_back_to_back(void **state)
{
    assert_int_equal(feed_text(*state, ECHO("1", "") ECHO("2", "") " \r\n\t " ECHO("3", "") "\n"),
                     0);
    assert_answered(*state, ECHOED("1", "") "\n" ECHOED("2", "") "\n" ECHOED("3", "") "\n");
}

/* Brackets and quotes within texts, at every possible split. */
static void test_splits(void **state)
{
    static const char text[] = " " ECHO("1", "\"}]\\\\\\\"{[\",[[{}]],\"\"")
        ECHO("2", "{\"]\":\"{\"}");
    static const char answer[] =
        ECHOED("1", "\"}]\\\\\\\"{[\",[[{}]],\"\"") "\n" ECHOED("2", "{\"]\":\"{\"}") "\n";

    for (size_t i = 0; i <= strlen(text); i++) {
        assert_int_equal(feed(*state, text, i), 0);
        assert_int_equal(feed(*state, text + i, strlen(text) - i), 0);
        assert_answered(*state, answer);
    }
    for (size_t i = 0; i < strlen(text); i++)
        assert_int_equal(feed(*state, text + i, 1), 0);
    assert_answered(*state, answer);
}

static void test_notifications(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(feed_text(fixture,
                               "{\"jsonrpc\":\"2.0\",\"method\":\"echo\"}"
                               "{\"jsonrpc\":\"2.0\",\"method\":\"fail\",\"params\":[\"x\"]}"
                               "[{\"jsonrpc\":\"2.0\",\"method\":\"nothing\"}]"),
                     0);
    assert_answered(fixture, "");
    assert_int_equal(fixture->num_calls, 3);
}

static void test_errors_of_methods(void **state)
{
    assert_int_equal(feed_text(*state, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fail\","
                                       "\"params\":[\"it is 'so'\"]}"),
                     0);
    assert_answered(*state, "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32000,\"message\":"
                            "\"it is 'so'\"}}\n");
    assert_int_equal(feed_text(*state, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"broken\"}"), 0);
    assert_answered(*state, "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32000,\"message\":"
                            "\"cut ??\"}}\n");
    assert_int_equal(feed_text(*state, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"nothing\"}"), 0);
    assert_error(*state, RPC_METHOD_NOT_FOUND, "1");
}

static void test_invalid_requests(void **state)
{
    static const struct {
        const char *text;
        const char *id;
    } bad[] = {
        {"{}", "null"},
        {"{\"id\":1,\"method\":\"echo\"}", "1"},
        {"{\"jsonrpc\":\"1.0\",\"id\":2,\"method\":\"echo\"}", "2"},
        {"{\"jsonrpc\":2.0,\"id\":3,\"method\":\"echo\"}", "3"},
        {"{\"jsonrpc\":\"2.0\",\"id\":4}", "4"},
        {"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":7}", "5"},
        {"{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"echo\",\"params\":\"x\"}", "6"},
        {"{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"echo\",\"params\":null}", "6"},
        {"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"echo\"}", "null"},
        {"{\"jsonrpc\":\"2.0\",\"id\":true,\"method\":\"echo\"}", "null"},
        {"[]", "null"},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(feed_text(fixture, bad[i].text), 0);
        assert_error(fixture, RPC_INVALID_REQUEST, bad[i].id);
        assert_answered(fixture, "");
    }
    assert_int_equal(fixture->num_calls, 0);
}

/* What its brackets bound can be skipped: the stream goes on. */
static void test_parse_errors(void **state)
{
    static const char *const bad[] = {
        "{\"a\":}",   "{[}]",    "[1,]",  "{\"a\" 1}", "{\"a\":1,\"a\":2}", "[\"\\q\"]",
        "[\"\xff\"]", "{'a':1}", "[nul]", "[1e999]",   "[\"\\u0000\"]",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(feed_text(*state, bad[i]), 0);
        assert_error(*state, RPC_PARSE_ERROR, "null");
        assert_int_equal(feed_text(*state, ECHO("1", "")), 0);
        assert_answered(*state, ECHOED("1", "") "\n");
    }
}

static void test_garbage_ends_the_stream(void **state)
{
    static const char *const garbage[] = {
        "GET / HTTP/1.1\r\n", "1", "\"x\"", "}", "null", "\x16\x03"};

    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        assert_int_equal(feed_text(*state, ECHO("1", "")), 0);
        assert_answered(*state, ECHOED("1", "") "\n");
        assert_int_equal(feed_text(*state, garbage[i]), -EPROTO);
        assert_error(*state, RPC_PARSE_ERROR, "null");
        teardown(state);
        setup(state);
    }
}

static void test_batches(void **state)
{
    assert_int_equal(feed_text(*state, "[" ECHO("1", "1") "," ECHO("2", "2") "]"), 0);
    assert_answered(*state, "[" ECHOED("1", "1") "," ECHOED("2", "2") "]\n");
    assert_int_equal(feed_text(*state,
                               "[" ECHO("1", "1") ",{\"jsonrpc\":\"2.0\",\"method\":\"echo\"}]"),
                     0);
    assert_answered(*state, "[" ECHOED("1", "1") "]\n");
    assert_int_equal(feed_text(*state, "[1, " ECHO("2", "") ", []]"), 0);
    assert_answered(
        *state,
        "[{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,\"message\":\"a "
        "request is an object\"}}," ECHOED(
            "2", "") ",{\"jsonrpc\":\"2.0\",\"id\":null,"
                     "\"error\":{\"code\":-32600,\"message\":\"a request is an object\"}}]\n");
}

/* A request of `len` bytes. */
static char *make_request(size_t len)
{
    static const char format[] =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":[\"%*s\"]}";
    char *text = malloc(len + 1);

    snprintf(text, len + 1, format, (int)(len - (strlen(format) - strlen("%*s"))), "");
    return text;
}

static void test_largest_request(void **state)
{
    struct fixture *fixture = *state;
    char *text = make_request(RPC_MAX_BYTES);

    assert_int_equal(feed(fixture, text, RPC_MAX_BYTES), 0);
    assert_int_equal(fixture->num_calls, 1);
    free(text);
}

/* It is refused before it is complete, and whether it is or not. */
static void test_oversize(void **state)
{
    struct fixture *fixture = *state;
    char *text = make_request(RPC_MAX_BYTES + 1);

    assert_int_equal(feed(fixture, text, RPC_MAX_BYTES + 1), -EPROTO);
    assert_error(fixture, RPC_INVALID_REQUEST, "null");
    teardown(state);
    setup(state);
    for (size_t i = 0; i < RPC_MAX_BYTES; i += RPC_MAX_BYTES / 16)
        assert_int_equal(feed(fixture, text + i, RPC_MAX_BYTES / 16), 0);
    assert_int_equal(feed(fixture, "x", 1), -EPROTO);
    assert_error(fixture, RPC_INVALID_REQUEST, "null");
    assert_int_equal(fixture->num_calls, 0);
    free(text);
}

/* More brackets than a parser would follow. */
static void test_deep_nesting(void **state)
{
    size_t len = 200000;
    char *text = malloc(len);

    memset(text, '[', len / 2);
    memset(text + len / 2, ']', len / 2);
    assert_int_equal(feed(*state, text, len), 0);
    assert_error(*state, RPC_PARSE_ERROR, "null");
    free(text);
}

/* "[{},{},{}]" with so many requests. */
static char *make_batch(unsigned num)
{
    char *text = malloc((size_t)num * 3 + 2);

    for (unsigned i = 0; i < num; i++)
        snprintf(text + (size_t)i * 3, 4, "%c{}", i == 0 ? '[' : ',');
    snprintf(text + (size_t)num * 3, 2, "]");
    return text;
}

static void test_largest_batch(void **state)
{
    struct fixture *fixture = *state;
    char *text = make_batch(RPC_MAX_BATCH);

    assert_int_equal(feed_text(fixture, text), 0);
    assert_int_equal(*buffer_front(&fixture->out), '[');
    buffer_consume(&fixture->out, buffer_len(&fixture->out));
    free(text);
    text = make_batch(RPC_MAX_BATCH + 1);
    assert_int_equal(feed_text(fixture, text), 0);
    assert_error(fixture, RPC_INVALID_REQUEST, "null");
    assert_answered(fixture, "");
    free(text);
}

/* A batch may ask for much more than it says. */
static void test_answers_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    char *text = make_batch(RPC_MAX_BATCH);

    fixture->out.limit = 1000;
    assert_int_equal(feed_text(fixture, text), -ENOBUFS);
    assert_true(buffer_len(&fixture->out) <= 1000);
    free(text);
}

/* One answer a call: who asks decides when there is room for the next. */
static void test_answers_come_one_by_one(void **state)
{
    struct fixture *fixture = *state;
    const char *text = ECHO("1", "") ECHO("2", "");

    assert_int_equal(rpc_stream_feed(&fixture->stream, text, strlen(text)), 0);
    assert_int_equal(rpc_stream_answer(&fixture->stream, &fixture->out), 1);
    assert_answered(fixture, ECHOED("1", "") "\n");
    assert_int_equal(rpc_stream_answer(&fixture->stream, &fixture->out), 1);
    assert_answered(fixture, ECHOED("2", "") "\n");
    assert_int_equal(rpc_stream_answer(&fixture->stream, &fixture->out), 0);
}

static void test_buffer(void **state)
{
    struct buffer buffer = {.limit = 100000};
    char bytes[1000], expected = 0;
    size_t total = 0;

    for (unsigned round = 0; round < 300; round++) {
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (char)(total + i);
        if (buffer_append(&buffer, bytes, sizeof(bytes)) == 0)
            total += sizeof(bytes);
        else
            assert_true(buffer_len(&buffer) + sizeof(bytes) > buffer.limit);
        for (unsigned i = 0; i < 100 + round; i++) {
            assert_int_equal(*buffer_front(&buffer), expected++);
            buffer_consume(&buffer, 1);
        }
    }
    assert_int_equal(buffer_append(&buffer, bytes, SIZE_MAX), -ENOBUFS);
    buffer_consume(&buffer, buffer_len(&buffer));
    assert_int_equal(buffer_len(&buffer), 0);
    buffer_free(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_request, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests_back_to_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_splits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notifications, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors_of_methods, setup, teardown),
        cmocka_unit_test_setup_teardown(test_invalid_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parse_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_garbage_ends_the_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_batches, setup, teardown),
        cmocka_unit_test_setup_teardown(test_largest_request, setup, teardown),
        cmocka_unit_test_setup_teardown(test_oversize, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deep_nesting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_largest_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answers_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answers_come_one_by_one, setup, teardown),
        cmocka_unit_test(test_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
