"""Databases that break a promise fail the contract that names it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from picoauth import (
    Conflict,
    Database,
    Embedded,
    Row,
    Statement,
    Unavailable,
)
from picoauth.database import Args
from picoauth.testing.contracts import DatabaseContract
from picoauth.testing.contracts.database import TABLES, thing
from tests.mutants import fails, run


class Around:
    """The embedded engine, with something between it and the caller."""

    def __init__(self, inner: Embedded) -> None:
        self.inner = inner
        self.poisoned = False

    async def read(self, sql: str, args: Args = (), *, slow: bool = False) -> list[Row]:
        return await self.inner.read(sql, args, slow=slow)

    async def write(self, *statements: Statement) -> list[list[Row]]:
        return await self.inner.write(*statements)

    async def close(self) -> None:
        await self.inner.close()


class OneByOne(Around):
    """Writes each statement by itself."""

    async def write(self, *statements: Statement) -> list[list[Row]]:
        return [rows for each in statements for rows in await self.inner.write(each)]


class OneByOneWithIndex(Around):
    """Writes each statement by itself, and yet says which one failed."""

    async def write(self, *statements: Statement) -> list[list[Row]]:
        answer = []
        for index, each in enumerate(statements):
            try:
                answer += await self.inner.write(each)
            except Conflict as conflict:
                raise Conflict(index) from conflict
        return answer


class Unconditional(Around):
    """Does not look at `rows`."""

    async def write(self, *statements: Statement) -> list[list[Row]]:
        return await self.inner.write(*(replace(each, rows=None) for each in statements))


class Backward(Around):
    """Numbers rows from the last to the first."""

    def __init__(self, inner: Embedded) -> None:
        super().__init__(inner)
        self.last = 1000

    async def write(self, *statements: Statement) -> list[list[Row]]:
        self.last -= 1
        given = f"turn (id, name) values ({self.last}, ?)"
        moved = [each.sql.replace("turn (name) values (?)", given) for each in statements]
        return await self.inner.write(
            *(replace(each, sql=sql) for each, sql in zip(statements, moved, strict=True))
        )


class Indistinct(Around):
    """Says that the first statement failed, whichever it was."""

    async def write(self, *statements: Statement) -> list[list[Row]]:
        try:
            return await self.inner.write(*statements)
        except Conflict as conflict:
            raise Conflict(0) from conflict


class Careless(Around):
    """Takes a failed write for a written one."""

    async def write(self, *statements: Statement) -> list[list[Row]]:
        try:
            return await self.inner.write(*statements)
        except Conflict:
            return [[] for _ in statements]


class Crude(Around):
    """Takes a broken constraint for a bug."""

    async def write(self, *statements: Statement) -> list[list[Row]]:
        try:
            return await self.inner.write(*statements)
        except Conflict as conflict:
            raise RuntimeError("constraint failed") from conflict


class Bugless(Around):
    """Takes a bug for a conflict."""

    async def write(self, *statements: Statement) -> list[list[Row]]:
        try:
            return await self.inner.write(*statements)
        except Exception as error:
            raise Conflict(2) from error


class Hasty(Around):
    """Answers before the commit."""

    async def write(self, *statements: Statement) -> list[list[Row]]:
        self.task = asyncio.ensure_future(self.inner.write(*statements))
        return [[] for _ in statements]


class Caching(Around):
    """Answers a read as it did the last time."""

    def __init__(self, inner: Embedded) -> None:
        super().__init__(inner)
        self.known: dict[tuple[str, tuple[Any, ...]], list[Row]] = {}

    async def read(self, sql: str, args: Args = (), *, slow: bool = False) -> list[Row]:
        key = (sql, tuple(args))
        if key not in self.known:
            self.known[key] = await self.inner.read(sql, args, slow=slow)
        return self.known[key]


class Reading(Around):
    """Gives each row that is read another form."""

    def form(self, value: Any) -> Any:
        return value

    async def read(self, sql: str, args: Args = (), *, slow: bool = False) -> list[Row]:
        rows = await self.inner.read(sql, args, slow=slow)
        return [tuple(self.form(value) for value in row) for row in rows]


class Floats(Reading):
    """Has numbers that JavaScript has, and no others."""

    def form(self, value: Any) -> Any:
        return int(float(value)) if isinstance(value, int) else value


class CStrings(Reading):
    """Ends each text at its first NUL."""

    def form(self, value: Any) -> Any:
        return value.split("\0")[0] if isinstance(value, str) else value


class Views(Reading):
    """Hands out bytes as something like bytes."""

    def form(self, value: Any) -> Any:
        return bytearray(value) if isinstance(value, bytes) else value


class Lists(Around):
    """Hands out rows as lists."""

    async def read(self, sql: str, args: Args = (), *, slow: bool = False) -> list[Any]:
        return [list(row) for row in await self.inner.read(sql, args, slow=slow)]


class Folding(Around):
    """Finds names in any case."""

    async def read(self, sql: str, args: Args = (), *, slow: bool = False) -> list[Row]:
        sql = sql.replace("name = ?", "name = ? collate nocase")
        return await self.inner.read(sql, args, slow=slow)


class Pasting(Around):
    """Puts arguments into the text."""

    async def write(self, *statements: Statement) -> list[list[Row]]:
        pasted = []
        for each in statements:
            sql = each.sql
            for arg in each.args:
                sql = sql.replace("?", f"'{arg}'" if isinstance(arg, str) else str(arg), 1)
            pasted.append(replace(each, sql=sql, args=()))
        return await self.inner.write(*pasted)


class Loose(Around):
    """Makes tables that take anything, and in which nothing refers to anything."""

    def __init__(self, inner: Embedded) -> None:
        super().__init__(inner)
        inner.writer.execute("pragma foreign_keys = off")

    async def write(self, *statements: Statement) -> list[list[Row]]:
        loose = [replace(each, sql=f"/* */ {each.sql}") for each in statements]
        return await self.inner.write(*loose)


class Mute(Around):
    """Answers no rows of a write."""

    async def write(self, *statements: Statement) -> list[list[Row]]:
        await self.inner.write(*statements)
        return [[] for _ in statements]


class Chained(Around):
    """Lets writes fail because another one of their group did."""

    async def write(self, *statements: Statement) -> list[list[Row]]:
        try:
            answer = await self.inner.write(*statements)
        except Conflict:
            self.poisoned = True
            raise
        if self.poisoned:
            raise Conflict(0)
        return answer


class Empty(Around):
    """Finds nothing where it cannot look."""

    async def read(self, sql: str, args: Args = (), *, slow: bool = False) -> list[Row]:
        with contextlib.suppress(Unavailable):
            return await self.inner.read(sql, args, slow=slow)
        return []


class OfEmbedded(DatabaseContract):
    """The contract of an engine that can be closed."""

    async def down(self, database: Any) -> None:
        await database.close()


DATABASES: Sequence[tuple[str, Mapping[str, Any], type[Around]]] = [
    (
        "test_conflict_undoes_the_whole_write",
        {"what": "another row has the key"},
        OneByOneWithIndex,
    ),
    ("test_conflict_undoes_the_whole_write", {"what": "too few rows"}, Unconditional),
    ("test_conflict_undoes_the_whole_write", {"what": "too many rows returned"}, Unconditional),
    ("test_conflict_undoes_the_whole_write", {"what": "a column is empty"}, Indistinct),
    ("test_conflict_undoes_the_whole_write", {"what": "a check fails"}, Careless),
    ("test_conflict_undoes_the_whole_write", {"what": "a check fails"}, Crude),
    ("test_conflict_undoes_the_whole_write", {"what": "a reference points nowhere"}, Loose),
    ("test_broken_statement_undoes_the_whole_write", {}, OneByOne),
    ("test_broken_statement_undoes_the_whole_write", {}, Bugless),
    ("test_reads_what_is_written", {}, Hasty),
    ("test_reads_what_is_written", {}, Caching),
    ("test_reads_what_is_written", {}, Lists),
    ("test_every_statement_answers_its_rows", {}, Mute),
    ("test_values_come_back_as_they_went", {"column": "number", "value": 2**53 + 1}, Floats),
    ("test_values_come_back_as_they_went", {"column": "words", "value": "a\0b"}, CStrings),
    ("test_values_come_back_as_they_went", {"column": "bytes", "value": b"\xff"}, Views),
    ("test_texts_are_compared_by_code_points", {}, Folding),
    ("test_arguments_are_values", {}, Pasting),
    ("test_rows_go_with_what_they_refer_to", {}, Loose),
    ("test_insert_or_update", {}, Mute),
    ("test_rows_are_numbered", {}, Backward),
    ("test_fifty_writes_at_once", {}, Hasty),
    ("test_one_of_fifty_wins", {}, Unconditional),
    ("test_one_of_fifty_wins", {}, OneByOneWithIndex),
    ("test_failing_write_troubles_no_other", {}, Chained),
    ("test_cancelled_callers_wrote_all_or_nothing", {}, OneByOne),
    ("test_migrations_of_the_kernel", {}, Loose),
    ("test_database_that_is_down", {}, Empty),
]


@asynccontextmanager
async def things(folder: Path, kind: type[Around]) -> AsyncIterator[Database]:
    """What the contract's fixture makes, made by an engine that is right."""
    inner = Embedded(folder / "mutant.db")
    await inner.write(*(Statement(sql) for sql in TABLES))
    await inner.write(thing(1), thing(2))
    yield kind(inner)
    await inner.close()


@pytest.mark.parametrize(("test", "more", "kind"), DATABASES)
async def test_databases(
    tmp_path: Path, test: str, more: Mapping[str, Any], kind: type[Around]
) -> None:
    """The test passes around the engine as it is, and fails around the one that is broken."""
    for each, expected in ((Around, run), (kind, fails)):
        folder = tmp_path / expected.__name__
        folder.mkdir()
        async with things(folder, each) as database:
            also = () if expected is run else (Conflict, RuntimeError, sqlite3.OperationalError)
            await expected(OfEmbedded(), test, *also, things=database, database=database, **more)
