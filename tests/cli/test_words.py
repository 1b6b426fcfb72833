# SPDX-License-Identifier: BSD-3-Clause
"""From the words of a command to the request, or to what is wrong with them."""

from server import Server
from shuntctl import expect, expect_equal, run

# What is typed, and the method and parameters that it becomes.
REQUESTS = [
    ("port add vm1 type vhost-user socket /tmp/x queues 4 bridge br1", "port.add",
     {"name": "vm1", "type": "vhost-user", "socket": "/tmp/x", "queues": "4", "bridge": "br1"}),
    ("port add vm1 type null --dry-run", "port.add", {"name": "vm1", "type": "null", "dry_run": True}),
    ("port del vm1", "port.del", {"name": "vm1"}),
    ("port set vm1 bridge br1 max-addresses 9", "port.set",
     {"name": "vm1", "bridge": "br1", "max-addresses": "9"}),
    ("port show", "port.show", {}),
    ("port show vm1", "port.show", {"name": "vm1"}),
    ("port types", "port.types", {}),
    ("bridge add br1", "bridge.add", {"name": "br1"}),
    ("bridge add br1 mode patch ageing 0", "bridge.add", {"name": "br1", "mode": "patch", "ageing": "0"}),
    ("bridge del br1", "bridge.del", {"name": "br1"}),
    ("bridge set br1 ageing 60 --dry-run", "bridge.set",
     {"name": "br1", "ageing": "60", "dry_run": True}),
    ("bridge show", "bridge.show", {}),
    ("fdb show port vm1 bridge br0", "fdb.show", {"port": "vm1", "bridge": "br0"}),
    ("fdb add 52:54:00:00:00:01 port vm1", "fdb.add", {"mac": "52:54:00:00:00:01", "port": "vm1"}),
    ("fdb del 52:54:00:00:00:01", "fdb.del", {"mac": "52:54:00:00:00:01"}),
    ("fdb del 52:54:00:00:00:01 bridge br0", "fdb.del", {"mac": "52:54:00:00:00:01", "bridge": "br0"}),
    ("fdb flush", "fdb.flush", {}),
    ("worker show", "worker.show", {}),
    ("worker set mode poll cpus 1,2-3", "worker.set", {"mode": "poll", "cpus": "1,2-3"}),
    ("stats show", "stats.show", {}),
    ("stats show port vm1", "stats.show", {"port": "vm1"}),
    ("config show", "config.show", {}),
    ("version", "version", {}),
    # As short as it can be told apart, and without the verb that is meant.
    ("p sh vm1", "port.show", {"name": "vm1"}),
    ("br a x", "bridge.add", {"name": "x"}),
    ("v", "version", {}),
    ("port", "port.show", {}),
    ("c", "config.show", {}),
    # What begins with a dash is an option, up to the two dashes.
    ("port del -- -x", "port.del", {"name": "-x"}),
]

# What is typed, and what the one line of the error tells.
WRONG = [
    ("", "nothing to do", "--help"),
    ("frob", "unknown object 'frob'", "port, bridge, fdb, worker, stats, top, config, version or help"),
    ("port frob", "unknown verb 'frob'", "add, del, set, show, types or help"),
    ("port s", "'s' may be set or show"),
    ("--frob port show", "unknown option '--frob'", "--help"),
    ("-x", "unknown option '-x'"),
    ("--control", "'--control' has no value"),
    ("port add", "NAME is missing", "usage: shuntctl port add NAME type TYPE"),
    ("port add vm1", "'type' is missing", "usage: "),
    ("port add vm1 type", "'type' has no value", "usage: "),
    ("port add vm1 type --dry-run", "'type' has no value"),
    ("port add vm1 type null queues 1 queues 2", "'queues' is given twice", "usage: "),
    ("port add vm1 type null name vm2", "unknown key 'name'"),
    ("port add vm1 type null --dryrun", "unknown option '--dryrun'"),
    ("port show --json", "'--json' goes before 'port'"),
    ("port show vm1 vm2", "'vm2' is one word too many", "usage: shuntctl port show [NAME]"),
    ("port del", "NAME is missing"),
    ("port set vm1", "nothing to set"),
    ("port set vm1 --dry-run", "nothing to set"),
    ("worker set", "nothing to set"),
    ("fdb show brige br0", "unknown key 'brige'", "[bridge BR]"),
    ("fdb add 52:54:00:00:00:01", "'port' is missing"),
    ("fdb add", "MAC is missing"),
    ("config check", "FILE is missing"),
    ("version x", "'x' is one word too many"),
    ("top x", "'x' is one word too many"),
    ("top -n 0", "-n takes a number", "usage: shuntctl top"),
    ("top -n x", "-n takes a number"),
    ("top -i 0", "-i takes 0.1 to 3600 seconds"),
    ("top -i nan", "-i takes"),
    ("top -i", "-i has no value"),
    ("top -x", "unknown option '-x'"),
]


def test_requests(folder):
    """each command asks for what it says, once"""
    path = folder / "control"
    for line, method, params in REQUESTS:
        with Server(path, {method: {}}) as server:
            run(*line.split(), control=path).ok()
            expect(server.requests == [(method, params)], f"shuntctl {line}:", server.requests)
        path.unlink()


def test_wrong_usage(folder):
    """wrong usage is one line with cause and remedy, status 2, and nothing is asked"""
    path = folder / "control"
    with Server(path, {}) as server:
        for line, *parts in WRONG:
            run(*line.split(), control=path).error(2, *parts)
        run("port", "del", b"a\xff", control=path).error(2, r"'a\xff' is not a text in UTF-8")
        run("port", "frob\x1b[2J\n", control=path).error(2, r"'frob\x1b[2J\x0a'")
        expect_equal(server.requests, [])


def test_help(folder):
    """help is printed without a daemon"""
    whole = run("--help").ok()
    expect_equal(run("help").ok(), whole)
    expect_equal(run("-h").ok(), whole)
    for part in ("usage: shuntctl", "port add NAME", "config apply FILE", "/run/shunt/control.sock"):
        expect(part in whole, f"no '{part}' in the help:", whole)
    expect(max(map(len, whole.splitlines())) <= 100, "a line of the help is too long")
    ports = run("port", "help").ok()
    expect("port types" in ports and "bridge" not in ports.split("\n")[-2], ports)
    expect_equal(run("port", "--help").ok(), ports)
    expect_equal(run("port", "add", "--help").ok(), ports)
    expect(run("top", "help").ok().startswith("  top "), "no help about top")


def test_version(folder):
    """--version is that of shuntctl, and asks nobody"""
    expect(run("--version").ok().startswith("shuntctl "), "no version")
    expect_equal(run("-V").ok(), run("--version").ok())


def test_control_path(folder):
    """--control goes before the environment, which goes before the default"""
    one, two = folder / "one", folder / "two"
    with Server(one, {"port.show": []}) as first, Server(two, {"port.show": []}) as second:
        run("port", control=one).ok()
        run("--control", two, "port", control=one).ok()
        run(f"--control={two}", "port").ok()
        expect_equal((len(first.requests), len(second.requests)), (1, 2))
    run("port", control=folder / "none").error(1, f"no shuntd listens on {folder}/none")


def test_control_path_that_is_too_long(folder):
    """a path that no socket can have is wrong usage"""
    run("port", control="/" + 107 * "x").error(2, "108 bytes, of at most 107", "shorter")
    run("--control", "", "port").error(2, "empty")
    with Server(folder / "control", {"port.show": []}):
        run("port", control=str(folder / "control").rjust(107, "/")).ok()
