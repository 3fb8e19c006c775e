"""A database with the kernel's tables, for tests of what is stored there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from picoauth import Database, Embedded, Statement
from picoauth.migrations import LEDGER, migrate
from picoauth.schema import KERNEL

USERS = ("ann", "bob")
DEADLINE = 20
"""Seconds after which a test gives up on something that must happen."""


def engine(path: Path) -> Database:
    """What tests ask that have no server; tests/elsewhere.py puts another one in its place."""
    return Embedded(path, patience=0.05)


@asynccontextmanager
async def kernel_tables(folder: Path) -> AsyncIterator[Database]:
    """A new database in a folder, with two users."""
    database = engine(folder / "test.db")
    await database.write(LEDGER)
    await migrate(database, "picoauth", KERNEL, 0)
    making = "insert into users (id, name, created_at, epoch) values (?, '', 0, 0)"
    await database.write(*(Statement(making, (user,)) for user in USERS))
    yield database
    await database.close()


def exactly(sentence: str) -> str:
    """A pattern that matches this text and no other."""
    return f"^{re.escape(sentence)}$"


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    for _ in range(DEADLINE * 1000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come to that")
