# SPDX-License-Identifier: BSD-3-Clause
"""JSON-RPC on the control socket, as clients may send it."""

import json
import random

from shuntd import Shuntd, expect, expect_equal

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602


def request(number, method="version", **more):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, **more})


def expect_error(answer, code, number=None):
    expect_equal(answer["id"], number)
    expect_equal(answer["error"]["code"], code)
    expect("\n" not in answer["error"]["message"], "the message has several lines")


def test_split_writes(folder):
    """A request may come byte by byte."""
    shuntd = Shuntd(folder)
    for byte in request(1):
        shuntd.client.send(byte)
    expect_equal(shuntd.client.receive()["id"], 1)


def test_several_requests_in_one_write(folder):
    """Requests may come back to back, or with white space between, and are answered in order."""
    client = Shuntd(folder).client
    client.send(request(1) + request(2) + "\n\n \t" + request("three") + "\r\n" + request(4)[:10])
    expect_equal([client.receive()["id"] for _ in range(3)], [1, 2, "three"])
    client.send(request(4)[10:])
    expect_equal(client.receive()["id"], 4)


def test_notifications(folder):
    """A request without id is done, and not answered."""
    client = Shuntd(folder).client
    client.send(json.dumps({"jsonrpc": "2.0", "method": "port.add",
                            "params": {"name": "p", "type": "null"}}))
    client.send(json.dumps({"jsonrpc": "2.0", "method": "no.such"}))
    expect_equal([port["name"] for port in client.call("port.show")], ["p"])


def test_batch(folder):
    """A batch gets its answers in one array; one of notifications gets none."""
    client = Shuntd(folder).client
    client.send(f'[{request(1)}, {request(2, "no.such")}, 3, '
                f'{{"jsonrpc": "2.0", "method": "version"}}, {request(4)}]')
    answers = client.receive()
    expect_equal([answer["id"] for answer in answers], [1, 2, None, 4])
    expect_error(answers[1], METHOD_NOT_FOUND, 2)
    expect_error(answers[2], INVALID_REQUEST)
    client.send('[{"jsonrpc": "2.0", "method": "version"}]' + "[]" + request(5))
    expect_error(client.receive(), INVALID_REQUEST)
    expect_equal(client.receive()["id"], 5)


def test_errors(folder):
    """Each kind of mistake has its code; the connection stands."""
    client = Shuntd(folder).client
    for text, code, number in (
            ('{"jsonrpc": "2.0", "id": 1, "method": }', PARSE_ERROR, None),
            ('{"jsonrpc": "1.1", "id": 1, "method": "version"}', INVALID_REQUEST, 1),
            ('{"id": 2, "method": "version"}', INVALID_REQUEST, 2),
            ('{"jsonrpc": "2.0", "id": 3}', INVALID_REQUEST, 3),
            (request(4, "no.such"), METHOD_NOT_FOUND, 4),
            (request(5, params=["x"]), INVALID_PARAMS, 5),
            (request(6, params={"x": 1}), INVALID_PARAMS, 6),
            (request(7, "port.del"), INVALID_PARAMS, 7),
            (request(8, "port.del", params={"name": 1}), INVALID_PARAMS, 8),
            (request(9, "port.del", params={"name": "p"}), -32000, 9)):
        client.send(text)
        expect_error(client.receive(), code, number)
    client.call("version")


def test_garbage(folder):
    """What is no request is answered with an error, and the connection closed."""
    shuntd = Shuntd(folder)
    with shuntd.unchanged():
        for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"42 ", b"\x16\x03\x01\x02\x00",
                        b"\xff" * 70000, b"}"):
            with shuntd.connect() as client:
                client.send(garbage)
                expect_error(client.receive(), PARSE_ERROR)
                expect_equal(receive_end(client), None)
        shuntd.call("version")


def receive_end(client):
    """Closing with unread bytes resets the connection: that is an end, too."""
    try:
        return client.receive()
    except ConnectionResetError:
        return None


