/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A running shuntd for one test, and shuntctl to control it. All of these fail the test when something is
 * not as it should be; set-up and teardown are cmocka's. The teardown ends shuntd by SIGTERM and fails
 * unless that was clean.
 */
#ifndef SOCKET_LAB_H
#define SOCKET_LAB_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct lab {
    char folder[32];
    pid_t pid; /* of shuntd; 0: it has ended */
};

int lab_setup(void **state);
int lab_teardown(void **state);

/* The same for a test with several. 0 when all is well. */
int lab_begin(struct lab *lab);
int lab_finish(struct lab *lab);

/* Ends shuntd as a crash would, and starts it again, without ports. */
void lab_kill(struct lab *lab);
int lab_start(struct lab *lab);

/* Ends shuntd by SIGTERM: within 5 s, with status 0, and without leaving a socket. */
void lab_end(struct lab *lab);

/* The path of a program of the build, or of a file in the folder of the test. */
void lab_program(char *path, size_t bytes, const char *name);
void lab_path(const struct lab *lab, char *path, size_t bytes, const char *name);

/* Starts a program with up to 8 arguments, ending with NULL; its output goes to file `output`. */
pid_t lab_spawn(const struct lab *lab, const char *output, const char *program, ...);

/* Ends a program that was spawned by SIGTERM; its exit status, -1 if it did not end by itself. */
int lab_stop(pid_t pid);

/* Prints the end of what a program has said so far; what shuntd says is in "shuntd.log". */
void lab_print_output(const struct lab *lab, const char *name);

/* Runs shuntctl with the words of `command`, which are separated by blanks; it must succeed. */
void lab_control(const struct lab *lab, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same for the JSON that it prints. The caller lets go of it. */
json_t *lab_ask(const struct lab *lab, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Adds a vhost-user port whose socket is NAME.sock in the folder, on bridge br0 or another. */
void lab_add_port(const struct lab *lab, const char *name, unsigned queues);
void lab_add_port_to(const struct lab *lab, const char *name, unsigned queues, const char *bridge);
void lab_socket(const struct lab *lab, char *path, size_t bytes, const char *name);

/* The description of a port. The caller lets go of it. */
json_t *lab_port(const struct lab *lab, const char *name);

/* Waits for a state, and for a text in the reason. */
void lab_wait_state(const struct lab *lab, const char *name, const char *state);
void lab_wait_reason(const struct lab *lab, const char *name, const char *text);

/* A counter of a port: "rx" or "tx"; "packets", "bytes", "copies" or the name of a drop reason. */
uint64_t lab_counter(const struct lab *lab, const char *port, const char *side, const char *name);

/* Waits until a counter has the value. */
void lab_wait_counter(const struct lab *lab, const char *port, const char *side, const char *name,
                      uint64_t value);

/* Over all ports: what came in and was multiplied is what went out and was dropped. */
void lab_assert_balance(const struct lab *lab);

#endif
