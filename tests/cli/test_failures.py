# SPDX-License-Identifier: BSD-3-Clause
"""What goes wrong behind the words: on the socket, in the daemon, with files and output."""

import os
import socket

from server import Error, Raw, Server
from shuntctl import Skip, expect, expect_equal, run

NOBODY = 65534


def fail(message):
    def answer(_params):
        raise Error(message)
    return answer


def raw(text):
    return lambda _params: Raw(text)


def test_errors_of_the_daemon(folder):
    """the daemon's line is printed, with status 1, whatever is in it"""
    path = folder / "control"
    with Server(path, {"port.del": fail("there is no port 'x'")}):
        expect_equal(run("port", "del", "x", control=path).error(1), "shuntctl: there is no port 'x'\n")
        run("-j", "port", "del", "x", control=path).error(1, "there is no port 'x'")
    path.unlink()
    with Server(path, {"port.del": fail("two\nlines \x1b[31m" + 5000 * "x")}):
        run("port", "del", "x", control=path).error(1, r"two\x0alines \x1b[31mxxx")


def test_no_daemon(folder):
    """where nobody listens, the line says what to do"""
    stale, file = folder / "stale", folder / "file"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(stale))
    file.touch()
    for path in (folder / "absent", folder / "absent" / "control", file / "control", stale, file):
        line = run("port", control=path).error(1)
        expect_equal(line, f"shuntctl: no shuntd listens on {path}: start one with 'shuntd', or name "
                           "its socket with --control PATH\n")
    run("port", control=folder).error(1, str(folder))


def test_permission(folder):
    """who may not open the socket is told so"""
    if os.geteuid() != 0:
        raise Skip("needs root, to become another user")
    path = folder / "control"
    folder.chmod(0o755)
    with Server(path, {}):
        path.chmod(0o660)
        try:
            result = run("port", control=path, user=NOBODY)
        except PermissionError as error:
            raise Skip(f"another user may not run it: {error}") from error
        result.error(1, f"permission denied on {path}", "sudo")


def test_broken_answers(folder):
    """what is no answer is told, not believed"""
    answers = {
        b"": "closed the connection",
        b'{"jsonrpc": "2.0", "id": 1, "resu': "closed the connection",
        b"HTTP/1.1 400 Bad Request\r\n": "is not shuntd",
        b"[]\n": "is not shuntd",
        b'{"jsonrpc": "2.0", "id": 7, "result": []}\n': "is not shuntd",
        b'{"jsonrpc": "2.0", "id": 1}\n': "is not shuntd",
        b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "no"}}': "no",
        b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32600}}': "is not shuntd",
    }
    for number, (text, part) in enumerate(answers.items()):
        path = folder / str(number)
        with Server(path, {"port.show": raw(text)}):
            run("port", control=path).error(1, part)


def test_refused_client(folder):
    """a daemon that hangs up at once has its reason heard"""
    path = folder / "control"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        if os.fork() == 0:
            connection, _ = listener.accept()
            connection.send(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"full"}}\n')
            os._exit(0)
        run("port", control=path).error(1, "full")
        os.wait()


def test_large_answer(folder):
    """an answer may be of any size"""
    path = folder / "control"
    port = {"name": "x", "type": "null", "features": ["a feature with a name"] * 100000}
    with Server(path, {"port.show": [port] * 5}):
        expect_equal(len(run("port", control=path).ok().splitlines()), 6)


CONFIG = "bridges:\n  br0: {}  # ü\n"


def test_configuration_files(folder):
    """a configuration is sent as text, from a file or stdin"""
    path, file = folder / "control", folder / "shunt.yaml"
    file.write_text(CONFIG)
    with Server(path, {"config.check": {}, "config.apply": {"steps": []}}) as server:
        expect_equal(run("config", "check", file, control=path).ok(), f"{file} has no errors.\n")
        found = run("config", "apply", "-", "--dry-run", control=path, stdin=CONFIG.encode()).ok()
        expect_equal(found, "There is nothing to change.\n")
        expect_equal(server.requests, [
            ("config.check", {"file": str(file), "text": CONFIG}),
            ("config.apply", {"file": "<stdin>", "text": CONFIG, "dry_run": True}),
        ])
    path.unlink()
    with Server(path, {"config.apply": {"steps": ["add port vm1", "set workers"]}}):
        expect_equal(run("config", "apply", file, control=path).ok(), "add port vm1\nset workers\n")
        expect_equal(run("config", "apply", file, "--dry-run", control=path).ok(),
                     "add port vm1\nset workers\nThis was a dry run: nothing was changed.\n")


def test_configuration_files_that_are_none(folder):
    """a file that cannot be a configuration is not sent"""
    path, file = folder / "control", folder / "shunt.yaml"
    with Server(path, {}) as server:
        run("config", "check", file, control=path).error(1, f"cannot read {file}: No such file")
        run("config", "check", folder, control=path).error(1, f"cannot read {folder}: Is a directory")
        for text in (b"a: \xff\n", b"a: \0\n"):
            file.write_bytes(text)
            run("config", "check", file, control=path).error(1, f"cannot read {file}: it is not text")
        run("config", "apply", "/dev/zero", control=path).error(1, "longer than 1 MiB")
        expect_equal(server.requests, [])


def test_output_that_is_lost(folder):
    """an answer that cannot be written is an error"""
    path = folder / "control"
    with Server(path, {"port.show": []}), open("/dev/full", "wb") as full:
        for option in ((), ("-j",)):
            result = run(*option, "port", control=path, stdout=full)
            expect(result.status == 1 and "cannot write the output: No space" in result.err, result)
