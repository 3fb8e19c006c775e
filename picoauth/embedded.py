"""The embedded engine: one SQLite file, inline reads, group commit."""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TypeAlias

from picoauth.database import Args, Row, Statement
from picoauth.errors import ConfigError, Conflict, Unavailable

Connect: TypeAlias = Callable[[str], sqlite3.Connection]

OLDEST = (3, 37)
"""SQLite with `strict` tables."""

SETTINGS = ("foreign_keys = on", "trusted_schema = off", "synchronous = full")

# Primary result codes that tell of the file or its lock, not of the statement.
TRANSIENT = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_NOMEM,
    )
)


@dataclass
class Waiting:
    """A write on its way to the writer thread and back."""

    statements: Sequence[Statement]
    answer: asyncio.Future[list[list[Row]]]
    result: list[list[Row]] | None = None
    error: BaseException | None = None


def connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


class Embedded:
    """One SQLite file in WAL mode.

    Look-ups run inline on the event loop, since they take 10 µs and a thread hop takes 150.
    Writes go to one thread, which puts all that wait into one transaction, each in its own
    savepoint, and answers after the one fsync. `connect` opens a connection to the path: an
    encrypted engine passes its own. `patience` is in seconds, for locks of other processes.
    Raises ConfigError where the file cannot be a database.
    """

    def __init__(self, path: Path, *, connect: Connect = connect, patience: float = 2) -> None:
        self.path = path
        self.connect = connect
        self.patience = patience
        self.writes: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self.closed = False
        prepare(path)
        try:
            self.writer = self.opened()
            self.writer.execute("pragma journal_mode = wal")
            self.reader = self.opened("query_only = on", "busy_timeout = 0")
        except sqlite3.Error as error:
            raise ConfigError(f"{path} cannot be opened as a database: {error}.") from error
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread = threading.Thread(target=self.run, name="picoauth-writer", daemon=True)
        self.thread.start()

    def opened(self, *more: str) -> sqlite3.Connection:
        connection = self.connect(str(self.path))
        connection.execute(f"pragma busy_timeout = {int(self.patience * 1000)}")
        for setting in (*SETTINGS, *more):
            connection.execute(f"pragma {setting}")
        connection.execute(
            "select count(*) from sqlite_master"
        ).fetchall()  # a wrong key shows here
        return connection

    @cached_property
    def slow(self) -> tuple[ThreadPoolExecutor, sqlite3.Connection]:
        """A thread and a connection for what must not hold the event loop up."""
        return ThreadPoolExecutor(1, "picoauth-reader"), self.opened("query_only = on")

    async def read(self, sql: str, args: Args = (), *, slow: bool = False) -> list[Row]:
        self.check_open()
        try:
            if not slow:
                return self.reader.execute(sql, args).fetchall()
        except sqlite3.OperationalError as error:
            if code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise translated(error) from error
        # Slow, or another process is just recovering the file: wait for it elsewhere.
        try:
            thread, connection = self.slow
            work = partial(fetch, connection, sql, args)
            return await asyncio.get_running_loop().run_in_executor(thread, work)
        except sqlite3.Error as error:
            raise translated(error) from error

    async def write(self, *statements: Statement) -> list[list[Row]]:
        self.check_open()
        self.loop = asyncio.get_running_loop()
        waiting = Waiting(statements, self.loop.create_future())
        self.writes.put(waiting)
        return await waiting.answer

    async def close(self) -> None:
        """Finish what waits, then let go of the file. A second call does nothing."""
        if self.closed:
            return
        self.closed = True
        self.writes.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self.thread.join)
        if "slow" in vars(self):
            thread, connection = self.slow
            thread.shutdown()
            connection.close()
        self.reader.close()
        self.writer.close()

    def check_open(self) -> None:
        if self.closed:
            raise Unavailable("the database is closed")

    def run(self) -> None:
        """The writer thread: takes all that waits, commits it together, answers; ends at None."""
        more = True
        while more:
            group, more = split([self.writes.get(), *drained(self.writes)])
            failure = self.commit(group)
            if failure is not None:  # who came meanwhile would wait for the same lock in vain
                late, still = split(drained(self.writes))
                group, more = [*group, *late], more and still
                fail(group, failure)
            self.tell(group)

    def commit(self, group: Sequence[Waiting]) -> BaseException | None:
        """Do a group of writes. Answers why all of them failed, or None."""
        try:
            self.writer.execute("begin immediate")
            for waiting in group:
                self.attempt(waiting)
            self.writer.execute("commit")
        except BaseException as error:  # noqa: BLE001 - every caller gets its answer
            self.roll_back()
            return translated(error)
        return None

    def attempt(self, waiting: Waiting) -> None:
        """Do one write in its savepoint. What breaks it alone stays with it."""
        self.writer.execute("savepoint one")
        try:
            waiting.result = self.all(waiting.statements)
        except (Conflict, sqlite3.Error, OverflowError, TypeError, ValueError) as error:
            if not self.writer.in_transaction or code(error) in TRANSIENT:
                raise  # the disk is full, or worse: nothing of this group holds
            waiting.error = error
            self.writer.execute("rollback to one")
        self.writer.execute("release one")

    def all(self, statements: Sequence[Statement]) -> list[list[Row]]:
        results = []
        for index, statement in enumerate(statements):
            try:
                results.append(one(self.writer, statement, index))
            except sqlite3.IntegrityError as error:
                raise Conflict(index) from error
        return results

    def roll_back(self) -> None:
        try:
            if self.writer.in_transaction:
                self.writer.execute("rollback")
        except sqlite3.Error:  # begin fails next time, and says so to everyone
            return

    def tell(self, group: Sequence[Waiting]) -> None:
        """Answer a whole group with one wake-up of the loop, if there still is one."""
        loop = self.loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(answer, group)


