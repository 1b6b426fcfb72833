# SPDX-License-Identifier: BSD-3-Clause
"""The command line, and where the control socket may be made."""

import os
import re
import socket
import stat
import time

from shuntd import Failure, Shuntd, expect, expect_equal, expect_match, run

LINE = r"shuntd: error: "


def expect_usage(pattern, *words):
    status, output, errors = run(*words)
    expect_equal((status, output), (2, ""))
    expect_match(rf"shuntd: {pattern}; try 'shuntd --help'\n", errors)


def expect_no_start(pattern, *words):
    status, output, errors = run(*words)
    expect_equal((status, output), (1, ""))
    expect_match(rf"{LINE}{pattern}\n", errors)


def test_version_and_help(_folder):
    """--version and --help print and end."""
    status, output, errors = run("--version")
    expect_equal((status, errors), (0, ""))
    expect_match(r"shuntd \d+\.\d+\.\d+\n", output)
    status, output, errors = run("--help")
    expect_equal((status, errors), (0, ""))
    for word in ("--config", "--control", "--check", "--log-level", "--version", "--help"):
        expect(word in output, f"{word} is not in the help")


def test_wrong_usage(folder):
    """Wrong words end in one line and status 2."""
    expect_usage("unknown option '--contrl'", "--contrl", folder / "c")
    expect_usage("unknown option '-x'", "-x")
    expect_usage("option '--config' needs a value", "--config")
    expect_usage("unexpected 'start'", "start")
    expect_usage("unknown log level 'loud': there are error, warning, info and debug",
                 "--log-level", "loud")
    expect_usage("--check needs a configuration, --config FILE", "--check")


def test_ready_soon(folder):
    """From start to an answer on the control socket; printed, and bounded generously."""
    best = None
    for _ in range(5):
        begin = time.monotonic()
        shuntd = Shuntd(folder)
        shuntd.call("version")
        elapsed = time.monotonic() - begin
        best = min(best or elapsed, elapsed)
        shuntd.stop()
    print(f"    ready after {1000 * best:.1f} ms")
    expect(best < 1, f"shuntd is not ready before {best:.1f} s")


def test_default_configuration(folder):
    """Without a configuration there is one bridge and no port."""
    shuntd = Shuntd(folder)
    expect_equal([bridge["name"] for bridge in shuntd.call("bridge.show")], ["br0"])
    expect_equal(shuntd.call("port.show"), [])


def test_control_socket_mode(folder):
    """Others than owner and group cannot open the control socket."""
    old = os.umask(0)
    try:
        shuntd = Shuntd(folder)
    finally:
        os.umask(old)
    expect_equal(stat.S_IMODE(shuntd.control.stat().st_mode), 0o660)


def test_control_path_too_long(folder):
    """A control path that no address can hold is refused."""
    path = folder / ("x" * 200)
    expect_no_start(r"control socket: socket path is \d+ bytes long, at most 107 fit.*", "--control", path)
    expect_equal(list(folder.iterdir()), [])


def test_control_path_longest(folder):
    """The longest control path that an address can hold is taken."""
    name = "x" * (107 - len(f"{folder}/.sock"))
    shuntd = Shuntd(folder, name=name)
    expect_equal(len(str(shuntd.control)), 107)


def test_control_path_is_a_file(folder):
    """What is no socket at the control path stays as it is."""
    path = folder / "file"
    path.write_text("precious")
    expect_no_start(rf"control socket: socket path {path} exists and is not a socket.*", "--control", path)
    expect_equal(path.read_text(), "precious")
    (folder / "folder").mkdir()
    expect_no_start(r"control socket: socket path .* exists and is not a socket.*", "--control",
                    folder / "folder")
    (folder / "link").symlink_to(path)
    expect_no_start(r"control socket: socket path .* exists and is not a socket.*", "--control",
                    folder / "link")


def test_control_folder_absent(folder):
    """A control path in a folder that is absent is refused, and the folder not made."""
    path = folder / "absent" / "c.sock"
    expect_no_start(rf"control socket: socket path {path}: its folder does not exist.*", "--control", path)
    expect(not path.parent.exists(), "the folder was made")


def test_second_shuntd(folder):
    """A second one on a live control socket says who is there, and disturbs nothing."""
    config = folder / "config.yaml"
    config.write_text(f"ports: {{vm1: {{type: vhost-user, socket: {folder}/vm1.sock}}}}")
    first = Shuntd(folder, config=config)
    with first.unchanged():
        expect_no_start(rf"another shuntd \(pid {first.process.pid}\) is already listening on "
                        rf"{first.control}: stop it, or give this one another --control PATH",
                        "--control", first.control, "--config", config)
    with first.connect() as client:
        expect_equal(client.call("version")["pid"], first.process.pid)


