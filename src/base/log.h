/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log lines, tagged with the object that they are about. Any thread.
 *
 * A line that a guest can provoke goes through a `struct log_limit`: so many lines at once, then one a
 * second, and the first line after a gap says how many were left out.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include <shunt/log.h>

bool log_is_enabled(enum shunt_log_level level);

void log_write(enum shunt_log_level level, const char *tag, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(tag, ...)   log_write(SHUNT_LOG_ERROR, tag, __VA_ARGS__)
#define log_warning(tag, ...) log_write(SHUNT_LOG_WARNING, tag, __VA_ARGS__)
#define log_info(tag, ...)    log_write(SHUNT_LOG_INFO, tag, __VA_ARGS__)
#define log_debug(tag, ...)                                                                        \
    do {                                                                                           \
        if (log_is_enabled(SHUNT_LOG_DEBUG))                                                       \
            log_write(SHUNT_LOG_DEBUG, tag, __VA_ARGS__);                                          \
    } while (0)

#define LOG_LIMIT_BURST 10u

/* Belongs to one object and one thread. All zero is a fresh one. */
struct log_limit {
    uint64_t spent_ms; /* up to when the allowance is used up */
    uint32_t skipped;
};

/* True if a line may be written now; it then says how many were left out before, if any. */
bool log_limit_allows(struct log_limit *limit, const char *tag);

#endif
