"""The least that a route can cost: a constant answer, by Quart or by plain ASGI.

`python bare.py quart|asgi ADDRESS` serves it by picoauth's own `serve`, so with the same
hypercorn and the same settings. The answer has the length of real claims.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from quart import Quart, Response

from picoauth.http import Asgi, Receive, Scope, Send
from picoauth.listeners import Bind
from picoauth.serve import serve

CLAIMS = {
    "iss": "http://127.0.0.1:8100",
    "sub": "0123456789abcdef01234567",
    "aud": "http://127.0.0.1:8100",
    "sid": "0123456789abcdef01234567",
    "amr": ["pwd"],
    "auth_time": 1800000000,
    "preferred_username": "ann",
    "iat": 1800000000,
    "exp": 1800000600,
    "jti": "0123456789abcdef01234567",
}
BODY = json.dumps(CLAIMS).encode()
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]


def quart_route() -> Any:
    app = Quart("bare")

    @app.post("/jwt/validate")
    @app.get("/health-check")
    async def route() -> Response:
        return Response(BODY, content_type="application/json")

    return app


async def asgi_route(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


class Bare:
    """What `picoauth.serve.serve` asks of an application."""

    def __init__(self, app: Any) -> None:
        self.app = app

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield

    def on(self, _: str) -> Asgi:
        app: Asgi = self.app
        return app

    def stopping(self) -> None:
        """Nothing to tell."""


def main() -> None:
    kind, address = sys.argv[1:]
    app = quart_route() if kind == "quart" else asgi_route

    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})

    bind = Bind(public=[address.replace("http://", "tcp:")], admin=[])
    asyncio.run(serve(Bare(lifespan), bind, print))


if __name__ == "__main__":
    main()
