/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the library's log lines go.
 *
 * A line is written once, at the point of knowledge, tagged with the name of the object that it
 * is about (an endpoint's name). Lines that a guest can provoke are limited in rate. Without a call
 * to shunt_log_set(), lines of SHUNT_LOG_WARNING and more urgent ones go to standard error.
 */
#ifndef SHUNT_LOG_H
#define SHUNT_LOG_H

#ifdef __cplusplus
extern "C" {
#endif

enum shunt_log_level {
    SHUNT_LOG_ERROR,   /* something asked for does not work */
    SHUNT_LOG_WARNING, /* a peer broke the rules, or a user should look */
    SHUNT_LOG_INFO,    /* life cycle: connected, started, stopped */
    SHUNT_LOG_DEBUG,   /* every message */
};

/*
 * Takes one line without newline. May be called from any thread that calls into the library; `tag`
 * and `text` are valid during the call only. It must not call back into the library.
 */
typedef void shunt_log_fn(void *ctx, enum shunt_log_level level, const char *tag, const char *text);

/*
 * Sends lines of `level` and more urgent ones to `fn`; `fn` NULL means standard error. Not
 * thread-safe: call it before other threads use the library.
 */
void shunt_log_set(enum shunt_log_level level, shunt_log_fn *fn, void *ctx);

#ifdef __cplusplus
}
#endif

#endif
