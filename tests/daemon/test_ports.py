# SPDX-License-Identifier: BSD-3-Clause
"""Ports by calls: what they are, and what changes them."""

import os
import socket

from frontend import Frontend
from shuntd import Shuntd, Skip, expect, expect_equal, wait_until


def need_tap():
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        raise Skip("TAP devices need root and /dev/net/tun")


def interfaces():
    return os.listdir("/sys/class/net")


def test_types(folder):
    """port.types tells of every option what it takes."""
    types = {entry["type"]: entry for entry in Shuntd(folder).call("port.types")}
    expect_equal(sorted(types), ["null", "tap", "vhost-user", "virtio-user"])
    options = {option["key"]: option for option in types["vhost-user"]["options"]}
    expect_equal((options["queues"]["kind"], options["queues"]["min"], options["queues"]["max"],
                  options["queues"]["default"]), ("number", 1, 128, "1"))
    expect(options["socket"]["required"], "socket is not required")
    expect_equal(options["mode"]["choices"], ["server", "client"])


def test_add_and_show(folder):
    """A port is there with all that a client of the API may count on."""
    shuntd = Shuntd(folder)
    path = folder / "vm1.sock"
    port = shuntd.call("port.add", name="vm1", type="vhost-user", socket=str(path), queues="2")
    expect_equal(port, shuntd.call("port.show", name="vm1")[0])
    expect_equal((port["name"], port["type"], port["bridge"], port["state"], port["queues"]),
                 ("vm1", "vhost-user", "br0", "connecting", 2))
    expect(port["reason"], "there is no reason why it is not up")
    expect_equal(port["options"], {"type": "vhost-user", "bridge": "br0", "max-addresses": 4096,
                                   "socket": str(path), "mode": "server", "queues": 2})
    for side in ("rx", "tx"):
        expect_equal([port[side][key] for key in ("packets", "bytes", "drops")], [0, 0, {}])
    with Frontend(path):
        pass


def test_delete(folder):
    """A port that is deleted takes its socket and its guest's connection with it."""
    shuntd = Shuntd(folder)
    with shuntd.unchanged():
        path = shuntd.add_guest("vm1")
        with Frontend(path) as guest:
            shuntd.call("port.del", name="vm1")
            guest.expect_cut_off()
        expect(not path.exists(), "the socket is left")


def test_dry_runs(folder):
    """A dry run lists the steps, and does none; mistakes are found all the same."""
    shuntd = Shuntd(folder)
    shuntd.call("port.add", name="n", type="null")
    with shuntd.unchanged():
        for method, params, steps in (
                ("port.add", {"name": "m", "type": "null"}, ["add port m (null, bridge br0)"]),
                ("port.set", {"name": "n", "max-addresses": 5}, ["set port n (max-addresses 5)"]),
                ("port.set", {"name": "n", "max-addresses": 4096}, []),
                ("port.set", {"name": "n", "type": "vhost-user", "socket": f"{folder}/s"},
                 [f"replace port n (type vhost-user, socket {folder}/s, mode server, queues 1)"]),
                ("port.del", {"name": "n"}, ["del port n"]),
                ("bridge.add", {"name": "b", "mode": "patch"}, ["add bridge b (patch)"]),
                ("bridge.set", {"name": "br0", "ageing": 1}, ["set bridge br0 (ageing 1)"]),
                ("bridge.set", {"name": "br0", "mode": "patch"}, ["replace bridge br0 (mode patch)"]),
                ("worker.set", {"mode": "poll"}, ["set workers (mode poll)"])):
            for yes in (True, "true"):
                expect_equal(shuntd.call(method, dry_run=yes, **params), {"steps": steps})
    shuntd.refused("port.add", r"ports\.m\.type: unknown type.*", name="m", type="x", dry_run=True)


def test_live_options(folder):
    """Options that all ports have are changed without disturbing the guest."""
    shuntd = Shuntd(folder)
    shuntd.call("bridge.add", name="br1")
    path = shuntd.add_guest("vm1")
    with Frontend(path) as guest:
        port = shuntd.call("port.set", name="vm1", **{"max-addresses": "7"})
        expect_equal(port["options"]["max-addresses"], 7)
        port = shuntd.call("port.set", name="vm1", bridge="br1")
        expect_equal(port["bridge"], "br1")
        guest.expect_alive()
    expect_equal([bridge["ports"] for bridge in shuntd.call("bridge.show")], [[], ["vm1"]])


def test_other_options(folder):
    """Other options make the port anew, at the same socket."""
    shuntd = Shuntd(folder)
    path = shuntd.add_guest("vm1")
    with Frontend(path) as guest:
        expect_equal(shuntd.call("port.set", name="vm1", queues=4)["queues"], 4)
        guest.expect_cut_off()
    with Frontend(path):
        pass


