# SPDX-License-Identifier: BSD-3-Clause
"""What is printed, for people and for scripts."""

import json
import re

from server import Server
from shuntctl import Terminal, expect, expect_equal, run


def side(packets, size, drops=None, **more):
    return {"packets": packets, "bytes": size, **more, "drops": drops or {}}


VM1 = {
    "name": "vm1", "type": "vhost-user", "state": "up", "reason": "", "queues": 1,
    "features": ["VIRTIO_F_VERSION_1", "VIRTIO_NET_F_MRG_RXBUF"],
    "rx": side(1234567, 987654321, copies=12), "tx": side(5, 300, {"ring-full": 12345, "too-big": 2}),
    "role": "server", "peer_pid": 123456,
    "rings": [{"index": 0, "use": "receiveq", "size": 1024}, {"index": 1, "use": "transmitq", "size": 256}],
    "memory": [{"guest_address": 4096, "bytes": 1048576}],
    "bridge": "br0", "options": {"type": "vhost-user", "max-addresses": 4096},
}
VM2 = {
    "name": "vm2\x1b[31m", "type": "vhost-user", "state": "connecting", "reason": "waits for a guest",
    "queues": 1, "features": [], "rx": side(0, 0, copies=0), "tx": side(0, 0), "bridge": "br0",
}

# The method, its answer, the words that ask for it, and what is then printed.
TABLES = [
    ("port.show", [VM1, VM2], "port show", """\
NAME         TYPE        BRIDGE  STATE       QUEUES  RX PACKETS  TX PACKETS   DROPS  REASON
vm1          vhost-user  br0     up               1   1,234,567           5  12,347
vm2\\x1b[31m  vhost-user  br0     connecting       1           0           0       0  waits for a guest
"""),
    ("port.show", [], "port show", "There are no ports.\n"),
    ("port.show", [VM1], "port show vm1", """\
vm1
  type      vhost-user
  state     up
  queues    1
  features  VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF
  role      server
  peer pid  123456
  bridge    br0
  traffic
    SIDE    PACKETS        BYTES  COPIES   DROPS
    rx    1,234,567  987,654,321      12       0
    tx            5          300          12,347
  drops
    SIDE  REASON      COUNT
    tx    ring-full  12,345
    tx    too-big         2
  rings
    INDEX  USE         SIZE
        0  receiveq   1,024
        1  transmitq    256
  memory
    GUEST ADDRESS      BYTES
           0x1000  1,048,576
  options
    type           vhost-user
    max-addresses  4,096
"""),
    ("port.types", [
        {"type": "tap", "help": "an interface", "options": [
            {"key": "type", "kind": "text", "required": True, "max": 63, "help": "what it is"},
            {"key": "socket", "kind": "text", "required": True, "max": 63, "help": "where it is"},
            {"key": "queues", "kind": "number", "required": False, "default": "1", "min": 1,
             "max": 128, "help": "how many"},
            {"key": "mode", "kind": "choice", "required": False, "default": "server",
             "choices": ["server", "client"], "help": "our role"}]},
        {"type": "null", "help": "a sink", "options": []},
    ], "port types", """\
tap: an interface
  KEY     VALUE          DEFAULT
  socket  text           required  where it is
  queues  1 to 128       1         how many
  mode    server|client  server    our role

null: a sink
"""),
    ("port.add", {"steps": ["add port x (null, bridge br0)"]}, "port add x type null --dry-run", """\
add port x (null, bridge br0)
This was a dry run: nothing was changed.
"""),
    ("port.add", VM1, "port add vm1 type vhost-user socket /tmp/x", ""),
    ("port.del", {"steps": ["del port vm1"]}, "port del vm1", ""),
    ("bridge.show", [
        {"name": "br0", "mode": "learn", "ageing": 300, "ports": ["vm1", "vm2"],
         "addresses": {"now": 3, "learned": 1234, "moves": 1, "expired": 0, "evictions": 0}},
        {"name": "br1", "mode": "patch", "ageing": 0, "ports": [], "addresses": {"now": 0}},
    ], "bridge show", """\
NAME  MODE   AGEING  ADDRESSES  LEARNED  MOVES  EXPIRED  EVICTED  PORTS
br0   learn   300 s          3    1,234      1        0        0  vm1, vm2
br1   patch   never          0        0      0        0        0  none
"""),
    ("fdb.show", [
        {"mac": "52:54:00:00:00:01", "bridge": "br0", "port": "vm1", "static": False, "age": 12},
        {"mac": "52:54:00:00:00:02", "bridge": "br0", "port": "vm2", "static": True, "age": 0},
    ], "fdb show", """\
ADDRESS            BRIDGE  PORT     AGE
52:54:00:00:00:01  br0     vm1     12 s
52:54:00:00:00:02  br0     vm2   static
"""),
    ("fdb.show", [], "fdb show", "No address is known.\n"),
    ("fdb.flush", {"flushed": 1}, "fdb flush", "1 address was forgotten.\n"),
    ("fdb.flush", {"flushed": 0}, "fdb flush port vm1", "0 addresses were forgotten.\n"),
    ("worker.show", [
        {"id": 0, "cpu": 3, "pinned": True, "mode": "adaptive", "queues": 2, "busy_cycles": 1000,
         "idle_cycles": 9000, "cycles_per_second": 2 * 10**9, "frames": 10, "bursts": 4, "wakeups": 1234},
        {"id": 1, "cpu": 0, "pinned": False, "mode": "poll", "queues": 0, "busy_cycles": 0,
         "idle_cycles": 0, "cycles_per_second": 2 * 10**9, "frames": 0, "bursts": 0, "wakeups": 0},
    ], "worker show", """\
WORKER  CPU  MODE      QUEUES   BUSY  CYCLES/FRAME  FRAMES  FRAMES/BURST  WAKEUPS
     0    3  adaptive       2  10.0%           100      10           2.5    1,234
     1  any  poll           0      -             -       0             -        0
"""),
    ("stats.show", {
        "ports": [{key: port[key] for key in ("name", "bridge", "rx", "tx")} for port in (VM1, VM2)],
        "drops": [{"reason": "runt", "count": 0, "explanation": "It is too short."},
                  {"reason": "ring-full", "count": 12345, "explanation": "There was no room."}],
        "balance": {"rx": 1234567, "copies": 12, "tx": 1222232, "drops": 12347, "difference": 0},
    }, "stats show", """\
PORT         BRIDGE  RX PACKETS     RX BYTES  RX DROPS  TX PACKETS  TX BYTES  TX DROPS
vm1          br0      1,234,567  987,654,321         0           5       300    12,347
vm2\\x1b[31m  br0              0            0         0           0         0         0

DROPS BY REASON   COUNT
runt                  0  It is too short.
ring-full        12,345  There was no room.

Balance: rx 1,234,567 + copies 12 = tx 1,222,232 + drops 12,347, difference 0
"""),
    ("config.show", {
        "bridges": {"br0": {"mode": "learn"}, "yes": {}},
        "ports": {"vm 1": {"type": "vhost-user", "socket": "/run/vm 1.sock", "queues": 2}},
        "workers": {"cpus": [1, 2]},
    }, "config show", """\
bridges:
  br0:
    mode: learn
  "yes": {}
ports:
  "vm 1":
    type: vhost-user
    socket: "/run/vm 1.sock"
    queues: 2
workers:
  cpus: [1, 2]
"""),
    ("version", {"version": "9.9", "pid": 4711, "uptime": 7512}, "version",
     "shuntctl OUR_VERSION\nshuntd 9.9, process 4711, up for 2 h 5 min\n"),
]


