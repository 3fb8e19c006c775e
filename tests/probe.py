"""An application that shows how it was asked, and misbehaves on request; served by tests."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from picoauth.connections import Limits
from picoauth.http import WHOLE
from picoauth.listeners import Bind
from picoauth.serve import serve

BIG, LARGE = 50_000_000, 260_000
"""Bytes that no socket's buffers hold."""


class Probe:
    """What `serve` serves. `/` reads the body; the other paths are named for what they do.

    Answers in two messages, as ASGI has them, or by our server's extension as a `whole`.
    """

    def __init__(self, *, hang_at_exit: bool = False, whole: bool = False) -> None:
        self.asked: list[str] = []
        self.ended: list[str] = []
        self.release = asyncio.Event()
        self.hang_at_exit = hang_at_exit
        self.whole = whole

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield
        if self.hang_at_exit:
            time.sleep(60)  # noqa: ASYNC251 - a plugin that blocks everything

    def stopping(self) -> None:
        print("stopping", flush=True)  # noqa: T201 - a test waits for it

    def on(self, listener: str) -> Any:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            self.asked.append(scope["path"])
            try:
                status, body = await self.answer(listener, scope, receive)
                length = (b"content-length", b"%d" % len(body))
                if self.whole:
                    await scope["extensions"][WHOLE](status, [length], body)
                    return
                start = {"type": "http.response.start", "status": status, "headers": [length]}
                await send(start)
                if scope["path"] == "/slow":
                    await self.release.wait()
                if scope["path"] == "/begun":
                    await read(receive)
                await send({"type": "http.response.body", "body": body})
            finally:
                self.ended.append(scope["path"])

        return application

    async def answer(self, listener: str, scope: Any, receive: Any) -> tuple[int, bytes]:
        match scope["path"]:
            case "/early":
                return 413, b"too large"
            case "/begun":
                return 200, b""
            case "/big" | "/large" as path:
                return 200, b"x" * (BIG if path == "/big" else LARGE)
            case "/wrong":
                return 99, b""
            case "/release":
                self.release.set()
            case "/hang":
                await self.release.wait()
                return 200, b""
            case "/deaf":
                await self.deaf()
        size = await read(receive)
        shown = {"listener": listener, "size": size, "client": scope["client"]}
        return 200, json.dumps({**shown, "http": scope["http_version"]}).encode()

    async def deaf(self) -> None:
        """Not to be ended by being cancelled."""
        while not self.release.is_set():
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                continue


async def read(receive: Any) -> int:
    """The size of the body; -1 if the client left before it was complete."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return -1
        size += len(message["body"])
        more = message["more_body"]
    return size


def main(addresses: Sequence[str], limits: str, how: str) -> None:
    """Serve until a signal comes, telling on stdout what happens."""

    async def run() -> None:
        probe = Probe(hang_at_exit=how == "hangs", whole=how == "whole")
        bind = Bind(public=addresses)
        await serve(probe, bind, lambda up: print(*up, flush=True), limits=bounds)  # noqa: T201

    bounds = Limits(**{**asdict(Limits()), **json.loads(limits)})
    logging.basicConfig(format="%(message)s")
    asyncio.run(run())


if __name__ == "__main__":
    main(sys.argv[3:], sys.argv[1], sys.argv[2])
