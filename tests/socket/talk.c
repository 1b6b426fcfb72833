/* SPDX-License-Identifier: BSD-3-Clause */
#include "socket/talk.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define TIMEOUT_MS 10000
#define PAUSE_MS   2

static void map_progress(struct talk *talk, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0 && ftruncate(fd, sizeof(uint64_t)) == 0);
    talk->progress = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(talk->progress != MAP_FAILED);
    close(fd);
}

void talk_begin(struct talk *talk, const struct lab *lab)
{
    char left[128], right[128], progress[128];

    *talk = (struct talk){.lab = lab};
    lab_add_port(lab, "left", 1);
    lab_add_port(lab, "right", 1);
    lab_socket(lab, left, sizeof(left), "left");
    lab_socket(lab, right, sizeof(right), "right");
    lab_path(lab, progress, sizeof(progress), "progress");
    map_progress(talk, progress);
    talk->pid = lab_spawn(lab, "other.log", "tests/socket/talker", left, right, progress,
                          (char *)NULL);
    lab_wait_state(lab, "right", "up");
    talk_wait(talk, 100);
}

void talk_wait(const struct talk *talk, uint64_t num)
{
    uint64_t wanted = __atomic_load_n(talk->progress, __ATOMIC_RELAXED) + num;
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000};

    for (unsigned waited_ms = 0; waited_ms < TIMEOUT_MS; waited_ms += PAUSE_MS) {
        if (__atomic_load_n(talk->progress, __ATOMIC_RELAXED) >= wanted)
            return;
        nanosleep(&pause, NULL);
    }
    lab_print_output(talk->lab, "shuntd.log");
    lab_print_output(talk->lab, "other.log");
    fail_msg("the honest guests do not get on");
}

static void clean_up(struct talk *talk)
{
    char progress[128];

    munmap(talk->progress, sizeof(uint64_t));
    lab_path(talk->lab, progress, sizeof(progress), "progress");
    unlink(progress);
}

void talk_end(struct talk *talk)
{
    int status = lab_stop(talk->pid);

    if (status != 0)
        lab_print_output(talk->lab, "other.log");
    clean_up(talk);
    assert_int_equal(status, 0);
}

void talk_kill(struct talk *talk)
{
    kill(talk->pid, SIGKILL);
    waitpid(talk->pid, NULL, 0);
    clean_up(talk);
}
