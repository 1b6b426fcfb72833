/* SPDX-License-Identifier: BSD-3-Clause */
#include "socket/guest.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "socket/frame.h"

/* Room for the longest frame with its header, and for an indirect table behind it. */
#define SLOT_BYTES   UINT64_C(69632)
#define TABLE_OFFSET UINT64_C(66560)
#define MAX_PIECES   40
#define TIMEOUT_MS   5000

/* VIRTIO 1.3, 5.1.6 */
struct net_header {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint16_t num_buffers;
};

const struct guest_config guest_modern = {
    .features = GUEST_F_MODERN,
    .num_pairs = 1,
    .ring_size = 256,
    .rx_bytes = 4096,
};

static unsigned receiveq(unsigned pair)
{
    return 2 * pair;
}

static unsigned transmitq(unsigned pair)
{
    return 2 * pair + 1;
}

/* --- Life ------------------------------------------------------------------------------------------- */

void guest_create(struct guest *guest, const struct guest_config *config)
{
    static uint32_t number;
    uint64_t num_slots = (uint64_t)2 * config->num_pairs * config->ring_size;

    *guest = (struct guest){.config = *config, .header_bytes = 10};
    if (config->features & (GUEST_F_VERSION_1 | GUEST_F_MRG_RXBUF))
        guest->header_bytes = 12;
    frame_mac(guest->mac, ++number);
    driver_init(&guest->driver, 2 * config->num_pairs, config->ring_size,
                (num_slots + 16) * SLOT_BYTES);
    guest->driver.num_regions = config->num_regions;
}

void guest_destroy(struct guest *guest)
{
    driver_fini(&guest->driver);
}

/* Where a slot of a queue lies behind the rings. */
static uint64_t slot_offset(const struct guest *guest, unsigned queue, unsigned slot)
{
    return ((uint64_t)queue * guest->config.ring_size + slot) * SLOT_BYTES;
}

static void reset_queue(struct guest *guest, unsigned idx)
{
    struct guest_queue *queue = &guest->queues[idx];

    driver_reset_ring(&guest->driver, idx);
    queue->num_free = 0;
    for (uint16_t i = guest->config.ring_size; i-- > 0;)
        queue->free_slots[queue->num_free++] = i;
}

static void start_rings(struct guest *guest)
{
    for (unsigned i = 0; i < 2 * guest->config.num_pairs; i++)
        reset_queue(guest, i);
    for (unsigned i = 0; i < guest->config.num_pairs; i++) {
        guest_refill(guest, i);
        assert_int_equal(driver_start(&guest->driver, receiveq(i)), 0);
        assert_int_equal(driver_start(&guest->driver, transmitq(i)), 0);
    }
}

void guest_connect_path(struct guest *guest, const char *path)
{
    assert_int_equal(driver_connect(&guest->driver, path, guest->config.features, UINT64_MAX), 0);
    assert_int_equal(guest->driver.frontend.features, guest->config.features);
    start_rings(guest);
}

void guest_connect(struct guest *guest, const struct lab *lab, const char *port)
{
    char path[128];

    lab_socket(lab, path, sizeof(path), port);
    guest_connect_path(guest, path);
}

void guest_attach(struct guest *guest, const struct lab *lab, const char *port)
{
    guest_connect(guest, lab, port);
    lab_wait_state(lab, port, "up");
}

void guest_detach(struct guest *guest)
{
    driver_disconnect(&guest->driver);
}

void guest_reset(struct guest *guest)
{
    for (unsigned i = 0; i < 2 * guest->config.num_pairs; i++)
        assert_int_equal(driver_stop(&guest->driver, i), 0);
    start_rings(guest);
}

/* --- Buffers in descriptors ------------------------------------------------------------------------- */

/* Adds `len` bytes at `*offset` as a buffer. */
static unsigned add_piece(const struct guest *guest, struct ring_buffer *buffers, unsigned num,
                          uint64_t *offset, uint32_t len, bool is_writable)
{
    if (len == 0)
        return num;
    buffers[num] = driver_buffer(&guest->driver, *offset, len, is_writable);
    *offset += len;
    return num + 1;
}

static unsigned lay_out(const struct guest *guest, uint64_t offset, uint32_t len, bool is_writable,
                        struct ring_buffer *buffers)
{
    uint32_t header = guest->header_bytes, piece = len / 32 + 100;
    unsigned num = 0;

