/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How shuntctl fails: one line on stderr that names the cause and the remedy, and an exit status.
 */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

enum status {
    STATUS_OK = 0,
    STATUS_FAILED = 1, /* it could not be done */
    STATUS_USAGE = 2,  /* it was asked for in a wrong way; nothing was tried */
};

/* Each prints the line with "shuntctl: " before it, and returns the status in its name. */
int report_failure(const char *format, ...) __attribute__((format(printf, 1, 2)));
int report_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * For what is NULL only when memory is short, which ends the program: returns `memory` otherwise. A
 * client of one request has nothing to save.
 */
void *need(void *memory);

#endif
