"""A database that is watched, and accounts on it, for tests of what changes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from picoauth import Database, Event, NoSettings, Plugin, Row, Statement, hookimpl
from picoauth.database import Args
from picoauth.errors import Unavailable
from picoauth.testing import Clock, Server, serving
from tests.factors import PIN, PLUGINS, join, step

ASKED: ContextVar[list[str]] = ContextVar("asked")


@contextmanager
def asking() -> Iterator[list[str]]:
    """The statements of what is done within, but not of what runs in the background."""
    asked: list[str] = []
    token = ASKED.set(asked)
    yield asked
    ASKED.reset(token)


class Watched:
    """A database that notes what it is asked for, and goes down when it is told to."""

    def __init__(self, inner: Database) -> None:
        self.inner = inner
        self.down = False
        self.down_after: str | None = None
        """Goes down once a write with this in one of its statements is committed."""

    async def read(self, sql: str, args: Args = (), *, slow: bool = False) -> list[Row]:
        ASKED.get([]).append(sql)
        if self.down:
            raise Unavailable("the database is down")
        return await self.inner.read(sql, args, slow=slow)

    async def write(self, *statements: Statement) -> list[list[Row]]:
        ASKED.get([]).extend(statement.sql for statement in statements)
        rows = await self.inner.write(*statements)
        if self.down_after and any(self.down_after in one.sql for one in statements):
            self.down = True
        return rows

    async def close(self) -> None:
        await self.inner.close()


class Cut(Watched):
    """A database on which each write fails, after so many of its statements."""

    after = 0
    written = 0

    async def write(self, *statements: Statement) -> list[list[Row]]:
        self.written = len(statements)
        failing = Statement("delete from jobs where name = ''", rows=1)
        return await self.inner.write(*statements[: self.after], failing, *statements[self.after :])


@contextmanager
def cut(server: Server) -> Iterator[Cut]:
    """Let every change of an account fail, and nothing that runs in the background."""
    database = server.auth.events.database
    server.auth.events.database = cut = Cut(database)
    yield cut
    server.auth.events.database = database


class WatchedPlugin(Plugin[NoSettings]):
    """Puts the database under watch."""

    @hookimpl
    def database(self, url: str) -> Database | None:
        return Watched(self.auth.embedded())


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
    """What is told from now on."""
    server.events.clear()
    return server.events.heard
