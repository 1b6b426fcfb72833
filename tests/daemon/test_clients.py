# SPDX-License-Identifier: BSD-3-Clause
"""Many clients, slow ones, and those that do not read."""

import socket
import threading
import time

from shuntd import Failure, RpcError, Shuntd, expect, expect_equal, wait_until

MAX_CLIENTS = 64


def test_many_clients(folder):
    """As many clients as there may be are served at once; further ones are told, and closed."""
    shuntd = Shuntd(folder)
    clients = [shuntd.client] + [shuntd.connect() for _ in range(MAX_CLIENTS - 1)]
    for client in clients:
        client.call("version")
    for _ in range(6):
        with shuntd.connect() as refused:
            answer = refused.receive()
            expect("too many clients" in answer["error"]["message"], f"found {answer}")
            expect_equal(refused.receive(), None)
    for client in clients:
        client.call("version")
    clients[1].socket.close()

    def is_room():
        with shuntd.connect() as client:
            try:
                return bool(client.call("version"))
            except (RpcError, Failure, OSError):
                return False

    wait_until(is_room, "a place is free again")
    for client in clients[2:]:
        client.socket.close()


def test_clients_come_and_go(folder):
    """A thousand connections leave no descriptor behind."""
    shuntd = Shuntd(folder)
    with shuntd.unchanged():
        for number in range(1000):
            with shuntd.connect() as client:
                if number % 3:
                    client.send(client.request("version"))
                if number % 3 == 2:
                    client.receive()


def test_pipelining(folder):
    """A client may send far more than is answered at once, if it reads; and others are served."""
    shuntd = Shuntd(folder)
    for number in range(50):
        shuntd.call("port.add", name=f"n{number}", type="null")
    num = 2000
    with shuntd.connect() as client:
        text = "".join(client.request("port.show") for _ in range(num))
        sender = threading.Thread(target=client.send, args=(text,))
        sender.start()
        for number in range(1, num + 1):
            answer = client.receive()
            expect_equal((answer["id"], len(answer["result"])), (number, 50))
            if number % 500 == 0:
                begin = time.monotonic()
                shuntd.call("version")
                elapsed = time.monotonic() - begin
                expect(elapsed < 1, f"another client waited for {elapsed:.1f} s")
        sender.join()


def fill(client, text, seconds):
    """Sends the same again and again without reading, until nothing goes any more."""
    client.socket.settimeout(seconds)
    try:
        while True:
            client.send(text)
    except socket.timeout:
        return
    except (BrokenPipeError, ConnectionResetError):
        raise Failure("the client was dropped at once") from None


def test_client_that_does_not_read(folder):
    """It holds up nobody, costs a bounded amount of memory, and is dropped after a while."""
    shuntd = Shuntd(folder)
    for number in range(20):
        shuntd.call("port.add", name=f"n{number}", type="null")
    before = shuntd.memory()
    with shuntd.connect() as client:
        fill(client, client.request("port.show") * 100, 1)
        begin = time.monotonic()
        shuntd.call("version")
        elapsed = time.monotonic() - begin
        expect(elapsed < 1, f"another client waited for {elapsed:.1f} s")
        growth = shuntd.memory() - before
        expect(growth < 16 << 20, f"it costs {growth >> 20} MB")
        shuntd.wait_for_log("a client does not read its answers: it is disconnected")
        client.socket.settimeout(5)
        try:
            while client.socket.recv(1 << 20):
                pass
        except ConnectionResetError:
            pass
    shuntd.call("version")


def test_slow_reader(folder):
    """Who reads slowly, but reads, gets everything."""
    shuntd = Shuntd(folder)
    for number in range(20):
        shuntd.call("port.add", name=f"n{number}", type="null")
    num = 300
    with shuntd.connect() as client:
        client.send("".join(client.request("port.show") for _ in range(num)))
        size = len(str(shuntd.call("port.show"))) * num
        begin = time.monotonic()
        for number in range(1, num + 1):
            if number % 75 == 0:
                time.sleep(1)
            expect_equal(client.receive()["id"], number)
        print(f"    {size >> 10} kB in {time.monotonic() - begin:.1f} s")


def test_batch_that_asks_for_too_much(folder):
    """A batch whose answer would be huge costs its client the connection, and nothing else."""
    shuntd = Shuntd(folder)
    ports = {f"n{number}": {"type": "null", "bridge": f"br{number % 2}"} for number in range(1500)}
    shuntd.call("config.apply", tree={"bridges": {"br0": {}, "br1": {}}, "ports": ports})
    before = shuntd.memory()
    with shuntd.unchanged(), shuntd.connect() as client:
        batch = ",".join(client.request("port.show") for _ in range(64))
        client.send(f"[{batch}]")
        expect_equal(client.receive(), None)
    shuntd.wait_for_log("asks for more at once than an answer can hold")
    growth = shuntd.memory() - before
    expect(growth < 40 << 20, f"it costs {growth >> 20} MB")
