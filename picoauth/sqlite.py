"""SQLite connections: how the file is made and opened, and which errors another try may heal."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from picoauth.database import Args, Row
from picoauth.errors import AS_OWNER, DENIED, ConfigError, Unavailable


class Cursor(Protocol):
    """What a statement answered."""

    @property
    def description(self) -> Any:
        """None where it answers no rows at all."""

    @property
    def rowcount(self) -> int: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """What the engine asks of a connection; it raises sqlite3's errors, with their codes."""

    @property
    def in_transaction(self) -> bool: ...
    def execute(self, sql: str, args: Args = ..., /) -> Cursor: ...
    def close(self) -> None: ...


Connect: TypeAlias = Callable[[str], Connection]

OLDEST = (3, 37)
"""SQLite with `strict` tables."""
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
# What is deleted is written over, so that no page of the file keeps what a user left behind.
SETTINGS = (
    *("foreign_keys = on", "trusted_schema = off", "synchronous = full"),
    "secure_delete = on",
)
PAUSE = 0.01
"""Seconds between two tries to open a file that another process is just making."""

LOCKED = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))
UNWRITABLE = frozenset((sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN))
DAMAGED = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
# Primary result codes that tell of the file or its lock, not of the statement.
TRANSIENT = LOCKED | UNWRITABLE | DAMAGED | {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}


def connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def prepare(path: Path) -> None:
    """Make the file, readable for its owner alone, where there is none. Raises ConfigError.

    A file that exists is not opened here: to close it again would drop the locks that
    another engine of this process holds on it.
    """
    if sqlite3.sqlite_version_info < OLDEST:
        raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old: install 3.37 or newer.")
    try:
        os.close(os.open(path, NEW, 0o600))
    except FileExistsError:
        check_file(path)
    except OSError as error:
        raise refusal(path, error.strerror) from error


def check_file(path: Path) -> None:
    if path.is_dir():
        raise refusal(path, "Is a directory")
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        raise refusal(path, DENIED)


def refusal(path: Path, reason: str | None) -> ConfigError:
    remedy = AS_OWNER if reason == DENIED else "Make its folder, or mend its mode."
    return ConfigError(f"The database {path} cannot be opened: {reason}. {remedy}")


def opened(connect: Connect, path: Path, patience: float, *more: str) -> Connection:
    """A connection in WAL mode that waits `patience` seconds for locks of others.

    SQLite's own patience does not cover two processes that turn one new file into WAL at once.
    """
    deadline = time.monotonic() + patience
    while True:
        connection = connect(str(path))
        try:
            configure(connection, f"busy_timeout = {int(patience * 1000)}", *SETTINGS, *more)
        except BaseException as error:
            connection.close()
            if code(error) not in LOCKED or time.monotonic() > deadline:
                raise
            time.sleep(PAUSE)
        else:
            return connection


def configure(connection: Connection, *settings: str) -> None:
    for setting in settings:
        connection.execute(f"pragma {setting}")
    connection.execute("select count(*) from sqlite_master").fetchall()  # a wrong key shows here
    [(mode,)] = connection.execute("pragma journal_mode = wal")
    if mode != "wal":
        raise sqlite3.NotSupportedError("its file system has no shared memory for WAL mode")


def fetch(connection: Connection, sql: str, args: Args) -> list[Row]:
    return connection.execute(sql, args).fetchall()


def code(error: BaseException) -> int:
    """SQLite's primary result code, or 0."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def unopened(path: Path, error: sqlite3.Error) -> ConfigError:
    remedy = "Put a backup in its place, or name another file as `database`."
    if code(error) in LOCKED:
        remedy = "Stop what holds it, or try again."
    elif code(error) in UNWRITABLE:
        remedy = "Let this user write its folder, since SQLite makes files beside it."
    return ConfigError(f"{path} cannot be opened as a database: {error}. {remedy}")


def worded(error: BaseException) -> BaseException:
    """Unavailable for what another try may heal; anything else is a bug, and stays itself."""
    name = getattr(error, "sqlite_errorname", "nothing")
    if code(error) in DAMAGED:
        return Unavailable(f"the database file is damaged ({name}), and a backup has to replace it")
    if code(error) in LOCKED:
        return Unavailable(f"another process holds the database ({name})")
    return Unavailable(f"the database answers {name}") if code(error) in TRANSIENT else error
