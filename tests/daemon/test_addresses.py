# SPDX-License-Identifier: BSD-3-Clause
"""The forwarding table by calls; what is learned from traffic is for other tests."""

from shuntd import Shuntd, expect_equal

MAC = "52:54:00:00:00:01"
OTHER = "52:54:00:00:00:02"


def start(folder):
    shuntd = Shuntd(folder)
    shuntd.call("bridge.add", name="br1")
    shuntd.call("port.add", name="a", type="null")
    shuntd.call("port.add", name="b", type="null")
    shuntd.call("port.add", name="c", type="null", bridge="br1")
    return shuntd


def shown(shuntd, **filters):
    return sorted((entry["mac"], entry["bridge"], entry["port"])
                  for entry in shuntd.call("fdb.show", **filters))


def test_static_addresses(folder):
    """A static address is there until it is deleted."""
    shuntd = start(folder)
    shuntd.call("fdb.add", mac=MAC.upper(), port="a")
    expect_equal(shuntd.call("fdb.show"), [
        {"mac": MAC, "bridge": "br0", "port": "a", "static": True, "age": 0}])
    expect_equal(shuntd.call("fdb.flush"), {"flushed": 0})
    expect_equal(shuntd.call("fdb.del", mac=MAC), {"deleted": 1})
    expect_equal(shown(shuntd), [])


def test_address_filters(folder):
    """By bridge, by port, and by both."""
    shuntd = start(folder)
    shuntd.call("fdb.add", mac=MAC, port="a")
    shuntd.call("fdb.add", mac=OTHER, port="b")
    shuntd.call("fdb.add", mac=MAC, port="c")
    expect_equal(shown(shuntd, bridge="br1"), [(MAC, "br1", "c")])
    expect_equal(shown(shuntd, port="b"), [(OTHER, "br0", "b")])
    expect_equal(shown(shuntd, bridge="br1", port="b"), [])
    expect_equal(len(shown(shuntd)), 3)
    expect_equal(shuntd.call("fdb.del", mac=MAC, bridge="br1"), {"deleted": 1})
    expect_equal(shown(shuntd), [(MAC, "br0", "a"), (OTHER, "br0", "b")])


def test_bad_addresses(folder):
    """What is no address of one station is refused."""
    shuntd = start(folder)
    for mac in ("x", "52:54:00:00:00", "52:54:00:00:00:01:02", "52-54-00-00-00-01", "525400000001",
                "52:54:00:00:00:0g", "52:54:00:00:00:1", " 52:54:00:00:00:01", "0x:54:00:00:00:01"):
        for method in ("fdb.add", "fdb.del"):
            params = {"port": "a"} if method == "fdb.add" else {}
            shuntd.refused(method, r"mac: '.*'; expected six bytes such as 52:54:00:12:34:56",
                           mac=mac, **params)
    shuntd.refused("fdb.add", r".*group address.*", mac="01:00:5e:00:00:01", port="a")
    shuntd.refused("fdb.add", r"there is no port 'x'; there are: a, b, c", mac=MAC, port="x")
    shuntd.refused("fdb.del", rf"no bridge knows the address {MAC}", mac=MAC)
    shuntd.refused("fdb.del", rf"bridge 'br1' does not know the address {MAC}", mac=MAC, bridge="br1")
    shuntd.refused("fdb.flush", r"there is no bridge 'x'; there are: br0, br1", bridge="x")


def test_addresses_go_with_their_port(folder):
    """A port that is deleted takes its addresses with it, and no others."""
    shuntd = start(folder)
    shuntd.call("fdb.add", mac=MAC, port="a")
    shuntd.call("fdb.add", mac=OTHER, port="b")
    shuntd.call("port.del", name="a")
    expect_equal(shown(shuntd), [(OTHER, "br0", "b")])


def test_static_addresses_move_with_their_port(folder):
    """To another bridge, to one that is made anew, and back when a step fails."""
    shuntd = start(folder)
    shuntd.call("fdb.add", mac=MAC, port="a")
    shuntd.call("fdb.add", mac=OTHER, port="a")
    shuntd.call("port.set", name="a", bridge="br1")
    expect_equal(shown(shuntd), [(MAC, "br1", "a"), (OTHER, "br1", "a")])
    shuntd.call("bridge.set", name="br1", mode="patch")
    expect_equal(shown(shuntd), [(MAC, "br1", "a"), (OTHER, "br1", "a")])
    # The failure compares the addresses, too.
    shuntd.refused("config.apply", r"add port bad: .*", tree={"ports": {
        "b": {"type": "null"},
        "bad": {"type": "vhost-user", "socket": f"{folder}/absent/bad.sock"}}})
