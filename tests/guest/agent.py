# SPDX-License-Identifier: BSD-3-Clause
"""The channel to a guest's agent: shell commands in, exit status and output back.

It is a second serial port, so it needs no driver and no network in the guest, and goes on working
when a test takes those away. QEMU holds the other end of a socket pair; when QEMU ends, we see it.
The protocol is described where the guest speaks it, in rootfs/agent.
"""

import socket
import time
from typing import NamedTuple


class AgentError(Exception):
    """The guest does not answer, or has ended or started again by itself."""


class Result(NamedTuple):
    status: int
    output: str


class Agent:
    # How much longer than a command's own time-out we wait for the guest's word that it timed out.
    GRACE = 15

    def __init__(self):
        self.socket, self.guest_end = socket.socketpair()
        self.received = bytearray()

    def hand_over(self):
        """Our copy of the guest's end goes once QEMU has it: only then is QEMU's end seen here."""
        self.guest_end.close()

    def close(self):
        self.socket.close()
        self.guest_end.close()

    def wait_ready(self, timeout):
        """Waits for a guest that is booting; what an earlier life of it still sent is ignored."""
        deadline = time.monotonic() + timeout
        while not self.read_line(deadline).startswith("ready "):
            pass

    def run(self, command, timeout):
        """Runs a command line, waits for its end and returns its status and output."""
        self.send(command, timeout)
        deadline = time.monotonic() + timeout + self.GRACE
        word, *numbers = self.read_line(deadline).split()
        if word != "done":
            raise AgentError("started again by itself")
        status, size = map(int, numbers)
        return Result(status, self.read(size, deadline).decode(errors="replace"))

    def send(self, command, timeout=60):
        """Sends a command that will not be answered, as a reboot."""
        if "\n" in command:
            raise ValueError("a command for the guest is one line")
        try:
            self.socket.sendall(f"{timeout} {command}\n".encode())
        except OSError:
            raise AgentError("has ended") from None

    def read_line(self, deadline):
        while b"\n" not in self.received:
            self.receive(deadline)
        line, _, rest = self.received.partition(b"\n")
        self.received = rest
        return line.decode(errors="replace")

    def read(self, size, deadline):
        while len(self.received) < size:
            self.receive(deadline)
        data, self.received = self.received[:size], self.received[size:]
        return data

    def receive(self, deadline):
        self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            raise AgentError("does not answer") from None
        except OSError:
            data = b""
        if not data:
            raise AgentError("has ended")
        self.received += data
