# SPDX-License-Identifier: BSD-3-Clause
"""The live view, line by line and on a terminal."""

import itertools
import json
import re
import threading
import time

from server import Raw, Server
from shuntctl import Terminal, expect, expect_equal, run

VERSION = {"version": "9.9", "pid": 4711, "uptime": 60}


def switch():
    """Answers of a switch in which vm1 sends, vm2 receives and loses some, in steps of one look."""
    look = itertools.count(1)

    def ports(_params):
        step = next(look)
        return [
            {"name": "vm2", "bridge": "br0", "state": "up", "rx": {"packets": 7, "bytes": 700, "drops": {}},
             "tx": {"packets": 900 * step, "bytes": 90000 * step,
                    "drops": {"too-big": step, "ring-full": 99 * step}}},
            {"name": "vm1\x1b[31m", "bridge": "br0", "state": "up",
             "rx": {"packets": 1000 * step, "bytes": 100000 * step, "drops": {}},
             "tx": {"packets": 0, "bytes": 0, "drops": {}}},
        ]

    def workers(_params):
        return [{"id": 0, "cpu": 1, "pinned": True, "mode": "adaptive", "queues": 2,
                 "busy_cycles": 5000 * time.monotonic_ns(), "idle_cycles": 15000 * time.monotonic_ns(),
                 "frames": time.monotonic_ns()}]

    return {"version": VERSION, "port.show": ports, "worker.show": workers}


def test_batch(folder):
    """-b prints rates, line by line"""
    path = folder / "control"
    with Server(path, switch()):
        found = run("top", "-b", "-n", "2", "-i", "0.5", control=path).ok()
    views = found.split("\n\nshuntd ")
    expect_equal(len(views), 2)
    expect(f"shuntd 9.9 on {path}, up for 1 min 0 s\nall ports: rx " in found, found)
    for part in (r"WORKER  CPU  MODE +QUEUES +BUSY  CYCLES/FRAME +FRAMES/S\n"
                 r"     0    1  adaptive +2 +2[45]\.\d% +\d+ +[\d.]+ [MG]\n",
                 r"\nvm1\\x1b\[31m  br0     up +[\d.]+( k)? +[\d.]+ [kM] +0 +0 +0\n",
                 r"\nvm2 +br0     up +0 +0 +[\d.]+( k)? +[\d.]+ [kM] +\d+  ring-full\n"):
        expect(re.search(part, views[1]), f"no {part!r} in", found)
    expect(found.index("\nvm1") < found.index("\nvm2"), "not in order of names:", found)


def test_batch_options_of_top(folder):
    """the words that users of top(1) know"""
    path = folder / "control"
    with Server(path, switch()):
        expect("all ports" in run("top", "-bn1", "-i.1", control=path).ok(), "no view")


def test_json(folder):
    """-j prints the rates for scripts, one object a look"""
    path = folder / "control"
    with Server(path, switch()):
        found = run("-j", "top", "-n", "1", "-i", "0.2", control=path).ok()
    rates = json.loads(found)
    expect_equal([port["name"] for port in rates["ports"]], ["vm1\x1b[31m", "vm2"])
    expect(500 < rates["ports"][0]["rx"]["packets"] <= 5000, rates)
    expect(abs(rates["ports"][0]["rx"]["bits"] / rates["ports"][0]["rx"]["packets"] - 800) < 1, rates)
    expect_equal(rates["ports"][1]["reason"], "ring-full")
    expect(abs(rates["workers"][0]["busy"] - 0.25) < 0.01, rates)


def test_without_terminal_or_daemon(folder):
    """what top needs is said"""
    path = folder / "control"
    run("top", control=path).error(1, "no shuntd listens")
    with Server(path, switch()):
        run("top", control=path).error(2, "top needs a terminal", "-b")
    path.unlink()
    with Server(path, switch()), Terminal("top", control=path, TERM="unheard-of") as terminal:
        expect_equal(terminal.end(), 2)
        expect("top needs a terminal" in terminal.output, terminal.output)


