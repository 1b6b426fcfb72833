/* SPDX-License-Identifier: BSD-3-Clause */
#include "block_device.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <shunt/backend.h>

#define MAX_PIECES 64
#define MAX_BURST  8

/* As far as it is used (5.2.4). */
struct config {
    uint64_t capacity; /* sectors */
    uint32_t size_max;
    uint32_t seg_max;
    uint32_t geometry;
    uint32_t blk_size;
    uint32_t topology[2];
    uint8_t writeback;
    uint8_t unused0;
    uint16_t num_queues;
};
#define WRITEBACK_OFFSET 32

struct block_device {
    struct shunt_backend *backend;
    struct config config;
    char id[BLOCK_ID_BYTES];
    uint8_t *disk;
};

/* One request that was taken from the ring. */
struct request {
    struct shunt_chain chain;
    struct iovec iov[MAX_PIECES];
};

/* --- Copying out of pieces, and into them ----------------------------------------------------------- */

enum direction { FROM_PIECES, TO_PIECES };

/* Copies `len` bytes, as far as there are any, from `offset` of the pieces on. */
static void copy(const struct iovec *pieces, unsigned num, uint64_t offset, void *bytes,
                 uint64_t len, enum direction direction)
{
    uint8_t *own = bytes;

    for (unsigned i = 0; i < num && len > 0; i++) {
        uint64_t there = pieces[i].iov_len;
        uint8_t *piece = pieces[i].iov_base;

        if (offset >= there) {
            offset -= there;
            continue;
        }
        there -= offset;
        if (there > len)
            there = len;
        if (direction == FROM_PIECES)
            memcpy(own, piece + offset, there);
        else
            memcpy(piece + offset, own, there);
        own += there;
        len -= there;
        offset = 0;
    }
}

/* --- Requests --------------------------------------------------------------------------------------- */

static bool is_on_disk(const struct block_device *device, uint64_t sector, uint64_t len)
{
    uint64_t capacity = device->config.capacity;

    return len % BLOCK_SECTOR_BYTES == 0 && sector <= capacity &&
           len / BLOCK_SECTOR_BYTES <= capacity - sector;
}

/* The driver's data follow the header and precede the status; returns the status. */
static uint8_t answer(struct block_device *device, const struct request *request,
                      const struct block_request *header)
{
    const struct shunt_chain *chain = &request->chain;
    const struct iovec *readable = request->iov, *writable = readable + chain->num_readable;
    uint64_t out_len = chain->readable_len - sizeof(*header), in_len = chain->writable_len - 1;
    uint64_t offset = header->sector * BLOCK_SECTOR_BYTES;

    switch (header->type) {
    case BLOCK_IN:
        if (!is_on_disk(device, header->sector, in_len))
            return BLOCK_ERROR;
        copy(writable, chain->num_writable, 0, device->disk + offset, in_len, TO_PIECES);
        return BLOCK_OK;
    case BLOCK_OUT:
        if (!is_on_disk(device, header->sector, out_len))
            return BLOCK_ERROR;
        copy(readable, chain->num_readable, sizeof(*header), device->disk + offset, out_len,
             FROM_PIECES);
        return BLOCK_OK;
    case BLOCK_GET_ID:
        if (in_len < sizeof(device->id))
            return BLOCK_ERROR;
        copy(writable, chain->num_writable, 0, device->id, sizeof(device->id), TO_PIECES);
        return BLOCK_OK;
    default:
        return BLOCK_UNSUPPORTED;
    }
}

/* Returns the bytes that were written: all of the writable ones, the status as the last. */
static uint32_t serve(struct block_device *device, const struct request *request)
{
    const struct shunt_chain *chain = &request->chain;
    struct block_request header;
    uint8_t status;

    if (chain->readable_len < sizeof(header) || chain->writable_len == 0)
        return 0;
    copy(request->iov, chain->num_readable, 0, &header, sizeof(header), FROM_PIECES);
    status = answer(device, request, &header);
    copy(request->iov + chain->num_readable, chain->num_writable, chain->writable_len - 1, &status,
         1, TO_PIECES);
    return chain->writable_len;
}

/* The last request first: a disk finishes in any order. */
static unsigned serve_burst(struct block_device *device, struct shunt_virtqueue *queue)
{
    struct request requests[MAX_BURST];
    unsigned num = 0;

    shunt_virtqueue_lock(queue);
    while (num < MAX_BURST &&
           shunt_virtqueue_pop(queue, &requests[num].chain, requests[num].iov, MAX_PIECES) > 0)
        num++;
    for (unsigned i = num; i-- > 0;)
        shunt_virtqueue_push(queue, &requests[i].chain, requests[i].iov,
                             serve(device, &requests[i]));
    shunt_virtqueue_publish(queue);
    shunt_virtqueue_unlock(queue);
    return num;
}

/* --- The device ------------------------------------------------------------------------------------- */

static int get_config(void *ctx, uint32_t offset, void *data, uint32_t len)
{
    const struct block_device *device = ctx;

    memcpy(data, (const uint8_t *)&device->config + offset, len);
    return 0;
}

static int set_config(void *ctx, uint32_t offset, const void *data, uint32_t len, bool is_migrated)
{
    struct block_device *device = ctx;

    (void)is_migrated; /* nothing is kept of the rest */
    if (offset != WRITEBACK_OFFSET || len != 1)
        return -EINVAL;
    memcpy(&device->config.writeback, data, 1);
    return 0;
}

static const struct shunt_backend_ops ops = {
    .get_config = get_config,
    .set_config = set_config,
};

int block_device_create(const char *socket_path, uint64_t num_sectors, const char *id,
                        struct block_device **device)
{
    struct shunt_backend_config config = {
        .name = id,
        .socket_path = socket_path,
        .features = BLOCK_F_CONFIG_WCE | BLOCK_F_MQ,
        .num_virtqueues = BLOCK_NUM_QUEUES,
        .queue_num = BLOCK_NUM_QUEUES,
        .config_len = sizeof(struct config),
    };
    struct block_device *fresh = calloc(1, sizeof(*fresh));
    int result = -ENOMEM;

    if (!fresh)
        return -ENOMEM;
    fresh->config = (struct config){.capacity = num_sectors, .num_queues = BLOCK_NUM_QUEUES};
    memcpy(fresh->id, id, strnlen(id, sizeof(fresh->id)));
    fresh->disk = calloc(num_sectors, BLOCK_SECTOR_BYTES);
    if (fresh->disk)
        result = shunt_backend_create(&config, &ops, fresh, &fresh->backend, NULL);
    if (result < 0)
        block_device_destroy(fresh);
    else
        *device = fresh;
    return result;
}

void block_device_destroy(struct block_device *device)
{
    if (!device)
        return;
    shunt_backend_destroy(device->backend);
    free(device->disk);
    free(device);
}

void block_device_run(struct block_device *device)
{
    struct pollfd events = {.fd = shunt_backend_fd(device->backend), .events = POLLIN};

    while (poll(&events, 1, 0) > 0)
        shunt_backend_dispatch(device->backend);
    for (unsigned i = 0; i < BLOCK_NUM_QUEUES; i++) {
        while (serve_burst(device, shunt_backend_virtqueue(device->backend, i)) > 0)
            ;
    }
}

uint8_t block_device_writeback(const struct block_device *device)
{
    return device->config.writeback;
}