    if (guest->config.layout == GUEST_WHOLE)
        return add_piece(guest, buffers, num, &offset, len, is_writable);
    if (guest->config.layout == GUEST_APART) {
        num = add_piece(guest, buffers, num, &offset, header, is_writable);
        return add_piece(guest, buffers, num, &offset, len - header, is_writable);
    }
    num = add_piece(guest, buffers, num, &offset, 3, is_writable);
    num = add_piece(guest, buffers, num, &offset, 4, is_writable);
    num = add_piece(guest, buffers, num, &offset, header - 7, is_writable);
    for (uint32_t left = len - header; left > 0; left -= piece < left ? piece : left)
        num = add_piece(guest, buffers, num, &offset, piece < left ? piece : left, is_writable);
    return num;
}

/* Puts the slot into the ring. False: not enough descriptors. */
static bool add_slot(struct guest *guest, unsigned idx, uint16_t slot, uint32_t len)
{
    struct ring *ring = &guest->driver.rings[idx];
    uint64_t offset = slot_offset(guest, idx, slot);
    struct ring_buffer buffers[MAX_PIECES];
    unsigned num = lay_out(guest, offset, len, idx % 2 == 0, buffers);
    int id;

    if (guest->config.features & GUEST_F_INDIRECT)
        id = ring_add_indirect(ring, driver_data(&guest->driver, offset + TABLE_OFFSET),
                               driver_buffer(&guest->driver, offset + TABLE_OFFSET, 1, false).addr,
                               buffers, num);
    else
        id = ring_add(ring, buffers, num);
    if (id < 0)
        return false;
    guest->queues[idx].slot_of[id] = slot;
    return true;
}

