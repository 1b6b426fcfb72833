/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/cable.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/plug.h"
#include "virtio_net/segment.h"

void cable_open_far(struct cable *cable, const char *options)
{
    cable->far = plug_create("vhost-user", "far", NULL, NULL, "socket %s %s", cable->path, options);
}

void cable_open_near(struct cable *cable, const char *options)
{
    cable->near = plug_create("virtio-user", "near", NULL, NULL, "socket %s %s", cable->path,
                              options);
}

void cable_wait_near(struct cable *cable, enum port_state state)
{
    plug_wait_state((struct port *[]){cable->near, cable->far}, 2, state);
}

void cable_wait_far(struct cable *cable, enum port_state state)
{
    plug_wait_state((struct port *[]){cable->far, cable->near}, 2, state);
}

void cable_wait_up(struct cable *cable)
{
    cable_wait_near(cable, PORT_UP);
    cable_wait_far(cable, PORT_UP);
}

void cable_close_far(struct cable *cable)
{
    port_destroy(cable->far);
    cable->far = NULL;
}

int cable_setup_alone(void **state)
{
    struct cable *cable = calloc(1, sizeof(*cable));

    if (!cable || burst_init(&cable->sent) < 0 || burst_init(&cable->lent) < 0)
        return -1;
    strcpy(cable->folder, "/tmp/cable.XXXXXX");
    if (!mkdtemp(cable->folder))
        return -1;
    snprintf(cable->path, sizeof(cable->path), "%s/sock", cable->folder);
    *state = cable;
    return 0;
}

int cable_setup(void **state)
{
    const struct cable_variant *variant = *state;
    struct cable *cable;

    if (cable_setup_alone(state) < 0)
        return -1;
    cable = *state;
    cable_open_far(cable, variant->far_options);
    cable_open_near(cable, variant->near_options);
    cable_wait_up(cable);
    return 0;
}

int cable_teardown(void **state)
{
    struct cable *cable = *state;

    port_destroy(cable->near);
    port_destroy(cable->far);
    burst_fini(&cable->sent);
    burst_fini(&cable->lent);
    if (rmdir(cable->folder) < 0)
        return -1;
    free(cable);
    return 0;
}

/* Each byte follows from the number; frames of one flow come from the same address. */
static void fill(uint8_t *bytes, uint32_t size, uint32_t number)
{
    uint32_t state = number * 2654435761u + size;

    memset(bytes, 0, ETHERNET_HEADER_BYTES);
    bytes[0] = bytes[6] = 2;
    bytes[11] = (uint8_t)(number % 64);
    bytes[12] = 0x88;
    bytes[13] = 0xb5;
    for (uint32_t i = ETHERNET_HEADER_BYTES; i < size; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(state >> 24);
    }
}

/* Adds a frame to the burst that is sent next, in pieces of so many bytes. */
void cable_add_frame(struct cable *cable, struct cable_way *way, uint32_t size,
                     uint32_t piece_bytes)
{
    static uint8_t bytes[BURST_MAX_FRAMES][FRAME_MAX_BYTES];
    struct burst *burst = &cable->sent;
    uint8_t *at = bytes[burst->num];
    struct frame *frame = &burst->frames[burst->num];
    struct iovec *segments = &burst->segments[burst->num * 2048u];
    uint32_t num = 0;

    fill(at, size, way->num_sent);
    for (uint32_t offset = 0; offset < size; offset += piece_bytes)
        segments[num++] = (struct iovec){
            at + offset,
            size - offset < piece_bytes ? size - offset : piece_bytes,
        };
    *frame = (struct frame){.segments = segments, .num_segments = num, .len = size};
    memcpy(&frame->ethernet, at, ETHERNET_HEADER_BYTES);
    way->sizes[way->num_sent++ % CABLE_MAX_FRAMES] = size;
    burst->num++;
}

void cable_send_burst(struct cable *cable, struct port *port)
{
    cable->sent.hashed = 0;
    port_copy(port, 0, &cable->sent, burst_all(&cable->sent));
    cable->sent.num = 0;
}

void cable_send(struct cable *cable, struct port *port, struct cable_way *way, unsigned num,
                uint32_t size)
{
    while (num > 0) {
        while (num > 0 && cable->sent.num < BURST_MAX_FRAMES) {
            cable_add_frame(cable, way, size, size);
            num--;
        }
        cable_send_burst(cable, port);
    }
}

void cable_expect_frame(struct cable_way *way, const struct frame *frame)
{
    static uint8_t expected[FRAME_MAX_BYTES], received[FRAME_MAX_BYTES];
    struct segment_cursor cursor = segment_start(frame->segments);
    uint32_t size = way->sizes[way->num_received % CABLE_MAX_FRAMES];
    uint64_t sum = 0;

    assert_true(way->num_received < way->num_sent);
    fill(expected, size, way->num_received++);
    assert_int_equal(frame->len, size);
    for (unsigned i = 0; i < frame->num_segments; i++)
        sum += frame->segments[i].iov_len;
    assert_int_equal(sum, size);
    segment_read(&cursor, received, size);
    assert_memory_equal(received, expected, size);
    assert_memory_equal(&frame->ethernet, expected, ETHERNET_HEADER_BYTES);
}

/* Lends all that is there on the first queue. How many frames. */
unsigned cable_receive(struct cable *cable, struct port *port, struct cable_way *way)
{
    struct port_queue *queue = &port->queues[0];
    unsigned total = 0, num;

    while ((num = port->class->lend(queue, &cable->lent)) > 0) {
        for (unsigned i = 0; i < num; i++)
            cable_expect_frame(way, &cable->lent.frames[i]);
        port->class->give_back(queue, &cable->lent);
        total += num;
    }
    return total;
}

struct counters cable_counters(const struct port *port, bool is_rx)
{
    struct counters rx, tx;

    port_sum_counters(port, &rx, &tx);
    return is_rx ? rx : tx;
}

static uint64_t num_drops(const struct counters *counters)
{
    uint64_t num = 0;

    for (unsigned i = 0; i < DROP_NUM; i++)
        num += counters->drops[i];
    return num;
}

void cable_expect_counters(const struct port *port, bool is_rx, uint64_t packets, uint64_t drops)
{
    struct counters counters = cable_counters(port, is_rx);

    assert_int_equal(counters.packets, packets);
    assert_int_equal(num_drops(&counters), drops);
}
