"""hypercorn in our own loop: one process, all listeners, and a stop that ends in time."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Protocol, cast

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config as Hypercorn

from picoauth.http import Asgi
from picoauth.listeners import Bind, Sockets, open_sockets
from picoauth.routes import Listener

log = logging.getLogger("picoauth.serve")

GRACE = 8.0
"""Seconds that requests in flight get to finish."""
KEEP_ALIVE = 15
"""Seconds that a connection may idle, or take over its headers (H-7)."""
HEADERS = 16 * 1024
"""Bytes of a request's headers."""


class Served(Protocol):
    """What `serve` needs of an application."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Everything behind the routes: entered before a socket listens, left after the last request."""
        ...

    def on(self, listener: Listener) -> Asgi:
        """The ASGI callable of one listener."""
        ...

    def stopping(self) -> None:
        """Told as soon as the server is asked to stop."""
        ...


async def serve(
    app: Served, bind: Bind, ready: Callable[[Sequence[str]], None], *, grace: float = GRACE
) -> None:
    """Listen and answer until SIGTERM or SIGINT; a second one ends at once. Raises ConfigError."""
    stop = asyncio.Event()
    with open_sockets(bind) as sockets, signals(app, stop):
        async with app.running():
            servers = [
                asyncio.create_task(listen(app.on(listener), socks, stop))
                for listener, socks in sockets.by_listener.items()
            ]
            ready(sockets.addresses())
            await until(stop, servers)
            await finish(servers, grace)


async def until(stop: asyncio.Event, servers: Sequence[asyncio.Task[None]]) -> None:
    """Wait for the signal, or for a server that died: half a server is none."""
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([stopped, *servers], return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    await stopped


async def finish(servers: Sequence[asyncio.Task[None]], grace: float) -> None:
    """Let requests end, but not for ever: hypercorn's own limit is void since Python 3.12.1."""
    _, pending = await asyncio.wait(servers, timeout=grace)
    for server in pending:
        log.warning("requests were cut off after %s s", grace)
        server.cancel()
    results = await asyncio.gather(*servers, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def listen(app: Asgi, sockets: Sequence[socket.socket], stop: asyncio.Event) -> None:
    await hypercorn_serve(cast("Any", app), settings(sockets), shutdown_trigger=stop.wait)


def settings(sockets: Sequence[socket.socket]) -> Hypercorn:
    config = Hypercorn()
    # hypercorn closes what it is given: it gets a copy, and the original removes the file.
    config.bind = [f"fd://{os.dup(sock.fileno())}" for sock in sockets]
    config.h11_max_incomplete_size = HEADERS
    config.keep_alive_timeout = KEEP_ALIVE
    config.read_timeout = KEEP_ALIVE
    config.keep_alive_max_requests = 1_000_000
    config.graceful_timeout = GRACE
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.errorlog.setLevel(logging.WARNING)
    return config


@contextmanager
def signals(app: Served, stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT: stop; once more: end now, with what is in flight."""
    loop = asyncio.get_running_loop()

    def received() -> None:
        if stop.is_set():
            os._exit(1)
        app.stopping()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


__all__ = ["Bind", "Served", "Sockets", "serve"]
