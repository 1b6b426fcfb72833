/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vhost-user back-end: the device's end of a vhost-user socket, as the server or the client of it.
 *
 * The front-end (QEMU, Cloud Hypervisor, DPDK's virtio-user) connects or is connected to, shares its guest's
 * memory and configures the virtqueues; the program that embeds the back-end then moves buffers through them
 * (<shunt/virtqueue.h>). Front-ends may come and go; one is connected at a time, and a further one is
 * turned away while it is. What kind of device it is, only the program knows: it names the feature
 * bits and answers for the configuration space.
 *
 *     shunt_backend_create(&config, &ops, ctx, &backend, &error);
 *     … poll shunt_backend_fd(backend) for POLLIN, then shunt_backend_dispatch(backend) …
 *     shunt_backend_destroy(backend);
 *
 * Threads: create, dispatch, destroy and all `ops` run in one thread at a time, the program's; destroy and
 * dispatch not from within `ops`. The library starts none. Virtqueues may be worked on by any thread under their locks.
 *
 * A front-end that breaks the protocol loses its connection, and only that: the reason is logged and
 * kept for shunt_backend_reason(), and the back-end waits for the next: it goes on listening, or connects
 * again, which it tries for ever and at least once a second.
 *
 * Source: QEMU, docs/interop/vhost-user.rst. Messages 1-22, 24, 25, 28-32, 34-40, 42, 43, 45, and of our
 * own 1-5; protocol features 0-5, 8-16, 19-21. Not offered, and refused with a reason: CROSS_ENDIAN (message 23),
 * crypto sessions (26, 27), GPU sockets (33), SHARED_OBJECT (41) and SHMEM (44); and Xen's mappings.
 * Some are offered only if the program asks for them: RARP, MTU and DEVICE_STATE by their `ops`, CONFIG by
 * config_len, PAGEFAULT by allows_postcopy.
 */
#ifndef SHUNT_BACKEND_H
#define SHUNT_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <shunt/error.h>
#include <shunt/memory.h>
#include <shunt/virtqueue.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A device has at most this many virtqueues: 128 pairs and a control queue. */
#define SHUNT_BACKEND_MAX_VIRTQUEUES 257

struct shunt_backend;

struct shunt_backend_config {
    const char *name; /* tags log lines */
    /*
     * Where to listen, or with `is_client` where to connect to; at most 107 bytes. NULL: `fd` is a
     * Unix stream socket that the back-end takes over, connected or listening.
     */
    const char *socket_path;
    int fd;
    /* The front-end listens: we connect, and try again for ever when there is none, or no more. */
    bool is_client;
    /*
     * Feature bits of the device type (VIRTIO 1.3, chapter 5) that are offered. The library adds
     * those of the ring and the transport that it implements, but for two. IN_ORDER (35): the program
     * returns chains in the order in which it took them. RING_RESET (40): the front-end stops and starts a
     * ring that its driver resets, which QEMU does not, while it passes the offer on.
     */
    uint64_t features;
    unsigned num_virtqueues; /* 1 … SHUNT_BACKEND_MAX_VIRTQUEUES */
    /* What GET_QUEUE_NUM answers: a network device counts pairs, others count virtqueues. */
    unsigned queue_num;
    uint32_t config_len; /* bytes of configuration space; 0: PROTOCOL_F_CONFIG is not offered */
    /*
     * Offer PAGEFAULT, which postcopy migration needs, where the process may use userfaultfd(2). Only for a
     * front-end that is trusted: until it has served a page, every thread that touches it waits, be it one
     * that works on the queue or the one that dispatches.
     */
    bool allows_postcopy;
};

/*
 * What the program is told, always from within shunt_backend_dispatch() or _destroy(), with no
 * virtqueue locked. Any of them may be NULL.
 */
struct shunt_backend_ops {
    /* A front-end connected, or is gone; shunt_backend_reason() then says why. */
    void (*connected)(void *ctx);
    void (*disconnected)(void *ctx);

    /* shunt_backend_reason() changed, and none of the others tells: nobody can be connected to. */
    void (*reason_changed)(void *ctx);

    /* The driver's features are known, or were changed. */
    void (*features_changed)(void *ctx, uint64_t features);

    /*
     * Virtqueue `idx` was started, stopped, enabled or disabled, or broke; ask it which. When it was
     * stopped, its kick descriptor is still open during this call and is closed after it: take it
     * out of any epoll set here.
     */
    void (*queue_changed)(void *ctx, unsigned idx);

    /*
     * Configuration space; `offset + len` is within config_len. 0 or a negative errno, which in set_config()
     * ends the connection. The driver wrote it, and must not change what is read-only; or, with `is_migrated`,
     * the front-end did, with what the device had where its guest comes from.
     */
    int (*get_config)(void *ctx, uint32_t offset, void *data, uint32_t len);
    int (*set_config)(void *ctx, uint32_t offset, const void *data, uint32_t len, bool is_migrated);

    /* SEND_RARP: the guest came by migration; let the network know where `mac` is now. */
    void (*announce)(void *ctx, const uint8_t mac[6]);

    /* NET_SET_MTU: 0 or a negative errno. */
    int (*set_mtu)(void *ctx, uint16_t mtu);

    /*
     * What a migration is to carry over of the device beyond its rings: `*data` from malloc(3), which
     * the library frees, or NULL. The rings are stopped. 0 or a negative errno.
     */
    int (*save_state)(void *ctx, void **data, size_t *len);
    int (*load_state)(void *ctx, const void *data, size_t len);

    /* The driver resets the device; its rings are stopped. */
    void (*reset)(void *ctx);

    /* The driver kicked a queue of shunt_backend_watch_queue(). The kick descriptor is read. */
    void (*kicked)(void *ctx, unsigned idx);
};

/*
 * Listens on config->socket_path, where a stale socket, on which nobody listens, is replaced; or begins to
 * connect to it, by dispatch; or takes over config->fd. All strings are copied; `ops` must outlive the
 * back-end. A connected socket that was taken over is the only connection: when it ends, nothing follows.
 * -ENAMETOOLONG: path over 107 bytes; -EEXIST: the path is something else than a socket;
 * -EADDRINUSE: somebody listens there; -ENOENT, -EACCES, …: the folder; -EINVAL: a number out of its
 * range; -EBADF, -ENOTSOCK, -ENOTCONN: `fd` is of no use; -ENOMEM, -EMFILE. Nothing is left behind on
 * failure, and `fd` stays the caller's.
 */
int shunt_backend_create(const struct shunt_backend_config *config,
                         const struct shunt_backend_ops *ops, void *ctx,
                         struct shunt_backend **backend, struct shunt_error *error);

/* Disconnects, stops all queues, closes `fd`, and removes the socket file that it made. Accepts NULL. */
void shunt_backend_destroy(struct shunt_backend *backend);

/* A descriptor that polls readable (POLLIN) when there is something to dispatch. It never changes. */
int shunt_backend_fd(const struct shunt_backend *backend);

/* Does all that is to be done now, without blocking. */
void shunt_backend_dispatch(struct shunt_backend *backend);

bool shunt_backend_is_connected(const struct shunt_backend *backend);

/* The features that the driver accepted, 0 before; those of the transport included. */
uint64_t shunt_backend_features(const struct shunt_backend *backend);

/* The protocol features that the front-end accepted. */
uint64_t shunt_backend_protocol_features(const struct shunt_backend *backend);

/*
 * Why no front-end is connected, or a queue is broken: one line, "" when all is well. Valid until
 * the next dispatch.
 */
const char *shunt_backend_reason(const struct shunt_backend *backend);

/* Virtqueue `idx` (< num_virtqueues). Valid until destroy, started or not. */
struct shunt_virtqueue *shunt_backend_virtqueue(struct shunt_backend *backend, unsigned idx);

/*
 * Watches virtqueue `idx` for kicks from now on, for ops.kicked: for control queues, which need no thread
 * of their own. The program arms the queue.
 */
void shunt_backend_watch_queue(struct shunt_backend *backend, unsigned idx);

/*
 * Tells the front-end that the configuration space changed. -ENOTSUP: it has no request channel for that;
 * the driver will not notice. Never blocks: it is sent when the front-end reads.
 */
int shunt_backend_config_changed(struct shunt_backend *backend);

/*
 * Lets the guest notify virtqueue `idx` by writing to `size` bytes at `offset` of `fd` (of a vDPA device),
 * which stays the caller's and may be closed. fd -1: no more. -ENOTSUP: the front-end cannot.
 */
int shunt_backend_set_host_notifier(struct shunt_backend *backend, unsigned idx, int fd,
                                    uint64_t offset, uint64_t size);

/* The guest's memory, for programs that follow addresses of their own. */
const struct shunt_memory *shunt_backend_memory(const struct shunt_backend *backend);

#ifdef __cplusplus
}
#endif

#endif
