# SPDX-License-Identifier: BSD-3-Clause
"""How much is sent, how long, and how a run ends."""

import json
import resource
import signal
import subprocess

from generator import command, ports, report, switch
from shuntd import TIMEOUT, expect, expect_equal, wait_until


def expect_near(found, expected, part, what):
    expect(abs(found - expected) <= expected * part, f"{what}: {found} instead of {expected}")


def expect_rate(folder, rate, key, expected, *words):
    """One port sends into a sink at this rate: never above it, and not below it either.

    Where others keep the CPU for themselves it may fall short: then it has another try.
    """
    _, (a, b) = switch(folder, "a", "b")
    for tries_left in reversed(range(8)):
        result = report("--port", f"{a},role=send", "--port", f"{b},role=sink", "--rate", rate,
                        "--duration", "600ms", *words)
        found = result["ports"][0]["tx"][key]
        if found > 0.98 * expected or tries_left == 0:
            break
    expect_near(found, expected, 0.02, key)


def test_rate_in_frames(folder):
    """a limit in frames a second is kept within 2%"""
    expect_rate(folder, "20k", "frames_per_second", 20000)


def test_rate_in_bits(folder):
    """a limit in bits a second, of frames of different sizes"""
    expect_rate(folder, "50Mbit", "bits_per_second", 50e6, "--size", "imix")


def test_rate_in_bursts(folder):
    """bursts do not change the rate"""
    expect_rate(folder, "20kpps", "frames_per_second", 20000, "--burst", 50)


def children_time():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_sleep(folder):
    """who sleeps keeps the rate too, and leaves the CPU alone"""
    before = children_time()
    expect_rate(folder, 1000, "frames_per_second", 1000, "--wait", "sleep")
    expect(children_time() - before < 0.3, "it took most of the time of a CPU")


def test_sleeping_exchange(folder):
    """with sleep, notifications wake both sides in both formats"""
    _, (a, b) = switch(folder, "a", "b")
    result = report("--port", a, "--port", f"{b},packed,role=echo", "--wait", "sleep", "--window", 1,
                    "--count", 500, "--verify", "--latency")
    expect_equal(result["ports"][0]["round_trip"]["frames"], 500)
    # A machine that is busy may let a frame wait for too long, but no wake-up is lost.
    expect(result["ports"][0]["given_up"] <= 10, f"{result['ports'][0]['given_up']} were given up")


def test_count(folder):
    """each port sends so many frames, and not one more"""
    shuntd, paths = switch(folder, "a", "b")
    result = report(*ports(paths), "--count", 777)
    expect_equal([port["tx"]["frames"] for port in result["ports"]], [777, 777])
    expect_equal([port["rx"]["packets"] for port in shuntd.ports().values()], [777, 777])


def test_duration(folder):
    """it ends in time, with reports on the way that add up to no more than the last one"""
    _, paths = switch(folder, "a", "b")
    done = subprocess.run(command(*ports(paths), "--json", "--duration", "500ms", "--interval", "100ms",
                                  "--rate", "10k"), capture_output=True, text=True, timeout=TIMEOUT,
                          check=True)
    *parts, end = map(json.loads, done.stdout.splitlines())
    expect_near(end["at"], 0.5, 0.1, "seconds")
    expect(parts and all(part["report"] == "interval" for part in parts), f"reports {parts}")
    expect(sum(part["all"]["tx"]["frames"] for part in parts) <= end["all"]["tx"]["frames"],
           "the parts are more than the whole")
    expect(0 < end["cpu"]["busy"] <= 1 and end["cpu"]["cycles_per_frame"] > 0, f"cost {end['cpu']}")


def interrupted(folder, number, *words):
    _, paths = switch(folder, "a", "b")
    process = subprocess.Popen(command(*ports(paths), *words), stdout=subprocess.PIPE, text=True)
    first = process.stdout.readline()
    process.send_signal(number)
    out, _ = process.communicate(timeout=TIMEOUT)
    expect_equal(process.returncode, 0)
    return first + out


def test_interrupt(folder):
    """SIGINT ends it with the report so far"""
    out = interrupted(folder, signal.SIGINT, "--interval", "50ms")
    expect("--- " in out and "a.sock: sent " in out and "own cost: busy" in out, out)


def test_terminate(folder):
    """SIGTERM too, as JSON"""
    out = interrupted(folder, signal.SIGTERM, "--interval", "50ms", "--json")
    last = json.loads(out.splitlines()[-1])
    expect_equal(last["report"], "end")
    expect(last["all"]["tx"]["frames"] > 0, "nothing was sent")


def test_switch_restarts(folder):
    """a switch that is killed and comes back finds the generator going on"""
    shuntd, paths = switch(folder, "a", "b")
    process = subprocess.Popen(command(*ports(paths), "--json", "--interval", "50ms", "--rate", "2k"),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    shuntd.kill()
    shuntd.start()
    for path in paths:
        shuntd.add_guest(path.stem)
    wait_until(lambda: all(port["tx"]["packets"] > 50 for port in shuntd.ports().values()),
               "frames flow again")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT)
    expect_equal(process.returncode, 0)
    expect("back-end disconnected" in err, err)
    expect_equal(json.loads(out.splitlines()[-1])["ports"][0]["malformed"], 0)
