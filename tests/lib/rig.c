/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/rig.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void on_broken(void *ctx)
{
    struct rig *rig = ctx;

    rig->num_broken++;
}

static void share(struct rig *rig, const struct ring_area *area)
{
    struct shunt_memory_region region = area_region(area);

    if (shunt_memory_add(rig->memory, &region, area->fd, NULL) < 0)
        abort();
}

/* One for the test, another one of the same for the queue, which closes it. */
static void make_eventfd(int *own, int *slot)
{
    *own = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (*own < 0)
        abort();
    virtqueue_replace_fd(slot, dup(*own));
}

void rig_init(struct rig *rig, uint16_t size, uint64_t features)
{
    struct virtqueue_addresses addresses;

    *rig = (struct rig){.features = features};
    if (shunt_memory_create(&rig->memory) < 0 ||
        virtqueue_create(rig->memory, on_broken, rig, &rig->queue) < 0)
        abort();
    area_create(&rig->low, RIG_AREA_BYTES, RIG_LOW, RIG_LOW_USER);
    area_create(&rig->high, RIG_AREA_BYTES, RIG_BORDER, RIG_HIGH_USER);
    share(rig, &rig->high);
    share(rig, &rig->low);
    make_eventfd(&rig->call_fd, &rig->queue->call_fd);
    make_eventfd(&rig->kick_fd, &rig->queue->kick_fd);
    make_eventfd(&rig->error_fd, &rig->queue->error_fd);
    ring_init(&rig->ring, &rig->low, 0, size);
    rig->ring.has_event_idx = features & RIG_F_EVENT_IDX;
    addresses = ring_addresses(&rig->ring);
    if (virtqueue_set_size(rig->queue, size, NULL) < 0 ||
        virtqueue_set_addresses(rig->queue, &addresses, NULL) < 0)
        abort();
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
