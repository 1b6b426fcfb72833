# SPDX-License-Identifier: BSD-3-Clause
"""Configurations as a whole: all of it or nothing."""

from frontend import Frontend
from shuntd import Shuntd, expect, expect_equal

ABSENT = r"socket path .*/absent/\w+\.sock: its folder does not exist.*"


def guest(folder, name, **options):
    return {"type": "vhost-user", "socket": f"{folder}/{name}.sock", **options}


def test_example(folder):
    """The example of the manual, from a file, with what config.show makes of it."""
    config = folder / "config.yaml"
    config.write_text(f"bridges:\n"
                      f"  br0: {{}}\n"
                      f"ports:\n"
                      f"  vm1: {{type: vhost-user, socket: {folder}/vm1.sock, bridge: br0}}\n"
                      f"workers: {{cpus: [0], mode: adaptive}}\n")
    shuntd = Shuntd(folder, config=config)
    expect_equal(shuntd.call("config.show"), {
        "bridges": {"br0": {"mode": "learn", "ageing": 300}},
        "ports": {"vm1": {"type": "vhost-user", "bridge": "br0", "max-addresses": 4096,
                          "socket": f"{folder}/vm1.sock", "mode": "server", "queues": 1}},
        "workers": {"mode": "adaptive", "cpus": [0]}})


def test_shown_is_applied(folder):
    """What config.show tells, config.apply takes, and finds nothing to change."""
    shuntd = Shuntd(folder)
    shuntd.call("config.apply", tree={
        "bridges": {"br0": {}, "p": {"mode": "patch"}},
        "ports": {"null": {"type": "null", "bridge": "p"}, "vm1": guest(folder, "vm1", queues=3)},
        "workers": {"count": 2, "mode": "interrupt"}})
    with shuntd.unchanged():
        expect_equal(shuntd.call("config.apply", tree=shuntd.call("config.show")), {"steps": []})
        status, text, errors = shuntd.ctl("config", "show")
        expect_equal((status, errors), (0, ""))
        expect_equal(shuntd.call("config.apply", text=text), {"steps": []})
        expect_equal(shuntd.call("config.check", text=text), {"ok": True})


def test_steps(folder):
    """A dry run tells all steps, and doing it does the same."""
    shuntd = Shuntd(folder)
    shuntd.call("config.apply", tree={
        "bridges": {"br0": {}, "br1": {}, "br2": {}},
        "ports": {"a": {"type": "null"}, "b": {"type": "null"}, "c": guest(folder, "c"),
                  "d": {"type": "null", "bridge": "br2"}}})
    wanted = {
        "bridges": {"br0": {"ageing": 10}, "br1": {"mode": "patch"}, "br3": {}},
        "ports": {"a": {"type": "null", "max-addresses": 1}, "c": guest(folder, "c", queues=2),
                  "e": {"type": "null", "bridge": "br3"}},
        "workers": {"mode": "interrupt"}}
    steps = ["set bridge br0 (ageing 10)", "replace bridge br1 (mode patch)", "add bridge br3 (learn)",
             "del bridge br2", "set workers (mode interrupt)", "set port a (max-addresses 1)",
             "replace port c (queues 2)", "add port e (null, bridge br3)", "del port b", "del port d"]
    with shuntd.unchanged():
        expect_equal(shuntd.call("config.apply", tree=wanted, dry_run=True), {"steps": steps})
    expect_equal(shuntd.call("config.apply", tree=wanted), {"steps": steps})
    expect_equal(sorted(shuntd.ports()), ["a", "c", "e"])
    expect_equal([bridge["name"] for bridge in shuntd.call("bridge.show")], ["br0", "br1", "br3"])
    for step in steps:
        expect(f"config: {step}\n" in shuntd.log(), f"{step!r} is not in the log")


def test_failing_step_undoes_all(folder):
    """One step that fails, after steps of every kind: all is as it was, and the guests know nothing."""
    shuntd = Shuntd(folder)
    shuntd.call("config.apply", tree={
        "bridges": {"br0": {}, "br1": {}, "gone": {}},
        "ports": {"keep": guest(folder, "keep"), "move": guest(folder, "move"),
                  "gone": guest(folder, "gone", bridge="gone"), "turn": guest(folder, "turn"),
                  "n": {"type": "null", "bridge": "br1"}}})
    with Frontend(folder / "keep.sock") as keep, Frontend(folder / "move.sock") as move, \
            Frontend(folder / "gone.sock") as gone, Frontend(folder / "turn.sock") as turn:
        shuntd.refused("config.apply", rf"add port bad: {ABSENT}", tree={
            "bridges": {"br0": {"ageing": 1}, "br1": {"mode": "patch"}, "new": {}},
            "ports": {"keep": guest(folder, "keep", **{"max-addresses": 1}),
                      "move": guest(folder, "move", bridge="new"),
                      "turn": guest(folder, "turned"),
                      "n": {"type": "null", "bridge": "br1"},
                      "new": guest(folder, "new", bridge="new"),
                      "bad": guest(folder, "absent/bad")},
            "workers": {"count": 3, "mode": "interrupt"}})
        for frontend in (keep, move, gone, turn):
            frontend.expect_alive()