def test_change_of_socket_fails(folder):
    """A new socket that cannot be made does not cost the guest its connection."""
    shuntd = Shuntd(folder)
    path = shuntd.add_guest("vm1")
    with Frontend(path) as guest:
        shuntd.refused("port.set", r"replace port vm1: socket path .*: its folder does not exist.*",
                       name="vm1", socket=f"{folder}/absent/vm1.sock")
        guest.expect_alive()
        shuntd.call("port.set", name="vm1", socket=f"{folder}/new.sock")
        guest.expect_cut_off()
    expect(not path.exists(), "the old socket is left")
    with Frontend(folder / "new.sock"):
        pass


def test_link(folder):
    """The link of a port is set down and up, and the guest stays connected."""
    shuntd = Shuntd(folder)
    path = shuntd.add_guest("vm1")
    with Frontend(path) as guest:
        for link in "down", "up", "down":
            steps = shuntd.call("port.set", name="vm1", link=link, dry_run=True)
            expect_equal(steps, {"steps": [f"set port vm1 (link {link})"]})
            port = shuntd.call("port.set", name="vm1", link=link)
            expect_equal(port["link"], link)
            guest.expect_alive()


def test_change_of_type(folder):
    """A port of another type keeps its name and the common options, and nothing else."""
    shuntd = Shuntd(folder)
    shuntd.call("bridge.add", name="br1")
    path = shuntd.add_guest("vm1", bridge="br1", **{"max-addresses": 9})
    port = shuntd.call("port.set", name="vm1", type="null")
    expect_equal(port["options"], {"type": "null", "bridge": "br1", "max-addresses": 9})
    expect(not path.exists(), "the socket is left")
    port = shuntd.call("port.set", name="vm1", type="vhost-user", socket=str(path))
    expect_equal(port["options"]["bridge"], "br1")


def test_tap(folder):
    """A TAP port makes its device, and takes it away."""
    need_tap()
    shuntd = Shuntd(folder)
    name = f"shunt{os.getpid() % 100000}"
    with shuntd.unchanged():
        expect_equal(shuntd.call("port.add", name=name, type="tap")["state"], "up")
        expect(name in interfaces(), "there is no device")
        shuntd.call("port.del", name=name)
        expect(name not in interfaces(), "the device is left")


def test_tap_names(folder):
    """What one port's device is called by default, another one cannot have at the same time."""
    need_tap()
    shuntd = Shuntd(folder)
    name = f"shunt{os.getpid() % 100000}"
    shuntd.call("port.add", name=name, type="tap")
    shuntd.refused("port.add", rf"add port other: interface {name}: .*", name="other", type="tap",
                   device=name)
    # In one step: the port that has the device goes before the one that wants it comes.
    shuntd.call("config.apply", tree={"ports": {"other": {"type": "tap", "device": name}}})
    expect_equal(list(shuntd.ports()), ["other"])
    shuntd.call("config.apply", tree={"ports": {name: {"type": "tap"}}})
    expect_equal(list(shuntd.ports()), [name])
    shuntd.call("port.set", name=name, device=name)
    expect_equal(shuntd.ports()[name]["state"], "up")


def test_statistics(folder):
    """stats.show lists every reason with an explanation, and the balance."""
    shuntd = Shuntd(folder)
    shuntd.call("port.add", name="n", type="null")
    stats = shuntd.call("stats.show")
    expect_equal([(port["name"], port["bridge"]) for port in stats["ports"]], [("n", "br0")])
    expect(len(stats["drops"]) >= 12, "reasons are missing")
    for drop in stats["drops"]:
        expect(drop["reason"] and drop["explanation"].endswith(".") and drop["count"] == 0, str(drop))
    expect_equal(stats["balance"], {"rx": 0, "copies": 0, "tx": 0, "drops": 0, "difference": 0})
    stats = shuntd.call("stats.show", port="n")
    expect_equal([port["name"] for port in stats["ports"]], ["n"])
    expect("balance" not in stats, "one port alone has no balance")


def test_balance_over_ports_that_are_gone(folder):
    """What a port has counted is still in the balance when it is gone."""
    need_tap()
    shuntd = Shuntd(folder)
    name = f"shunt{os.getpid() % 100000}"
    shuntd.call("port.add", name=name, type="tap")
    shuntd.call("port.add", name="n", type="null")
    frame = bytes.fromhex("525400000002" "525400000001" "88b5") + bytes(46)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((name, 0))
        for _ in range(100):
            sender.send(frame)
    wait_until(lambda: shuntd.ports()["n"]["tx"]["packets"] >= 100, "the frames arrived")
    for name in (name, "n"):
        shuntd.call("port.del", name=name)
        balance = shuntd.call("stats.show")["balance"]
        expect(balance["rx"] >= 100 and balance["tx"] >= 100, f"frames are forgotten: {balance}")
        expect_equal(balance["difference"], 0)


def test_many_ports(folder):
    """Hundreds of ports at once, and none of them left."""
    shuntd = Shuntd(folder)
    with shuntd.unchanged():
        ports = {f"vm{number}": {"type": "vhost-user", "socket": f"{folder}/{number}.sock"}
                 for number in range(300)}
        shuntd.call("config.apply", tree={"ports": ports})
        expect_equal(len(shuntd.call("port.show")), 300)
        shuntd.call("config.apply", tree={"ports": {}})
