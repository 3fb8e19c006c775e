"""One connection: what a client asks and is answered, and no wait for it without an end."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import h11
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config as Hypercorn
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import ConnectionState

from picoauth.http import Asgi
from picoauth.http1 import HEADERS, Http1, Requests, settings

log = logging.getLogger("picoauth.connections")


@dataclass(frozen=True)
class Limits:
    """Seconds that a client may keep us waiting (H-7), and that a stop may take (FG-1)."""

    keep_alive: float = 15
    header: float = 5
    """From a request's first byte on."""
    body: float = 12
    """More than the application's own limit, so that its 408 comes first."""
    write: float = 30
    """In which a client has to take 16 KiB of what is written, or the rest of it."""
    linger: float = 1
    """Until a client has taken the last answer."""
    settle: float = 0.1
    """What is underway when the server is told to stop is still let in."""
    grace: float = 6
    """Until requests are cut off."""
    exit: float = 9.5
    """Until the process ends, whatever hangs: more than settle, grace and twice linger."""
    pause: float = 1
    """Before the next try when no connection can be accepted."""


@dataclass(frozen=True)
class Shared:
    """What all connections of a server have in common."""

    limits: Limits
    config: Hypercorn = field(default_factory=settings)
    context: WorkerContext = field(default_factory=lambda: WorkerContext(None))


class Connection:
    """Reads what one client asks, and writes what the application answers."""

    def __init__(
        self,
        app: Asgi,
        shared: Shared,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        client: tuple[str, int] | None,
    ) -> None:
        self.app = app
        self.shared = shared
        self.limits = shared.limits
        self.reader = reader
        self.writer = writer
        self.client = client
        self.loop = asyncio.get_running_loop()
        self.requests = Requests(self.loop)
        self.protocol = self.speak()
        self.requests.whole = self.protocol.whole
        self.reading: asyncio.Future[None] = self.loop.create_future()
        self.idle = True
        self.begun = False
        """A part of the next request's header is there."""
        self.ended = False
        """Nothing is written any more; what still comes is dropped."""
        self.timer = self.loop.call_later(self.limits.keep_alive, self.late)

    def speak(self) -> Http1:
        app, context = cast("Any", self.app), cast("Any", self.shared.context)
        state = ConnectionState(cast("Any", {}))
        config, client = self.shared.config, self.client
        return Http1(app, config, context, self.requests, state, False, client, None, self.send)

    async def run(self) -> None:
        """Serve until one of the two sides has had enough, and the application has ended."""
        try:
            async with self.requests:
                self.reading = asyncio.create_task(self.read())
                await asyncio.wait([self.reading])
                await self.protocol.handle(Closed())
        finally:
            self.abort()

    async def read(self) -> None:
        try:
            while data := await self.reader.read(HEADERS):
                if not self.ended:
                    await self.protocol.handle(RawData(data))
                    self.watch_header()
        except OSError:
            pass  # the client left in its own way
        except Exception:
            log.exception("a connection failed")

    def watch_header(self) -> None:
        """From its first byte on a header has its own time, however many bytes follow."""
        if self.idle and not self.begun and self.protocol.connection.trailing_data[0]:
            self.begun = True
            self.within(self.limits.header)

    async def send(self, event: Event) -> None:
        """Do what the protocol asks: it is hypercorn's way to the client."""
        match event:
            case RawData():
                await self.write(event.data)
            case Updated():
                self.idle, self.begun = event.idle, False
                kept = self.untaken(self.limits.keep_alive)
                self.within(kept if event.idle else self.limits.body)
            case _:  # Closed
                self.finish()

    async def write(self, data: bytes) -> None:
        transport = self.writer.transport
        if self.ended:
            return
        if transport.is_closing():  # which reading doesn't see while a further request waits
            self.abort()
            return
        self.writer.write(data)
        if transport.get_write_buffer_size():  # else the client keeps up
            await self.taken()

    async def taken(self) -> None:
        """Wait for a client that takes what is written, however long that lasts."""
        size = self.writer.transport.get_write_buffer_size
        try:
            while True:
                before = size()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.limits.write):
                        return await self.writer.drain()
                if before - size() < HEADERS:
                    return self.abort()
        except ConnectionError:
            self.abort()

    def finish(self) -> None:
        """Half-close, so that a client which still sends gets the answer (RFC 9112, 9.6)."""
        if not self.ended:
            self.ended = True
            with suppress(OSError):
                self.writer.write_eof()
            self.within(self.untaken(self.limits.linger))

    def untaken(self, seconds: float) -> float:
        """So many seconds, or those that a client has who has to take the rest of an answer."""
        return self.limits.write if self.writer.transport.get_write_buffer_size() else seconds

    def within(self, seconds: float) -> None:
        """Give the client so long for what it has to do next."""
        self.timer.cancel()
        self.timer = self.loop.call_later(seconds, self.late)

    def late(self) -> None:
        """Time is up, unless it is the application that takes it."""
        sending = self.protocol.connection.their_state is h11.SEND_BODY
        if self.idle or self.ended or sending:
            self.abort()

    def abort(self) -> None:
        """Let go of the client. The application sees that it left."""
        self.timer.cancel()
        self.writer.transport.abort()
        self.reading.cancel()

    def stop(self) -> None:
        """End now if nothing is asked; else after the answer, as hypercorn's context says."""
        if self.idle and not self.begun:
            self.finish() if self.untaken(0) else self.abort()

    async def cut(self) -> None:
        """End now, whatever is asked."""
        if self.protocol.connection.our_state is h11.SEND_RESPONSE:
            await self.protocol.refuse(503)
        self.abort()
