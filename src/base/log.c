/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"

#define LINE_BYTES 1024

static void to_stderr(void *ctx, enum shunt_log_level level, const char *tag, const char *text)
{
    static const char *const names[] = {
        [SHUNT_LOG_ERROR] = "error",
        [SHUNT_LOG_WARNING] = "warning",
        [SHUNT_LOG_INFO] = "info",
        [SHUNT_LOG_DEBUG] = "debug",
    };

    (void)ctx;
    fprintf(stderr, "%s: %s: %s\n", names[level], tag, text);
}

static struct {
    enum shunt_log_level level;
    shunt_log_fn *fn;
    void *ctx;
} sink = {SHUNT_LOG_WARNING, to_stderr, NULL};

void shunt_log_set(enum shunt_log_level level, shunt_log_fn *fn, void *ctx)
{
    sink.level = level;
    sink.fn = fn ? fn : to_stderr;
    sink.ctx = ctx;
}

bool log_is_enabled(enum shunt_log_level level)
{
    return level <= sink.level;
}

void log_write(enum shunt_log_level level, const char *tag, const char *format, ...)
{
    char text[LINE_BYTES];
    va_list args;

    if (!log_is_enabled(level))
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    sink.fn(sink.ctx, level, tag, text);
}

/*
 * A leaky bucket: each line costs a second, and up to LOG_LIMIT_BURST seconds may be spent ahead of
 * time.
 */
bool log_limit_allows(struct log_limit *limit, const char *tag)
{
    uint64_t now_ms = clock_ms();

    if (limit->spent_ms < now_ms)
        limit->spent_ms = now_ms;
    if (limit->spent_ms - now_ms > (LOG_LIMIT_BURST - 1) * UINT64_C(1000)) {
        limit->skipped++;
        return false;
    }
    limit->spent_ms += 1000;
    if (limit->skipped > 0) {
        log_warning(tag, "%u lines like the next one were left out", limit->skipped);
        limit->skipped = 0;
    }
    return true;
}
