/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/text.h"

/*
 * The line may hold what a user typed or a guest chose: it stays one line without control
 * characters.
 */
__attribute__((format(printf, 1, 0))) static void print_line(const char *format, va_list args)
{
    char *line = NULL;

    if (vasprintf(&line, format, args) < 0)
        line = NULL;
    char *printable = text_printable(need(line));

    fprintf(stderr, "shuntctl: %s\n", printable);
    free(printable);
    free(line);
}

int report_failure(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    print_line(format, args);
    va_end(args);
    return STATUS_FAILED;
}

int report_usage(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    print_line(format, args);
    va_end(args);
    return STATUS_USAGE;
}

void *need(void *memory)
{
    if (!memory) {
        fputs("shuntctl: out of memory\n", stderr);
        exit(STATUS_FAILED);
    }
    return memory;
}
