/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/device.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void on_connected(void *ctx)
{
    struct device *device = ctx;

    device->num_connected++;
}

static void on_disconnected(void *ctx)
{
    struct device *device = ctx;

    device->num_disconnected++;
}

static void on_features(void *ctx, uint64_t features)
{
    struct device *device = ctx;

    device->num_features_changed++;
    device->features = features;
}

static void on_queue(void *ctx, unsigned idx)
{
    struct device *device = ctx;

    device->num_queue_changed[idx]++;
    if (device->changes_config)
        shunt_backend_config_changed(device->backend);
}

static int get_config(void *ctx, uint32_t offset, void *data, uint32_t len)
{
    const struct device *device = ctx;

    memcpy(data, device->config + offset, len);
    return device->config_result;
}

static int set_config(void *ctx, uint32_t offset, const void *data, uint32_t len, bool is_migrated)
{
    struct device *device = ctx;

    device->is_migrated = is_migrated;
    if (device->config_result == 0)
        memcpy(device->config + offset, data, len);
    return device->config_result;
}

static void on_announce(void *ctx, const uint8_t mac[6])
{
    struct device *device = ctx;

    device->num_announced++;
    memcpy(device->announced, mac, sizeof(device->announced));
}

static int on_mtu(void *ctx, uint16_t mtu)
{
    struct device *device = ctx;

    device->mtu = mtu;
    return device->mtu_result;
}

static int save_state(void *ctx, void **data, size_t *len)
{
    const struct device *device = ctx;

    if (device->state_result < 0 || device->state_len == 0)
        return device->state_result;
    *data = malloc(device->state_len);
    if (!*data)
        return -ENOMEM;
    memcpy(*data, device->state, device->state_len);
    *len = device->state_len;
    return 0;
}

static int load_state(void *ctx, const void *data, size_t len)
{
    struct device *device = ctx;

    device->num_loaded++;
    device->loaded_len = len;
    if (device->loaded)
        memcpy(device->loaded, data, len);
    return device->state_result;
}

static void on_reset(void *ctx)
{
    struct device *device = ctx;

    device->num_resets++;
}

static void on_kicked(void *ctx, unsigned idx)
{
    struct device *device = ctx;

    device->num_kicked[idx]++;
}

static const struct shunt_backend_ops ops = {
    .connected = on_connected,
    .disconnected = on_disconnected,
    .features_changed = on_features,
    .queue_changed = on_queue,
    .get_config = get_config,
    .set_config = set_config,
    .announce = on_announce,
    .set_mtu = on_mtu,
    .save_state = save_state,
    .load_state = load_state,
    .reset = on_reset,
    .kicked = on_kicked,
};

static void make_backend(struct device *device, unsigned num_virtqueues, bool is_client, int fd)
{
    struct shunt_backend_config config = {
        .name = "device",
        .socket_path = fd < 0 ? device->path : NULL,
        .fd = fd,
        .is_client = is_client,
        .features = DEVICE_FEATURE,
        .num_virtqueues = num_virtqueues,
        .queue_num = num_virtqueues / 2,
        .config_len = DEVICE_CONFIG_BYTES,
        .allows_postcopy = device->allows_postcopy,
    };
    struct shunt_error error;

    if (shunt_backend_create(&config, &ops, device, &device->backend, &error) < 0) {
        fprintf(stderr, "%s\n", error.text);
        abort();
    }
}

void device_create(struct device *device, unsigned num_virtqueues)
{
    *device = (struct device){.folder = "/tmp/shunt-device-XXXXXX"};
    if (!mkdtemp(device->folder)) {
        perror(device->folder);
        abort();
    }
    snprintf(device->path, sizeof(device->path), "%s/socket", device->folder);
    make_backend(device, num_virtqueues, false, -1);
}

void device_become_client(struct device *device, unsigned num_virtqueues)
{
    shunt_backend_destroy(device->backend);
    make_backend(device, num_virtqueues, true, -1);
}

void device_become_adopter(struct device *device, unsigned num_virtqueues, int fd)
{
    shunt_backend_destroy(device->backend);
    make_backend(device, num_virtqueues, false, fd);
}

void device_allow_postcopy(struct device *device, unsigned num_virtqueues)
{
    shunt_backend_destroy(device->backend);
    device->allows_postcopy = true;
    make_backend(device, num_virtqueues, false, -1);
}

/* The folder is removed only if nothing was left in it. */
void device_destroy(struct device *device)
{
    shunt_backend_destroy(device->backend);
    device->backend = NULL;
    if (rmdir(device->folder) < 0) {
        perror(device->folder);
        abort();
    }
}

static void dispatch(void *ctx)
{
    device_run(ctx);
}

void device_attach(struct device *device, struct driver *driver)
{
    driver->idle = dispatch;
    driver->idle_ctx = device;
}

void device_run(struct device *device)
{
    struct pollfd events = {.fd = shunt_backend_fd(device->backend), .events = POLLIN};

    while (poll(&events, 1, 0) > 0)
        shunt_backend_dispatch(device->backend);
}

bool device_is_started(const struct device *device, unsigned idx)
{
    return shunt_virtqueue_is_started(shunt_backend_virtqueue(device->backend, idx));
}

bool device_is_enabled(const struct device *device, unsigned idx)
{
    return shunt_virtqueue_is_enabled(shunt_backend_virtqueue(device->backend, idx));
}

/* Byte by byte: what is tested is elsewhere. Returns the bytes written. */
static uint32_t copy_chain(const struct shunt_chain *chain, const struct iovec *iov)
{
    const struct iovec *to = iov + chain->num_readable, *end = to + chain->num_writable;
    size_t offset = 0;
    uint32_t written = 0;

    for (unsigned i = 0; i < chain->num_readable; i++) {
        for (size_t j = 0; j < iov[i].iov_len && to < end; j++) {
            ((uint8_t *)to->iov_base)[offset++] = ((const uint8_t *)iov[i].iov_base)[j];
            written++;
            if (offset == to->iov_len) {
                offset = 0;
                to++;
            }
        }
    }
    return written;
}

int device_echo(struct device *device, unsigned idx)
{
    struct shunt_virtqueue *queue = shunt_backend_virtqueue(device->backend, idx);
    struct shunt_chain chain;
    struct iovec iov[64];
    int result, num = 0;

    shunt_virtqueue_lock(queue);
    while ((result = shunt_virtqueue_pop(queue, &chain, iov, 64)) > 0) {
        shunt_virtqueue_push(queue, &chain, iov, copy_chain(&chain, iov));
        num++;
    }
    shunt_virtqueue_publish(queue);
    shunt_virtqueue_unlock(queue);
    return result < 0 ? result : num;
}