def test_second_shuntd_with_the_same_port(folder):
    """A second one whose port's socket is taken ends, and takes its control socket with it."""
    first = Shuntd(folder)
    socket_path = first.add_guest("vm1")
    config = folder / "config.yaml"
    config.write_text(f"ports: {{vm1: {{type: vhost-user, socket: {socket_path}}}}}")
    with first.unchanged():
        expect_no_start(rf"add port vm1: socket path {socket_path} is in use.*", "--control",
                        folder / "second.sock", "--config", config)


def test_stale_sockets(folder):
    """What a killed shuntd left is replaced: its control socket, and those of its ports."""
    config = folder / "config.yaml"
    config.write_text(f"ports: {{vm1: {{type: vhost-user, socket: {folder}/vm1.sock}}}}")
    shuntd = Shuntd(folder, config=config)
    shuntd.kill()
    expect(shuntd.control.is_socket(), "the test needs a stale socket")
    shuntd.start()
    expect_equal(list(shuntd.ports()), ["vm1"])


def test_control_socket_replaced(folder):
    """A control socket that is somebody else's by now is not removed at the end."""
    shuntd = Shuntd(folder)
    shuntd.control.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(shuntd.control))
        try:
            shuntd.stop()
        except Failure as failure:
            expect("is left" in str(failure), str(failure))
        expect(shuntd.control.is_socket(), "the socket of another was removed")


def test_closed_standard_streams(folder):
    """Without standard streams, log lines do not end up in a socket."""
    shuntd = Shuntd(folder, words=("--log-level", "debug"),
                    wrapper=("/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"))
    for _ in range(3):
        shuntd.call("port.add", name="p", type="null")
        shuntd.call("port.del", name="p")


def test_log_for_people(folder):
    """Log lines say what they are about; the usual ones have no level."""
    shuntd = Shuntd(folder)
    shuntd.call("port.add", name="p", type="null")
    shuntd.wait_for_log("config: add port p (null, bridge br0)\n")
    expect("<" not in shuntd.log(), "there are prefixes")


def test_log_for_journald(folder):
    """Under systemd each line begins with its priority."""
    shuntd = Shuntd(folder, env={"INVOCATION_ID": "0123456789abcdef"})
    shuntd.wait_for_log("listens")
    for line in shuntd.log().splitlines():
        expect(re.match(r"<[3-7]>\S", line), f"no prefix: {line}")


def test_log_for_the_journals_stream(folder):
    """JOURNAL_STREAM counts only while it names our standard error."""
    log = folder / "control.log"
    log.touch()
    status = log.stat()
    shuntd = Shuntd(folder, env={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
    shuntd.wait_for_log("<6>shuntd: version")
    shuntd.stop()
    log.write_text("")
    shuntd = Shuntd(folder, env={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"})
    shuntd.wait_for_log("listens")
    expect("<6>" not in shuntd.log(), "there are prefixes")


def test_log_level(folder):
    """--log-level warning leaves out the usual lines."""
    shuntd = Shuntd(folder, words=("--log-level", "warning"))
    shuntd.call("port.add", name="p", type="null")
    shuntd.stop()
    expect_equal(shuntd.log(), "")


def test_check(folder):
    """--check tells whether a configuration has errors, and starts nothing."""
    config = folder / "config.yaml"
    config.write_text(f"ports: {{vm1: {{type: vhost-user, socket: {folder}/vm1.sock}}}}")
    expect_equal(run("--check", "--config", config), (0, "OK\n", ""))
    expect_equal([path.name for path in folder.iterdir()], ["config.yaml"])
    config.write_text("ports:\n  vm1: {type: vhostuser}\n")
    expect_no_start(rf"{config}:2:15: ports\.vm1\.type: unknown type 'vhostuser'; there are: .*",
                    "--check", "--config", config)
    expect_no_start(rf"cannot read {folder}/absent: No such file or directory", "--check",
                    "--config", folder / "absent")
    expect_no_start(rf"cannot read {folder}: Is a directory", "--check", "--config", folder)


def test_start_with_errors(folder):
    """A configuration with an error keeps shuntd from starting, and leaves nothing behind."""
    config = folder / "config.yaml"
    config.write_text(f"ports:\n"
                      f"  vm1: {{type: vhost-user, socket: {folder}/vm1.sock}}\n"
                      f"  vm2: {{type: null, sockt: x}}\n")
    expect_no_start(rf"{config}:3:21: ports\.vm2: unknown key 'sockt'; there are: .*",
                    "--control", folder / "c.sock", "--config", config)
    config.write_text(f"ports:\n"
                      f"  vm1: {{type: vhost-user, socket: {folder}/vm1.sock}}\n"
                      f"  vm2: {{type: vhost-user, socket: {folder}/absent/vm2.sock}}\n")
    expect_no_start(r"add port vm2: socket path .*/absent/vm2\.sock: its folder does not exist.*",
                    "--control", folder / "c.sock", "--config", config, "--log-level", "error")
    expect_equal([path.name for path in folder.iterdir()], ["config.yaml"])
