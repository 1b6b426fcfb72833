/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/screen.h"

#include <errno.h>
#include <ncurses.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <unistd.h>

#include "cli/text.h"

static SCREEN *screen;
static volatile sig_atomic_t is_ended;

static void on_end(int number)
{
    (void)number;
    is_ended = 1;
}

/*
 * Left to itself, ncurses restores the terminal within the signal's handler, which hangs for ever when the
 * signal comes while it draws. So the end is taken like a key; getch() returns early for it.
 */
static void take_signals(void)
{
    const struct sigaction action = {.sa_handler = on_end};

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* Whatever ends the program, the terminal is left as it was. */
static void restore(void)
{
    if (screen && !isendwin())
        endwin();
}

/* newterm() finds out too, but leaves memory behind. */
static bool is_terminal_known(void)
{
    int problem;

    if (setupterm(NULL, STDOUT_FILENO, &problem) != OK)
        return false;
    del_curterm(cur_term);
    return true;
}

int screen_open(void)
{
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || !is_terminal_known())
        return -ENOTTY;
    take_signals();
    screen = newterm(NULL, stdout, stdin);
    if (!screen)
        return -ENOTTY;
    atexit(restore);
    cbreak();
    noecho();
    curs_set(0);
    keypad(stdscr, TRUE);
    return 0;
}

void screen_close(void)
{
    restore();
    delscreen(screen);
    screen = NULL;
}

static void show_line(int row, const char *line, size_t len, bool is_heading)
{
    char *copy = strndup(line, len);

    if (!copy)
        return;
    if (is_heading)
        attron(A_BOLD);
    mvaddnstr(row, 0, copy, (int)text_fit(copy, (size_t)COLS));
    attroff(A_BOLD);
    free(copy);
}

static size_t num_lines(const char *text)
{
    size_t num = 0;

    for (; (text = strchr(text, '\n')); text++)
        num++;
    return num;
}

static void show_footer(const char *footer, size_t num_hidden)
{
    size_t len = strlen(footer);

    show_line(LINES - 1, footer, len, false);
    if (num_hidden > 0)
        printw("   (%zu more lines)", num_hidden);
}

void screen_show(const char *text, const char *footer)
{
    size_t room = LINES > 1 ? (size_t)LINES - 1 : 0;
    size_t num = num_lines(text);
    bool is_heading = false;

    erase();
    for (size_t row = 0; row < num && row < room; row++) {
        size_t len = strcspn(text, "\n");

        show_line((int)row, text, len, is_heading);
        is_heading = len == 0;
        text += len + 1;
    }
    show_footer(footer, num > room ? num - room : 0);
    refresh();
}

int screen_key(double timeout_s)
{
    int key;

    timeout(timeout_s > 0 ? (int)(timeout_s * 1000) + 1 : 0);
    key = is_ended ? ERR : getch();
    if (is_ended)
        return SCREEN_END;
    return key == ERR || key == KEY_RESIZE ? 0 : key;
}
