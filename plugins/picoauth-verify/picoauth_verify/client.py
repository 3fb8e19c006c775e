"""Asks the server for a document: over TCP, with or without TLS, or over its unix socket."""

from __future__ import annotations

import http.client
import socket
import ssl
from urllib.parse import urlsplit

MOST = 64 * 2**20
"""Bytes of an answer; a list of a million ended sessions is shorter."""
OK = 200
LOST = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class Unanswered(Exception):
    """The server answered, but not with a document."""

    def __init__(self, status: int) -> None:
        super().__init__(f"it answers {status}")
        self.status = status


class UnixConnection(http.client.HTTPConnection):
    """HTTP on a unix socket (unix(7))."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Client:
    """One connection, kept open between questions. For one thread.

    It goes to `url` alone: no redirect is followed and no proxy of the environment is used.
    `host` is the name that the server is asked under, whatever way leads to it.
    `timeout` is in seconds, and for each step: to connect, to send, to receive something.
    """

    def __init__(self, url: str, host: str, timeout: float) -> None:
        self.headers = {"Host": host, "Cache-Control": "no-cache"}
        self.connection = connection(url, timeout)

    def get(self, path: str) -> bytes:
        """Raises OSError, HTTPException or Unanswered."""
        kept = self.connection.sock is not None
        try:
            return self.ask(path)
        except LOST:  # servers close connections that they kept for long enough
            if not kept:
                raise
        return self.ask(path)

    def ask(self, path: str) -> bytes:
        try:
            self.connection.request("GET", path, headers=self.headers)
            with self.connection.getresponse() as answer:
                body = answer.read(MOST + 1)
        except BaseException:
            self.close()  # what comes next on it would be the answer to this
            raise
        if answer.status != OK:
            raise Unanswered(answer.status)
        if len(body) > MOST:
            self.close()
            raise http.client.HTTPException("the answer is too long")
        return body

    def close(self) -> None:
        self.connection.close()


def connection(url: str, timeout: float) -> http.client.HTTPConnection:
    if url.startswith("unix:"):
        return UnixConnection(url.removeprefix("unix:"), timeout)
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "https":
        # A context of our own: some applications make the usual one trust everybody.
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
    return http.client.HTTPConnection(host, port, timeout=timeout)
