# SPDX-License-Identifier: BSD-3-Clause
"""Bad input by every way in: one clear line, and all else stays as it was."""

import re

from shuntd import Shuntd, expect, expect_equal, expect_match

INVALID_PARAMS = -32602

# A name, what is said of it, and whether that is known before the tree is checked.
BAD_NAMES = (
    ("", r"name: ''; expected a text of 1 to 63 bytes.*", True),
    ("x" * 64, r"name: 'x{64}'; expected a text of 1 to 63 bytes.*", True),
    ("x" * 500, r"name: 'x+…' \(500 bytes\); expected a text of 1 to 63 bytes.*", True),
    ("a/b", r"ports\.'a/b': the name has a slash; expected a name without /", False),
    ("a\\b", r"ports\.'a\\b': the name has a backslash; expected a name without \\", False),
    ("a b", r"ports\.'a b': the name has white space; expected a name without", False),
    ("a\tb", r"name: 'a\\x09b'; expected a text of .* without control characters", True),
    ("a\x7fb", r"name: 'a\\x7fb'; expected a text of .* without control characters", True),
)


def start(folder):
    shuntd = Shuntd(folder)
    shuntd.add_guest("vm1")
    shuntd.call("port.add", name="n1", type="null")
    shuntd.call("fdb.add", mac="52:54:00:00:00:01", port="n1")
    return shuntd


def test_bad_port_names(folder):
    """Names that are empty, too long, or have what names may not have, by a call."""
    shuntd = start(folder)
    for name, pattern, is_early in BAD_NAMES:
        shuntd.refused("port.add", pattern, INVALID_PARAMS if is_early else -32000, name=name,
                       type="null")
    shuntd.call("port.add", name="x" * 63, type="null")
    shuntd.call("port.add", name="ä.1-_()", type="null")


def test_bad_bridge_names(folder):
    """The same for bridges."""
    shuntd = start(folder)
    for name, pattern, is_early in BAD_NAMES:
        shuntd.refused("bridge.add", pattern.replace("ports", "bridges"),
                       INVALID_PARAMS if is_early else -32000, name=name)


def test_bad_names_on_the_command_line(folder):
    """shuntctl shows the line as it is, and ends with status 1."""
    shuntd = start(folder)
    with shuntd.unchanged():
        for name in ("a/b", "a\\b", "a b", "x" * 64):
            status, output, errors = shuntd.ctl("port", "add", name, "type", "null")
            expect_equal((status, output), (1, ""))
            expect_match(r"shuntctl: .*expected .*\n", errors)


def test_taken_names(folder):
    """A name that is taken is refused, whatever the type."""
    shuntd = start(folder)
    pattern = r"there is a port 'vm1' already: choose another name, or change that one"
    shuntd.refused("port.add", pattern, name="vm1", type="null")
    shuntd.refused("port.add", pattern, name="vm1", type="vhost-user", socket=f"{folder}/x.sock")
    shuntd.refused("bridge.add", r"there is a bridge 'br0' already.*", name="br0")


def test_absent_names(folder):
    """A name that is not there is answered with those that are."""
    shuntd = start(folder)
    for method in ("port.del", "port.set", "port.show"):
        shuntd.refused(method, r"there is no port 'vm2'; there are: vm1, n1", name="vm2")
    shuntd.refused("stats.show", r"there is no port 'vm2'; there are: vm1, n1", port="vm2")
    for method in ("bridge.del", "bridge.set", "bridge.show"):
        shuntd.refused(method, r"there is no bridge 'br1'; there are: br0", name="br1")


def test_unknown_types_and_keys(folder):
    """What there is not is answered with what there is."""
    shuntd = start(folder)
    shuntd.refused("port.add", r"ports\.p\.type: unknown type 'vhostuser'; there are: "
                               r"vhost-user, virtio-user, tap, null", name="p", type="vhostuser")
    shuntd.refused("port.add", r"ports\.p: 'type' is missing; there are: vhost-user, virtio-user, tap, "
                               r"null", name="p")
    shuntd.refused("port.add", r"ports\.p: unknown key 'sokcet'; there are: type, bridge, "
                               r"max-addresses, socket, mode, queues, .*", name="p",
                   type="vhost-user", sokcet="/x")
    shuntd.refused("port.add", r"ports\.p: unknown key 'socket'; there are: .*", name="p",
                   type="null", socket="/x")
    shuntd.refused("port.set", r"ports\.n1: unknown key 'x'; there are: .*", name="n1", x=1)
    shuntd.refused("bridge.add", r"bridges\.b: unknown key 'age'; there are: mode, ageing", name="b",
                   age=1)
    shuntd.refused("worker.set", r"workers: unknown key 'cpu'; there are: mode, cpus, count", cpu=1)
    shuntd.refused("fdb.show", r"unknown key 'vlan'; there are: bridge, port", INVALID_PARAMS, vlan=1)


def test_bad_values(folder):
    """Values out of their range, or of another kind."""
    shuntd = start(folder)
    for value in ("0", 0, 129, "129", "-1", "1.5", "many", "", True, None, [1]):
        shuntd.refused("port.add", r"ports\.p\.queues: .*; expected a number from 1 to 128", name="p",
                       type="vhost-user", socket=f"{folder}/p.sock", queues=value)
    shuntd.refused("port.add", r"ports\.p\.mode: 'peer'; expected one of: server, client", name="p",
                   type="vhost-user", socket=f"{folder}/p.sock", mode="peer")
    shuntd.refused("port.add", r"ports\.p: 'socket' is missing: .*", name="p", type="vhost-user")
    shuntd.refused("port.add", r"ports\.p\.bridge: unknown bridge 'br9'; there are: br0", name="p",
                   type="null", bridge="br9")
    shuntd.refused("bridge.set", r"bridges\.br0\.ageing: '86401'; expected a number from 0 to 86400",
                   name="br0", ageing="86401")


