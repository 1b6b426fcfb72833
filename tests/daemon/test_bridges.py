# SPDX-License-Identifier: BSD-3-Clause
"""Bridges by calls."""

from frontend import Frontend
from shuntd import Shuntd, expect_equal


def bridges(shuntd):
    return {bridge["name"]: bridge for bridge in shuntd.call("bridge.show")}


def test_bridge_add_and_show(folder):
    """A bridge is there with all that a client of the API may count on."""
    shuntd = Shuntd(folder)
    bridge = shuntd.call("bridge.add", name="br1", ageing="60")
    expect_equal(bridge, {"name": "br1", "mode": "learn", "ageing": 60, "ports": [], "addresses": {
        "now": 0, "learned": 0, "moves": 0, "expired": 0, "evictions": 0}})
    expect_equal(shuntd.call("bridge.show", name="br1"), [bridge])
    expect_equal(list(bridges(shuntd)), ["br0", "br1"])


def test_bridge_delete(folder):
    """A bridge goes when it is empty, the first one too; one with ports says which."""
    shuntd = Shuntd(folder)
    shuntd.call("port.add", name="a", type="null")
    shuntd.call("port.add", name="b", type="null")
    shuntd.refused("bridge.del", r"bridge 'br0' still has ports: a, b; delete them or move them first",
                   name="br0")
    shuntd.call("port.del", name="a")
    shuntd.call("port.del", name="b")
    shuntd.call("bridge.del", name="br0")
    expect_equal(shuntd.call("bridge.show"), [])
    shuntd.refused("port.add", r"ports\.a\.bridge: unknown bridge 'br0'; there are: none", name="a",
                   type="null")
    expect_equal(shuntd.call("config.show")["bridges"], {})


def test_bridge_ageing(folder):
    """The ageing time is live."""
    shuntd = Shuntd(folder)
    shuntd.call("port.add", name="n", type="null")
    shuntd.call("fdb.add", mac="52:54:00:00:00:01", port="n")
    expect_equal(shuntd.call("bridge.set", name="br0", ageing=0)["ageing"], 0)
    expect_equal(len(shuntd.call("fdb.show")), 1)


def test_bridge_mode(folder):
    """Another mode makes the bridge anew under its ports, which stay."""
    shuntd = Shuntd(folder)
    path = shuntd.add_guest("vm1")
    shuntd.call("port.add", name="n", type="null")
    with Frontend(path) as guest:
        bridge = shuntd.call("bridge.set", name="br0", mode="patch")
        expect_equal((bridge["mode"], sorted(bridge["ports"])), ("patch", ["n", "vm1"]))
        guest.expect_alive()
        shuntd.call("bridge.set", name="br0", mode="learn")
        guest.expect_alive()


def test_patch_is_full(folder):
    """A patch takes two ports, by whichever way the third one comes."""
    shuntd = Shuntd(folder)
    shuntd.call("bridge.add", name="p", mode="patch")
    for name in ("a", "b"):
        shuntd.call("port.add", name=name, type="null", bridge="p")
    shuntd.call("port.add", name="c", type="null")
    full = (r"ports\.\w\.bridge: bridge '\w+' is a patch, which joins two ports, and has them "
            r"already")
    shuntd.refused("port.add", full, name="d", type="null", bridge="p")
    shuntd.refused("port.set", full, name="c", bridge="p")
    shuntd.call("port.add", name="d", type="null")
    shuntd.call("port.add", name="e", type="null")
    shuntd.refused("bridge.set", full, name="br0", mode="patch")


def test_ports_change_places(folder):
    """Two full patches exchange a port in one step."""
    shuntd = Shuntd(folder)

    def tree(b, c):
        return {"bridges": {"p": {"mode": "patch"}, "q": {"mode": "patch"}},
                "ports": {"a": {"type": "null", "bridge": "p"}, "b": {"type": "null", "bridge": b},
                          "c": {"type": "null", "bridge": c}, "d": {"type": "null", "bridge": "q"}}}

    shuntd.call("config.apply", tree=tree("p", "q"))
    steps = shuntd.call("config.apply", tree=tree("q", "p"))["steps"]
    expect_equal(steps, ["set port b (bridge q)", "set port c (bridge p)"])
    expect_equal({name: sorted(bridge["ports"]) for name, bridge in bridges(shuntd).items()},
                 {"p": ["a", "c"], "q": ["b", "d"]})


def test_port_changes_in_a_full_patch(folder):
    """In a full patch, one port goes and another one comes in one step."""
    shuntd = Shuntd(folder)

    def tree(*names):
        return {"bridges": {"p": {"mode": "patch"}},
                "ports": {name: {"type": "null", "bridge": "p"} for name in names}}

    shuntd.call("config.apply", tree=tree("a", "b"))
    steps = shuntd.call("config.apply", tree=tree("a", "c"))["steps"]
    expect_equal(steps, ["add port c (null, bridge p)", "del port b"])
    expect_equal(sorted(bridges(shuntd)["p"]["ports"]), ["a", "c"])
