# SPDX-License-Identifier: BSD-3-Clause
"""Network namespaces without names: they end with the process that made them, however it ends."""

import contextlib
import ctypes
import os
from pathlib import Path

CLONE_NEWNET = 0x40000000
SILENCE = {
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
    "ipv4/neigh/default/delay_first_probe_time": "60",
}
LIBC = ctypes.CDLL(None, use_errno=True)


def current():
    """A descriptor of the namespace that this thread is in."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def change(call, argument):
    if call(argument, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"network namespace: {os.strerror(number)}")


class Namespace:
    """`with namespace:` puts this thread, and all that it starts or opens meanwhile, into it."""

    def __init__(self):
        self.outer = []
        home = current()
        try:
            change(lambda flags, _: LIBC.unshare(flags), CLONE_NEWNET)
            self.fd = current()
            self.be_silent()
        finally:
            change(LIBC.setns, home)
            os.close(home)

    @staticmethod
    def be_silent():
        """Nothing is sent that no test asks for: IPv6 reports, and later probes of neighbours."""
        for setting, value in SILENCE.items():
            with contextlib.suppress(FileNotFoundError):  # the kernel may have no IPv6
                Path("/proc/sys/net", setting).write_text(value)

    def __enter__(self):
        self.outer.append(current())
        change(LIBC.setns, self.fd)
        return self

    def __exit__(self, *_):
        outer = self.outer.pop()
        change(LIBC.setns, outer)
        os.close(outer)

    @property
    def path(self):
        """What ip(8) takes as its name."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    def close(self):
        """Ends it, with its interfaces, as soon as nobody is in it any more."""
        os.close(self.fd)
