"""A keep-alive HTTP/1.1 client on a plain socket: cheap, so that the load leaves the cores alone."""

from __future__ import annotations

import json
import re
import socket
from typing import Any, NamedTuple

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
PATIENCE = 60
"""Seconds after which an answer that does not come is an error."""


class Answer(NamedTuple):
    status: int
    body: bytes
    head: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


def message(
    method: str, path: str, body: Any = None, token: str | None = None, *headers: str
) -> bytes:
    """A request to the letter, made ahead of the time that is measured; `body` goes as JSON."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", f"content-length: {len(content)}"]
    lines += ["content-type: application/json"] if content else []
    lines += [f"authorization: Bearer {token}"] if token else []
    return "\r\n".join([*lines, *headers, "", ""]).encode() + content


class Client:
    """One connection to `unix:/path` or `http://127.0.0.1:port`."""

    def __init__(self, address: str) -> None:
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            where: Any = address[5:]
        else:
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            host, _, port = address.removeprefix("http://").rpartition(":")
            where = (host, int(port))
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.connect(where)
        except OSError:
            self.socket.close()
            raise
        self.rest = b""

    def send(self, raw: bytes) -> None:
        self.socket.sendall(raw)

    def receive(self) -> Answer:
        """The next answer. Raises ConnectionError where the server hangs up."""
        while (end := self.rest.find(b"\r\n\r\n")) < 0:
            self.more()
        head, length = self.rest[:end], LENGTH.search(self.rest, 0, end)
        whole = end + 4 + (int(length[1]) if length else 0)
        while len(self.rest) < whole:
            self.more()
        body, self.rest = self.rest[end + 4 : whole], self.rest[whole:]
        return Answer(int(head[9:12]), body, head)

    def more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server hung up")
        self.rest += data

    def ask(
        self, method: str, path: str, body: Any = None, token: str | None = None, *, want: int = 200
    ) -> Any:
        """Send, and read the JSON of an answer that must have the status `want`."""
        self.send(message(method, path, body, token))
        answer = self.receive()
        if answer.status != want:
            raise RuntimeError(f"{method} {path} answers {answer.status}: {answer.body!r}")
        return answer.json()

    def close(self) -> None:
        self.socket.close()
