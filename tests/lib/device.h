/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A back-end for tests, in the test's own thread: it records what the library tells it. A driver that is
 * attached to it dispatches it whenever it waits.
 */
#ifndef LIB_DEVICE_H
#define LIB_DEVICE_H

#include <shunt/backend.h>

#include "lib/driver.h"

#define DEVICE_CONFIG_BYTES 60
/* A feature of the device type, to be negotiated: VIRTIO_NET_F_MAC. */
#define DEVICE_FEATURE (UINT64_C(1) << 5)

struct device {
    char folder[32];
    char path[64];
    struct shunt_backend *backend;
    bool allows_postcopy;
    /* What it was told. */
    unsigned num_connected;
    unsigned num_disconnected;
    unsigned num_features_changed;
    uint64_t features;
    unsigned num_queue_changed[DRIVER_MAX_RINGS];
    uint8_t config[DEVICE_CONFIG_BYTES];
    int config_result;   /* what get_config and set_config return */
    bool is_migrated;    /* as the last set_config said */
    bool changes_config; /* it tells of a change whenever a queue changed */
    unsigned num_announced;
    uint8_t announced[6];
    unsigned mtu;
    int mtu_result;
    unsigned num_resets;
    unsigned num_kicked[DRIVER_MAX_RINGS];
    /* Its state: what is saved, and what was loaded, in memory of the test's. */
    const uint8_t *state;
    uint8_t *loaded;
    size_t state_len;
    size_t loaded_len;
    unsigned num_loaded;
    int state_result; /* what save_state and load_state return */
};

/* Fails the test if it cannot. */
void device_create(struct device *device, unsigned num_virtqueues);
void device_destroy(struct device *device);

/* Begins anew with a back-end that connects to the path; or that is given a socket, which it takes over. */
void device_become_client(struct device *device, unsigned num_virtqueues);
void device_become_adopter(struct device *device, unsigned num_virtqueues, int fd);

/* Begins anew with one that offers PAGEFAULT, if this process may use userfaultfd(2). */
void device_allow_postcopy(struct device *device, unsigned num_virtqueues);

/* Lets the driver dispatch the device while it waits. */
void device_attach(struct device *device, struct driver *driver);

/* Dispatches until there is nothing more to do. */
void device_run(struct device *device);

bool device_is_started(const struct device *device, unsigned idx);
bool device_is_enabled(const struct device *device, unsigned idx);

/*
 * Takes all that is available in a queue and returns it, having copied what is readable in a chain to what
 * is writable. How many chains; or what pop returned.
 */
int device_echo(struct device *device, unsigned idx);

#endif
