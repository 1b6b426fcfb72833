# SPDX-License-Identifier: BSD-3-Clause
"""Child processes that end with us, whatever becomes of us."""

import ctypes
import os
import signal
import subprocess

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent):
    """Returns what a new child calls before it becomes its program."""

    def ask_kernel():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel was asked
            os.kill(os.getpid(), signal.SIGKILL)

    return ask_kernel


def spawn(command, log, *, pass_fds=(), outlive_us=False):
    """Starts a program whose output goes to the end of the file `log`.

    It gets a session of its own, so that Ctrl-C reaches only us, and we end our children in order.
    The kernel ties a child to the thread that started it: call this from the main thread.
    """
    with open(log, "ab") as output:
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=None if outlive_us else die_with_parent(os.getpid()),
        )


def end(process, signal_first=signal.SIGTERM, timeout=5):
    """Ends a child, by force if it must be, and returns its exit status."""
    if process.poll() is None:
        process.send_signal(signal_first)
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def end_by_sigterm():
    """Makes SIGTERM unwind us like an exception, so that everything is cleaned up on the way."""

    def leave(_number, _frame):
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, leave)
