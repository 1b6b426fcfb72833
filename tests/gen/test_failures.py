# SPDX-License-Identifier: BSD-3-Clause
"""What cannot be done is said in one line."""

import socket

from generator import ports, run, switch


def test_usage(_folder):
    """wrong usage: status 2, and a hint"""
    for words, part in [
        ((), "no port"),
        (("--bogus",), "unknown option '--bogus'"),
        (("--count",), "option '--count' needs a value"),
        (("here",), "unexpected 'here'"),
        (("--port", ""), "path of the socket is missing"),
        (("--port", "x" * 108), "more than 107 bytes"),
        (("--port", "/x,bogus"), "unknown key 'bogus'"),
        (("--port", "/x,role=boss"), "both, send, sink, echo"),
        (("--port", "/x,queues"), "needs a value"),
        (("--port", "/x,packed=1"), "takes no value"),
        (("--port", "/x,ring=100"), "power of two"),
        (("--port", "/x,queues=129"), "from 1 to 128"),
        (("--rate", "fast"), "such as 1.5M or 10Gbit"),
        (("--size", "64-"), "'64-' is no size"),
        (("--duration", "soon"), "must be a time"),
        (("--flows", "0"), "from 1 to"),
        (("--to", "here"), "must be an address"),
        (("--wait", "long"), "poll, sleep"),
        (("--port", "/x", "--port", "/y", "--to", "02:00:00:00:00:01"), "several ports"),
    ]:
        run(*words).fails(2, part, "shunt-gen --help")


def test_sizes_beyond_the_limit(_folder):
    """frames that cannot be"""
    run("--port", "/x", "--size", 65550).fails(1, "65550", "65549")
    run("--port", "/x", "--size", "59-100").fails(1, "59", "60 to 65549")
    run("--port", "/x", "--size", 71, "--gso", 1448).fails(1, "71", "72 to 65549")


def test_absent_socket(folder):
    """no socket: said at once"""
    run("--port", folder / "absent.sock", "--timeout", 60).fails(1, "absent.sock", "No such file")


def test_nobody_listens(folder):
    """a socket that nobody listens at"""
    path = folder / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    run("--port", path, "--timeout", "300ms").fails(1, "dead.sock", "Connection refused")


def test_nobody_connects(folder):
    """as a server, nobody comes"""
    run("--port", f"{folder / 'lonely.sock'},server", "--timeout", "100ms").fails(
        1, "lonely.sock", "waiting for a back-end")


def test_silent_peer(folder):
    """somebody listens who does not answer"""
    path = folder / "silent.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        run("--port", path, "--timeout", "100ms").fails(1, "silent.sock")


def test_lacking_queues(folder):
    """a back-end with fewer queues than were asked for"""
    _, paths = switch(folder, "a")
    run(*ports(paths, "queues=2")).fails(1, "a.sock", "1 queue pair, and 2 were asked for")


def test_lacking_feature(folder):
    """a back-end without segmentation: what is lacking is named"""
    _, paths = switch(folder, "a")
    run(*ports(paths), "--gso", 1448).fails(1, "a.sock", "lacks CSUM, HOST_TSO4")


def test_absent_cpu(folder):
    """a CPU that is not there"""
    run("--port", folder / "x.sock", "--cpu", 1023).fails(1, "--cpu")
