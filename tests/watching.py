"""What a request makes the server do: for tests of answers that tell no account from another."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import pytest

from picoauth import Statement
from picoauth.testing import Server

ASKING = ContextVar("ASKING", default=False)
"""Set within a request, and so not where the server works in the background."""


@dataclass
class Seen:
    """The statements that one request reads and writes by, and its answer."""

    answer: Any = None
    reads: list[str] = field(default_factory=list)
    writes: list[Sequence[tuple[str, int]]] = field(default_factory=list)
    """Each statement with the bytes of what is binary in it."""


class Watch:
    """Takes note of what goes to the database, all of it real."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        self.seen = Seen()
        database = server.auth.database
        read, write = database.read, database.write

        async def reading(sql: str, *args: Any, **more: Any) -> Any:
            if ASKING.get():
                self.seen.reads.append(sql)
            return await read(sql, *args, **more)

        async def writing(*statements: Statement) -> Any:
            if ASKING.get():
                self.seen.writes.append([(one.sql, size(one)) for one in statements])
            return await write(*statements)

        monkeypatch.setattr(database, "read", reading)
        monkeypatch.setattr(database, "write", writing)

    async def post(self, path: str, body: Any) -> Seen:
        """A request; of random members of the answer the length stays."""
        self.seen = seen = Seen()
        token = ASKING.set(True)
        answer = await self.server.post(path, body)
        ASKING.reset(token)
        headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
        members = {name: shape(value) for name, value in answer.json().items()}
        seen.answer = (answer.status_code, members, headers)
        return seen


def size(statement: Statement) -> int:
    return sum(len(value) for value in statement.args if isinstance(value, bytes))


def shape(value: Any) -> Any:
    return len(value) if isinstance(value, str) and " " not in value else value
