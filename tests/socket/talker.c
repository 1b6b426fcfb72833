/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two guests that talk to each other until SIGTERM, while a test does something else beside them:
 *
 *     talker SOCKET_A SOCKET_B PROGRESS
 *
 * Each frame must arrive, whole and in order, within TIMEOUT_MS; what others send is passed over. The file
 * PROGRESS holds how many frames have arrived. The exit status is 0 if all did.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "socket/frame.h"
#include "socket/guest.h"

#define TIMEOUT_MS 10000 /* a sanitizer, and a test that keeps the processors busy */
#define BURST      8
#define PAUSE_US   300

static uint8_t frame[FRAME_BYTES];
static volatile sig_atomic_t is_ending;

static void on_signal(int signal)
{
    (void)signal;
    is_ending = 1;
}

static uint64_t *map_progress(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *progress = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    assert_true(progress != MAP_FAILED);
    close(fd);
    return progress;
}

static uint32_t size_of(uint32_t number)
{
    return 60 + number * 131 % 1455;
}

static void expect(struct guest *to, const struct guest *from, uint32_t number)
{
    uint32_t len;

    do {
        if (!guest_receive(to, 0, frame, &len, TIMEOUT_MS)) {
            fprintf(stderr, "frame %u was lost\n", number);
            _exit(1);
        }
    } while (memcmp(frame + 6, from->mac, 6) != 0);
    assert_int_equal(len, size_of(number));
    assert_true(frame_is(frame, len, number));
}

static uint32_t say(struct guest *from, struct guest *to, uint32_t number)
{
    for (uint32_t i = number; i < number + BURST; i++) {
        frame_fill(frame, size_of(i), to->mac, from->mac, i);
        guest_must_send(from, 0, frame, size_of(i));
    }
    for (uint32_t i = number; i < number + BURST; i++)
        expect(to, from, i);
    return number + BURST;
}

int main(int argc, char **argv)
{
    struct guest_config config = guest_modern;
    struct guest a, b;
    uint64_t *progress;
    uint32_t number = 0;

    if (argc != 4)
        return 2;
    signal(SIGTERM, on_signal);
    progress = map_progress(argv[3]);
    config.features |= GUEST_F_EVENT_IDX;
    guest_create(&a, &config);
    guest_create(&b, &config);
    frame_mac(a.mac, 1000001);
    frame_mac(b.mac, 1000002);
    guest_connect_path(&a, argv[1]);
    guest_connect_path(&b, argv[2]);
    usleep(50000); /* the other ring must have started before the first frame */
    while (!is_ending) {
        number = say(&a, &b, number);
        number = say(&b, &a, number);
        __atomic_store_n(progress, number, __ATOMIC_RELAXED);
        usleep(PAUSE_US); /* so that the switch falls asleep in between, and the test gets on */
    }
    guest_destroy(&a);
    guest_destroy(&b);
    return 0;
}
