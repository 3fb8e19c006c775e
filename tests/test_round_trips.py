"""How often a database far away is asked, one time after another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from picoauth import Database, Row, Statement
from picoauth.testing import Server

ASKED = ContextVar("asked", default=False)
"""Set in the task of the test, and in those that it starts: not for work in the background."""


class Far:
    """A database to which every way takes the same time: what sets out together counts once."""

    def __init__(self, inner: Database) -> None:
        self.inner = inner
        self.trips = self.asked = 0
        self.boarding: asyncio.Task[None] | None = None

    async def travel(self) -> None:
        """Go with those who set out now; who comes later takes the next trip."""
        if not ASKED.get():
            return
        self.asked += 1
        if self.boarding is None:
            self.trips += 1
            self.boarding = asyncio.create_task(self.leave())
        await asyncio.shield(self.boarding)

    async def leave(self) -> None:
        for _ in range(20):  # turns of the loop, in which others may set out
            await asyncio.sleep(0)
        self.boarding = None

    async def read(self, sql: str, args: Sequence[Any] = (), *, slow: bool = False) -> list[Row]:
        await self.travel()
        return await self.inner.read(sql, args, slow=slow)

    async def write(self, *statements: Statement) -> list[list[Row]]:
        await self.travel()
        return await self.inner.write(*statements)

    async def close(self) -> None:
        await self.inner.close()


@contextmanager
def far(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    """All parts of the server ask it by way of one `Far`."""
    database = server.auth.database
    counting = Far(type("Inner", (), {"read": database.read, "write": database.write})())
    with monkeypatch.context() as patch:
        patch.setattr(database, "read", counting.read)
        patch.setattr(database, "write", counting.write)
        token = ASKED.set(True)
        yield counting
        ASKED.reset(token)


async def test_login(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The count of tries, with a look at whoever has the name; and the commit."""
    await server.register()
    with far(server, monkeypatch) as counting:
        await server.login()
    assert 2 == counting.trips


async def test_login_of_nobody(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password takes as many as a name that is nobody's (P-8)."""
    await server.register()
    trips = []
    for username in ("ann", "bob"):
        with far(server, monkeypatch) as counting:
            answer = await server.post(
                "/auth/login", json={"username": username, "password": "not hers, certainly"}
            )
            assert (401, "invalid_credentials") == (answer.status_code, answer.json()["code"])
        trips.append((counting.trips, counting.asked))
    assert [(1, 1)] * 2 == trips


async def test_refresh_and_validation(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refresh takes two; what an access token is worth is known without any (rule 5)."""
    await server.register()
    tokens = await server.login()
    server.clock.advance(60)
    with far(server, monkeypatch) as counting:
        answer = await server.post("/jwt/validate", token=tokens["access_token"])
        assert (200, 0) == (answer.status_code, counting.trips)
        answer = await server.post("/jwt/refresh", token=tokens["refresh_token"])
        assert (200, 2) == (answer.status_code, counting.trips)
