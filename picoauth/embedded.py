"""The embedded engine: one SQLite file, inline reads, group commit."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cached_property
from pathlib import Path

from picoauth.database import Args, Row, Statement
from picoauth.errors import Unavailable
from picoauth.groupcommit import GroupCommit
from picoauth.sqlite import (
    LOCKED,
    Connect,
    Connection,
    code,
    connect,
    fetch,
    opened,
    prepare,
    unopened,
    worded,
)

# 48 MiB of pages in place of 2, and a log of 16 MiB in place of 4: whoever commits when that is
# full moves it, be it a server on the same file.
ROOM = ("cache_size = -49152", "wal_autocheckpoint = 4096")


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
        self.closed = False
        prepare(path)
        try:
            self.writer = self.opened()
            self.reader = self.opened("query_only = on")
        except sqlite3.Error as error:
            self.disconnect()
            raise unopened(path, error) from error
        self.reader.execute("pragma busy_timeout = 0")
        self.group_commit = GroupCommit(self.writer)
        self.reading = ThreadPoolExecutor(1, "picoauth-reader")

    def opened(self, *settings: str) -> Connection:
        return opened(self.connect, self.path, self.patience, *settings)

    @cached_property
    def slow(self) -> Connection:
        """For what must not hold the event loop up; opened by the first such read, on its thread."""
        return self.opened("query_only = on")

    async def read(self, sql: str, args: Args = (), *, slow: bool = False) -> list[Row]:
        self.check_open()
        try:
            if not slow:
                return fetch(self.reader, sql, args)
        except sqlite3.Error as error:
            if code(error) not in LOCKED:
                raise worded(error) from None
        # Slow, or another process is just recovering the file: wait for it elsewhere.
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.reading, self.read_slowly, sql, args)
        except sqlite3.Error as error:
            raise worded(error) from None

    def read_slowly(self, sql: str, args: Args) -> list[Row]:
        return fetch(self.slow, sql, args)

    async def write(self, *statements: Statement) -> list[list[Row]]:
        self.check_open()
        return await self.group_commit.put(statements)

    def make_room(self) -> None:
        """Before very many writes: keep pages in memory, and move them to the file less often."""
        for setting in ROOM:
            self.writer.execute(f"pragma {setting}")

    async def copy(self, path: Path) -> None:
        """Write what is committed into a file that is empty yet, while the server goes on."""
        self.check_open()
        await asyncio.to_thread(self.copy_now, path)

    def copy_now(self, path: Path) -> None:
        with closing(self.opened()) as connection:
            connection.execute("vacuum into ?", (str(path),))

    async def close(self) -> None:
        """Finish what waits, then let go of the file. A second call does nothing."""
        if not self.closed:
            self.closed = True
            await asyncio.get_running_loop().run_in_executor(None, self.let_go)

    def let_go(self) -> None:
        self.group_commit.close()
        self.reading.shutdown()
        self.disconnect()

    def disconnect(self) -> None:
        for name in ("slow", "reader", "writer"):
            if name in vars(self):
                vars(self)[name].close()

    def check_open(self) -> None:
        if self.closed:
            raise Unavailable("the database is closed")
