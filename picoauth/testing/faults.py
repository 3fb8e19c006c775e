"""Faults in the database: what a piece of work writes is counted, and any statement of it fails.

List the plugin `faults` (`FaultsPlugin`) in front of the others, or put a `Faulty` around the
database that your plugin opens. `each_fault` then fails every statement in turn:

    async for fault in each_fault(prepare, work):
        assert isinstance(fault.error, Unavailable)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from picoauth import (
    Conflict,
    Database,
    NoSettings,
    Plugin,
    Row,
    Statement,
    Unavailable,
    hookimpl,
)
from picoauth.database import Args

T = TypeVar("T")
R = TypeVar("R")

State: TypeAlias = dict[str, list[Row]]
"""Every row of every table, by the name of the table."""

BREAKS = Statement("select abs(-9223372036854775808)")
"""The least integer has no absolute value: a statement that no database can do."""

OF_SQLITE = "select name from sqlite_master where type = 'table'"
STANDARD = """
    select table_name from information_schema.tables
     where table_type = 'BASE TABLE' and table_schema not in ('information_schema', 'pg_catalog')
"""

BACKGROUND = frozenset({"jobs"})
"""Tables that the server writes to by itself, whatever is under watch."""
LASTING = {"outbox": "id, kind, about"}
"""What it does not change, of those whose rows a write under watch may make."""


@dataclass
class Run:
    """One piece of work under watch."""

    fail: int | None = None
    """The number of the statement to fail, counted from 0 over all writes of the work."""
    lasting: bool = False
    """Whether every write after the failed one fails as well, as on a full disk."""
    asked: list[str] = field(default_factory=list)
    """The SQL of all statements so far."""
    failed: str | None = None
    """The SQL of the statement that failed."""
    before: State | None = None
    """The whole database before the write that failed."""
    after: State | None = None
    """The whole database after it: the same, if the engine keeps its word."""

    def failing(self, statements: Collection[Statement]) -> int | None:
        """Count a write; answers which of its statements has to fail."""
        begun = len(self.asked)
        self.asked += [statement.sql for statement in statements]
        if self.failed is not None:
            return 0 if self.lasting else None
        if self.fail is None or not begun <= self.fail < len(self.asked):
            return None
        self.failed = self.asked[self.fail]
        return self.fail - begun


WATCHING: ContextVar[Run | None] = ContextVar("WATCHING", default=None)
"""The work that the current task is part of; the server's own tasks are part of none."""


@contextmanager
def watched(*, fail: int | None = None, lasting: bool = False) -> Iterator[Run]:
    """Count what is written in here, and make one statement of it fail."""
    run = Run(fail, lasting)
    token = WATCHING.set(run)
    try:
        yield run
    finally:
        WATCHING.reset(token)


@dataclass(frozen=True)
class Fault(Generic[T, R]):
    """What came of a piece of work of which one statement failed."""

    number: int
    subject: T
    """What `prepare` made for it."""
    answer: R | None
    """What the work answered, unless it raised."""
    error: Exception | None
    """What it raised."""
    run: Run

    @property
    def sql(self) -> str:
        """The statement that failed, on one line."""
        return " ".join((self.run.failed or "").split())


async def each_fault(
    prepare: Callable[[], Awaitable[T]],
    work: Callable[[T], Awaitable[R]],
    *,
    lasting: bool = False,
) -> AsyncIterator[Fault[T, R]]:
    """Do the work once, then once more for each statement that it writes, which then fails.

    `prepare` makes afresh whatever the work uses up, and nothing fails in it. Raises
    AssertionError where the work writes nothing, or something else each time, and where the
    engine leaves anything of the failed write.
    """
    subject = await prepare()
    with watched() as run:
        await work(subject)
    assert run.asked, "the work writes nothing"
    for number, sql in enumerate(run.asked):
        fault = await one_fault(number, await prepare(), work, lasting=lasting)
        assert sql == fault.run.failed, f"the work did not come to {sql}"
        assert fault.run.before == fault.run.after, f"something is left of {fault.sql}"
        yield fault


async def one_fault(
    number: int, subject: T, work: Callable[[T], Awaitable[R]], *, lasting: bool
) -> Fault[T, R]:
    with watched(fail=number, lasting=lasting) as run:
        try:
            return Fault(number, subject, await work(subject), None, run)
        except Exception as error:  # noqa: BLE001 - whoever asked looks at it
            return Fault(number, subject, None, error, run)


class Faulty:
    """A database that fails where it is told to, and is real in everything else.

    The statements before the one that fails are really done, in the engine's own transaction,
    and it is the engine that has to undo them.
    """

    def __init__(self, inner: Database) -> None:
        self.inner = inner

    async def read(self, sql: str, args: Args = (), *, slow: bool = False) -> list[Row]:
        return await self.inner.read(sql, args, slow=slow)

    async def write(self, *statements: Statement) -> list[list[Row]]:
        run = WATCHING.get()
        failing = None if run is None else run.failing(statements)
        if run is None or failing is None:
            return await self.inner.write(*statements)
        run.before = await self.state()
        try:
            await self.inner.write(*statements[:failing], BREAKS)
        except Conflict:  # of an earlier statement: that is what the caller would have met
            raise
        except Exception as error:
            raise Unavailable(f"made to fail: {' '.join(str(run.failed).split())}") from error
        finally:
            run.after = await self.state()
        raise AssertionError("the engine did what cannot be done")

    async def close(self) -> None:
        await self.inner.close()

    async def state(self) -> State:
        tables = {name for (name,) in await self.tables()} - BACKGROUND
        return {name: await self.rows(name) for name in sorted(tables)}

    async def tables(self) -> list[Row]:
        """By the catalogue of SQLite, or else by that of the standard."""
        try:
            return await self.inner.read(OF_SQLITE)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - each engine has its own
            return await self.inner.read(STANDARD)

    async def rows(self, table: str) -> list[Row]:
        columns = LASTING.get(table, "*")
        return sorted(await self.inner.read(f"select {columns} from {table}"), key=repr)


class FaultsPlugin(Plugin[NoSettings]):
    """Puts a database that can be made to fail around the embedded engine: list it as `faults`."""

    @hookimpl
    def database(self, url: str) -> Database | None:  # noqa: ARG002 - the kernel knows it
        return Faulty(self.auth.embedded())
