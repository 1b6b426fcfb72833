/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Postcopy migration, with a front-end that has the pages that are still missing and serves the device's
 * faults from a thread of its own, as QEMU does.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/pair.h"

#define PAGE       UINT64_C(4096)
#define TIMEOUT_MS 60000

struct region_message {
    uint64_t padding;
    struct frontend_region region;
};

struct table_message {
    uint32_t num;
    uint32_t padding;
    struct frontend_region regions[2];
};

/* Who has the pages. */
struct source {
    pthread_t thread;
    int fault_fd;
    int stop_fd;
    uint8_t page[PAGE];  /* the content of every page that is missing */
    uint64_t first_addr; /* of the first fault */
    unsigned num_served;
    bool has_failed;
};

static void serve(struct source *source)
{
    struct uffd_msg message;
    struct uffdio_copy copy = {.src = (uintptr_t)source->page, .len = PAGE};

    if (read(source->fault_fd, &message, sizeof(message)) != sizeof(message))
        return;
    copy.dst = message.arg.pagefault.address & ~(PAGE - 1);
    if (source->num_served++ == 0)
        source->first_addr = copy.dst;
    if (message.event != UFFD_EVENT_PAGEFAULT || ioctl(source->fault_fd, UFFDIO_COPY, &copy) < 0)
        source->has_failed = true;
}

static void *run_source(void *ctx)
{
    struct source *source = ctx;
    struct pollfd fds[2] = {
        {.fd = source->stop_fd, .events = POLLIN},
        {.fd = source->fault_fd, .events = POLLIN},
    };

    while (poll(fds, 2, TIMEOUT_MS) > 0 && !(fds[0].revents & POLLIN))
        serve(source);
    return NULL;
}

static void start_source(struct source *source, int fault_fd)
{
    source->fault_fd = fault_fd;
    source->stop_fd = eventfd(0, EFD_CLOEXEC);
    assert_true(source->stop_fd >= 0);
    assert_int_equal(pthread_create(&source->thread, NULL, run_source, source), 0);
}

static void stop_source(struct source *source)
{
    frontend_kick(source->stop_fd);
    pthread_join(source->thread, NULL);
    close(source->stop_fd);
    assert_false(source->has_failed);
}

/* Negotiates, and tells nothing of the memory. */
static struct frontend *connect_without_memory(struct pair *pair)
{
    struct frontend *frontend;
    uint64_t offered;

    pair_disconnect(pair);
    frontend = pair_open(pair);
    assert_int_equal(frontend_ask_u64(frontend, FRONTEND_GET_PROTOCOL_FEATURES, &offered), 0);
    if (!pair->device.allows_postcopy) {
        assert_false(offered & FRONTEND_PROTOCOL_F_PAGEFAULT);
        pair_disconnect(pair);
        device_allow_postcopy(&pair->device, PAIR_NUM_QUEUES);
        return connect_without_memory(pair);
    }
    if (!(offered & FRONTEND_PROTOCOL_F_PAGEFAULT)) {
        print_message("skipped: this process may not use userfaultfd\n");
        skip();
    }
    assert_int_equal(frontend_negotiate(frontend, pair->features, FRONTEND_PROTOCOL_USUAL), 0);
    return frontend;
}

static int advise(struct frontend *frontend)
{
    struct frontend_message answer;
    int fd;

    assert_int_equal(frontend_ask_fd(frontend, FRONTEND_POSTCOPY_ADVISE, NULL, 0, &answer, &fd), 0);
    assert_int_equal(answer.size, 0);
    assert_true(fd >= 0);
    return fd;
}

/* QEMU asks for an acknowledgement of this one. */
static int listen_to(struct frontend *frontend)
{
    int result;

    frontend->wants_acks = true;
    result = frontend_call(frontend, FRONTEND_POSTCOPY_LISTEN, NULL, 0, NULL, 0);
    frontend->wants_acks = false;
    return result;
}

/* Tells of the memory; where the back-end has it. */
static uint64_t set_table(struct pair *pair)
{
    struct table_message table = {.num = 1, .regions = {driver_region(&pair->driver)}};
    struct frontend_region told = table.regions[0];
    struct frontend_message answer;

    assert_int_equal(frontend_ask_with(&pair->driver.frontend, FRONTEND_SET_MEM_TABLE, &table, 40,
                                       &pair->driver.area.fd, 1, &answer),
                     0);
    assert_int_equal(answer.size, 40);
    memcpy(&table, answer.payload, 40);
    assert_int_equal(table.num, 1);
    assert_int_equal(table.regions[0].guest_addr, told.guest_addr);
    assert_int_equal(table.regions[0].size, told.size);
    assert_int_not_equal(table.regions[0].user_addr, told.user_addr);
    return table.regions[0].user_addr;
}