def test_failing_step_at_a_dry_run(folder):
    """What can only be found by doing is found by doing."""
    shuntd = Shuntd(folder)
    tree = {"ports": {"bad": guest(folder, "absent/bad")}}
    expect_equal(shuntd.call("config.apply", tree=tree, dry_run=True),
                 {"steps": ["add port bad (vhost-user, bridge br0)"]})
    shuntd.refused("config.apply", rf"add port bad: {ABSENT}", tree=tree)


def test_failing_step_after_a_port_ended(folder):
    """A port that had to make way for its successor is made anew."""
    shuntd = Shuntd(folder)
    shuntd.call("port.add", name="vm1", **guest(folder, "vm1"))
    before = shuntd.state()
    shuntd.refused("config.apply", rf"add port bad: {ABSENT}", tree={
        "ports": {"vm1": guest(folder, "vm1", queues=2), "bad": guest(folder, "absent/bad")}})
    shuntd.expect_state(before)
    with Frontend(folder / "vm1.sock"):
        pass


def test_socket_changes_hands(folder):
    """A port takes over the socket path of one that goes, in one step; even in a circle."""
    shuntd = Shuntd(folder)
    shuntd.call("port.add", name="old", **guest(folder, "s"))
    steps = shuntd.call("config.apply", tree={"ports": {"new": guest(folder, "s")}})["steps"]
    expect_equal(steps, ["add port new (vhost-user, bridge br0)", "del port old"])
    with Frontend(folder / "s.sock"):
        pass
    shuntd.call("config.apply", tree={"ports": {"a": guest(folder, "1"), "b": guest(folder, "2")}})
    shuntd.call("config.apply", tree={"ports": {"a": guest(folder, "2"), "b": guest(folder, "1")}})
    expect_equal({name: port["options"]["socket"] for name, port in shuntd.ports().items()},
                 {"a": f"{folder}/2.sock", "b": f"{folder}/1.sock"})


def test_what_cannot_be_put_back(folder):
    """If a port cannot be made again, that is said, and the others are as they were."""
    shuntd = Shuntd(folder)
    place = folder / "place"
    place.mkdir()
    shuntd.call("port.add", name="vm1", type="vhost-user", socket=f"{place}/vm1.sock")
    shuntd.call("port.add", name="n", type="null")
    place.rename(folder / "moved")
    try:
        shuntd.call("port.set", name="vm1", queues=2)
        expect(False, "it succeeded")
    except Exception as error:
        expect(str(error).startswith("replace port vm1: socket path"), str(error))
        expect(str(error).endswith("; not all could be put back: see the log of shuntd"), str(error))
    expect("vm1: error: is gone, and cannot be made again" in shuntd.log(), shuntd.log())
    expect_equal(list(shuntd.ports()), ["n"])


def test_bridge_and_its_ports_at_once(folder):
    """A bridge goes together with its ports, or after they moved."""
    shuntd = Shuntd(folder)
    shuntd.call("config.apply", tree={
        "bridges": {"a": {}, "b": {}},
        "ports": {"x": guest(folder, "x", bridge="a"), "y": {"type": "null", "bridge": "a"}}})
    with Frontend(folder / "x.sock") as frontend:
        shuntd.call("config.apply", tree={
            "bridges": {"b": {}}, "ports": {"x": guest(folder, "x", bridge="b")}})
        frontend.expect_alive()
    expect_equal([(bridge["name"], bridge["ports"]) for bridge in shuntd.call("bridge.show")],
                 [("b", ["x"])])


def test_text_and_tree_are_the_same(folder):
    """YAML and JSON, texts and typed values end in the same tree."""
    shuntd = Shuntd(folder)
    shuntd.call("config.apply", text="ports: {n: {type: null, max-addresses: '12'}}\n"
                                     "workers: {count: 2}")
    with shuntd.unchanged():
        for tree in ({"ports": {"n": {"type": "null", "max-addresses": 12}}, "workers": {"count": 2}},
                     {"ports": {"n": {"type": "null", "max-addresses": "12"}},
                      "workers": {"count": "2"}}):
            expect_equal(shuntd.call("config.apply", tree=tree), {"steps": []})


def test_empty_configuration(folder):
    """An empty file is the default configuration."""
    shuntd = Shuntd(folder)
    shuntd.call("port.add", name="n", type="null")
    shuntd.call("bridge.add", name="br1")
    expect_equal(shuntd.call("config.apply", text="# nothing\n"),
                 {"steps": ["del bridge br1", "del port n"]})
    with shuntd.unchanged():
        expect_equal(shuntd.call("config.apply", text=""), {"steps": []})


def test_large_configuration(folder):
    """As large as a request may be; one byte more is refused."""
    shuntd = Shuntd(folder)
    comment = "# " + "x" * (1 << 19) + "\n"
    expect_equal(shuntd.call("config.check", text=comment), {"ok": True})
    config = folder / "config.yaml"
    config.write_text("#" + "x" * ((1 << 20) - 2) + "\n")
    shuntd.stop()
    shuntd = Shuntd(folder, config=config)
    expect_equal([bridge["name"] for bridge in shuntd.call("bridge.show")], ["br0"])
