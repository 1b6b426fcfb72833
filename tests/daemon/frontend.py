# SPDX-License-Identifier: BSD-3-Clause
"""As much of a vhost-user front-end as tells whether its back-end is still there."""

import socket
import struct

from shuntd import TIMEOUT, expect, expect_equal

GET_FEATURES = 1
VERSION = 1
REPLY = 4


class Frontend:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(str(path))
        self.expect_alive()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def expect_alive(self):
        """The connection stands, and the back-end answers."""
        self.socket.sendall(struct.pack("<III", GET_FEATURES, VERSION, 0))
        answer = self.socket.recv(20)
        expect_equal(struct.unpack("<III", answer[:12]), (GET_FEATURES, VERSION | REPLY, 8))

    def expect_cut_off(self):
        expect(self.socket.recv(20) == b"", "the connection still stands")
