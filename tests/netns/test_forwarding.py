# SPDX-License-Identifier: BSD-3-Clause
"""Which ports a frame goes to, and which it does not go to."""

import frame
from network import MARKS_PER_DELIVERY
from suite import expect

STRANGER = frame.numbered(1, kind=1)  # an address that nobody has
MULTICAST = "01:00:5e:00:00:fb"


def test_flooding(network):
    """broadcast, multicast and unknown unicast reach all others, and never the sender"""
    h1, h2, h3, h4 = network.add_hosts("h1", "h2", "h3", "h4")
    for address in frame.BROADCAST, MULTICAST, STRANGER:
        network.expect_only(h1, [h1.frame_to(address, b"all")], [h2, h3, h4])
    expect(network.switch.port("h1")["rx"]["copies"] > 0, "no copies are counted")


def test_learned_address(network):
    """unicast to an address that was seen goes to its port only"""
    h1, h2, _h3, _h4 = network.add_hosts("h1", "h2", "h3", "h4")
    network.deliver(h2, h2.frame_to(h1))
    network.expect_only(h1, [h1.frame_to(h2, b"%d" % number) for number in range(100)], [h2])


def test_mixed_burst(network):
    """of frames that alternate between all and single hosts, each host gets its own, in order"""
    h1, h2, h3, h4 = network.add_hosts("h1", "h2", "h3", "h4")
    for host in h2, h3, h4:
        network.deliver(host, host.frame_to(h1))
    targets = [frame.BROADCAST, h2, h3, STRANGER, h2, h4, h4, MULTICAST] * 16
    frames = [h1.frame_to(target, b"%d" % number) for number, target in enumerate(targets)]
    got = network.deliver(h1, *frames)
    for host in h2, h3, h4:
        wanted = [one for one, target in zip(frames, targets)
                  if target is host or isinstance(target, str)]
        expect(got[host.name] == wanted, f"{host.name} got other frames, or in another order")
    expect(not got["h1"], "the sender got frames of its own")


def test_same_port(network):
    """a frame to an address behind the sender's own port is not sent back, and is counted"""
    h1, _h2 = network.add_hosts("h1", "h2")
    network.deliver(h1, frame.ethernet(frame.BROADCAST, STRANGER))
    network.expect_only(h1, [h1.frame_to(STRANGER)], [])
    network.expect_drops("h1", "rx", {"same-port": 1})


def test_link_local(network):
    """01:80:c2:00:00:00 to 0f stay on their link and are counted; 10 is forwarded"""
    h1, h2, h3 = network.add_hosts("h1", "h2", "h3")
    local = [f"01:80:c2:00:00:{last:02x}" for last in range(16)]
    network.expect_only(h1, [h1.frame_to(address) for address in local], [])
    network.expect_drops("h1", "rx", {"link-local": 16})
    network.expect_only(h1, [h1.frame_to("01:80:c2:00:00:10")], [h2, h3])


def test_no_destination(network):
    """frames of a port that is alone are dropped by name"""
    h1 = network.host("h1")
    h1.wire.send(*[h1.frame_to(frame.BROADCAST)] * 10)
    network.wait_for(lambda: network.switch.port("h1")["rx"]["packets"] == 10, "10 frames received")
    network.expect_drops("h1", "rx", {"no-destination": 10})


def test_null_port(network):
    """a null port takes what is flooded and what a static address leads to it, and counts it"""
    h1, h2 = network.add_hosts("h1", "h2")
    network.switch.ctl("port", "add", "sink", "type", "null", "bridge", "br0")
    network.switch.ctl("fdb", "add", STRANGER, "port", "sink")
    network.expect_only(h1, [h1.frame_to(STRANGER, bytes(86))] * 50, [])
    network.expect_only(h1, [h1.frame_to(frame.BROADCAST, bytes(86))] * 50, [h2])
    counted = network.switch.port("sink")["tx"]
    marks = 2 * MARKS_PER_DELIVERY
    expect(counted["packets"] == 100 + marks, f"{counted['packets']} packets and not {100 + marks}")
    expect(10000 < counted["bytes"] < 10000 + marks * 50, f"{counted['bytes']} bytes")
    expect(not counted["drops"], f"drops: {counted['drops']}")


def test_separate_bridges(network):
    """two bridges do not hear each other, and may know the same address"""
    network.switch.ctl("bridge", "add", "br1")
    h1, h2 = network.add_hosts("h1", "h2")
    h3, h4 = network.add_hosts("h3", "h4", bridge="br1")
    twin = frame.ethernet(frame.BROADCAST, STRANGER)
    network.expect_only(h1, [twin, h1.frame_to(h3)], [h2])
    network.expect_only(h3, [twin], [h4])
    network.expect_only(h2, [h2.frame_to(STRANGER)], [h1])
    network.expect_only(h4, [h4.frame_to(STRANGER)], [h3])
    expect(network.addresses(bridge="br0")[STRANGER] == "h1", "br0 does not know the address on h1")
    expect(network.addresses(bridge="br1")[STRANGER] == "h3", "br1 does not know the address on h3")


def test_patch(network):
    """a patch joins two ports like a cable, learns nothing, and refuses a third"""
    network.switch.ctl("bridge", "add", "cable", "mode", "patch")
    h1, h2 = network.add_hosts("h1", "h2", bridge="cable")
    h1.ping(h2)
    for host in h1, h2:
        host.wire.drain()
    link_local = h1.frame_to("01:80:c2:00:00:0e")
    network.expect_only(h1, [link_local, h1.frame_to(h1), h1.frame_to(STRANGER)], [h2])
    expect(not network.addresses(), "a patch has learned addresses")
    line = network.refused("port", "add", "h3", "type", "tap", "bridge", "cable")
    expect("cable" in line and "two" in line, f"unclear: {line}")
    expect(list(network.switch.ports()) == ["h1", "h2"], "the port that was refused is there")
    expect("h3" not in network.run("ip", "-br", "link"), "its interface is there")
    network.expect_only(h2, [h2.frame_to(h1)], [h1])
