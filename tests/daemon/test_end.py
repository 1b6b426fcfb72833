# SPDX-License-Identifier: BSD-3-Clause
"""Signals: the end, and reading the configuration again."""

import signal
import time

from frontend import Frontend
from shuntd import Shuntd, expect, expect_equal


def test_sigterm(folder):
    """SIGTERM ends shuntd soon and cleanly, with guests and clients connected."""
    shuntd = Shuntd(folder)
    path = shuntd.add_guest("vm1")
    shuntd.call("port.add", name="n", type="null")
    shuntd.call("bridge.add", name="br1")
    with shuntd.connect(), Frontend(path) as guest:
        begin = time.monotonic()
        shuntd.stop()
        elapsed = time.monotonic() - begin
        guest.expect_cut_off()
    expect(elapsed < 2, f"it took {elapsed:.1f} s")
    expect_equal([path.name for path in folder.iterdir() if path.is_socket()], [])


def test_sigint(folder):
    """Ctrl-C ends it in the same way."""
    Shuntd(folder).stop(signal.SIGINT)


def test_sigpipe(folder):
    """A client that is gone before its answer ends nothing."""
    shuntd = Shuntd(folder)
    for _ in range(20):
        with shuntd.connect() as client:
            client.send(client.request("port.types") * 50)
    shuntd.call("version")


def hang_up(shuntd, line):
    """Sends SIGHUP, and waits for another line of the log with the text."""
    already = shuntd.log().count(line)
    shuntd.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 20
    while shuntd.log().count(line) == already:
        expect(time.monotonic() < deadline, f"no {line!r} in the log: {shuntd.log()}")
        time.sleep(0.01)


def test_reload(folder):
    """SIGHUP applies what is in the file by now."""
    config = folder / "config.yaml"
    config.write_text("ports: {a: {type: null}, b: {type: null}}")
    shuntd = Shuntd(folder, config=config)
    shuntd.write_config("bridges: {br0: {ageing: 60}}\nports: {b: {type: null}, c: {type: null}}")
    hang_up(shuntd, f"{config} is applied")
    expect_equal(sorted(shuntd.ports()), ["b", "c"])
    expect_equal(shuntd.call("bridge.show")[0]["ageing"], 60)


def test_reload_keeps_guests(folder):
    """What did not change is not touched."""
    config = folder / "config.yaml"
    text = f"ports:\n  vm1: {{type: vhost-user, socket: {folder}/vm1.sock}}\n"
    config.write_text(text)
    shuntd = Shuntd(folder, config=config)
    with Frontend(folder / "vm1.sock") as guest:
        shuntd.write_config(text + "  n: {type: null}\n")
        hang_up(shuntd, f"{config} is applied")
        guest.expect_alive()
    expect_equal(sorted(shuntd.ports()), ["n", "vm1"])


def test_reload_with_errors(folder):
    """An error in the file is logged, and all stays as it was."""
    config = folder / "config.yaml"
    config.write_text("ports: {a: {type: null}}")
    shuntd = Shuntd(folder, config=config)
    with shuntd.unchanged():
        shuntd.write_config("ports:\n  b: {type: null}\n  c: {type: nil}\n")
        hang_up(shuntd, f"error: not applied: {config}:3:13: ports.c.type: unknown type 'nil'")
        shuntd.write_config("ports: [\n")
        hang_up(shuntd, f"error: not applied: {config}:2:1: expected YAML")
        config.unlink()
        hang_up(shuntd, f"error: not applied: cannot read {config}")


def test_reload_without_file(folder):
    """SIGHUP without a file to read says so."""
    shuntd = Shuntd(folder)
    with shuntd.unchanged():
        hang_up(shuntd, "there is no file to read again, start with --config FILE")
