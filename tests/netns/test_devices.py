# SPDX-License-Identifier: BSD-3-Clause
"""The TAP device under a port: made, found, taken, shut down and deleted."""

import contextlib
import fcntl
import os

import frame
from device import IFF_TAP, IFF_VNET_HDR, TUN_F_CSUM, TUN_F_TSO4, TUNSETOFFLOAD, attached
from host import Host, run
from iperf import transfer_tcp
from place import BUILD
from suite import Failure, Skip, expect
from switch import Switch
from wire import Wire


def interfaces(network):
    """What `ip link` says, a line each."""
    return network.run("ip", "-o", "link").splitlines()


def expect_refused(network, device, reason):
    """A port on this device is refused in a line that says so; all is as it was before."""
    before = interfaces(network), network.switch.ports()
    line = network.refused("port", "add", "p1", "type", "tap", "device", device)
    expect(device in line and reason in line, f"unclear: {line}")
    after = interfaces(network), network.switch.ports()
    expect(before == after, f"something has changed: {before} to {after}")


def expect_gone(network, host):
    """The port goes down and says why; nobody else is disturbed; it can be made anew."""
    network.wait_for(lambda: network.switch.port(host.name)["state"] == "down", "down")
    reason = network.switch.port(host.name)["reason"]
    expect("deleted" in reason, f"unclear: {reason}")
    h1, h2 = (network.hosts[name] for name in ("h1", "h2"))
    h1.ping(h2)
    before = network.drops(host.name, "tx").get("port-down", 0)
    h1.wire.send(h1.frame_to(host))
    network.wait_for(lambda: network.drops(host.name, "tx").get("port-down", 0) == before + 1,
                     "counted: port-down")
    network.remove_host(host)
    network.host(host.name).ping(h1)


def test_device_deleted(network):
    """the TAP device is deleted under us: the port is down and says why, and shuntd goes on"""
    h1, _h2, h3 = network.add_hosts("h1", "h2", "h3")
    h3.ping(h1)
    h3.run("ip", "link", "del", "h3")
    expect_gone(network, h3)


def test_namespace_deleted(network):
    """the same when its network namespace ends"""
    h1, _h2, h3 = network.add_hosts("h1", "h2", "h3")
    h3.ping(h1)
    h3.close()
    expect_gone(network, h3)


def test_device_deleted_under_load(network):
    """the same while frames are sent to it and from it"""
    h1, _h2, h3 = network.add_hosts("h1", "h2", "h3")
    h3.ping(h1)
    with contextlib.suppress(OSError):
        for number in range(3000):
            h1.wire.send(h1.frame_to(h3))
            h3.wire.send(h3.frame_to(h1))
            if number == 1000:
                h3.run("ip", "link", "del", "h3")
    expect_gone(network, h3)


def test_interface_of_another_kind(network):
    """an interface that is a bridge or a veth, and no TAP device, is refused and left alone"""
    network.run("ip", "link", "add", "taken", "type", "bridge")
    network.run("ip", "link", "add", "pair1", "type", "veth", "peer", "pair2")
    for device in "taken", "pair1", "lo":
        expect_refused(network, device, "not a TAP device")


def test_tun_device(network):
    """a TUN device, which has no Ethernet, is refused and left alone"""
    network.run("ip", "tuntap", "add", "tun1", "mode", "tun")
    expect_refused(network, "tun1", "not a TAP device")


def test_device_with_queues(network):
    """a TAP device of several queues, which the port cannot use yet, is refused and left alone"""
    network.run("ip", "tuntap", "add", "many", "mode", "tap", "multi_queue")
    expect_refused(network, "many", "single queue")


def test_device_in_use(network):
    """a TAP device that another program has is refused, and taken once it is free"""
    network.run("ip", "tuntap", "add", "busy", "mode", "tap")
    with network.namespace, attached("busy", IFF_TAP):
        expect_refused(network, "busy", "another port or program")
    network.switch.ctl("port", "add", "p1", "type", "tap", "device", "busy")
    network.switch.wait_for_port("p1")
    network.refused("port", "add", "p2", "type", "tap", "device", "busy")


def test_device_of_the_user(network):
    """a TAP device that the user made is taken as it is, and still there when the port is gone"""
    network.run("ip", "tuntap", "add", "mine", "mode", "tap")
    network.run("ip", "link", "set", "mine", "mtu", 4000)
    network.switch.ctl("port", "add", "p1", "type", "tap", "device", "mine")
    line = network.run("ip", "-o", "link", "show", "mine")
    expect("mtu 4000" in line and ",UP" not in line, f"it was changed: {line}")
    network.switch.remove_port("p1")
    expect("mine" in network.run("ip", "-br", "link"), "it is gone")


def test_device_with_offloads(network):
    """what a device left to the program before us is not left to us: TCP's checksums"""
    network.run("ip", "tuntap", "add", "old", "mode", "tap")
    with network.namespace, attached("old", IFF_TAP | IFF_VNET_HDR) as device:
        fcntl.ioctl(device, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4)
    h1 = network.host("h1")
    h2 = network.host("h2", device="old")
    expect(transfer_tcp(network, h2, h1, seconds=1).size > 0, "nothing arrived")


