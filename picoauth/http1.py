"""HTTP/1.1 as hypercorn speaks it, without what could be read in two ways, and without HTTP/2."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import h11
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.config import Config as Hypercorn
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream

from picoauth.http import WHOLE, Asgi, Headers, Whole

log = logging.getLogger("picoauth.http1")

HEADERS = 16 * 1024
"""Bytes of a request's first line and headers, and of all that is read at once (H-7)."""
PIECES = 4096
"""In which a body may come: each of them takes time, however short it is (FL-4)."""
VERSIONS = {b"1.0", b"1.1"}

Put = Callable[[Any], Awaitable[None]]


def settings() -> Hypercorn:
    config = Hypercorn()
    config.h11_max_incomplete_size = HEADERS
    config.keep_alive_max_requests = 1_000_000
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    return config


class RefusedError(Exception):
    """A request that is not looked at."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Http1(H11Protocol):
    """HTTP/1.1 and 1.0, and nothing that two servers might read in two ways."""

    refused = False

    async def handle(self, event: Event) -> None:
        try:
            await super().handle(event)
        except RefusedError as refusal:
            await self.refuse(refusal.status)

    async def refuse(self, status: int) -> None:
        """Answer in the application's place, unless it has begun to, and close."""
        self.refused = True
        if self.connection.our_state is h11.SEND_RESPONSE:
            await self._send_error_response(status)
        await self.send(Closed())

    async def stream_send(self, event: StreamEvent) -> None:
        if not self.refused:
            await super().stream_send(event)

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer all at once, in one write: hypercorn's stream takes four events and two.

        Nothing is written where the client has left, or was told that it is not understood.
        """
        stream, machine = self.stream, self.connection
        if not isinstance(stream, HTTPStream) or machine.our_state is not h11.SEND_RESPONSE:
            return
        headers = [*headers, *self.config.response_headers("h11")]
        if self.keep_alive_requests >= self.config.keep_alive_max_requests:
            headers.append((b"connection", b"close"))
        events: list[Any] = [h11.Response(headers=headers, status_code=status)]
        if body and stream.scope["method"] != "HEAD":
            events.append(h11.Data(data=body))
        written = [machine.send(event) for event in [*events, h11.EndOfMessage()]]
        stream.state = ASGIHTTPState.CLOSED
        await self.send(RawData(b"".join(filter(None, written))))
        await self._maybe_recycle()

    async def _create_stream(self, request: h11.Request) -> None:
        """Begin to answer, as if no other protocol was asked for (RFC 9110, 7.8).

        hypercorn would speak WebSocket, and a handshake that it refuses would have no end.
        """
        headers = [each for each in request.headers if each[0] != b"upgrade"]
        if len(headers) < len(request.headers):
            method, target, version = request.method, request.target, request.http_version
            request = h11.Request(
                method=method, target=target, headers=headers, http_version=version
            )
        await super()._create_stream(request)

    async def _check_protocol(self, event: h11.Request) -> None:
        """In place of hypercorn's change to HTTP/2, which is ignored, too.

        A proxy that hands `Upgrade` on would else be a tunnel for requests that it never saw.
        Both framings at once are how requests are smuggled past a proxy, and HTTP/1.0 has no
        chunks (RFC 9112, 6.1 and 11.2).
        """
        if event.http_version not in VERSIONS:
            raise RefusedError(505)
        names = {name for name, _ in event.headers}
        framed_twice = b"content-length" in names or event.http_version == b"1.0"
        if b"transfer-encoding" in names and framed_twice:
            raise RefusedError(400)
        if len(event.target) + sum(len(n) + len(v) for n, v in event.headers) > HEADERS:
            raise RefusedError(431)


class Inbox(asyncio.Queue[Any]):
    """What has come of a request. Nothing waits for an application that has stopped reading.

    In hypercorn's own queue the end of a request waits for room, that is, for ever.
    """

    pieces = 0

    async def put(self, item: Any) -> None:
        self.pieces += bool(item.get("body"))
        if item["type"].endswith(".disconnect"):
            while not self.empty():
                self.get_nowait()
        elif self.pieces > PIECES:
            raise RefusedError(413)
        await super().put(item)


class Requests(TaskGroup):
    """Runs the application once for each request of a connection."""

    whole: Whole

    async def spawn_app(self, app: Any, config: Hypercorn, scope: Any, send: Any) -> Put:
        scope["extensions"][WHOLE] = self.whole
        inbox = Inbox(config.max_app_queue_size)
        self.spawn(answer, app, scope, inbox.get, send)
        return inbox.put


async def answer(app: Asgi, scope: Any, receive: Any, send: Any) -> None:
    """One request; whatever the application does, hypercorn learns that it is over."""
    try:
        await app(scope, receive, send)
    except Exception:
        log.exception("a request failed")
    finally:
        await send(None)
