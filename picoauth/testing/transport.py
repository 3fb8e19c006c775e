"""How a test's client reaches an application whose answer may have no end."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import httpx

from picoauth.http import Asgi


class HangingUp(httpx.AsyncBaseTransport):
    """Speaks ASGI. Of a stream, an answer of no known length, it hears one part and hangs up."""

    def __init__(self, app: Asgi) -> None:
        self.app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call = Call(await request.aread())
        task = asyncio.ensure_future(self.app(scope(request), call.receive, call.send))
        heard = asyncio.ensure_future(call.heard.wait())
        await asyncio.wait([task, heard], return_when=asyncio.FIRST_COMPLETED)
        for each in (task, heard):
            each.cancel()
        await asyncio.wait([task, heard])
        return httpx.Response(call.status, headers=call.headers, content=call.body)


class Call:
    """One request, and what was heard of its answer."""

    def __init__(self, sent: bytes) -> None:
        self.sent: bytes | None = sent
        self.heard = asyncio.Event()
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""

    async def receive(self) -> MutableMapping[str, Any]:
        if self.sent is None:
            await self.heard.wait()
            return {"type": "http.disconnect"}
        sent, self.sent = self.sent, None
        return {"type": "http.request", "body": sent, "more_body": False}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
            return
        self.body += message.get("body", b"")
        if self.body and b"content-length" not in dict(self.headers):
            self.heard.set()


def scope(request: httpx.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "server": (request.url.host, request.url.port),
        "client": ("127.0.0.1", 123),
        "root_path": "",
    }
