/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/rpc.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* A message can have been cut within a character, or name a file whose name is not UTF-8. */
static json_t *message_json(const char *message)
{
    char ascii[SHUNT_ERROR_TEXT_BYTES];
    json_t *json = json_string(message);

    if (json)
        return json;
    snprintf(ascii, sizeof(ascii), "%s", message);
    for (char *at = ascii; *at != '\0'; at++)
        if (!isascii((unsigned char)*at))
            *at = '?';
    return json_string(ascii);
}

static json_t *error_response(json_t *id, enum rpc_code code, const char *message)
{
    return json_pack("{s:s, s:O?, s:{s:i, s:o}}", "jsonrpc", "2.0", "id", id, "error", "code",
                     (int)code, "message", message_json(message));
}

static json_t *result_response(json_t *id, json_t *result)
{
    return json_pack("{s:s, s:O?, s:o}", "jsonrpc", "2.0", "id", id, "result", result);
}

static int append(const char *bytes, size_t len, void *ctx)
{
    return buffer_append(ctx, bytes, len);
}

/* Puts a response into `out`, and gives up the reference. */
static int put(struct buffer *out, json_t *response)
{
    int result = json_dump_callback(response, append, out, JSON_COMPACT);

    json_decref(response);
    return result == 0 ? 0 : -ENOBUFS;
}

static int put_line(struct buffer *out, json_t *response)
{
    int result = put(out, response);

    return result < 0 ? result : buffer_append(out, "\n", 1);
}

int rpc_put_error(struct buffer *out, enum rpc_code code, const char *message)
{
    return put_line(out, error_response(NULL, code, message));
}

static bool is_id(const json_t *id)
{
    return !id || json_is_string(id) || json_is_number(id) || json_is_null(id);
}

/* What makes it no request; NULL for one that is well formed. */
static const char *request_problem(const json_t *request)
{
    const char *version = json_string_value(json_object_get(request, "jsonrpc"));
    const json_t *params = json_object_get(request, "params");

    if (!json_is_object(request))
        return "a request is an object";
    if (!version || strcmp(version, "2.0") != 0)
        return "a request has \"jsonrpc\": \"2.0\"";
    if (!json_is_string(json_object_get(request, "method")))
        return "a request has a \"method\", which is a text";
    if (params && !json_is_object(params) && !json_is_array(params))
        return "\"params\" is an object or an array";
    if (!is_id(json_object_get(request, "id")))
        return "\"id\" is a text, a number or null";
    return NULL;
}

/* Does what is asked. The response, or NULL where none is wanted: it is a notification. */
static json_t *answer(const struct rpc_stream *stream, const json_t *request)
{
    const char *problem = request_problem(request);
    json_t *id = json_object_get(request, "id");
    json_t *result = NULL;
    struct shunt_error error = {0};
    enum rpc_code code;

    if (problem)
        return error_response(is_id(id) ? id : NULL, RPC_INVALID_REQUEST, problem);
    code = stream->call(stream->ctx, json_string_value(json_object_get(request, "method")),
                        json_object_get(request, "params"), &result, &error);
    if (code == RPC_OK && id)
        return result_response(id, result);
    json_decref(result);
    return id ? error_response(id, code, error.text) : NULL;
}

/* Each response is written before the next request is looked at, so that `out` bounds them all. */
static int answer_batch(const struct rpc_stream *stream, const json_t *batch, struct buffer *out)
{
    const char *separator = "[";
    json_t *request, *response;
    int result = 0;
    size_t idx;

    if (json_array_size(batch) == 0 || json_array_size(batch) > RPC_MAX_BATCH)
        return rpc_put_error(out, RPC_INVALID_REQUEST, "a batch has 1 to 64 requests");
    json_array_foreach (batch, idx, request) {
        response = answer(stream, request);
        if (!response)
            continue;
        result = buffer_append(out, separator, 1);
        separator = ",";
        if (result == 0)
            result = put(out, response);
        else
            json_decref(response);
        if (result < 0)
            return result;
    }
    return *separator == ',' ? buffer_append(out, "]\n", 2) : 0;
}

static_assert(RPC_MAX_BATCH == 64, "as the message says");

static int answer_text(const struct rpc_stream *stream, const char *text, size_t len,
                       struct buffer *out)
{
    json_error_t problem;
    json_t *request = json_loadb(text, len, JSON_REJECT_DUPLICATES, &problem);
    json_t *response;
    int result = 0;

    if (!request)
        return rpc_put_error(out, RPC_PARSE_ERROR, problem.text);
    if (json_is_array(request)) {
        result = answer_batch(stream, request, out);
    } else {
        response = answer(stream, request);
        if (response)
            result = put_line(out, response);
    }
    json_decref(request);
    return result;
}

static void skip_space(struct buffer *in)
{
    size_t len = 0;

    while (len < buffer_len(in) && isspace((unsigned char)buffer_front(in)[len]))
        len++;
    buffer_consume(in, len);
}

static void scan_text(struct rpc_stream *stream, char byte)
{
    if (stream->is_escaped)
        stream->is_escaped = false;
    else if (byte == '\\')
        stream->is_escaped = true;
    else if (byte == '"')
        stream->is_in_text = false;
}

/* Looks for the bracket that closes the request; `scanned` is behind it then. */
static bool has_end(struct rpc_stream *stream)
{
    const char *bytes = buffer_front(&stream->in);
    size_t len = buffer_len(&stream->in);

    while (stream->scanned < len) {
        char byte = bytes[stream->scanned++];

        if (stream->is_in_text)
            scan_text(stream, byte);
        else if (byte == '"')
            stream->is_in_text = true;
        else if (byte == '{' || byte == '[')
            stream->depth++;
        else if ((byte == '}' || byte == ']') && --stream->depth == 0)
            return true;
    }
    return false;
}

static int end_stream(struct buffer *out, enum rpc_code code, const char *message)
{
    int result = rpc_put_error(out, code, message);

    return result < 0 ? result : -EPROTO;
}

void rpc_stream_init(struct rpc_stream *stream, rpc_call_fn *call, void *ctx)
{
    /* What it holds is bounded by rpc_stream_answer(), which refuses more. */
    *stream = (struct rpc_stream){.call = call, .ctx = ctx, .in.limit = SIZE_MAX};
}

void rpc_stream_fini(struct rpc_stream *stream)
{
    buffer_free(&stream->in);
}

int rpc_stream_feed(struct rpc_stream *stream, const char *bytes, size_t len)
{
    return buffer_append(&stream->in, bytes, len);
}

int rpc_stream_answer(struct rpc_stream *stream, struct buffer *out)
{
    bool is_complete;
    int result;

    skip_space(&stream->in);
    if (buffer_len(&stream->in) == 0)
        return 0;
    if (*buffer_front(&stream->in) != '{' && *buffer_front(&stream->in) != '[')
        return end_stream(out, RPC_PARSE_ERROR, "a request begins with { and a batch with [");
    is_complete = has_end(stream);
    if (stream->scanned > RPC_MAX_BYTES)
        return end_stream(out, RPC_INVALID_REQUEST, "a request has at most 1 MB");
    if (!is_complete)
        return 0;
    result = answer_text(stream, buffer_front(&stream->in), stream->scanned, out);
    buffer_consume(&stream->in, stream->scanned);
    stream->scanned = 0;
    return result < 0 ? result : 1;
}