def test_socket_path_too_long(folder):
    """A port's socket path that no address can hold."""
    shuntd = start(folder)
    path = f"{folder}/{'x' * 108}.sock"
    shuntd.refused("port.add", r"add port p: socket path is \d+ bytes long, at most 107 fit.*",
                   name="p", type="vhost-user", socket=path)


def test_socket_path_is_a_file(folder):
    """A port's socket path at which there is something else."""
    shuntd = start(folder)
    (folder / "file").write_text("precious")
    shuntd.refused("port.add", rf"add port p: socket path {folder}/file exists and is not a socket.*",
                   name="p", type="vhost-user", socket=f"{folder}/file")
    shuntd.refused("port.add", r"add port p: socket path .* exists and is not a socket.*", name="p",
                   type="vhost-user", socket=str(folder))
    expect_equal((folder / "file").read_text(), "precious")


def test_socket_folder_absent(folder):
    """A port's socket path in a folder that is absent."""
    shuntd = start(folder)
    shuntd.refused("port.add", rf"add port p: socket path {folder}/absent/p\.sock: its folder does "
                               r"not exist.*", name="p", type="vhost-user",
                   socket=f"{folder}/absent/p.sock")
    expect(not (folder / "absent").exists(), "the folder was made")


def test_socket_path_taken(folder):
    """A port's socket path that another port has, or another program, or shuntd itself."""
    shuntd = start(folder)
    shuntd.refused("port.add", rf"ports\.p\.socket: '{folder}/vm1\.sock' is the socket of port 'vm1' "
                               r"already; expected one of its own", name="p", type="vhost-user",
                   socket=f"{folder}/vm1.sock")
    # The same file by another name is found when it is to be made.
    shuntd.refused("port.add", r"add port p: socket path .* is in use.*", name="p",
                   type="vhost-user", socket=f"{folder}/./vm1.sock")
    shuntd.refused("port.add", r"add port p: socket path .* is in use.*", name="p",
                   type="vhost-user", socket=str(shuntd.control))


def test_configuration_errors(folder):
    """File, line, column and what was expected; nothing is applied."""
    shuntd = start(folder)
    bad = (
        ("ports:\n  a: {type: null}\n  b: {type: nil}\n",
         r"3:13: ports\.b\.type: unknown type 'nil'; there are: .*"),
        ("ports:\n  a: {type: null}\n  b: {type: null, sockt: x}\n",
         r"3:19: ports\.b: unknown key 'sockt'; there are: .*"),
        ("ports:\n  a:\n    type: null\n    max-addresses: lots\n",
         r"4:20: ports\.a\.max-addresses: 'lots'; expected a number from 1 to 131072"),
        ("ports:\n  a: {type: null}\n  a: {type: null}\n",
         r"3:3: ports\.a is there twice, first in line 2; expected each key once"),
        ("ports:\n  'a b': {type: null}\n",
         r"2:3: ports\.'a b': the name has white space; expected a name without"),
        ("bridges: {}\nports:\n  a: {type: null}\n",
         r"3:3: ports\.a\.bridge: unknown bridge 'br0'; there are: none"),
        ("bridges: {br0: {mode: hub}}\n",
         r"1:23: bridges\.br0\.mode: 'hub'; expected one of: learn, patch"),
        ("workers: {cpus: [0, zero]}\n",
         r"1:21: workers\.cpus\[1\]: 'zero'; expected CPU numbers such as 0,2-3"),
        ("ports: [\n", r"2:1: expected YAML, but .*"),
        ("ports:\n\ta: 1\n", r"2:1: expected YAML, but .*"),
        ("a: *x\n", r"1:4: alias '\*x'; expected a plain value: repeat it"),
        ("[" * 100, r"1:17: nested too deeply; expected at most 16 levels"),
        ("prots: {}\n", r"1:1: unknown key 'prots'; there are: bridges, ports, workers"),
    )
    for text, pattern in bad:
        for method in ("config.check", "config.apply"):
            shuntd.refused(method, rf"shunt\.yaml:{pattern}", text=text, file="shunt.yaml")


def test_configuration_errors_on_the_command_line(folder):
    """`config apply` and `config check` tell of errors in the same words."""
    shuntd = start(folder)
    config = folder / "config.yaml"
    config.write_text("ports:\n  a: {type: null}\n  b: {type: nil}\n")
    with shuntd.unchanged():
        for verb in ("check", "apply"):
            status, output, errors = shuntd.ctl("config", verb, config)
            expect_equal((status, output), (1, ""))
            expect_match(rf"shuntctl: {re.escape(str(config))}:3:13: ports\.b\.type: unknown type "
                         r"'nil'; there are: .*\n", errors)


def test_configuration_params(folder):
    """What is missing or too much among the parameters of config.*."""
    shuntd = start(folder)
    shuntd.refused("config.check", r"'text' is missing, or no text: expected YAML")
    shuntd.refused("config.apply", r"'text' is missing, or no text: expected YAML", text=1)
    shuntd.refused("config.apply", r"'text' and 'tree': expected one of them", text="", tree={})
    shuntd.refused("config.apply", r"a single value or a list; expected keys with values", tree=[])
    shuntd.refused("config.apply", r"dry_run: 'maybe'; expected one of: false, true", INVALID_PARAMS,
                   text="", dry_run="maybe")
