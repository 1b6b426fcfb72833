/* SPDX-License-Identifier: BSD-3-Clause */
/* The methods of the control API, behind the one function that rpc.h calls. */
#ifndef DAEMON_METHODS_H
#define DAEMON_METHODS_H

#include <stdint.h>

#include "daemon/fabric.h"
#include "daemon/rpc.h"

/* What the methods act on. */
struct methods {
    struct fabric *fabric;
    uint64_t start_ms; /* when shuntd was started, by clock_ms() */
};

/* `ctx` is a struct methods. Control thread. */
rpc_call_fn methods_call;

#endif
