# SPDX-License-Identifier: BSD-3-Clause
"""QEMU's monitor (QMP): hardware that comes and goes in a running guest, and migration."""

import contextlib
import json
import socket
import time


class MonitorError(Exception):
    """QEMU refuses, or does not answer; the text is one line."""


class Monitor:
    """Connects when it is first asked something."""

    ANSWER_TIMEOUT = 60

    def __init__(self, path):
        self.path = path
        self.socket = None
        self.stream = None
        self.events = []  # those that nobody has waited for yet

    def close(self):
        if self.socket:
            self.stream.close()
            self.socket.close()
            self.socket = None

    def ask(self, command, **arguments):
        """Runs a command and returns what it answers; words are joined with `_` for `-`."""
        self.connect()
        return self.converse(command, arguments)

    def connect(self):
        if self.socket:
            return
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(self.ANSWER_TIMEOUT)
        try:
            self.socket.connect(str(self.path))
        except OSError as error:
            raise MonitorError(f"{self.path}: {error.strerror}") from None
        self.stream = self.socket.makefile("r", encoding="utf-8")
        self.read()  # the greeting
        self.converse("qmp_capabilities", {})

    def converse(self, command, arguments):
        question = {"execute": command,
                    "arguments": {name.replace("_", "-"): value for name, value in arguments.items()}}
        with self.one_line_errors(command):
            self.socket.sendall(json.dumps(question).encode())
            while True:
                answer = self.read()
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise MonitorError(f"{command}: {answer['error']['desc']}")
                self.events.append(answer)

    def wait_for_event(self, *names, timeout=ANSWER_TIMEOUT):
        """Waits for the first of these events that has not been waited for, and returns it."""
        deadline = time.monotonic() + timeout
        with self.one_line_errors(f"waiting for {' or '.join(names)}"):
            while True:
                for event in self.events:
                    if event["event"] in names:
                        self.events.remove(event)
                        return event
                self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
                self.events.append(self.read())

    @contextlib.contextmanager
    def one_line_errors(self, what):
        try:
            yield
        except TimeoutError:
            raise MonitorError(f"{what}: no answer in time") from None
        except OSError as error:
            raise MonitorError(f"{what}: {error.strerror}") from None
        finally:
            self.socket.settimeout(self.ANSWER_TIMEOUT)

    def read(self):
        line = self.stream.readline()
        if not line:
            raise MonitorError("QEMU has ended")
        return json.loads(line)
