"""What contracts share: a kernel on a temporary file, and how statements are committed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar

import pytest
import pytest_asyncio

from picoauth.auth import Auth
from picoauth.config import parse
from picoauth.database import Statement
from picoauth.errors import Conflict
from picoauth.testing.server import Clock

T = TypeVar("T")

NOTHING = Statement("delete from users where id = 'nobody'", rows=1)
"""A statement that no write survives."""


class Contract:
    """Tests that a subclass inherits; a fixture of the subclass says of what."""

    pytestmark: ClassVar[Sequence[pytest.MarkDecorator]] = [pytest.mark.asyncio]


class KernelContract(Contract):
    """Tests of what fills a slot of the kernel, which is `auth`, on a temporary file.

    The time of `auth` is that of `clock`. Two users, `ann` and `bob`, are registered.
    """

    SETTINGS: ClassVar[str] = "plugins = []"

    @pytest.fixture
    def clock(self) -> Clock:
        """A clock that stands still."""
        return Clock()

    @pytest_asyncio.fixture
    async def auth(self, tmp_path: Path, clock: Clock) -> AsyncIterator[Auth]:
        """The kernel without plugins: a database with its tables, settings, and `now`."""
        config = parse(self.SETTINGS, tmp_path)
        auth = Auth(config, clock=clock, monotonic=clock, found=[])
        async with auth.started():
            yield auth


def unfilled(fixture: str, what: str) -> NoReturn:
    """What the fixture of a contract is until a subclass overrides it."""
    pytest.fail(f"Override the fixture `{fixture}`: {what}.", pytrace=False)


async def committed(auth: Auth, statements: Sequence[Statement]) -> None:
    """Write what joins a write; a part that acts by itself answers nothing to write."""
    if statements:
        await auth.database.write(*statements)


async def undone(auth: Auth, statements: Sequence[Statement]) -> None:
    """Write what joins a write that fails."""
    [result] = await together([auth.database.write(*statements, NOTHING)])
    assert isinstance(result, Conflict), result


def agree(expected: Mapping[Any, Any], got: Mapping[Any, Any]) -> None:
    """Raises AssertionError with every cell of a table that is not as it should be."""
    wrong = [
        f"{cell}: {got[cell]!r}, not {want!r}"
        for cell, want in expected.items()
        if got[cell] != want
    ]
    assert not wrong, "\n".join(wrong)


async def together(work: Iterable[Awaitable[T]]) -> list[T | BaseException]:
    """Do all at once; answers results and exceptions."""
    return await asyncio.gather(*work, return_exceptions=True)


async def give_up(work: Iterable[Awaitable[T]]) -> list[T | BaseException]:
    """Begin all at once, and cancel every other one, each a little later than the last."""
    tasks = [asyncio.ensure_future(each) for each in work]
    for task in tasks[::2]:
        await asyncio.sleep(0)
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)
