/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vhost-user front-end: the driver's end of a vhost-user socket, for programs and containers that
 * want a fast path into a switch (or any other vhost-user back-end) without a guest around them.
 *
 *     shunt_shared_memory_create(&memory), shunt_shared_memory_add(memory, …);
 *     shunt_frontend_create(&config, &ops, ctx, &frontend, &error);
 *     … poll shunt_frontend_fd(frontend) for POLLIN, then shunt_frontend_dispatch(frontend) …
 *     … after ops.started: shunt_frontend_queue(frontend, idx), see <shunt/driver.h> …
 *     shunt_frontend_destroy(frontend);
 *
 * Back-ends may come and go. As a client we try again for ever, with a pause that doubles up to 0.8
 * s; as a server we wait for the next one. The queues outlive them: what the last one had not
 * returned is made available to the next one. From the first start on, features and number of
 * queues stay: a back-end that has less is not used.
 *
 * The back-end is not trusted. One that breaks the protocol or a ring loses its connection: the
 * reason is logged and kept for shunt_frontend_reason().
 *
 * Threads: create, dispatch, destroy, all other calls and all `ops` in one thread at a time, the
 * program's. The library starts none. Queues may be worked on by any thread under their locks.
 *
 * Source: QEMU, docs/interop/vhost-user.rst. Messages 1-3, 5, 8-18, 21, 24, 36, 37, 39, 40;
 * protocol features MQ, REPLY_ACK, BACKEND_REQ, CONFIG, CONFIGURE_MEM_SLOTS and STATUS, each used
 * where the back-end has it.
 */
#ifndef SHUNT_FRONTEND_H
#define SHUNT_FRONTEND_H

#include <stdbool.h>
#include <stdint.h>

#include <shunt/driver.h>
#include <shunt/error.h>
#include <shunt/shared_memory.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHUNT_FRONTEND_MAX_VIRTQUEUES 256

struct shunt_frontend;

struct shunt_frontend_config {
    const char *name;        /* tags log lines */
    const char *socket_path; /* at most 107 bytes */
    bool is_server;          /* we listen there, and the back-end connects */
    bool is_stopped;         /* the queues are not started before shunt_frontend_start() */
    /*
     * Feature bits that are used if the back-end has them: of the device type (VIRTIO 1.3, chapter
     * 5), and of the ring: INDIRECT_DESC (28), EVENT_IDX (29), PACKED (34), IN_ORDER (35),
     * ORDER_PLATFORM (36). VERSION_1 (32) always is.
     */
    uint64_t features;
    uint64_t required_features; /* without which the back-end is of no use; of the same bits */
    unsigned num_virtqueues;    /* wanted: 1 … SHUNT_FRONTEND_MAX_VIRTQUEUES */
    unsigned min_virtqueues;    /* without which the back-end is of no use; 0: all */
    /*
     * So many virtqueues are one for GET_QUEUE_NUM: 2 for a network device, which counts pairs;
     * else 1.
     */
    unsigned virtqueues_per_queue;
    uint16_t queue_size;   /* 1 … 32768; a power of two unless PACKED is required */
    unsigned max_indirect; /* pieces of an indirect chain at most, 0 … 32768; 0: there are none */
    uint32_t config_len;   /* bytes of configuration space to be read, at most 256; 0: none */
    struct shunt_shared_memory *memory; /* with the buffers; outlives the front-end */
};

/*
 * What the program is told, always from within shunt_frontend_dispatch() or _destroy(), with no
 * queue locked. Any of them may be NULL.
 */
struct shunt_frontend_ops {
    /*
     * A back-end works on the queues; features, number of queues and configuration space are known.
     */
    void (*started)(void *ctx);

    /*
     * None does any more: it is gone, for shunt_frontend_reason(), or shunt_frontend_stop() is
     * done.
     */
    void (*stopped)(void *ctx);

    /* The configuration space was read anew, because the back-end said that it changed. */
    void (*config_changed)(void *ctx);
};

/*
 * Strings are copied; `ops` must outlive the front-end. As a client it is no failure that nobody
 * listens yet.
 * -EINVAL: a number out of its range, or a feature that the library does not know how to use;
 * -ENAMETOOLONG: path over 107 bytes; as a server -EEXIST: the path is something else than a
 * socket; -EADDRINUSE: somebody listens there; -ENOENT, -EACCES, …: the folder; -ENOMEM, -EMFILE.
 * Nothing is left behind on failure.
 */
int shunt_frontend_create(const struct shunt_frontend_config *config,
                          const struct shunt_frontend_ops *ops, void *ctx,
                          struct shunt_frontend **frontend, struct shunt_error *error);

/*
 * Disconnects at once; what the device has is not waited for (see shunt_frontend_stop()). The
 * queues are gone. Accepts NULL.
 */
void shunt_frontend_destroy(struct shunt_frontend *frontend);

/*
 * A descriptor that polls readable (POLLIN) when there is something to dispatch. It never changes.
 */
int shunt_frontend_fd(const struct shunt_frontend *frontend);

/* Does all that is to be done now, without blocking. */
void shunt_frontend_dispatch(struct shunt_frontend *frontend);

/*
 * Whether a back-end is connected, and whether it works on the queues: between `started` and
 * `stopped`.
 */
bool shunt_frontend_is_connected(const struct shunt_frontend *frontend);
bool shunt_frontend_is_running(const struct shunt_frontend *frontend);

/* The features in use: those of the first start on, 0 before. */
uint64_t shunt_frontend_features(const struct shunt_frontend *frontend);

/* The protocol features of the connection. */
uint64_t shunt_frontend_protocol_features(const struct shunt_frontend *frontend);

/* Virtqueues in use: of the first start on, 0 before. */
unsigned shunt_frontend_num_virtqueues(const struct shunt_frontend *frontend);

/* Why nothing runs: one line, "" when all is well. Valid until the next call. */
const char *shunt_frontend_reason(const struct shunt_frontend *frontend);

/* Virtqueue `idx` (< num_virtqueues of the config). Valid until destroy, running or not. */
struct shunt_driver_queue *shunt_frontend_queue(struct shunt_frontend *frontend, unsigned idx);

/*
 * The configuration space as it was last read, config_len bytes; NULL if the back-end has none.
 * Valid until the next dispatch.
 */
const void *shunt_frontend_device_config(const struct shunt_frontend *frontend);

/*
 * The back-end may use virtqueue `idx`, as at first, or not (vhost-user, "Ring states"). Kept over
 * connections.
 */
void shunt_frontend_enable_queue(struct shunt_frontend *frontend, unsigned idx, bool is_enabled);

/* Regions were added to the memory: the back-end is to have them. */
void shunt_frontend_share_memory(struct shunt_frontend *frontend);

/*
 * Asks the back-end to stop all queues. After ops.stopped it neither reads nor writes any buffer;
 * chains that it had not returned stay in their queues. The connection stays.
 * shunt_frontend_start() goes on.
 */
void shunt_frontend_stop(struct shunt_frontend *frontend);
void shunt_frontend_start(struct shunt_frontend *frontend);

#ifdef __cplusplus
}
#endif

#endif
