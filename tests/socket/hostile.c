/* SPDX-License-Identifier: BSD-3-Clause */
#include "socket/hostile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/process.h"
#include "socket/frame.h"

/* Frames that the honest ones exchange while one looks whether they still do. */
#define NUM_FRAMES 64

static void create_evil(struct hostile *hostile, const struct guest_config *config)
{
    struct guest_config evil = *config;

    evil.features |= hostile->features;
    guest_create(&hostile->evil, &evil);
}

static int setup_with(void **state, uint64_t features)
{
    static struct hostile hostile;

    if (lab_setup(state) < 0)
        return -1;
    hostile.lab = *state;
    hostile.has_deleted = false;
    hostile.features = features;
    *state = &hostile;
    lab_add_port(hostile.lab, "evil", 1);
    talk_begin(&hostile.talk, hostile.lab);
    create_evil(&hostile, &guest_modern);
    hostile.num_fds = process_num_fds(hostile.lab->pid);
    hostile.num_mappings = process_num_mappings(hostile.lab->pid);
    return 0;
}

int hostile_setup(void **state)
{
    return setup_with(state, 0);
}

int hostile_setup_packed(void **state)
{
    return setup_with(state, GUEST_F_PACKED);
}

/* The connection of a shuntctl that has just ended may be there a little longer. */
static bool is_leaking(const struct hostile *hostile)
{
    unsigned num_fds, num_mappings;

    for (unsigned i = 0; i < 20; i++) {
        num_fds = process_num_fds(hostile->lab->pid);
        num_mappings = process_num_mappings(hostile->lab->pid);
        if (num_fds == hostile->num_fds && num_mappings == hostile->num_mappings)
            return false;
        usleep(5000);
    }
    print_error("shuntd has %u descriptors and %u mappings; before the attack %u and %u\n", num_fds,
                num_mappings, hostile->num_fds, hostile->num_mappings);
    return true;
}

int hostile_teardown(void **state)
{
    struct hostile *hostile = *state;
    bool leaks;

    hostile_assert_others_go_on(hostile);
    guest_destroy(&hostile->evil);
    lab_wait_state(hostile->lab, "evil", "connecting");
    leaks = is_leaking(hostile);
    talk_end(&hostile->talk);
    if (!hostile->has_deleted)
        lab_assert_balance(hostile->lab);
    *state = hostile->lab;
    return lab_teardown(state) == 0 && !leaks ? 0 : -1;
}

struct driver *hostile_attach(struct hostile *hostile)
{
    guest_detach(&hostile->evil);
    guest_attach(&hostile->evil, hostile->lab, "evil");
    return &hostile->evil.driver;
}

struct driver *hostile_attach_as(struct hostile *hostile, const struct guest_config *config)
{
    guest_destroy(&hostile->evil);
    create_evil(hostile, config);
    return hostile_attach(hostile);
}

void hostile_assert_others_go_on(const struct hostile *hostile)
{
    talk_wait(&hostile->talk, NUM_FRAMES);
}

void hostile_assert_unharmed(struct hostile *hostile)
{
    static uint8_t frame[1000];
    uint64_t before;

    lab_wait_state(hostile->lab, "evil", "up");
    guest_wait_sent(&hostile->evil, 0);
    before = lab_counter(hostile->lab, "evil", "rx", "packets");
    frame_fill(frame, sizeof(frame), frame_broadcast, hostile->evil.mac, 0);
    guest_must_send(&hostile->evil, 0, frame, sizeof(frame));
    guest_wait_sent(&hostile->evil, 0);
    lab_wait_counter(hostile->lab, "evil", "rx", "packets", before + 1);
}

void hostile_assert_broken(struct hostile *hostile, const char *reason)
{
    lab_wait_state(hostile->lab, "evil", "down");
    lab_wait_reason(hostile->lab, "evil", reason);
    hostile_assert_others_go_on(hostile);
    guest_reset(&hostile->evil);
    hostile_assert_unharmed(hostile);
}

void hostile_assert_disconnected(struct hostile *hostile, const char *reason)
{
    assert_int_equal(frontend_wait_closed(&hostile->evil.driver.frontend), 0);
    lab_wait_state(hostile->lab, "evil", "connecting");
    lab_wait_reason(hostile->lab, "evil", reason);
    hostile_assert_others_go_on(hostile);
}
