/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The terminal as a screen, for a text that changes. One at a time.
 */
#ifndef CLI_SCREEN_H
#define CLI_SCREEN_H

/* -ENOTTY: stdin or stdout is no terminal, or one that is not known. */
int screen_open(void);
void screen_close(void);

/*
 * Shows the lines of `text` as far as there is room, and `footer` in the last row. A line behind an
 * empty one is a heading.
 */
void screen_show(const char *text, const char *footer);

#define SCREEN_END (-1)

/*
 * A key that is pressed within `timeout_s`; 0: none, or the size has changed: show again; SCREEN_END: the
 * program was told to end, by SIGINT (as ^C sends) or SIGTERM.
 */
int screen_key(double timeout_s);

#endif