def test_oversize(folder):
    """A request over 1 MB is refused without waiting for its end."""
    shuntd = Shuntd(folder)
    with shuntd.unchanged():
        with shuntd.connect() as client:
            try:
                client.send('{"jsonrpc": "2.0", "id": 1, "method": "' + "x" * 1500000)
            except (BrokenPipeError, ConnectionResetError):
                pass
            expect_error(client.receive(), INVALID_REQUEST)
            expect_equal(receive_end(client), None)
        # One that just fits is a request like any other.
        long = request(1, "x" * ((1 << 20) - len(request(1, ""))))
        expect_equal(len(long), 1 << 20)
        with shuntd.connect() as client:
            client.send(long)
            expect_error(client.receive(), METHOD_NOT_FOUND, 1)


def test_half_close(folder):
    """Who has said all, and shuts its side, still gets the answers: as `nc -N` does."""
    shuntd = Shuntd(folder)
    with shuntd.connect() as client:
        client.send("".join(request(number) for number in range(500)))
        client.socket.shutdown(1)
        expect_equal([client.receive()["id"] for _ in range(500)], list(range(500)))
        expect_equal(client.receive(), None)


def test_half_a_request(folder):
    """A client that goes away in the middle of a request leaves nothing."""
    shuntd = Shuntd(folder)
    with shuntd.unchanged():
        for end in range(1, 40, 3):
            with shuntd.connect() as client:
                client.send(request(1)[:end])


def test_unusual_names(folder):
    """Messages that tell of strange bytes stay one line of JSON."""
    shuntd = Shuntd(folder)
    for name in ("\n", "\x1b[31m", "é" * 200, "\u2028", "a" * 100000, "€" * 30000):
        shuntd.refused("port.add", r"[^\x00-\x1f\x7f]*", -32000 if len(name.encode()) <= 63 and
                       name not in ("\n", "\x1b[31m") else INVALID_PARAMS, name=name, type="nil")


def test_random_bytes(folder):
    """Whatever is sent, the next client is served."""
    shuntd = Shuntd(folder)
    chance = random.Random(1)
    pieces = [b'{"jsonrpc":"2.0","id":1,"method":"', b'"', b"[", b"]", b"{", b"}", b"\\", b",", b":",
              b"version", b"port.add", b'"params":', b"\x00", b"\xc3", b" ", b"1e9"]
    with shuntd.unchanged():
        for _ in range(300):
            with shuntd.connect() as client:
                text = b"".join(chance.choice(pieces) for _ in range(chance.randrange(1, 60)))
                client.send(text)
        shuntd.call("version")


def test_methods(folder):
    """The list of methods tells what each takes, and each can be called."""
    shuntd = Shuntd(folder)
    methods = {method["name"]: method for method in shuntd.call("methods")}
    expect_equal(sorted(methods), sorted([
        "port.add", "port.del", "port.set", "port.show", "port.types", "bridge.add", "bridge.del",
        "bridge.set", "bridge.show", "fdb.show", "fdb.add", "fdb.del", "fdb.flush", "worker.show",
        "worker.set", "stats.show", "config.show", "config.check", "config.apply", "version",
        "methods"]))
    for method in methods.values():
        expect(method["help"], f"{method['name']} has no help")
        for param in method["params"]:
            expect(param["help"], f"{method['name']}: {param['key']} has no help")
    for name, method in methods.items():
        if name.endswith(".show") or name in ("version", "port.types"):
            shuntd.call(name)
        elif any(param["required"] for param in method["params"]):
            shuntd.refused(name, r"'(name|mac)' is missing: .*", INVALID_PARAMS)


def test_version(folder):
    """`version` tells which process it is, and since when it runs."""
    shuntd = Shuntd(folder)
    version = shuntd.call("version")
    expect_equal(version["pid"], shuntd.process.pid)
    expect(0 <= version["uptime"] < 60, f"up for {version['uptime']} s")
