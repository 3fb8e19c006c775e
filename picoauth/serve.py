"""hypercorn in our own loop: one process, all listeners, and a stop that ends in time.

hypercorn's `serve` is not what listens here, but its HTTP/1.1 is: with `serve`, HTTP/2 cannot be
turned off, a stop leaves sockets listening that nobody answers, and since Python 3.12.1 it has
no end while a request hangs.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Protocol

from picoauth.connections import Connection, Limits, Shared
from picoauth.http import Asgi
from picoauth.http1 import HEADERS
from picoauth.listeners import Bind, Sockets, open_sockets
from picoauth.routes import Listener
from picoauth.socketfiles import BACKLOG

log = logging.getLogger("picoauth.serve")

LIMITS = Limits()
STOPS = (signal.SIGTERM, signal.SIGINT)


class Served(Protocol):
    """What `serve` needs of an application."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Everything behind the routes: entered before the first request, left after the last."""
        ...

    def on(self, listener: Listener) -> Asgi:
        """The ASGI callable of one listener."""
        ...

    def stopping(self) -> None:
        """Told as soon as the server is asked to stop."""
        ...


async def serve(
    app: Served, bind: Bind, ready: Callable[[Sequence[str]], None], *, limits: Limits = LIMITS
) -> None:
    """Listen and answer until SIGTERM or SIGINT; a second one ends at once. Raises ConfigError.

    Who connects while the application starts waits for it, as with a socket of systemd.
    """
    stop = asyncio.Event()
    with open_sockets(bind) as sockets, signals(app, stop, limits):
        async with app.running():
            server = Server(limits)
            try:
                ready(sockets.addresses())
                await server.accept_until(stop, app, sockets)
                sockets.close()
                await server.finish()
            finally:
                await server.end()


@contextmanager
def signals(app: Served, stop: asyncio.Event, limits: Limits) -> Iterator[None]:
    """SIGTERM and SIGINT: stop. The next one, or the alarm, is the system's: it always ends."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in STOPS}

    def received() -> None:
        for number in STOPS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, limits.exit)
        app.stopping()
        stop.set()

    for number in STOPS:
        loop.add_signal_handler(number, received)
    try:
        yield
    finally:
        for number in STOPS:
            if loop.remove_signal_handler(number):
                signal.signal(number, before[number])


class Server:
    """Accepts connections, and ends them."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.shared = Shared(limits)
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        """Of the connections, and of those that are being made of what was accepted."""
        self.pauses: dict[socket.socket, asyncio.TimerHandle] = {}

    async def accept_until(self, stop: asyncio.Event, app: Served, sockets: Sockets) -> None:
        """Accept on every socket."""
        listening = [
            (app.on(name), sock) for name, some in sockets.by_listener.items() for sock in some
        ]
        try:
            for asgi, sock in listening:
                sock.setblocking(False)
                self.listen(asgi, sock)
            await stop.wait()
            for asgi, sock in listening:  # who waits in the system's queue has asked already
                all(self.accept(asgi, sock) for _ in range(BACKLOG))
        finally:
            for pause in self.pauses.values():
                pause.cancel()
            for _, sock in listening:
                self.loop.remove_reader(sock)

    def listen(self, app: Asgi, sock: socket.socket) -> None:
        self.loop.add_reader(sock, self.accept, app, sock)

    def accept(self, app: Asgi, sock: socket.socket) -> bool:
        """Take one who waits, if there is one. No stop comes in between and loses a client."""
        try:
            accepted, peer = sock.accept()
        except BlockingIOError:
            return False  # another process was faster
        except OSError as error:  # no more files: connections that end make room
            log.warning("no connection can be accepted: %s", error.strerror)
            self.loop.remove_reader(sock)
            self.pauses[sock] = self.loop.call_later(self.limits.pause, self.listen, app, sock)
            return False
        client = None if sock.family == socket.AF_UNIX else peer[:2]
        task = self.loop.create_task(self.connect(app, accepted, client))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return True

    async def connect(
        self, app: Asgi, accepted: socket.socket, client: tuple[str, int] | None
    ) -> None:
        reader, writer = await asyncio.open_connection(sock=accepted, limit=HEADERS)
        connection = Connection(app, self.shared, reader, writer, client)
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)

    async def finish(self) -> None:
        """Let what is in flight end, but not for ever. Answers say from now on that they close."""
        self.shared.config.keep_alive_max_requests = 0
        await self.shared.context.terminated.set()
        await asyncio.sleep(self.limits.settle)
        for connection in list(self.connections):
            connection.stop()
        await self.ended(self.limits.grace)
        if self.tasks:
            log.warning("requests were cut off: %s", len(self.tasks))

    async def end(self) -> None:
        """Let go of every client, then of requests that do not mind."""
        for connection in list(self.connections):
            await connection.cut()
        await self.ended(self.limits.linger)
        for task in self.tasks:
            task.cancel()
        await self.ended(self.limits.linger)

    async def ended(self, seconds: float) -> None:
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=seconds)


__all__ = ["Bind", "Served", "Sockets", "serve"]
