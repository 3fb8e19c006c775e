"""A sender that does what a test wants, and kernels that have it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from picoauth import Auth, NoSettings, Plugin, Sender, hookimpl, parse
from picoauth.database import Row
from picoauth.testing import Clock, offer

END = 86400
"""Seconds after which a message is of no use, unless a test says so."""


async def well() -> None:
    """What a sender that has no trouble does beside keeping what it got."""


class PostPlugin(Plugin[NoSettings]):
    """Sends the kinds `post` and `news`, and keeps what it got."""

    def __init__(self, auth: Auth, name: str, settings: NoSettings) -> None:
        super().__init__(auth, name, settings)
        self.got: list[bytes] = []
        self.act: Callable[[], Awaitable[Any]] = well

    @hookimpl
    def senders(self) -> Mapping[str, Sender]:
        return {"post": self.send, "news": self.keep}

    async def send(self, payload: bytes) -> None:
        self.got.append(payload)
        await self.act()

    async def keep(self, payload: bytes) -> None:
        self.got.append(payload)


class Held:
    """What hangs until a test lets go of it."""

    def __init__(self) -> None:
        self.begun, self.free = asyncio.Event(), asyncio.Event()
        self.after: Callable[[], Awaitable[Any]] = well

    async def __call__(self) -> None:
        self.begun.set()
        await self.free.wait()
        await self.after()


class Post:
    """A started kernel, without background work, with the plugin."""

    def __init__(self, auth: Auth, clock: Clock) -> None:
        self.auth = auth
        self.clock = clock
        self.plugin = auth.plugin(PostPlugin)

    async def queue(
        self, *payloads: bytes, kind: str = "post", life: int = END, user_id: str | None = None
    ) -> None:
        """Commit messages, each with its own text for an id."""
        end = self.auth.now() + life
        for payload in payloads:
            name = f"{kind} {len(await self.auth.outbox.list())}"
            statement = self.auth.outbox.queuing(
                kind, name, payload, about="a test", expires_at=end, user_id=user_id
            )
            await self.auth.database.write(statement)

    async def row(self, columns: str) -> Row:
        """Of the only message."""
        [row] = await self.auth.database.read(f"select {columns} from outbox")
        return row

    async def flush(self) -> list[bytes]:
        """What was sent so far, with what is due."""
        await self.auth.outbox.flush()
        return self.plugin.got


@asynccontextmanager
async def posting(folder: Path, clock: Clock | None = None) -> AsyncIterator[Post]:
    """A kernel on the files of a folder; another one of the same folder is another process."""
    time = clock or Clock()
    config = parse('plugins = ["post"]', folder)
    auth = Auth(config, clock=time, monotonic=time, found=[offer("post", PostPlugin)])
    async with auth.started():
        yield Post(auth, time)