def answer(folder, method, value, *words, **changes):
    """What shuntctl prints when the method answers with the value."""
    path = folder / "control"
    path.unlink(missing_ok=True)
    with Server(path, {method: value}):
        return run(*words, control=path, **changes).ok()


def test_tables(folder):
    """answers become aligned columns and sentences"""
    version = run("--version").ok().split()[1]
    for method, value, line, expected in TABLES:
        expect_equal(answer(folder, method, value, *line.split()), expected.replace("OUR_VERSION", version))


def test_json(folder):
    """-j prints the answer as it came, as JSON"""
    for method, value, line, _ in TABLES:
        found = answer(folder, method, value, "-j", *line.split())
        expect_equal(list(json.loads(found)), list(value))
        expect_equal(json.loads(found), value)
        expect(found.isascii() and not re.search(r"[^\n -~]", found), "not plain ASCII:", found)
    expect_equal(answer(folder, "fdb.flush", {"flushed": 1}, "--json", "fdb", "flush"),
                 '{\n  "flushed": 1\n}\n')


def test_other_answers(folder):
    """what another version of shuntd answers does no harm"""
    for value in (None, [], {}, [None], [[]], ["x"], {"ports": 1}, 3, "text", {"version": 1}):
        for _, _, line, _ in TABLES:
            method = ".".join(line.split()[:2])
            answer(folder, method, value, *line.split())


def test_locale(folder):
    """a name is printed where the locale has its characters, and escaped elsewhere"""
    port = {**VM2, "name": "gäst\u202e\u009b"}
    found = answer(folder, "port.show", [port], "port")
    expect("gäst\\u202e\\x9b  " in found, found)
    found = answer(folder, "port.show", [port], "port", LANG="C")
    expect("g\\xe4st\\u202e\\x9b  " in found, found)


EXPLANATION = "The receiving guest had no free buffers: it is slower than the sender."


def on_terminal(folder, method, value, *words, columns):
    path = folder / "control"
    path.unlink(missing_ok=True)
    with Server(path, {method: value}), Terminal(*words, control=path, columns=columns) as terminal:
        expect_equal(terminal.end(), 0)
        return terminal.output.replace("\r\n", "\n")


def test_wrapping(folder):
    """on a terminal, explanations are wrapped to its width; elsewhere each is a line"""
    stats = {"ports": [], "drops": [{"reason": "ring-full", "count": 1, "explanation": EXPLANATION}]}
    found = on_terminal(folder, "stats.show", stats, "stats", columns=60)
    expect_equal(found, """\
There are no ports.

DROPS BY REASON  COUNT
ring-full            1  The receiving guest had no free
                        buffers: it is slower than the
                        sender.
""")
    expect(EXPLANATION in answer(folder, "stats.show", stats, "stats"), "wrapped without a terminal")
    found = on_terminal(folder, "port.show", [VM1], "port", "show", "vm1", columns=40)
    expect("  features  VIRTIO_F_VERSION_1,\n            VIRTIO_NET_F_MRG_RXBUF\n" in found, found)
    expect("\x1b" not in found, "control characters:", repr(found))
