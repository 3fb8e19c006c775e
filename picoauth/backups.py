"""Backups: a copy of the database while the server runs, and a copy put back while it does not."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from picoauth.callers import Caller
from picoauth.config import changed
from picoauth.copies import copying
from picoauth.database import Statement
from picoauth.embedded import Embedded
from picoauth.errors import ConfigError
from picoauth.events import BackupRestored
from picoauth.settings import Config
from picoauth.sqlite import DAMAGED, LOCKED, Connect, Connection, code, worded

if TYPE_CHECKING:
    from picoauth.auth import Auth

# What was spent, ended or replaced after the copy was made cannot be known: none of it counts.
# The rising epoch voids logins under way and whatever else is bound to it. The names of the
# keys stay, so that none of them ever comes back.
VOIDING = (
    "update users set epoch = epoch + 1",
    "delete from sessions",
    "delete from endings",
    "delete from tickets",
    "delete from outbox",
    "update signing_keys set retires_at = 0, sealed = x''",
)
BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite puts beside a database."""
# Later than the one before, whatever the clock says: keys of stateless tokens hang on it.
RESTORED = """
    insert into restores (restored_at)
    select case when ? > coalesce(max(restored_at), 0) then ? else max(restored_at) + 1 end
      from restores
"""


def engine(auth: Auth) -> Embedded:
    """Raises ConfigError where the database is no file of this machine."""
    if not isinstance(auth.database, Embedded):
        raise ConfigError(
            f"The database {auth.config.database} is no file: make and restore backups of it "
            "by its own means."
        )
    return auth.database


async def backup(auth: Auth, target: Path) -> None:
    """Write what is committed to a new file, whole, looked at and on the disk.

    Raises ConfigError.
    """
    database = engine(auth)
    with beside(target) as file:
        await database.copy(file)
        check(database, file)
        try:
            os.link(file, target)
        except FileExistsError as error:
            raise ConfigError(f"{target} exists already: name another file.") from error


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """An empty file that only its owner can read; what is left of it in the end goes.

    Raises ConfigError.
    """
    try:
        with copying(target.parent) as folder:
            file = folder / target.name
            file.touch(0o600)
            yield file
            synced(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"{target} cannot be written: {unwritten(error)}.") from error


def unwritten(error: OSError | sqlite3.Error) -> str:
    """Why, and what to do: not about the place of a copy where it is the database that is bad."""
    if code(error) in DAMAGED:
        return str(worded(error))
    why = error.strerror if isinstance(error, OSError) else error
    return f"{why}. Choose a folder that this user may write, with room"


def check(database: Embedded, path: Path) -> None:
    """Raises ConfigError for a file in which SQLite finds faults."""
    try:
        with closing(database.connect(str(path))) as connection:
            found = [row[0].splitlines()[-1] for row in connection.execute("pragma quick_check(1)")]
    except sqlite3.Error as error:
        found = [str(error)]
    if found != ["ok"]:
        raise ConfigError(f"The backup is damaged: {found[0]}. Take another one.")


async def restore(config: Config, source: Path, make: Callable[[Config], Auth]) -> Path | None:
    """Put a backup in the place of the database; answers where the one before is now, if there was one.

    Nothing that anybody was handed is good after it: sessions, tickets and keys are void, and
    what plugins keep of the kind. Raises ConfigError, and leaves the database as it was.
    """
    if "://" in config.database:
        raise ConfigError(
            f"The database {config.database} is no file: restore it by its own means."
        )
    path = (config.base / config.database).resolve()  # of a link, what it leads to
    with beside(path) as file:
        take(source, file)
        auth = opened(make, changed(config, database=str(file)), source)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(auth.database.close)
            database = engine(auth)
            check(database, file)
            await stack.enter_async_context(auth.started())
            await void(auth, Caller.local())
        with alone(database.connect, path):
            return swapped(path, file, auth.now())


def take(source: Path, file: Path) -> None:
    """Raises ConfigError for what is none, or may not be whole."""
    if source.with_name(f"{source.name}-wal").exists():
        raise ConfigError(
            f"{source} is a database that is in use, and no backup: make one by `picoauth backup`."
        )
    try:
        shutil.copyfile(source, file)
    except OSError as error:
        raise ConfigError(f"{source} cannot be read: {error.strerror}.") from error


def opened(make: Callable[[Config], Auth], config: Config, source: Path) -> Auth:
    """Raises ConfigError, which names the backup and not its copy."""
    try:
        return make(config)
    except ConfigError as error:
        said = (problem.replace(config.database, str(source)) for problem in error.problems)
        raise ConfigError(*said) from error


async def void(auth: Auth, caller: Caller) -> None:
    """Let nothing count any more that was handed out before."""
    now = auth.now()
    event = BackupRestored(at=now, user_id=None, caller=caller)
    await auth.events.commit(event, *map(Statement, VOIDING), Statement(RESTORED, (now, now)))


@contextmanager
def alone(connect: Connect, path: Path) -> Iterator[Connection | None]:
    """Nobody else has the file open, nor opens it now. Raises ConfigError.

    With the locks of SQLite itself; all that stood in its log is in the file then. One that is
    damaged, or under another key, has no log that could be written into it.
    """
    if not path.exists():
        yield None
        return
    with closing(connect(str(path))) as connection:
        try:
            for setting in (
                "busy_timeout = 0",
                "locking_mode = exclusive",
                "journal_mode = delete",
            ):
                connection.execute(f"pragma {setting}").fetchall()
            connection.execute("begin exclusive")
        except sqlite3.Error as error:
            if code(error) in LOCKED:
                raise ConfigError(
                    f"{path} is in use: stop the server, and whatever else has it open."
                ) from error
        yield connection


def swapped(path: Path, file: Path, now: int) -> Path | None:
    """At no moment is there no database; the old one goes aside with what lay beside it."""
    before, aside = path.exists(), path.with_name(f"{path.name}.{moment(now)}")
    while before and aside.exists() and not aside.samefile(path):  # of the same second
        aside = aside.with_name(f"{aside.name}-2")
    for end in BESIDE:
        lying = path.with_name(path.name + end)
        if spent(lying):
            lying.unlink()
        elif lying.exists():
            lying.rename(aside.with_name(aside.name + end))
    if before and not aside.exists():  # which a run that was killed may have made
        os.link(path, aside)
    if before:
        given(file, path)
    file.replace(path)
    return aside if before else None


def spent(lying: Path) -> bool:
    """A journal with nothing to undo, which SQLite leaves for as long as it holds the file."""
    return lying.name.endswith("-journal") and lying.exists() and not any(lying.read_bytes()[:8])


def given(file: Path, path: Path) -> None:
    """To whom the old one belongs: else root restores what the server's own user cannot open."""
    owner = path.stat()
    if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(file, owner.st_uid, owner.st_gid)


def moment(seconds: int) -> str:
    """A time in the name of a file (ISO 8601, basic format)."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


def synced(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
