# SPDX-License-Identifier: BSD-3-Clause
"""A terminal on a guest's console: what `socat -,raw,echo=0 UNIX-CONNECT:socket` would be."""

import contextlib
import os
import select
import socket
import sys
import termios
import tty

LEAVE = b"\x1d"  # Ctrl-]
CHUNK = 4096


@contextlib.contextmanager
def raw_terminal():
    """Hands every key to the guest, Ctrl-C as well; does nothing where there is no terminal."""
    if not sys.stdin.isatty():
        yield
        return
    saved = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)


def attach(path):
    """Connects the terminal to a console until either side ends, or Ctrl-] is pressed."""
    with socket.socket(socket.AF_UNIX) as guest:
        guest.connect(str(path))
        guest.sendall(b"\n")  # for the guest's prompt
        with raw_terminal():
            relay(guest)


def relay(guest):
    keyboard = sys.stdin.fileno()
    while True:
        readable, _, _ = select.select([guest, keyboard], [], [])
        if guest in readable:
            shown = guest.recv(CHUNK)
            if not shown:
                return
            os.write(sys.stdout.fileno(), shown)
        if keyboard in readable:
            typed = os.read(keyboard, CHUNK)
            if not typed or LEAVE in typed:
                return
            guest.sendall(typed)
