/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/rig.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void on_event(void *ctx)
{
    struct rig *rig = ctx;

    if (rig->queue->fault != FAULT_NONE)
        rig->num_broken++;
    else
        rig->num_missed++;
}

static void share(struct rig *rig, const struct ring_area *area)
{
    struct shunt_memory_region region = area_region(area);

    if (shunt_memory_add(rig->memory, &region, area->fd, NULL) < 0)
        abort();
}

static int make_eventfd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0)
        abort();
    return fd;
}

/* As front-ends say it of a ring that is new. */
static uint32_t first_base(const struct rig *rig)
{
    return rig->features & RIG_F_PACKED ? PACKED_FIRST | (uint32_t)PACKED_FIRST << 16 : 0;
}

static enum ring_format format_of(uint64_t features)
{
    return features & RIG_F_PACKED ? RING_PACKED : RING_SPLIT;
}

static void begin_ring(struct rig *rig, uint16_t size)
{
    ring_init(&rig->ring, &rig->low, 0, size, format_of(rig->features));
    rig->ring.has_event_idx = rig->features & RIG_F_EVENT_IDX;
    rig->ring.is_in_order = rig->features & RIG_F_IN_ORDER;
}

/* A queue that knows where the ring is. */
static void make_queue(struct rig *rig)
{
    struct virtqueue_addresses addresses = ring_addresses(&rig->ring);

    if (virtqueue_create(&rig->space, on_event, rig, &rig->queue) < 0)
        abort();
    virtqueue_replace_fd(&rig->queue->call_fd, dup(rig->call_fd));
    virtqueue_replace_fd(&rig->queue->kick_fd, dup(rig->kick_fd));
    virtqueue_replace_fd(&rig->queue->error_fd, dup(rig->error_fd));
    rig->queue->base = first_base(rig);
    if (virtqueue_set_size(rig->queue, rig->ring.size, NULL) < 0 ||
        virtqueue_set_addresses(rig->queue, &addresses, NULL) < 0)
        abort();
}

void rig_init(struct rig *rig, uint16_t size, uint64_t features)
{
    *rig = (struct rig){.features = features};
    if (shunt_memory_create(&rig->memory) < 0)
        abort();
    dirty_log_init(&rig->log);
    rig->space = (struct virtqueue_space){.memory = rig->memory, .log = &rig->log};
    area_create(&rig->low, RIG_AREA_BYTES, RIG_LOW, RIG_LOW_USER);
    area_create(&rig->high, RIG_AREA_BYTES, RIG_BORDER, RIG_HIGH_USER);
    share(rig, &rig->high);
    share(rig, &rig->low);
    rig->call_fd = make_eventfd();
    rig->kick_fd = make_eventfd();
    rig->error_fd = make_eventfd();
    begin_ring(rig, size);
    make_queue(rig);
}

void rig_init_started(struct rig *rig, uint16_t size, uint64_t features)
{
    rig_init(rig, size, features);
    if (rig_start(rig) < 0)
        abort();
    rig->queue->is_enabled = true;
}

void rig_fini(struct rig *rig)
{
    virtqueue_destroy(rig->queue);
    dirty_log_fini(&rig->log);
    shunt_memory_destroy(rig->memory);
    ring_fini(&rig->ring);
    area_destroy(&rig->low);
    area_destroy(&rig->high);
    close(rig->call_fd);
    close(rig->kick_fd);
    close(rig->error_fd);
}

int rig_start(struct rig *rig)
{
    return virtqueue_start(rig->queue, rig->features, NULL);
}

void rig_set_base(struct rig *rig, uint32_t base)
{
    ring_set_base(&rig->ring, base);
    rig->queue->base = base;
}

void rig_reset(struct rig *rig)
{
    uint16_t size = rig->ring.size;

    virtqueue_stop(rig->queue);
    ring_fini(&rig->ring);
    begin_ring(rig, size);
    rig->queue->base = first_base(rig);
}

void rig_crash(struct rig *rig)
{
    virtqueue_destroy(rig->queue);
    make_queue(rig);
    if (rig_start(rig) < 0)
        abort();
    rig->queue->is_enabled = true;
}

void *rig_at(const struct rig *rig, uint64_t guest_addr)
{
    return area_at(guest_addr < RIG_BORDER ? &rig->low : &rig->high, guest_addr);
}

bool rig_is_at(const struct rig *rig, const void *pointer, uint64_t guest_addr)
{
    uint64_t contiguous;

    return pointer && shunt_memory_at_guest(rig->memory, guest_addr, 1, &contiguous) == pointer;
}

uint64_t rig_signals(int fd)
{
    uint64_t num = 0;

    return read(fd, &num, sizeof(num)) == sizeof(num) ? num : 0;
}
