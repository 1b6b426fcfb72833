# SPDX-License-Identifier: BSD-3-Clause
"""The workers: their modes and CPUs, how deeply they sleep, and that they wake."""

import itertools
import os
import random
import time

from iperf import undisturbed
from suite import Skip, expect

IDLE_SECONDS = 5
IDLE_PERCENT = 1
TOO_BUSY_PERCENT = 5
FRAMES = {"adaptive": 2000, "interrupt": 500, "poll": 500}
LONGEST_PAUSE = 0.003  # longer than a worker spins
LONGEST_WAY = 5  # seconds: a frame that takes so long was forgotten, and the machine not just busy


def cpus(number):
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < number:
        raise Skip(f"this needs {number} CPUs")
    return ",".join(map(str, allowed[:number]))


def expect_workers(network, number, mode):
    workers = network.switch.json("worker", "show")
    expect([one["mode"] for one in workers] == [mode] * number, f"other workers: {workers}")


def test_modes_under_traffic(network):
    """the workers change between adaptive, poll and interrupt while TCP runs"""
    h1, h2 = network.add_hosts("h1", "h2")
    changes = 0
    with undisturbed(network, h1, h2, seconds=2) as goes_on:
        for mode in itertools.cycle(("poll", "interrupt", "adaptive")):
            if not goes_on():
                break
            network.switch.ctl("worker", "set", "mode", mode)
            expect_workers(network, 1, mode)
            time.sleep(0.05)
            changes += 1
    network.remark(f"{changes} changes")


def test_cpus_under_traffic(network):
    """workers come and go on CPUs while TCP runs, and share the queues between them"""
    two, one = cpus(2), cpus(1)
    h1, h2 = network.add_hosts("h1", "h2")
    changes = 0
    with undisturbed(network, h1, h2, seconds=2) as goes_on:
        while goes_on():
            for words, number in (("cpus", two), 2), (("count", 3), 3), (("cpus", one), 1):
                network.switch.ctl("worker", "set", *words, "mode", "adaptive")
                expect_workers(network, number, "adaptive")
                queues = [worker["queues"] for worker in network.switch.json("worker", "show")]
                expect(sum(queues) == 2 and max(queues) <= -(-2 // number), f"queues: {queues}")
                changes += 1
    network.remark(f"{changes} changes")


def test_bad_workers(network):
    """a CPU that is not there is refused in one line, and the workers stay as they were"""
    h1, h2 = network.add_hosts("h1", "h2")
    for words in ("cpus", 1000), ("cpus", "x"), ("mode", "lazy"), ("count", 0):
        network.refused("worker", "set", *words)
    expect_workers(network, 1, "adaptive")
    h1.ping(h2)


def test_idle_cpu(network):
    """with four idle TAP ports shuntd uses next to no CPU"""
    hosts = network.add_hosts("h1", "h2", "h3", "h4")
    hosts[0].ping(hosts[1])
    before = network.switch.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    percent = 100 * (network.switch.cpu_seconds() - before) / IDLE_SECONDS
    network.remark(f"{percent:.3f}% of a CPU, of which {IDLE_PERCENT}% is the aim")
    expect(percent < TOO_BUSY_PERCENT, f"{percent:.1f}% of a CPU")


def expect_answers(network, h1, h2, mode):
    """Single frames with pauses between them, each answered before the next is sent."""
    network.switch.ctl("worker", "set", "mode", mode)
    pauses = random.Random(mode)
    ways = []
    for number in range(FRAMES[mode]):
        time.sleep(pauses.uniform(0, LONGEST_PAUSE))
        for sender, receiver in (h1, h2), (h2, h1):
            sent = sender.frame_to(receiver, b"%d" % number)
            begin = time.monotonic()
            sender.wire.send(sent)
            arrived = receiver.wire.receive(LONGEST_WAY)
            expect(arrived == sent, f"{mode}: frame {number} from {sender.name} did not come")
            ways.append(time.monotonic() - begin)
    ways.sort()
    median, longest = (way * 1e6 for way in (ways[len(ways) // 2], ways[-1]))
    network.remark(f"{mode}: {len(ways)} frames, half of them within {median:.0f} µs, "
                   f"all within {longest:.0f} µs")


def test_no_lost_wake_up(network):
    """thousands of single frames, at any moment of a worker's falling asleep, are each answered"""
    h1, h2 = network.add_hosts("h1", "h2")
    for mode in FRAMES:
        expect_answers(network, h1, h2, mode)
