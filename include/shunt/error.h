/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What went wrong, for a person.
 *
 * Functions of libshunt return 0 or a negative errno. Those that can fail for a reason which the
 * number alone does not tell also take a `struct shunt_error *`; it may be NULL. On failure it
 * holds the same code and one line that names the cause with its value and, where there is one,
 * the remedy. On success it is left as it was. The caller owns it; no function keeps the pointer.
 */
#ifndef SHUNT_ERROR_H
#define SHUNT_ERROR_H

#define SHUNT_ERROR_TEXT_BYTES 256

struct shunt_error {
    int code; /* negative errno */
    char text[SHUNT_ERROR_TEXT_BYTES];
};

#endif
