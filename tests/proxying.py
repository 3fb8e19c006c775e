"""A server in a thread, and a small reverse proxy before it, for tests that ask from outside."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from picoauth.app import Application
from picoauth.auth import Auth
from picoauth.banner import bound
from picoauth.client import UnixConnection
from picoauth.discovery import Found
from picoauth.listeners import open_sockets
from picoauth.serve import LIMITS, Server
from picoauth.settings import Config

DEADLINE = 30
"""Seconds after which a test gives up on a thread."""

Headers = dict[str, str]
Change = Callable[[Headers], None]
"""What a proxy does to the headers of a request, whose names are in lower case."""


class Stop:
    """Tells a server in another thread to stop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.event = asyncio.Event()

    def __call__(self) -> None:
        self.loop.call_soon_threadsafe(self.event.set)


@contextmanager
def running(config: Config, found: Sequence[Found] | None = None) -> Iterator[list[str]]:
    """A server by these settings, as `picoauth serve` runs it; answers where it listens."""
    ready = threading.Event()
    told: list[Any] = []

    async def serve() -> None:
        app = Application(Auth(config, found=found))
        with open_sockets(bound(config), {}) as sockets:
            async with app.running():
                stop, server = Stop(), Server(LIMITS)
                told.extend([stop, sockets.addresses()])
                ready.set()
                await server.accept_until(stop.event, app, sockets)
                await server.end()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(DEADLINE)
    stop, addresses = told
    try:
        yield addresses
    finally:
        stop()
        thread.join(DEADLINE)


@dataclass(frozen=True)
class Canned:
    """An answer of whoever is not the server."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""


class Proxy(ThreadingHTTPServer):
    """Passes requests on, changed, to a unix socket or a port; or answers them itself."""

    daemon_threads = True

    def __init__(self, change: Change) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.change = change
        self.target: str | int | Canned = Canned(502)

    def upstream(self) -> HTTPConnection:
        if isinstance(self.target, str):
            return UnixConnection(self.target)
        assert isinstance(self.target, int)
        return HTTPConnection("127.0.0.1", self.target)

    def handle_error(self, *_: Any) -> None:
        """Who asks may hang up, as who does not trust the certificate does."""


class Handler(BaseHTTPRequestHandler):
    """One request at a time."""

    server: Proxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.target
        if not isinstance(answer, Canned):
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.server.change(headers)
            upstream = self.server.upstream()
            upstream.request("POST", self.path, body=body, headers=headers)
            response = upstream.getresponse()
            answer = Canned(response.status, response.getheaders(), response.read())
            upstream.close()
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_: Any) -> None:
        """A test's output is for what fails."""


@contextmanager
def proxying(change: Change, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """A proxy on a port of its own, which does not know yet where to pass requests on to."""
    proxy = Proxy(change)
    if tls is not None:
        proxy.socket = tls.wrap_socket(proxy.socket, server_side=True)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join(DEADLINE)
