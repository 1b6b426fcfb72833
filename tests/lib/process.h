/* SPDX-License-Identifier: BSD-3-Clause */
/* What a process holds on to: to show that nothing leaks. */
#ifndef LIB_PROCESS_H
#define LIB_PROCESS_H

/* Open file descriptors, and shared mappings (private ones are the allocator's). Pid 0: oneself. */
unsigned process_num_fds(int pid);
unsigned process_num_mappings(int pid);

#endif
