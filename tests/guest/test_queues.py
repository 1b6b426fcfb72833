# SPDX-License-Identifier: BSD-3-Clause
"""Guests with several queue pairs."""

import time

from stream import Stream
from suite import expect
from test_drivers import check_talk
from traffic import transfer

QUEUES = 4


def progress(lab, name):
    """For each ring of a port, by its index: what changes when frames go through it."""
    changing = "used", "notifications", "suppressed"
    rings = lab.switch.port(name)["rings"]
    return {ring["index"]: [ring[field] for field in changing] for ring in rings}


def used_pairs(before, after):
    """The queue pairs of which both rings have moved frames."""
    moved = {index for index, state in after.items() if state != before[index]}
    return [pair for pair in range(QUEUES) if {2 * pair, 2 * pair + 1} <= moved]


def check_queues(lab, **card):
    several = {"queues": QUEUES, "cpus": QUEUES, "card": card}
    vm1, vm2 = lab.crowd({"vm1": several, "vm2": several})
    there = int(vm2.run("ls -d /sys/class/net/eth0/queues/tx-* | wc -l"))
    expect(there == QUEUES, f"the guest uses {there} queue pairs")
    check_talk(lab, vm1, vm2)

    before = progress(lab, "vm1")
    arrived = transfer(vm1, vm2, seconds=3, streams=8)
    used = used_pairs(before, progress(lab, "vm1"))
    lab.remark(f"8 TCP streams of one program: {arrived.gigabits_per_second:.2f} Gbit/s "
               f"on {len(used)} queue pairs")

    # Linux sends on the queue of the processor, and answers come back on it.
    before = progress(lab, "vm1")
    running = [Stream(vm1, vm2, cpu=cpu) for cpu in range(QUEUES)]
    time.sleep(1)
    for stream in running:
        stream.finish()
    used = used_pairs(before, progress(lab, "vm1"))
    expect(len(used) == QUEUES, f"a stream from each of {QUEUES} processors used only "
                                f"the queue pairs {used}")


def test_four_queue_pairs(lab):
    """guests with four processors use four queue pairs"""
    check_queues(lab)


def test_four_packed_queue_pairs(lab):
    """the same with packed rings"""
    check_queues(lab, packed="on")
