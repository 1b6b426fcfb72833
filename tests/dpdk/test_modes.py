# SPDX-License-Identifier: BSD-3-Clause
"""Every mode of the driver, in both roles, with one queue and with four: each moves traffic."""

import itertools

from suite import Skip, expect
from mode import MODES, PACKED
from rig import NUM_FRAMES

ROLES = {"server": False, "client": True}  # of our port; then testpmd is what the other is not
QUEUES = (1, 4)


def run(rig, mode, is_server, queues, **details):
    """Frames of many flows go to testpmd, which sends each back by the queue that it came from."""
    if mode.obstacle:
        raise Skip(mode.obstacle)
    host = rig.host("h1")
    rig.attach(mode, is_server, queues, **details)
    rig.testpmd.expect_paths()
    rig.expect_mode(rig.testpmd.devices[0])
    before = rig.moved()
    rig.echo(host)
    idle = [idx for idx, num in rig.moved().items() if num == before[idx]]
    expect(not idle, f"nothing has passed through the virtqueues {idle}")
    rig.expect_counted(NUM_FRAMES)


def case(mode, role, queues):
    def function(rig):
        run(rig, mode, ROLES[role], queues)

    plural = "s" if queues > 1 else ""
    function.__doc__ = f"{mode.name}, {queues} queue{plural}; our port is the {role}"
    return f"{mode.name}-{role}-{queues}", function


def odd_ring(rig):
    """a packed ring whose size is no power of two"""
    run(rig, PACKED, is_server=False, queues=1, ring_entries=250)


def tests():
    yield from itertools.starmap(case, itertools.product(MODES, ROLES, QUEUES))
    yield "packed-odd-size", odd_ring
