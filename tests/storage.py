"""A database with the kernel's tables, for tests of what is stored there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from picoauth import Embedded, Statement
from picoauth.migrations import LEDGER, migrate
from picoauth.schema import KERNEL

USERS = ("ann", "bob")


@asynccontextmanager
async def kernel_tables(folder: Path) -> AsyncIterator[Embedded]:
    """A new database in a folder, with two users."""
    database = Embedded(folder / "test.db", patience=0.05)
    await database.write(LEDGER)
    await migrate(database, "picoauth", KERNEL, 0)
    making = "insert into users (id, name, created_at, epoch) values (?, '', 0, 0)"
    await database.write(*(Statement(making, (user,)) for user in USERS))
    yield database
    await database.close()


def exactly(sentence: str) -> str:
    """A pattern that matches this text and no other."""
    return f"^{re.escape(sentence)}$"
