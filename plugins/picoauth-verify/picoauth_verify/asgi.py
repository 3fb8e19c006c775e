"""Lets requests and web sockets into an ASGI application, as FastAPI's and Quart's are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from picoauth_verify.access import Access
from picoauth_verify.bearer import admitted
from picoauth_verify.errors import Answer, Refused, Unreachable
from picoauth_verify.verifier import Verifier

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY_VIOLATION = 1008
"""The code that a web socket is closed with (RFC 6455, section 7.4.1)."""


class AsgiMiddleware:
    """Puts who asks into `scope["picoauth"]`, and the state of a request, or answers 401.

    With `required=False` a request without a token gets through, with None for who asks.
    A web socket is checked when it opens: `Verifier.still` checks it again.
    """

    def __init__(self, app: App, verifier: Verifier, *, required: bool = True) -> None:
        self.app = app
        self.verifier = verifier
        self.required = required

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        try:
            access = await self.access(scope)
        except (Refused, Unreachable) as error:
            if scope["type"] not in ("http", "websocket"):
                raise
            await refuse(error.answer, scope, receive, send)
            return
        state = {**scope.get("state", {}), "picoauth": access}
        await self.app({**scope, "picoauth": access, "state": state}, receive, send)

    async def access(self, scope: Scope) -> Access | None:
        if not self.verifier.ready:  # it waits, which must not stop the event loop
            await asyncio.to_thread(self.verifier.start)
        found = [value for name, value in scope.get("headers", ()) if name == b"authorization"]
        headers = [value.decode("latin-1") for value in found]
        return admitted(self.verifier, headers, required=self.required)


async def refuse(answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer; a web socket is not opened, and says why where the server can pass that on."""
    prefix = ""
    if scope["type"] == "websocket":
        await receive()
        prefix = "websocket."
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
    headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers]
    start = {"type": f"{prefix}http.response.start", "status": answer.status, "headers": headers}
    await send(start)
    await send({"type": f"{prefix}http.response.body", "body": answer.body})