def test_daemon_that_hangs(folder):
    """a daemon that does not answer is not waited for"""
    path = folder / "control"
    with Server(path, {"version": lambda _params: time.sleep(8) or Raw(b"")}):
        run("top", "-b", control=path).error(1, "does not answer within 2 s")


def wait_for_looks(server, number):
    """Waits until the server was asked for its ports so often."""
    while [method for method, _ in server.requests].count("port.show") < number:
        time.sleep(0.01)


def test_restart_in_batch(folder):
    """a restart of the daemon is told once, and outlived"""
    path = folder / "control"

    def restart():
        wait_for_looks(servers[0], 3)
        path.unlink()
        servers[0].stop()
        time.sleep(0.7)
        servers.append(Server(path, switch()).__enter__())

    servers = [Server(path, switch()).__enter__()]
    thread = threading.Thread(target=restart)
    thread.start()
    result = run("top", "-b", "-n", "12", "-i", "0.2", control=path)
    thread.join()
    servers[1].stop()
    expect(result.status == 0, result)
    expect(result.err.count("\n") == 1 and "trying again every 0.2 s" in result.err, result)
    expect(result.out.count("all ports") in range(3, 11), result)


def test_end_in_batch(folder):
    """top ends with status 1 where the daemon was not there at the last look"""
    path = folder / "control"

    def stop():
        wait_for_looks(server, 2)
        server.stop()

    with Server(path, switch()) as server:
        threading.Thread(target=stop).start()
        result = run("top", "-b", "-n", "5", "-i", "0.2", control=path)
    expect(result.status == 1 and "all ports" in result.out, result)


def test_screen(folder):
    """on a terminal, keys choose the order and end it"""
    path = folder / "control"
    with Server(path, switch()), Terminal("top", "-i", "0.3", control=path) as terminal:
        terminal.wait_for("all ports.*WORKER.*\nvm1.*\nvm2.*ring-full.*q quit")
        expect("\x1b[31m" not in terminal.output, "a name drives the terminal:", repr(terminal.output))
        for key, order in (("t", "vm2.*vm1"), ("n", "vm1.*vm2"), ("d", "vm2.*vm1"), ("r", "vm1.*vm2")):
            terminal.press(key)
            terminal.wait_for(order)
        terminal.press("q")
        expect_equal(terminal.end(), 0)


def test_screen_of_its_own(folder):
    """what was on the terminal before is there again at the end"""
    path = folder / "control"
    with Server(path, switch()), Terminal("top", control=path, TERM="xterm") as terminal:
        terminal.wait_for("quit")
        expect("\x1b[?1049h" in terminal.output, "no screen of its own:", repr(terminal.output))
        terminal.press("\x03")
        terminal.end()
        expect("\x1b[?1049l" in terminal.output, "not left as it was:", repr(terminal.output[-99:]))


def test_screen_size(folder):
    """the view follows the size of the terminal, down to nothing"""
    path = folder / "control"
    with Server(path, switch()), Terminal("top", "-i", "0.3", control=path, rows=6) as terminal:
        terminal.wait_for(r"WORKER.*q quit   \(4 more lines\)")
        for columns, rows, seen in ((100, 40, "vm2.*ring-full.*q quit"), (5, 1, "^sort$"),
                                    (2, 1, "^s"), (100, 40, "vm2.*ring-full.*q quit")):
            terminal.resize(columns, rows)
            terminal.wait_for(seen)
        terminal.press("q")
        expect_equal(terminal.end(), 0)


def test_screen_and_restart(folder):
    """a restart of the daemon is told on the screen, and outlived"""
    path = folder / "control"
    with Server(path, switch()) as server, Terminal("top", "-i", "0.2", control=path) as terminal:
        terminal.wait_for("ring-full.*q quit")
        path.unlink()
        server.stop()
        terminal.wait_for("no shuntd listens.*Trying again every 0.2 s")
        with Server(path, switch()):
            terminal.wait_for("all ports.*ring-full")
            terminal.press("q")
            expect_equal(terminal.end(), 0)
