/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON-RPC 2.0 (jsonrpc.org/specification) over a stream of bytes. Requests and batches of them follow
 * each other, with or without white space between; so do the responses, one a line. This knows neither
 * sockets nor methods.
 *
 * A request that is bounded by its brackets but wrong is answered, and the stream goes on. Where it
 * cannot be told any more where the next one begins, the error is the stream's last answer.
 */
#ifndef DAEMON_RPC_H
#define DAEMON_RPC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include <shunt/error.h>

#include "daemon/buffer.h"

/* The most bytes of one request or batch, and the most requests of a batch. */
#define RPC_MAX_BYTES ((size_t)1 << 20)
#define RPC_MAX_BATCH 64

enum rpc_code {
    RPC_OK = 0,
    RPC_PARSE_ERROR = -32700,
    RPC_INVALID_REQUEST = -32600,
    RPC_METHOD_NOT_FOUND = -32601,
    RPC_INVALID_PARAMS = -32602,
    RPC_FAILED = -32000, /* the method says why */
};

/*
 * Calls a method: `params` is an object, an array, or NULL for none. Sets `*result` to a new reference
 * and returns RPC_OK, or fills in the error's text and returns another code.
 */
typedef enum rpc_code rpc_call_fn(void *ctx, const char *method, json_t *params, json_t **result,
                                  struct shunt_error *error);

/* The receiving side of a connection. */
struct rpc_stream {
    rpc_call_fn *call;
    void *ctx;
    struct buffer in; /* begins with a request, or with nothing */
    size_t scanned;   /* so many bytes of it have been looked at */
    unsigned depth;   /* brackets that are open there */
    bool is_in_text;
    bool is_escaped;
};

void rpc_stream_init(struct rpc_stream *stream, rpc_call_fn *call, void *ctx);
void rpc_stream_fini(struct rpc_stream *stream);

/* Takes the bytes that came in. -ENOMEM. */
int rpc_stream_feed(struct rpc_stream *stream, const char *bytes, size_t len);

/*
 * Answers the next request or batch: calls its methods and puts what they say at the end of `out`.
 * Returns 1, or 0 when none is complete yet. -EPROTO: the stream cannot go on, an error is its last
 * answer; -ENOBUFS: the answer does not fit into `out`, what is in there is incomplete.
 *
 * To be called after each feed until there is nothing to answer: that bounds what a stream holds.
 */
int rpc_stream_answer(struct rpc_stream *stream, struct buffer *out);

/* Puts an error that answers no request in particular at the end of `out`. -ENOBUFS, -ENOMEM. */
int rpc_put_error(struct buffer *out, enum rpc_code code, const char *message);

#endif
