# SPDX-License-Identifier: BSD-3-Clause
"""What is sent arrives, whole and once. A window keeps a slow machine from overflowing a ring."""

import json
import subprocess
import time

from generator import command, expect_perfect, ports, report, run, switch
from shuntd import TIMEOUT, expect, expect_equal

FRAMES = 5000
STEADY = ("--verify", "--window", 64, "--count", FRAMES)


def expect_all(result, frames=FRAMES):
    for port in result["ports"]:
        expect_equal((port["tx"]["frames"], port["rx"]["frames"]), (frames, frames))
        expect_perfect(port, frames)


def exchange(folder, *words, keys=(), mode="learn"):
    shuntd, paths = switch(folder, "a", "b", mode=mode)
    result = report(*ports(paths, *keys), *STEADY, *words)
    expect_all(result)
    for port in shuntd.ports().values():
        expect_equal((port["rx"]["packets"], port["tx"]["packets"]), (FRAMES, FRAMES))
    return result


def test_patch(folder):
    """two ports through a patch"""
    exchange(folder, mode="patch")


def test_bridge(folder):
    """two ports through a learning bridge"""
    exchange(folder)


def test_packed(folder):
    """packed rings"""
    exchange(folder, keys=("packed",))


def test_other_rings(folder):
    """small rings, without mergeable buffers and event index"""
    exchange(folder, keys=("ring=128", "mergeable=off", "event-idx=off"))


def test_flows_and_addresses(folder):
    """many flows and addresses: the bridge learns them all"""
    shuntd, paths = switch(folder, "a", "b")
    expect_all(report(*ports(paths), *STEADY, "--flows", 1000, "--macs", 100))
    expect_equal(len(shuntd.call("fdb.show")), 200)


def test_mixed_sizes(folder):
    """IMIX: bytes are counted as they were asked for, and content of all sizes arrives"""
    result = exchange(folder, "--size", "imix")
    mean = result["all"]["tx"]["bytes"] / result["all"]["tx"]["frames"]
    expect(abs(mean - (60 * 7 + 590 * 4 + 1514) / 12) < 1, f"frames of {mean} bytes")


def test_mergeable_buffers(folder):
    """frames of up to 9,000 bytes in receive buffers of 1,000"""
    exchange(folder, "--size", "60-9000", "--window", 8, keys=("buffer=1000",))


def test_several_queues(folder):
    """four queue pairs: no flow changes its queue, so none is reordered"""
    _, paths = switch(folder, "a", "b", queues=4)
    expect_all(report(*ports(paths, "queues=4"), *STEADY, "--flows", 64))


def test_three_ports(folder):
    """each of three ports sends to both others; what is flooded to the third is told apart"""
    _, paths = switch(folder, "a", "b", "c")
    result = report(*ports(paths), *STEADY)
    expect_equal(result["all"]["tx"]["frames"], 3 * FRAMES)
    for port in result["ports"]:
        expect_perfect(port, FRAMES)
        expect_equal(port["rx"]["frames"], FRAMES + port["flooded"])


def test_two_processes(folder):
    """a sink in a process of its own verifies what another one sends"""
    _, (a, b) = switch(folder, "a", "b", mode="patch")
    sink = subprocess.Popen(command("--json", "--interval", "20ms", "--verify", "--id", 9, "--port",
                                    f"{b},role=sink,ring=2048"), stdout=subprocess.PIPE, text=True)
    sink.stdout.readline()  # it is up
    report("--port", a, "--verify", "--rate", "50k", "--count", 2000)
    received, deadline = 0, time.monotonic() + TIMEOUT
    while received < 2000 and time.monotonic() < deadline:
        received += json.loads(sink.stdout.readline())["all"]["rx"]["frames"]
    sink.terminate()
    last = json.loads(sink.communicate()[0].splitlines()[-1])
    expect_equal(sink.returncode, 0)
    expect_equal(last["ports"][0]["rx"]["frames"], 2000)
    expect_perfect(last["ports"][0], 2000)


def test_echo(folder):
    """an echo sends all back, and the round trip of each frame is measured"""
    _, (a, b) = switch(folder, "a", "b")
    result = report("--port", a, "--port", f"{b},role=echo", *STEADY, "--latency")
    expect_all(result)
    trip, way = result["ports"][0]["round_trip"], result["ports"][1]["one_way"]
    for times in trip, way:
        expect_equal(times["frames"], FRAMES)
        ordered = [times[key] for key in ("p50_us", "p90_us", "p99_us", "p99.9_us", "max_us")]
        expect(ordered == sorted(ordered) and ordered[0] > 0, f"times {ordered}")
    expect(way["p50_us"] < trip["p50_us"], f"one way {way} is not less than {trip}")


def test_echo_of_large_frames(folder):
    """an echo of frames in several buffers each, over packed rings"""
    _, (a, b) = switch(folder, "a", "b")
    keys = "packed,buffer=1000"
    expect_all(report("--port", f"{a},{keys}", "--port", f"{b},{keys},role=echo", *STEADY, "--window",
                      8, "--size", "60-9000"))


def test_lost_frames_are_found(folder):
    """frames that the switch drops are lost, and the exit status says so"""
    shuntd, (a, b) = switch(folder, "a", "b")
    shuntd.call("port.set", name="b", link="down")
    result = report("--port", f"{a},role=send", "--port", f"{b},role=sink", "--verify", "--count", 500,
                    status=3)
    expect_equal(result["ports"][1]["verify"]["lost"], 500)


def test_touch(folder):
    """frames that are written and read line by line are the same frames"""
    _, paths = switch(folder, "a", "b")
    for touch in "header", "all":
        expect_all(report(*ports(paths), *STEADY, "--touch", touch, "--size", "imix"))


def test_server(folder):
    """we listen, and the switch connects"""
    shuntd, _ = switch(folder)
    paths = [folder / f"{name}.sock" for name in "ab"]
    for path in paths:
        shuntd.add_guest(path.stem, mode="client")
    expect_all(report(*ports(paths, "server"), *STEADY))


def test_text(folder):
    """the report as text"""
    _, paths = switch(folder, "a", "b")
    done = run(*ports(paths), *STEADY, "--latency")
    expect_equal((done.status, done.err), (0, ""))
    for part in (f"a.sock: sent {FRAMES} frames", f"received {FRAMES} ", "0 lost, 0 duplicated",
                 "one way (us): p50 ", "cycles a frame"):
        expect(part in done.out, f"no {part!r} in {done.out}")