/* The same, of a part of the memory. */
static uint64_t add_part(struct pair *pair, uint64_t offset, uint64_t size)
{
    struct region_message message = {.region = driver_region(&pair->driver)};
    struct frontend_message answer;

    message.region.guest_addr += offset;
    message.region.user_addr += offset;
    message.region.fd_offset += offset;
    message.region.size = size;
    assert_int_equal(frontend_ask_with(&pair->driver.frontend, FRONTEND_ADD_MEM_REG, &message,
                                       sizeof(message), &pair->driver.area.fd, 1, &answer),
                     0);
    assert_int_equal(answer.size, sizeof(message));
    memcpy(&message, answer.payload, sizeof(message));
    assert_int_equal(message.region.guest_addr, DRIVER_GUEST_ADDR + offset);
    return message.region.user_addr;
}

/* It has no answer. */
static void acknowledge(struct frontend *frontend, uint32_t request)
{
    uint64_t zero = 0;

    assert_int_equal(frontend_call(frontend, request, &zero, sizeof(zero), NULL, 0), 0);
    assert_int_equal(frontend_sync(frontend), 0);
}

static void end(struct frontend *frontend)
{
    uint64_t result;

    assert_int_equal(frontend_ask_u64(frontend, FRONTEND_POSTCOPY_END, &result), 0);
    assert_int_equal(result, 0);
}

/* As far as the memory is there; the descriptor for faults. */
static int arrive(struct pair *pair, uint64_t *base)
{
    struct frontend *frontend = connect_without_memory(pair);
    int fd = advise(frontend);

    assert_int_equal(listen_to(frontend), 0);
    *base = set_table(pair);
    assert_int_equal(pair_num_regions(pair), 0);
    acknowledge(frontend, FRONTEND_SET_MEM_TABLE);
    assert_int_equal(pair_num_regions(pair), 1);
    return fd;
}

/* A chain whose readable buffer lies at the beginning of data page `page`, which is missing. */
static void offer_missing(struct pair *pair, unsigned page)
{
    uint64_t offset = (page + 1) * PAGE - pair->driver.data_offset % PAGE;
    struct ring_buffer buffers[2] = {driver_buffer(&pair->driver, offset, 5, false),
                                     driver_buffer(&pair->driver, 0, 5, true)};

    memset(driver_data(&pair->driver, 0), 0, 5);
    assert_int_equal(fallocate(pair->driver.area.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               (off_t)(buffers[0].addr - DRIVER_GUEST_ADDR), (off_t)PAGE),
                     0);
    assert_true(driver_add(&pair->driver, 0, buffers, 2) >= 0);
}

static uint64_t missing_offset(const struct pair *pair, unsigned page)
{
    return pair->driver.data_offset - pair->driver.data_offset % PAGE + (page + 1) * PAGE;
}

static void test_missing_pages(void **state)
{
    struct source source = {.page = "hello"};
    struct pair *pair = *state;
    struct ring_used used;
    uint64_t base;
    int fd = arrive(pair, &base);

    start_source(&source, fd);
    pair_start(pair, 0);
    for (unsigned i = 0; i < 3; i++) {
        offer_missing(pair, i);
        device_run(&pair->device);
        assert_int_equal(device_echo(&pair->device, 0), 1);
        assert_true(ring_take_used(&pair->driver.rings[0], &used));
        assert_memory_equal(driver_data(&pair->driver, 0), "hello", 5);
    }
    end(&pair->driver.frontend);
    stop_source(&source);
    assert_int_equal(source.num_served, 3);
    assert_int_equal(source.first_addr, base + missing_offset(pair, 0));
    close(fd);

    /* From now on what is missing is zero, as memory is. */
    offer_missing(pair, 0);
    memcpy(driver_data(&pair->driver, 0), "xxxxx", 5);
    assert_int_equal(device_echo(&pair->device, 0), 1);
    assert_memory_equal(driver_data(&pair->driver, 0), "\0\0\0\0\0", 5);
}

/* QEMU adds several regions, each of which is answered, and acknowledges them together. */
static void test_regions_added(void **state)
{
    struct source source = {.page = "there"};
    struct pair *pair = *state;
    struct frontend *frontend = connect_without_memory(pair);
    uint64_t size = PAIR_MEMORY_BYTES / 2 / PAGE * PAGE;
    int fd = advise(frontend);

    assert_int_equal(listen_to(frontend), 0);
    add_part(pair, size, pair->driver.area.size - size);
    assert_int_equal(add_part(pair, 0, size), add_part(pair, 0, size));
    assert_int_equal(pair_num_regions(pair), 0);
    acknowledge(frontend, FRONTEND_ADD_MEM_REG);
    assert_int_equal(pair_num_regions(pair), 2);
    start_source(&source, fd);
    pair_start(pair, 0);
    offer_missing(pair, 0);
    device_run(&pair->device);
    assert_int_equal(device_echo(&pair->device, 0), 1);
    assert_memory_equal(driver_data(&pair->driver, 0), "there", 5);
    stop_source(&source);
    close(fd);
}

