# SPDX-License-Identifier: BSD-3-Clause
"""A stand-in for shuntd's control socket, which says what a test wants it to say."""

import json
import socket
import threading


class Error(Exception):
    """What a method raises to answer with an error."""


class Raw(bytes):
    """What a method returns to be sent as it is, in place of a response. Without a line's end, the
    connection ends behind it."""


class Server:
    """Answers each method with the value, or what the function makes of the parameters, in `answers`.

    What was asked is in `requests`, as pairs of method and parameters.
    """

    def __init__(self, path, answers):
        self.path = str(path)
        self.answers = answers
        self.requests = []
        self.connections = []

    def __enter__(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Ends as a daemon does that is killed: the socket stays. More than once does no harm."""
        for one in (self.listener, *self.connections):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.listener.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        with connection:
            text = ""
            while data := connection.recv(65536):
                text += data.decode()
                try:
                    request, end = json.JSONDecoder().raw_decode(text)
                except ValueError:
                    continue
                text = text[end:]
                response = self.respond(request)
                try:
                    connection.sendall(response)
                except OSError:
                    return
                if not response.endswith(b"\n"):
                    return

    def respond(self, request):
        assert request["jsonrpc"] == "2.0"
        method, params = request["method"], request.get("params", {})
        self.requests.append((method, params))
        response = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            answer = self.answers[method]
            response["result"] = answer(params) if callable(answer) else answer
        except Error as error:
            response["error"] = {"code": -32000, "message": str(error)}
        if isinstance(response.get("result"), Raw):
            return response["result"]
        return json.dumps(response).encode() + b"\n"
