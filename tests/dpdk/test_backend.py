# SPDX-License-Identifier: BSD-3-Clause
"""testpmd is the back-end (net_vhost), and the switch plugs into it by a virtio-user port.

testpmd swaps the addresses of each frame and sends it back.
"""

from pathlib import Path
from typing import NamedTuple

from rig import PORT
from suite import expect
from testpmd import RING_ENTRIES

NUM_FRAMES = 1500


class Frames(NamedTuple):
    """What testpmd has to know of them."""

    is_mergeable: bool = False  # its own buffers take whole frames


class Backend(NamedTuple):
    """One net_vhost; it listens, or connects to us."""

    socket: Path
    is_server: bool = True
    ring_entries: int = RING_ENTRIES
    mode: Frames = Frames()

    def arguments(self, idx, queues):
        return f"net_vhost{idx},iface={self.socket},queues={queues},client={not self.is_server:d}"


def plug(rig, backend, *options, queues=1):
    rig.switch.ctl("port", "add", PORT, "type", "virtio-user", "socket", backend.socket,
                   "mode", "client" if backend.is_server else "server", "queues", queues, *options)
    rig.start_testpmd(backend, queues=queues)
    rig.wait_running()


def echo(rig, host):
    rig.echo(host, NUM_FRAMES)
    rig.expect_counted(NUM_FRAMES)


def exchange(rig, *options, is_server=True, queues=1, features=()):
    """what goes to testpmd comes back, each frame once and in its flow's order"""
    host = rig.host("h1")
    backend = Backend(rig.switch.socket(PORT), is_server)
    plug(rig, backend, *options, queues=queues)
    port = rig.switch.port(PORT)
    for feature in ("VERSION_1", *features):
        expect(feature in port["features"], f"{feature} is not among {port['features']}")
    echo(rig, host)


def come_back(rig, is_server):
    """testpmd is killed again and again while frames are on their way; it and the switch go on"""
    host = rig.host("h1")
    backend = Backend(rig.switch.socket(PORT), is_server)
    plug(rig, backend)
    for _ in range(3):
        leftovers = rig.strand(host)
        rig.testpmd.kill()
        rig.wait_left()
        rig.start_testpmd(backend)
        rig.wait_running()
        rig.echo(host, NUM_FRAMES, leftovers)


def test(function, *args, **options):
    def run(rig):
        function(rig, *args, **options)

    run.__doc__ = function.__doc__
    return run


def tests():
    yield "back-end-split", test(exchange, features=["MRG_RXBUF"])
    yield "back-end-packed", test(exchange, "packed", "on", features=["RING_PACKED"])
    yield "back-end-whole", test(exchange, "mergeable", "off")
    yield "back-end-client", test(exchange, is_server=False)
    yield "back-end-4", test(exchange, queues=4, features=["MQ"])
    yield "back-end-packed-4", test(exchange, "packed", "on", queues=4)
    yield "back-end-comes-back", test(come_back, True)
    yield "back-end-comes-back-client", test(come_back, False)
