"""The line by which tests and commands talk to an emulator: JSON objects, one a line.

Requests are `{"do": name, ...}`; each gets one reply, `{"ok": true, ...}` or
`{"ok": false, "error": text}`.
"""

import json
import selectors
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SOCKET_FILE = "control"

Request = dict[str, Any]
Handler = Callable[[Request], dict[str, Any]]


class ControlServer:
    """Listens at `path`; the owner of `selector` calls what it registers there (`key.data`)."""

    def __init__(
        self, path: Path, selector: selectors.BaseSelector, handlers: Mapping[str, Handler]
    ):
        self._selector, self._handlers = selector, handlers
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen()
        self._socket.setblocking(False)
        self._pending: dict[socket.socket, bytes] = {}
        selector.register(self._socket, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Hang up on everybody."""
        for connection in (*self._pending, self._socket):
            self._selector.unregister(connection)
            connection.close()
        self._pending.clear()

    def _accept(self) -> None:
        connection, _ = self._socket.accept()
        self._pending[connection] = b""
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._receive(connection))

    def _receive(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(65536)
            *lines, self._pending[connection] = (self._pending[connection] + data).split(b"\n")
            for line in lines:
                connection.sendall(json.dumps(self._answer(line)).encode() + b"\n")
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(connection)
            del self._pending[connection]
            connection.close()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            handler = self._handlers[request["do"]]
        except (ValueError, TypeError, KeyError):
            known = ", ".join(self._handlers)
            return {"ok": False, "error": f"request {line!r} has no known do; known: {known}"}
        try:
            return {"ok": True, **handler(request)}
        except (ValueError, TypeError, KeyError) as error:  # UserError is a ValueError
            return {"ok": False, "error": str(error)}


class ControlClient:
    """The other end. Raises OSError where there is no emulator (any more)."""

    def __init__(self, path: Path, timeout: float = 10.0):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """The reply to one request. Raises ValueError with the emulator's own words."""
        self._socket.sendall(json.dumps({"do": do, **request}).encode() + b"\n")
        line = self._lines.readline()
        if not line:
            raise ConnectionError("the emulator has hung up")
        reply = json.loads(line)
        if not reply.pop("ok"):
            raise ValueError(reply["error"])
        return reply

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()