static void *echo(void *ctx)
{
    struct pair *pair = ctx;

    return (void *)(intptr_t)device_echo(&pair->device, 0);
}

/* A worker waits for a page, with its queue locked, when the front-end goes away: it must not wait for ever. */
static void test_front_end_leaves(void **state)
{
    struct pair *pair = *state;
    uint64_t base;
    int fd = arrive(pair, &base);
    struct pollfd faults = {.fd = fd, .events = POLLIN};
    pthread_t worker;

    pair_start(pair, 0);
    offer_missing(pair, 0);
    device_run(&pair->device);
    assert_int_equal(pthread_create(&worker, NULL, echo, pair), 0);
    assert_int_equal(poll(&faults, 1, TIMEOUT_MS), 1);
    pair_disconnect(pair);
    pthread_join(worker, NULL);
    close(fd);
    pair_connect(pair);
    driver_reset_ring(&pair->driver, 0);
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
}

/* Until the acknowledgement, nothing else may come. */
static void test_other_message_before_acknowledgement(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = connect_without_memory(pair);
    uint64_t one = 1;
    int fd = advise(frontend);

    assert_int_equal(listen_to(frontend), 0);
    set_table(pair);
    frontend_call(frontend, FRONTEND_SET_OWNER, NULL, 0, NULL, 0);
    pair_assert_disconnected(pair, "SET_OWNER: the memory is not acknowledged yet");
    close(fd);

    frontend = connect_without_memory(pair);
    fd = advise(frontend);
    assert_int_equal(listen_to(frontend), 0);
    set_table(pair);
    frontend_call(frontend, FRONTEND_SET_MEM_TABLE, &one, sizeof(one), NULL, 0);
    pair_assert_disconnected(pair, "the memory was not acknowledged");
    close(fd);
}

/* "Empty" may also mean that there is no payload at all. */
static void test_empty_acknowledgement(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = connect_without_memory(pair);
    int fd = advise(frontend);

    assert_int_equal(listen_to(frontend), 0);
    set_table(pair);
    assert_int_equal(frontend_call(frontend, FRONTEND_SET_MEM_TABLE, NULL, 0, NULL, 0), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_int_equal(pair_num_regions(pair), 1);
    close(fd);
}

static void test_wrong_order(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = connect_without_memory(pair);

    assert_int_equal(listen_to(frontend), -EREMOTEIO);
    pair_assert_disconnected(pair, "POSTCOPY_LISTEN: no POSTCOPY_ADVISE came before");
    frontend = connect_without_memory(pair);
    close(advise(frontend));
    frontend_call(frontend, FRONTEND_POSTCOPY_END, NULL, 0, NULL, 0);
    pair_assert_disconnected(pair, "POSTCOPY_END: no POSTCOPY_LISTEN came before");
    frontend = connect_without_memory(pair);
    close(advise(frontend));
    close(advise(frontend));
    assert_int_equal(listen_to(frontend), 0);
    frontend_call(frontend, FRONTEND_POSTCOPY_ADVISE, NULL, 0, NULL, 0);
    pair_assert_disconnected(pair, "POSTCOPY_ADVISE: a postcopy migration is under way");
    frontend = pair_connect(pair);
    close(advise(frontend));
    assert_int_equal(listen_to(frontend), -EREMOTEIO);
    pair_assert_disconnected(pair, "POSTCOPY_LISTEN: 1 memory regions were there before");
}

/* A migration that ended in precopy after all: the memory is as ever. */
static void test_only_advised(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = connect_without_memory(pair);
    struct frontend_region region = driver_region(&pair->driver);

    close(advise(frontend));
    assert_int_equal(frontend_set_memory(frontend, &region, &pair->driver.area.fd, 1), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    pair_start(pair, 0);
    pair_assert_works(pair, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(test_missing_pages),         PAIR_TEST(test_regions_added),
        PAIR_TEST(test_front_end_leaves),      PAIR_TEST(test_other_message_before_acknowledgement),
        PAIR_TEST(test_empty_acknowledgement), PAIR_TEST(test_wrong_order),
        PAIR_TEST(test_only_advised),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