static void publish(struct guest *guest, unsigned idx)
{
    ring_publish(&guest->driver.rings[idx]);
    if (ring_needs_kick(&guest->driver.rings[idx]))
        driver_kick(&guest->driver, idx);
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Asleep until the device returns something, as a driver that asked for it would be. */
static bool wait_used(struct guest *guest, unsigned idx, unsigned num, int timeout_ms)
{
    struct ring *ring = &guest->driver.rings[idx];
    int64_t deadline_ms = now_ms() + timeout_ms;

    while (ring_num_used(ring) < num) {
        int64_t left_ms = deadline_ms - now_ms();

        ring_want_calls(ring, true);
        if (ring_num_used(ring) >= num)
            break;
        if (left_ms <= 0)
            return false;
        frontend_wait_event(guest->driver.call_fds[idx], (int)left_ms);
    }
    return true;
}

/* --- Transmitting ----------------------------------------------------------------------------------- */

static void reclaim(struct guest *guest, unsigned idx)
{
    struct guest_queue *queue = &guest->queues[idx];
    struct ring_used used;

    while (ring_take_used(&guest->driver.rings[idx], &used)) {
        assert_true(used.id < guest->config.ring_size);
        queue->free_slots[queue->num_free++] = queue->slot_of[used.id];
    }
}

bool guest_queue_frame(struct guest *guest, unsigned pair, const void *frame, uint32_t len)
{
    unsigned idx = transmitq(pair);
    struct guest_queue *queue = &guest->queues[idx];
    uint8_t *bytes;

    reclaim(guest, idx);
    if (queue->num_free == 0)
        return false;
    bytes = driver_data(&guest->driver,
                        slot_offset(guest, idx, queue->free_slots[queue->num_free - 1]));
    memset(bytes, 0, guest->header_bytes);
    memcpy(bytes + guest->header_bytes, frame, len);
    if (!add_slot(guest, idx, queue->free_slots[queue->num_free - 1], guest->header_bytes + len))
        return false;
    queue->num_free--;
    return true;
}

void guest_flush(struct guest *guest, unsigned pair)
{
    publish(guest, transmitq(pair));
}

bool guest_send(struct guest *guest, unsigned pair, const void *frame, uint32_t len)
{
    bool has_room = guest_queue_frame(guest, pair, frame, len);

    guest_flush(guest, pair);
    return has_room;
}

void guest_must_send(struct guest *guest, unsigned pair, const void *frame, uint32_t len)
{
    while (!guest_send(guest, pair, frame, len))
        assert_true(wait_used(guest, transmitq(pair), 1, TIMEOUT_MS));
}

void guest_wait_sent(struct guest *guest, unsigned pair)
{
    unsigned idx = transmitq(pair);

    reclaim(guest, idx);
    while (guest->queues[idx].num_free < guest->config.ring_size) {
        assert_true(wait_used(guest, idx, 1, TIMEOUT_MS));
        reclaim(guest, idx);
    }
}

/* --- Receiving -------------------------------------------------------------------------------------- */

void guest_refill(struct guest *guest, unsigned pair)
{
    unsigned idx = receiveq(pair);
    struct guest_queue *queue = &guest->queues[idx];

    while (queue->num_free > 0 &&
           add_slot(guest, idx, queue->free_slots[queue->num_free - 1], guest->config.rx_bytes))
        queue->num_free--;
    publish(guest, idx);
}

/* Copies out what the device wrote to the next used buffer; returns its bytes. */
static uint32_t take_buffer(struct guest *guest, unsigned idx, uint8_t *to, uint32_t max)
{
    struct guest_queue *queue = &guest->queues[idx];
    struct ring_used used;
    uint16_t slot;

    assert_true(ring_take_used(&guest->driver.rings[idx], &used));
    assert_true(used.id < guest->config.ring_size);
    assert_true(used.len > 0 && used.len <= guest->config.rx_bytes && used.len <= max);
    slot = queue->slot_of[used.id];
    memcpy(to, driver_data(&guest->driver, slot_offset(guest, idx, slot)), used.len);
    queue->free_slots[queue->num_free++] = slot;
    return used.len;
}

static void check_header(const struct guest *guest, const struct net_header *header)
{
    assert_int_equal(header->flags, 0);
    assert_int_equal(header->gso_type, 0);
    if (guest->header_bytes == 12 && !(guest->config.features & GUEST_F_MRG_RXBUF))
        assert_int_equal(header->num_buffers, 1);
}

bool guest_receive(struct guest *guest, unsigned pair, void *frame, uint32_t *len, int timeout_ms)
{
    static _Thread_local uint8_t bytes[SLOT_BYTES];
    struct net_header header = {.num_buffers = 1};
    unsigned idx = receiveq(pair);
    uint32_t num;

    if (!wait_used(guest, idx, 1, timeout_ms))
        return false;
    num = take_buffer(guest, idx, bytes, sizeof(bytes));
    assert_true(num >= guest->header_bytes);
    memcpy(&header, bytes, guest->header_bytes);
    check_header(guest, &header);
    /* All buffers of a frame are shown at once. */
    assert_true(header.num_buffers >= 1);
    assert_true(ring_num_used(&guest->driver.rings[idx]) + 1 >= header.num_buffers);
    for (unsigned i = 1; i < header.num_buffers; i++)
        num += take_buffer(guest, idx, bytes + num, (uint32_t)sizeof(bytes) - num);
    *len = num - guest->header_bytes;
    memcpy(frame, bytes + guest->header_bytes, *len);
    if (!guest->keeps_buffers)
        guest_refill(guest, pair);
    return true;
}

/* A pair on which something was received; -1: none. */
static int find_received(struct guest *guest)
{
    for (unsigned i = 0; i < guest->config.num_pairs; i++) {
        if (ring_num_used(&guest->driver.rings[receiveq(i)]) > 0)
            return (int)i;
    }
    return -1;
}

static void want_all_calls(struct guest *guest)
{
    for (unsigned i = 0; i < guest->config.num_pairs; i++)
        ring_want_calls(&guest->driver.rings[receiveq(i)], true);
}

/* Asleep until one of the pairs is notified. */
static void wait_any_call(const struct guest *guest, int timeout_ms)
{
    struct pollfd events[GUEST_MAX_PAIRS];

    for (unsigned i = 0; i < guest->config.num_pairs; i++)
        events[i] = (struct pollfd){guest->driver.call_fds[receiveq(i)], POLLIN, 0};
    poll(events, guest->config.num_pairs, timeout_ms);
    for (unsigned i = 0; i < guest->config.num_pairs; i++) {
        if (events[i].revents)
            frontend_wait_event(events[i].fd, 0);
    }
}

bool guest_receive_any(struct guest *guest, void *frame, uint32_t *len, int timeout_ms)
{
    int64_t deadline_ms = now_ms() + timeout_ms;
    int pair;

    while ((pair = find_received(guest)) < 0) {
        int64_t left_ms = deadline_ms - now_ms();

        want_all_calls(guest);
        if (find_received(guest) >= 0)
            continue;
        if (left_ms <= 0)
            return false;
        wait_any_call(guest, (int)left_ms);
    }
    return guest_receive(guest, (unsigned)pair, frame, len, 0);
}

void guest_assert_quiet(struct guest *guest)
{
    for (unsigned i = 0; i < guest->config.num_pairs; i++)
        assert_int_equal(ring_num_used(&guest->driver.rings[receiveq(i)]), 0);
}
