/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/logger.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

const char *const logger_level_names[] = {
    [SHUNT_LOG_ERROR] = "error",
    [SHUNT_LOG_WARNING] = "warning",
    [SHUNT_LOG_INFO] = "info",
    [SHUNT_LOG_DEBUG] = "debug",
    NULL,
};

static const int priorities[] = {
    [SHUNT_LOG_ERROR] = LOG_ERR,
    [SHUNT_LOG_WARNING] = LOG_WARNING,
    [SHUNT_LOG_INFO] = LOG_INFO,
    [SHUNT_LOG_DEBUG] = LOG_DEBUG,
};

/* One call a line, so that lines of several threads do not mix. */
static void to_journal(void *ctx, enum shunt_log_level level, const char *tag, const char *text)
{
    (void)ctx;
    fprintf(stderr, "<%d>%s: %s\n", priorities[level], tag, text);
}

/* The usual level needs no word. */
static void to_people(void *ctx, enum shunt_log_level level, const char *tag, const char *text)
{
    (void)ctx;
    if (level == SHUNT_LOG_INFO)
        fprintf(stderr, "%s: %s\n", tag, text);
    else
        fprintf(stderr, "%s: %s: %s\n", tag, logger_level_names[level], text);
}

/* systemd names the journal's end of our standard error by device and inode (systemd.exec(5)). */
static bool is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    char own[64];

    if (getenv("INVOCATION_ID"))
        return true;
    if (!stream || fstat(STDERR_FILENO, &status) < 0)
        return false;
    snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    return strcmp(stream, own) == 0;
}

void logger_start(enum shunt_log_level level)
{
    shunt_log_set(level, is_journal() ? to_journal : to_people, NULL);
}
