/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vhost-user-blk device (VIRTIO 1.3, 5.2) with a disk in memory, for tests: written on the public headers
 * of libshunt alone, to show that they suffice for a device that is no network device.
 */
#ifndef LIB_BLOCK_DEVICE_H
#define LIB_BLOCK_DEVICE_H

#include <stdint.h>

#define BLOCK_SECTOR_BYTES 512
#define BLOCK_NUM_QUEUES   2
#define BLOCK_ID_BYTES     20

/* Feature bits that it offers. */
#define BLOCK_F_CONFIG_WCE (UINT64_C(1) << 11)
#define BLOCK_F_MQ         (UINT64_C(1) << 12)

/* Types and results of requests. */
#define BLOCK_IN     0
#define BLOCK_OUT    1
#define BLOCK_GET_ID 8

#define BLOCK_OK          0
#define BLOCK_ERROR       1
#define BLOCK_UNSUPPORTED 2

/* What a request begins with. */
struct block_request {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
};

struct block_device;

/* -ENOMEM, or as of shunt_backend_create(). */
int block_device_create(const char *socket_path, uint64_t num_sectors, const char *id,
                        struct block_device **device);
void block_device_destroy(struct block_device *device);

/* Does all that is to be done now. */
void block_device_run(struct block_device *device);

/* What the driver chose in the configuration space. */
uint8_t block_device_writeback(const struct block_device *device);

#endif
