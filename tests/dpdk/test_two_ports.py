# SPDX-License-Identifier: BSD-3-Clause
"""One testpmd forwards between two ports of the switch, each in a bridge of its own."""

from flow import Exchange, samples
from mode import PACKED, SPLIT
from testpmd import Device

NUM_FRAMES = 1000


def forward(rig, modes, is_server=False, queues=1):
    """what enters one bridge leaves the other as it was, both ways"""
    names = "vm1", "vm2"
    bridges = "br0", "br1"
    rig.switch.ctl("bridge", "add", "br1")
    hosts = [rig.host(f"h{idx + 1}", bridge) for idx, bridge in enumerate(bridges)]
    devices = [Device(rig.switch.socket(name), mode, is_server)
               for name, mode in zip(names, modes)]
    for device, name, bridge in zip(devices, names, bridges):
        rig.add_port(device, name, queues, bridge)
    rig.start_testpmd(*devices, forward="io", queues=queues)
    rig.wait_running(*names)
    rig.testpmd.expect_paths()
    for device, name in zip(devices, names):
        rig.expect_mode(device, name)
    for source, target in hosts, hosts[::-1]:
        exchange = Exchange(source.wire, target.wire)
        exchange.run(samples(source.mac, target.mac, NUM_FRAMES, is_echoed=False))
    for name in names:
        rig.expect_counted(NUM_FRAMES, name)


def test(*modes, **options):
    def function(rig):
        forward(rig, modes, **options)

    function.__doc__ = forward.__doc__
    return function


def tests():
    yield "two-ports-split", test(SPLIT, SPLIT)
    yield "two-ports-packed", test(PACKED, PACKED)
    yield "two-ports-mixed-4", test(SPLIT, PACKED, queues=4)
    yield "two-ports-client", test(PACKED, SPLIT, is_server=True)
