# SPDX-License-Identifier: BSD-3-Clause
"""Random traffic: every frame is where it belongs, and every counter is what it must be."""

import random

import frame
from iperf import Transfer
from model import Model
from network import MARKS_PER_DELIVERY
from suite import expect

MANY = 40
BATCHES = 150
BATCH = 100  # frames; no more than fit into the queue of a TAP device


class Source:
    """Random frames of all kinds."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.addresses = [frame.numbered(number, kind=3) for number in range(40)]

    def destination(self):
        kind = self.random.random()
        if kind < 0.1:
            return frame.BROADCAST
        if kind < 0.2:
            return "01:00:5e:00:00:01"
        if kind < 0.25:
            return f"01:80:c2:00:00:{self.random.randrange(32):02x}"
        if kind < 0.3:
            return frame.numbered(self.random.randrange(100), kind=4)  # nobody's
        return self.random.choice(self.addresses)

    def frame(self):
        payload = self.random.randbytes(self.random.randrange(1400))
        return frame.ethernet(self.destination(), self.random.choice(self.addresses), payload)

    def batch(self):
        """The last one goes to everyone, so that all know when it is over."""
        last = frame.ethernet(frame.BROADCAST, self.random.choice(self.addresses),
                              self.random.randbytes(64))
        return [self.frame() for _ in range(BATCH - 1)] + [last]


def expect_counters(network, model):
    for name, port in network.switch.ports().items():
        drops = {reason: number for (at, reason), number in model.drops.items() if at == name}
        wanted = model.rx[name], model.copies[name], model.tx[name], drops
        counted = (port["rx"]["packets"], port["rx"]["copies"], port["tx"]["packets"],
                   {**port["rx"]["drops"], **port["tx"]["drops"]})
        expect(counted == wanted,
               f"port {name} counts rx, copies, tx and drops {counted}, not {wanted}")


def test_random_traffic(network):
    """15,000 random frames are forwarded, dropped and counted as a model of a bridge says"""
    hosts = network.add_hosts("h1", "h2", "h3", "h4")
    network.host("silent").link("down")
    network.switch.ctl("port", "add", "sink", "type", "null", "bridge", "br0")
    model = Model(["h1", "h2", "h3", "h4", "silent", "sink"], swallowing={"silent": "device-error"})
    source = Source(seed=2)
    for _ in range(BATCHES):
        sender = source.random.choice(hosts)
        frames = source.batch()
        for one in frames:
            model.forward(sender.name, one)
        sender.wire.send(*frames)
        for host in hosts:
            wanted = model.received[host.name]
            if host is not sender:
                got = host.wire.receive_until(frames[-1]) + [frames[-1]]
                expect(got == wanted, f"{host.name} got {len(got)} frames from {sender.name}, "
                                      f"and not the {len(wanted)} that the model says")
                wanted.clear()
            expect(not wanted, f"the model is wrong: it sends frames back to {sender.name}")
    for host in hosts:
        expect(not host.wire.drain(), f"{host.name} got more than the model says")
    expect_counters(network, model)
    addresses = {mac: port for mac, port in network.addresses().items()}
    expect(addresses == model.addresses, "other addresses are known than the model knows")


def test_balance_under_load(network):
    """under more load than passes, while ports come and go, frames add up and others can talk"""
    h1, h2, h3, h4, h5, h6 = network.add_hosts("h1", "h2", "h3", "h4", "h5", "h6")
    options = "--udp", "--bitrate", 0, "--length", 200
    streams = [Transfer(network, *pair, 2, options) for pair in ((h1, h2), (h4, h3))]
    rounds = 0
    while any(stream.is_running for stream in streams):
        network.switch.ctl("port", "add", "sink", "type", "null", "bridge", "br0")
        h2.wire.send(*[h2.frame_to(frame.BROADCAST, bytes(50))] * 50)
        network.switch.ctl("port", "del", "sink")
        network.switch.ctl("fdb", "flush")
        h5.ping(h6)
        rounds += 1
    for stream in streams:
        stream.finish()
    balance = network.balance_at_rest()
    network.remark(f"{rounds} rounds; {balance['rx']} frames and {balance['copies']} copies")


def test_many_ports(network):
    """a broadcast reaches dozens of ports, and adds up while they are deleted"""
    h1, _h2 = network.add_hosts("h1", "h2")
    names = [f"many{number}" for number in range(MANY)]
    for name in names:
        network.switch.ctl("port", "add", name, "type", "tap", "bridge", "br0")
    network.deliver(h1, h1.frame_to(frame.BROADCAST))
    ports = network.switch.ports()
    missed = [name for name in names if ports[name]["tx"]["packets"] != 1 + MARKS_PER_DELIVERY]
    expect(not missed, f"these did not get all broadcasts: {missed}")
    random.Random(1).shuffle(names)
    for name in names:
        h1.wire.send(*[h1.frame_to(frame.BROADCAST)] * 5)
        network.switch.remove_port(name)
