# SPDX-License-Identifier: BSD-3-Clause
"""Runs shuntctl, on pipes or on a terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

from screen import Screen

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("BUILD", "build"))
PROGRAM = (BUILD if BUILD.is_absolute() else ROOT / BUILD) / "shuntctl"

SECONDS = 30


class Failure(Exception):
    """What a test finds wrong."""


class Skip(Exception):
    """Why a test cannot run here."""


def expect(condition, *what):
    if not condition:
        raise Failure("\n".join(str(item) for item in what))


def expect_equal(found, expected):
    expect(found == expected, "expected:", expected, "found:", found)


def environment(**changes):
    """That of the test, without what would change the output, and with the changes; None removes."""
    kept = {key: value for key, value in os.environ.items()
            if key != "SHUNT_CONTROL" and not key.startswith("LC_")}
    changed = {**kept, "LANG": "C.UTF-8", "TERM": "vt100", **changes}
    return {key: value for key, value in changed.items() if value is not None}


class Result:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def __str__(self):
        return f"status {self.status}\nstdout:\n{self.out}stderr:\n{self.err}"

    def ok(self):
        """The output of a success, which leaves nothing on stderr."""
        expect(self.status == 0 and not self.err, "not a success:", self)
        return self.out

    def error(self, status, *parts):
        """The one line of an error, which has all these parts and leaves nothing on stdout."""
        expect(self.status == status, f"expected exit status {status}:", self)
        expect(not self.out and self.err.count("\n") == 1 and self.err.endswith("\n"),
               "expected one line on stderr and nothing else:", self)
        expect(self.err.startswith("shuntctl: "), "the line does not name the program:", self)
        for part in parts:
            expect(part in self.err, f"expected to read '{part}':", self)
        return self.err


def run(*words, control=None, stdin=None, stdout=subprocess.PIPE, user=None, **changes):
    """Runs shuntctl with these words; `control` is the path of the socket, by environment."""
    done = subprocess.run(
        [PROGRAM, *words],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=environment(SHUNT_CONTROL=control and str(control), **changes),
        timeout=SECONDS,
        **({"user": user, "group": user, "extra_groups": []} if user else {}),
    )
    return Result(done.returncode, (done.stdout or b"").decode(), done.stderr.decode())


def set_size(fd, columns, rows):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Terminal:
    """shuntctl on a terminal of its own, of so many columns and rows."""

    def __init__(self, *words, control=None, columns=100, rows=30, **changes):
        self.output = ""
        self.screen = Screen(columns, rows)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            set_size(0, columns, rows)
            os.execve(PROGRAM, [PROGRAM, *words],
                      environment(SHUNT_CONTROL=control and str(control), **changes))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def resize(self, columns, rows):
        self.screen.resize(columns, rows)
        set_size(self.fd, columns, rows)

    def press(self, keys):
        os.write(self.fd, keys.encode())

    def read(self, seconds):
        """Reads what is written next. False at the end."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            text = os.read(self.fd, 65536).decode(errors="replace")
        except OSError:
            return False
        self.output += text
        self.screen.feed(text)
        return True

    def wait_for(self, pattern):
        """Waits until what is on the screen matches."""
        end = time.monotonic() + SECONDS
        while not re.search(pattern, self.screen.text(), re.DOTALL):
            expect(time.monotonic() < end and self.read(0.1),
                   f"waited for {pattern!r} in vain; on the screen:", self.screen.text())

    def end(self):
        """Waits for the end, and returns the exit status."""
        end = time.monotonic() + SECONDS
        while self.read(0.1):
            expect(time.monotonic() < end, "it does not end; on the screen:", self.screen.text())
        _, status = os.waitpid(self.pid, 0)
        self.pid = None
        return os.waitstatus_to_exitcode(status)
