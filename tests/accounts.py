"""A database that is watched, and accounts on it, for tests of what changes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from picoauth import Database, Embedded, Event, NoSettings, Plugin, Row, Statement, hookimpl
from picoauth.database import Args
from picoauth.errors import Unavailable
from picoauth.testing import Clock, Server, serving
from tests.factors import PIN, PLUGINS, join, step


class Watched:
    """A database that notes what it is asked for, and goes down when it is told to."""

    def __init__(self, inner: Database) -> None:
        self.inner = inner
        self.asked: list[str] = []
        self.fails_after_write = False
        self.down = False

    async def read(self, sql: str, args: Args = (), *, slow: bool = False) -> list[Row]:
        self.asked.append(sql)
        if self.down:
            raise Unavailable("the database is down")
        return await self.inner.read(sql, args, slow=slow)

    async def write(self, *statements: Statement) -> list[list[Row]]:
        self.asked += [statement.sql for statement in statements]
        rows = await self.inner.write(*statements)
        self.down = self.fails_after_write
        return rows

    async def close(self) -> None:
        await self.inner.close()


class WatchedPlugin(Plugin[NoSettings]):
    """Puts the database under watch."""

    @hookimpl
    def database(self, url: str) -> Database | None:
        return Watched(Embedded(self.auth.config.base / url))


KINDS: Mapping[str, type[Plugin[Any]]] = {**PLUGINS, "watched": WatchedPlugin}
SETTINGS = 'plugins = ["watched", "pin", "code", "spare", "key", "link"]\n'


@asynccontextmanager
async def accounts(
    folder: Path,
    settings: str = SETTINGS,
    *,
    clock: Clock | None = None,
    name: str = "ann",
    **more: type[Plugin[Any]],
) -> AsyncIterator[Server]:
    """A server on a watched database, where logging in costs no hashing; Ann is registered."""
    async with serving(folder, settings, plugins={**KINDS, **more}, clock=clock) as server:
        if await server.auth.users.find("username", name) is None:
            await join(server, name)
        yield server


def watched(server: Server) -> Watched:
    assert isinstance(server.auth.database, Watched)
    return server.auth.database


async def login(server: Server, username: str = "ann", **more: Any) -> dict[str, Any]:
    """Log in by pin; answers the tokens."""
    answer = await step(server, **{**PIN, "username": username, **more})
    assert 200 == answer.status_code, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


async def user_id(server: Server, username: str = "ann") -> str:
    user = await server.auth.users.find("username", username)
    assert user is not None
    return user.id


def heard(server: Server) -> list[Event]:
    """What is told from now on; complete after `server.auth.events.settle()`."""
    events: list[Event] = []

    async def listen(event: Event) -> None:
        events.append(event)

    server.auth.events.listeners = {"test": listen}
    return events
