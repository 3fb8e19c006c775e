"""Group commit: one thread puts all writes that wait into one transaction, then answers."""

from __future__ import annotations

import asyncio
import queue
import re
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from picoauth.database import Row, Statement
from picoauth.errors import Conflict, Unavailable
from picoauth.sqlite import TRANSIENT, Connection, code, worded

OWN = re.compile(r"\s*(begin|commit|end|rollback|savepoint|release)\b", re.IGNORECASE)
"""Statements that would end the transaction under the other writes of a group."""

TABLE = re.compile(r"\s*create\s+table\b", re.IGNORECASE)


@dataclass(frozen=True)
class Bounds:
    """What is done around a write within the transaction of its group."""

    begin: Sequence[str]
    undo: Sequence[str]
    end: Sequence[str]


ALONE = Bounds([], ["rollback", "begin"], [])
AMONG_OTHERS = Bounds(["savepoint one"], ["rollback to one"], ["release one"])


@dataclass
class Waiting:
    """A write on its way to the writer thread and back."""

    statements: Sequence[Statement]
    answer: asyncio.Future[list[list[Row]]]
    result: list[list[Row]] | None = None
    error: BaseException | None = None


class GroupCommit:
    """The one thread that writes.

    Each write of a group has its own savepoint in the one transaction. A write that is alone needs
    none, and saves what a savepoint costs: SQLite keeps a copy of each page that changes after it.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self.run, name="picoauth-writer", daemon=True)
        self.thread.start()

    def put(self, statements: Sequence[Statement]) -> asyncio.Future[list[list[Row]]]:
        """Have a write join the next group; on the event loop, where the answer arrives."""
        answer = asyncio.get_running_loop().create_future()
        self.queue.put(Waiting(statements, answer))
        return answer

    def close(self) -> None:
        """Finish what waits. Blocks until that is done."""
        self.queue.put(None)
        self.thread.join()

    def run(self) -> None:
        """Take all that waits, commit it together, answer; end at None."""
        more = True
        while more:
            group, more = split([self.queue.get(), *drained(self.queue)])
            failure = self.commit(group) if group else None
            if failure is not None:  # who came meanwhile would wait for the same lock in vain
                late, still = split(drained(self.queue))
                group, more = [*group, *late], more and still
                fail(group, failure)
            tell(group)

    def commit(self, group: Sequence[Waiting]) -> BaseException | None:
        """Do a group of writes. Answers why all of them failed, or None."""
        try:
            self.connection.execute("begin immediate")
            for waiting in group:
                self.attempt(waiting, ALONE if len(group) == 1 else AMONG_OTHERS)
            self.connection.execute("commit")
        except BaseException as error:  # noqa: BLE001 - every caller gets its answer
            self.roll_back()
            return worded(error)
        return None

    def attempt(self, waiting: Waiting, bounds: Bounds) -> None:
        """Do one write within its bounds. What breaks it alone stays with it."""
        self.execute(bounds.begin)
        try:
            waiting.result = every(self.connection, waiting.statements)
        except Exception as error:
            if code(error) in TRANSIENT:
                raise  # the disk is full, or worse: nothing of this group holds
            if not self.connection.in_transaction:
                raise Unavailable("the transaction was lost") from error
            waiting.error = error
            self.execute(bounds.undo)
        self.execute(bounds.end)

    def execute(self, statements: Sequence[str]) -> None:
        for sql in statements:
            self.connection.execute(sql)

    def roll_back(self) -> None:
        with suppress(sqlite3.Error):  # begin fails next time, and says so to everyone
            if self.connection.in_transaction:
                self.connection.execute("rollback")


def every(connection: Connection, statements: Sequence[Statement]) -> list[list[Row]]:
    results = []
    for index, statement in enumerate(statements):
        try:
            results.append(one(connection, statement, index))
        except sqlite3.IntegrityError as error:
            raise Conflict(index) from error
    return results


def one(connection: Connection, statement: Statement, index: int) -> list[Row]:
    cursor = connection.execute(portable(statement.sql), statement.args)
    rows = cursor.fetchall()
    touched = len(rows) if cursor.description else cursor.rowcount
    if statement.rows is not None and touched != statement.rows:
        raise Conflict(index)
    return rows


@lru_cache(maxsize=512)
def portable(sql: str) -> str:
    """Statements come in a portable dialect: here a table of theirs gets checked types."""
    if OWN.match(sql):
        raise ValueError("a write is one transaction already")
    return f"{sql.rstrip().rstrip(';')}\nstrict" if TABLE.match(sql) else sql


def drained(waiting: queue.SimpleQueue[Waiting | None]) -> list[Waiting | None]:
    items = []
    while not waiting.empty():  # one thread takes, so what is there stays there
        items.append(waiting.get())
    return items


def split(items: Sequence[Waiting | None]) -> tuple[list[Waiting], bool]:
    """The writes, and whether more may follow."""
    return [item for item in items if item is not None], None not in items


def fail(group: Sequence[Waiting], failure: BaseException) -> None:
    for waiting in group:
        own = Unavailable(str(failure)) if isinstance(failure, Unavailable) else failure
        waiting.result, waiting.error = None, own


def tell(group: Sequence[Waiting]) -> None:
    """Answer a whole group with one wake-up of the loop, if there still is one."""
    if group:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            group[0].answer.get_loop().call_soon_threadsafe(answer, group)


def answer(group: Sequence[Waiting]) -> None:
    """On the loop: a caller that was cancelled is told nothing."""
    for waiting in group:
        if waiting.answer.done():
            continue
        if waiting.error is not None:
            waiting.answer.set_exception(waiting.error)
        else:
            waiting.answer.set_result(waiting.result or [])