class Unprivileged(Switch):
    """A switch that runs as a user who may do nothing."""

    USER = 65534
    PREFIX = ("setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups",
              "--pdeathsig", "KILL")

    def command(self):
        os.chown(self.folder, self.USER, self.USER)
        return [*self.PREFIX, *super().command()]

    @classmethod
    def check_reach(cls):
        try:
            run(*cls.PREFIX, "test", "-x", BUILD / "shuntd")
        except Failure:
            raise Skip(f"user {cls.USER} cannot run {BUILD}/shuntd") from None


def test_without_privilege(network):
    """without privilege, shuntd takes a device that was made for its user, and no other"""
    Unprivileged.check_reach()
    with network.namespace, Unprivileged() as switch:
        run("ip", "tuntap", "add", "mine", "mode", "tap", "user", switch.USER)
        run("ip", "tuntap", "add", "root", "mode", "tap", "user", 0)
        switch.ctl("port", "add", "mine", "type", "tap")
        switch.ctl("port", "add", "sink", "type", "null")
        run("ip", "link", "set", "dev", "mine", "up")
        wire = Wire("mine")
        wire.send(frame.ethernet(frame.BROADCAST, frame.numbered(1)))
        wire.close()
        network.wait_for(lambda: switch.port("sink")["tx"]["packets"] == 1, "received")
        for name in "root", "new":
            line = network.refused("port", "add", name, "type", "tap", switch=switch)
            expect("CAP_NET_ADMIN" in line and "ip tuntap add" in line, f"unclear: {line}")
        expect(list(switch.ports()) == ["mine", "sink"], "a port that was refused is there")


def test_device_of_its_own(network):
    """a device that the port made is up, and gone with the port"""
    network.switch.ctl("port", "add", "p1", "type", "tap", "device", "own0")
    expect(",UP" in network.run("ip", "-o", "link", "show", "own0"), "it is not up")
    expect(network.switch.port("p1")["device"] == "own0", "the port does not tell its device")
    network.switch.remove_port("p1")
    expect("own0" not in network.run("ip", "-br", "link"), "it is still there")


def test_device_pattern(network):
    """a name with %d is the kernel's to complete, and the port tells what has become of it"""
    for number in range(2):
        network.switch.ctl("port", "add", f"p{number}", "type", "tap", "device", "any%d")
        device = network.switch.port(f"p{number}")["device"]
        expect(device == f"any{number}", f"the port says that its device is {device}")
        expect(",UP" in network.run("ip", "-o", "link", "show", device), f"{device} is not up")


def test_device_changes(network):
    """a port can change its device, and goes on with its own if it cannot have the other"""
    h1, h2 = network.add_hosts("h1", "h2")
    network.run("ip", "link", "add", "taken", "type", "bridge")
    network.refused("port", "set", "h2", "device", "taken")
    expect(network.switch.port("h2")["device"] == "h2", "it has lost its device")
    h1.ping(h2)
    network.switch.ctl("port", "set", "h2", "device", "other")
    expect("h2" not in h2.run("ip", "-br", "link"), "the device that it had is still there")
    expect(network.switch.port("h2")["device"] == "other", "it has another device")
    h2.close()
    h2 = network.hosts["h2"] = Host("h2", 2, "br0")
    with network.namespace:
        h2.take("other")
    h1.ping(h2)


def test_devices_change_places(network):
    """two ports exchange their devices in one step of configuration"""
    for number in 1, 2:
        network.switch.ctl("port", "add", f"p{number}", "type", "tap", "device", f"dev{number}")
    config = network.switch.folder / "exchange.yaml"
    config.write_text("ports:\n  p1: {type: tap, device: dev2}\n  p2: {type: tap, device: dev1}\n")
    network.switch.ctl("config", "apply", config)
    ports = network.switch.json("port", "show")
    ports = [tuple(map(port.get, ("name", "device", "state"))) for port in ports]
    expect(sorted(ports) == [("p1", "dev2", "up"), ("p2", "dev1", "up")], f"ports: {ports}")


def test_device_names(network):
    """names that no interface can have are refused in one line"""
    line = network.refused("port", "add", "name-of-16-bytes", "type", "tap")
    expect("device" in line and "15" in line, f"unclear: {line}")
    for device in "name-of-16-bytes", "a/b", "a b", ".", "..", "a:b":
        network.refused("port", "add", "p1", "type", "tap", "device", device)
    expect(not network.switch.ports(), "there are ports")
    network.switch.ctl("port", "add", "name-of-16-bytes", "type", "tap", "device", "short")


def test_device_shut_down(network):
    """while the interface is down, frames to it are counted as device-error; up, it is back"""
    h1, h2, h3 = network.add_hosts("h1", "h2", "h3")
    h1.ping(h2)
    h2.link("down")
    h1.wire.send(*[h1.frame_to(h2)] * 10)
    network.wait_for(lambda: network.drops("h2", "tx") == {"device-error": 10},
                     "counted: 10 of device-error")
    h1.ping(h3)
    before = network.drops("h2", "tx")["device-error"]
    h1.wire.send(h1.frame_to(frame.BROADCAST))
    network.wait_for(lambda: network.drops("h2", "tx")["device-error"] > before,
                     "counted: one more")
    h2.link("up")
    h1.ping(h2)
    h2.ping(h3)
