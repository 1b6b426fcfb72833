# SPDX-License-Identifier: BSD-3-Clause
"""The forwarding table, as frames fill it and as `shuntctl fdb` shows and changes it."""

import time

import frame
from suite import expect

BATCH = 250  # less than the queue of a TAP device


def address(number):
    return frame.numbered(number, kind=2)


def say_hello(network, host, numbers):
    """The host sends a broadcast from each of the addresses."""
    frames = [frame.ethernet(frame.BROADCAST, address(number)) for number in numbers]
    for begin in range(0, len(frames), BATCH):
        network.deliver(host, *frames[begin:begin + BATCH])


def expect_at(network, number, port):
    at = network.addresses().get(address(number))
    expect(at == port, f"the address is on {at}, not on {port}")


def expect_kept(network, port, number):
    kept = network.switch.json("fdb", "show", "port", port)
    expect(len(kept) == number, f"{port} has {len(kept)} addresses and not {number}")


def test_address_moves(network):
    """an address that is seen on another port moves there, as `fdb show` tells"""
    h1, h2, h3 = network.add_hosts("h1", "h2", "h3")
    for host in h1, h2, h1:
        say_hello(network, host, [1])
        expect_at(network, 1, host.name)
        network.expect_only(h3, [h3.frame_to(address(1))], [host])
    expect(network.bridge()["addresses"]["moves"] == 2, f"moves: {network.bridge()['addresses']}")


def test_ageing(network):
    """an address that is silent for longer than the ageing time is forgotten, others are not"""
    h1, h2, h3 = network.add_hosts("h1", "h2", "h3")
    network.switch.ctl("bridge", "set", "br0", "ageing", 2)
    network.switch.ctl("fdb", "add", address(3), "port", "h2")
    say_hello(network, h1, [1])
    begin = time.monotonic()

    def is_forgotten():
        say_hello(network, h2, [2])
        return address(1) not in network.addresses()

    network.wait_for(is_forgotten, "forgotten")
    seconds = time.monotonic() - begin
    network.remark(f"forgotten after {seconds:.1f} s")
    expect(seconds > 1.9, f"forgotten after {seconds:.1f} s")
    expect(set(network.addresses()) == {address(2), address(3)}, f"left: {network.addresses()}")
    network.expect_only(h3, [h3.frame_to(address(1))], [h1, h2])


def test_bound_on_addresses(network):
    """a port that sends from thousands of addresses forgets its own, not those of others"""
    h1, h2 = network.add_hosts("h1", "h2")
    flooder = network.host("flooder", max_addresses=30)
    say_hello(network, h1, range(50))
    say_hello(network, flooder, range(1000, 6000))
    expect(len(network.addresses(port="h1")) == 50, "it evicted addresses of its neighbour")
    expect_kept(network, "flooder", 30)
    expect_at(network, 5999, "flooder")
    network.expect_only(h2, [h2.frame_to(address(7))], [h1])
    network.switch.ctl("port", "set", "flooder", "max-addresses", 10)
    expect_kept(network, "flooder", 10)


def test_default_bound(network):
    """without being told, a port keeps 4,096 addresses"""
    network.host("h1")
    flooder = network.host("flooder")
    say_hello(network, flooder, range(6000))
    expect_kept(network, "flooder", 4096)


def test_static_address(network):
    """a static address does not move, and is forgotten only when it is deleted"""
    h1, h2, h3 = network.add_hosts("h1", "h2", "h3")
    network.switch.ctl("fdb", "add", address(1), "port", "h1")
    say_hello(network, h2, [1, 2])
    expect_at(network, 1, "h1")
    network.expect_only(h3, [h3.frame_to(address(1))], [h1])
    network.switch.ctl("fdb", "flush")
    expect(list(network.addresses()) == [address(1)], f"after a flush: {network.addresses()}")
    network.switch.ctl("fdb", "del", address(1))
    network.expect_only(h3, [h3.frame_to(address(1))], [h1, h2])
    say_hello(network, h2, [1])
    expect_at(network, 1, "h2")


def test_static_address_takes_over(network):
    """a learned address that is made static on another port leads there"""
    h1, h2, h3 = network.add_hosts("h1", "h2", "h3")
    say_hello(network, h1, [1])
    network.switch.ctl("fdb", "add", address(1), "port", "h2")
    network.expect_only(h3, [h3.frame_to(address(1))], [h2])
    say_hello(network, h1, [1])
    expect_at(network, 1, "h2")


def test_static_address_goes_along(network):
    """static addresses of a port go along when it moves, or when its bridge is made anew"""
    network.switch.ctl("bridge", "add", "br1")
    h1, _h2 = network.add_hosts("h1", "h2")
    network.switch.ctl("fdb", "add", address(1), "port", "h1")
    network.move_host(h1, "br1")
    expect(network.addresses(bridge="br1") == {address(1): "h1"}, f"known: {network.addresses()}")
    for mode in "patch", "learn":
        network.switch.ctl("bridge", "set", "br1", "mode", mode)
    expect(network.addresses(bridge="br1") == {address(1): "h1"}, f"known: {network.addresses()}")


def test_flush(network):
    """`fdb flush` forgets what was learned: on a port, on a bridge, on all"""
    network.switch.ctl("bridge", "add", "br1")
    h1, h2 = network.add_hosts("h1", "h2")
    h3, _h4 = network.add_hosts("h3", "h4", bridge="br1")
    for number, host in enumerate((h1, h2, h3), 1):
        say_hello(network, host, [number])
    for words, left in ((("port", "h1"), {2, 3}), (("bridge", "br1"), {2}), ((), set())):
        network.switch.ctl("fdb", "flush", *words)
        known = network.addresses()
        expect(set(known) == {address(number) for number in left},
               f"after fdb flush {' '.join(words)}: {known}")
    network.expect_only(h1, [h1.frame_to(address(2))], [h2])


def test_bad_addresses(network):
    """what cannot be an address of a port is refused in one line, and changes nothing"""
    network.host("h1")
    for text in "01:00:5e:00:00:01", "02:00:00:00:00", "02:00:00:00:00:0g", "":
        network.refused("fdb", "add", text, "port", "h1")
    network.refused("fdb", "add", address(1), "port", "h9")
    network.refused("fdb", "del", address(1))
    expect(not network.addresses(), f"there are addresses: {network.addresses()}")


def test_addresses_leave_with_port(network):
    """addresses of a port that is deleted, static ones too, are forgotten"""
    h1, h2, h3 = network.add_hosts("h1", "h2", "h3")
    say_hello(network, h1, [1])
    network.switch.ctl("fdb", "add", address(2), "port", "h1")
    network.remove_host(h1)
    expect(not network.addresses(), f"left: {network.addresses()}")
    network.expect_only(h2, [h2.frame_to(address(1)), h2.frame_to(address(2))], [h3])
