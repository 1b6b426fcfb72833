/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/driver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PAGE_BYTES UINT64_C(4096)

static uint64_t ring_stride(uint16_t size)
{
    return (ring_bytes(size) + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

static int must_eventfd(void)
{
    int fd = frontend_eventfd();

    if (fd < 0) {
        perror("eventfd");
        abort();
    }
    return fd;
}

void driver_init(struct driver *driver, unsigned num_rings, uint16_t ring_size,
                 uint64_t memory_bytes)
{
    *driver = (struct driver){
        .frontend = {.fd = -1},
        .data_offset = num_rings * ring_stride(ring_size),
        .num_rings = num_rings,
        .ring_size = ring_size,
    };
    area_create(&driver->area, memory_bytes, DRIVER_GUEST_ADDR, DRIVER_USER_ADDR);
    for (unsigned i = 0; i < num_rings; i++) {
        ring_init(&driver->rings[i], &driver->area, i * ring_stride(ring_size), ring_size,
                  RING_SPLIT);
        driver->kick_fds[i] = must_eventfd();
        driver->call_fds[i] = must_eventfd();
    }
}

void driver_fini(struct driver *driver)
{
    driver_disconnect(driver);
    for (unsigned i = 0; i < driver->num_rings; i++) {
        ring_fini(&driver->rings[i]);
        close(driver->kick_fds[i]);
        close(driver->call_fds[i]);
    }
    area_destroy(&driver->area);
    driver->num_rings = 0;
}

struct frontend_region driver_region(const struct driver *driver)
{
    return (struct frontend_region){
        .guest_addr = driver->area.guest_addr,
        .size = driver->area.size,
        .user_addr = driver->area.user_addr,
    };
}

/* Regions of a whole number of pages, the last one of what is left. */
static int share_memory(struct driver *driver)
{
    struct frontend_region region = driver_region(driver);
    uint64_t pages = driver->area.size / PAGE_BYTES, end = region.guest_addr + region.size;
    int result = 0;

    if (driver->num_regions <= 1)
        return frontend_set_memory(&driver->frontend, &region, &driver->area.fd, 1);
    region.size = (pages / driver->num_regions + 1) * PAGE_BYTES;
    while (result == 0 && region.guest_addr < end) {
        if (region.size > end - region.guest_addr)
            region.size = end - region.guest_addr;
        result = frontend_add_region(&driver->frontend, &region, driver->area.fd);
        region.guest_addr += region.size;
        region.user_addr += region.size;
        region.fd_offset += region.size;
    }
    return result;
}

static void begin_ring(struct driver *driver, unsigned idx, enum ring_format format)
{
    ring_fini(&driver->rings[idx]);
    ring_init(&driver->rings[idx], &driver->area, idx * ring_stride(driver->ring_size),
              driver->ring_size, format);
}

void driver_adopt(struct driver *driver, uint64_t features)
{
    enum ring_format format = features & RING_FEATURE(PACKED) ? RING_PACKED : RING_SPLIT;

    for (unsigned i = 0; i < driver->num_rings; i++) {
        if (driver->rings[i].format != format)
            begin_ring(driver, i, format);
        driver->rings[i].has_event_idx = features & RING_FEATURE(EVENT_IDX);
        driver->rings[i].is_in_order = features & RING_FEATURE(IN_ORDER);
    }
}

int driver_connect(struct driver *driver, const char *path, uint64_t features,
                   uint64_t protocol_features)
{
    int result = frontend_open(&driver->frontend, path);

    return result < 0 ? result : driver_begin(driver, features, protocol_features);
}

int driver_begin(struct driver *driver, uint64_t features, uint64_t protocol_features)
{
    int result;

    driver->frontend.idle = driver->idle;
    driver->frontend.idle_ctx = driver->idle_ctx;
    driver->frontend.wants_acks = driver->wants_acks;
    result = frontend_negotiate(&driver->frontend, features, protocol_features);
    if (result < 0)
        return result;
    driver_adopt(driver, driver->frontend.features);
    result = share_memory(driver);
    return result == 0 ? frontend_sync(&driver->frontend) : result;
}

void driver_disconnect(struct driver *driver)
{
    frontend_close(&driver->frontend);
}

struct frontend_ring driver_ring(const struct driver *driver, unsigned idx)
{
    const struct ring *ring = &driver->rings[idx];
    struct virtqueue_addresses addresses = ring_addresses(ring);

    return (struct frontend_ring){
        .size = ring->size,
        .base = ring_base(ring),
        .descriptor = addresses.descriptor,
        .available = addresses.driver,
        .used = addresses.device,
        .kick_fd = driver->kick_fds[idx],
        .call_fd = driver->call_fds[idx],
    };
}

void driver_reset_ring(struct driver *driver, unsigned idx)
{
    struct ring before = driver->rings[idx];

    begin_ring(driver, idx, before.format);
    driver->rings[idx].has_event_idx = before.has_event_idx;
    driver->rings[idx].is_in_order = before.is_in_order;
}

int driver_start(struct driver *driver, unsigned idx)
{
    struct frontend_ring ring = driver_ring(driver, idx);
    int result = frontend_setup_ring(&driver->frontend, idx, &ring);

    if (result == 0 && (driver->frontend.features & FRONTEND_F_PROTOCOL_FEATURES))
        result = frontend_enable(&driver->frontend, idx, true);
    driver_kick(driver, idx);
    return result == 0 ? frontend_sync(&driver->frontend) : result;
}

int driver_stop(struct driver *driver, unsigned idx)
{
    uint32_t base;
    int result = frontend_get_base(&driver->frontend, idx, &base);

    driver_reset_ring(driver, idx);
    return result;
}

void driver_kick(struct driver *driver, unsigned idx)
{
    frontend_kick(driver->kick_fds[idx]);
}

int driver_add(struct driver *driver, unsigned idx, const struct ring_buffer *buffers, unsigned num)
{
    int head = ring_add(&driver->rings[idx], buffers, num);

    ring_publish(&driver->rings[idx]);
    if (ring_needs_kick(&driver->rings[idx]))
        driver_kick(driver, idx);
    return head;
}

struct ring_buffer driver_buffer(const struct driver *driver, uint64_t offset, uint32_t len,
                                 bool is_writable)
{
    return (struct ring_buffer){
        .addr = driver->area.guest_addr + driver->data_offset + offset,
        .len = len,
        .is_writable = is_writable,
    };
}

void *driver_data(const struct driver *driver, uint64_t offset)
{
    return driver->area.base + driver->data_offset + offset;
}
