/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/area.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void give_up(const char *what)
{
    perror(what);
    abort();
}

void area_create(struct ring_area *area, uint64_t size, uint64_t guest_addr, uint64_t user_addr)
{
    *area = (struct ring_area){.guest_addr = guest_addr, .user_addr = user_addr, .size = size};
    area->fd = memfd_create("guest", MFD_CLOEXEC);
    if (area->fd < 0 || ftruncate(area->fd, (off_t)size) < 0)
        give_up("memfd_create");
    area->base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, area->fd, 0);
    if (area->base == MAP_FAILED)
        give_up("mmap");
}

void area_destroy(struct ring_area *area)
{
    munmap(area->base, area->size);
    close(area->fd);
    area->base = NULL;
    area->fd = -1;
}

struct shunt_memory_region area_region(const struct ring_area *area)
{
    return (struct shunt_memory_region){
        .guest_addr = area->guest_addr,
        .user_addr = area->user_addr,
        .size = area->size,
    };
}

static uint64_t offset_of(const struct ring_area *area, const void *pointer)
{
    return (uint64_t)((const uint8_t *)pointer - area->base);
}

void *area_at(const struct ring_area *area, uint64_t guest_addr)
{
    return area->base + (guest_addr - area->guest_addr);
}

uint64_t area_guest(const struct ring_area *area, const void *pointer)
{
    return area->guest_addr + offset_of(area, pointer);
}

uint64_t area_user(const struct ring_area *area, const void *pointer)
{
    return area->user_addr + offset_of(area, pointer);
}