def prepare(path: Path) -> None:
    """Make the file, readable for its owner alone, where there is none."""
    if sqlite3.sqlite_version_info < OLDEST:
        raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old: install 3.37 or newer.")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ConfigError(
            f"The database {path} cannot be opened: {error.strerror}. Make its folder, or mend its mode."
        ) from error


def one(connection: sqlite3.Connection, statement: Statement, index: int) -> list[Row]:
    cursor = connection.execute(strict(statement.sql), statement.args)
    rows = cursor.fetchall()
    touched = len(rows) if cursor.description else cursor.rowcount
    if statement.rows is not None and touched != statement.rows:
        raise Conflict(index)
    return rows


def strict(sql: str) -> str:
    """Migrations come in a portable dialect: here a table of theirs gets checked types."""
    return f"{sql.rstrip()} strict" if sql.lstrip()[:12].lower() == "create table" else sql


def fetch(connection: sqlite3.Connection, sql: str, args: Args) -> list[Row]:
    return connection.execute(sql, args).fetchall()


def drained(writes: queue.SimpleQueue[Waiting | None]) -> list[Waiting | None]:
    items = []
    while not writes.empty():  # one thread takes, so what is there stays there
        items.append(writes.get())
    return items


def split(items: Sequence[Waiting | None]) -> tuple[list[Waiting], bool]:
    """The writes, and whether more may follow."""
    return [item for item in items if item is not None], None not in items


def fail(group: Sequence[Waiting], failure: BaseException) -> None:
    for waiting in group:
        own = Unavailable(str(failure)) if isinstance(failure, Unavailable) else failure
        waiting.result, waiting.error = None, own


def answer(group: Sequence[Waiting]) -> None:
    """On the loop: a caller that was cancelled is told nothing."""
    for waiting in group:
        if waiting.answer.done():
            continue
        if waiting.error is not None:
            waiting.answer.set_exception(waiting.error)
        else:
            waiting.answer.set_result(waiting.result or [])


def code(error: BaseException) -> int:
    """SQLite's primary result code, or 0."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def translated(error: BaseException) -> BaseException:
    """Unavailable for what another try may heal; anything else is a bug, and stays itself."""
    if code(error) in TRANSIENT:
        return Unavailable(f"the database answers {getattr(error, 'sqlite_errorname', 'nothing')}")
    return error
