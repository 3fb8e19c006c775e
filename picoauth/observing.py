"""An `Auth` to look at: it has what the server has, or a copy of it, and changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir

from picoauth import migrations, upgrades
from picoauth.auth import Auth
from picoauth.config import changed
from picoauth.copies import copying
from picoauth.database import Args, Database, Row, Statement
from picoauth.discovery import Found
from picoauth.embedded import Embedded
from picoauth.errors import ConfigError, Unavailable
from picoauth.secrets import sources
from picoauth.settings import Config, Secret
from picoauth.sqlite import check_file, connect, fetch, unopened, worded

APPLIED = "select owner, count(*) from migrations group by owner"


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that nobody else can look into, and that is gone in the end. Raises ConfigError."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(copying(Path(gettempdir())))
        except OSError as error:
            raise ConfigError(
                f"There is no folder for temporary files ({error.strerror}): set TMPDIR to one."
            ) from error
        yield folder


class Looking:
    """A database's file as it is: read alone, and neither made nor brought into WAL mode.

    SQLite's own `mode=ro` would leave two files beside it. Raises ConfigError.
    """

    def __init__(self, path: Path) -> None:
        check_file(path)
        self.connection = connect(str(path))
        try:
            self.connection.execute("pragma query_only = on")
            self.connection.execute("select count(*) from sqlite_master").fetchall()
        except sqlite3.Error as error:
            self.connection.close()
            raise unopened(path, error) from error

    def applied(self) -> Mapping[str, int]:
        """How many migrations of each owner; nothing where there is no ledger yet."""
        with suppress(sqlite3.Error):
            return dict(fetch(self.connection, APPLIED, ()))
        return {}

    def copy(self, path: Path) -> None:
        """Raises ConfigError where there is no room for it."""
        with closing(connect(str(path))) as copy:
            try:
                self.connection.backup(copy)
            except sqlite3.Error as error:
                raise ConfigError(
                    f"The database cannot be copied to {path.parent}: {error}. "
                    "Make room there, or set TMPDIR to another folder."
                ) from error

    async def read(self, sql: str, args: Args = (), *, slow: bool = False) -> list[Row]:  # noqa: ARG002
        try:
            return fetch(self.connection, sql, args)
        except sqlite3.Error as error:
            raise worded(error) from None

    async def write(self, *_: Statement) -> list[list[Row]]:
        raise Unavailable("this is only looked at")

    async def close(self) -> None:
        self.connection.close()


class Observed(Auth):
    """Refuses to start where the server would, in the same words.

    Migrations that are still to come are tried on a copy of the database in `folder`, and so is
    the first start; in a database that a plugin opens they are counted alone.
    """

    def __init__(
        self, config: Config, folder: Path, *, found: Sequence[Found] | None = None
    ) -> None:
        self.folder = folder
        self.to_come: Mapping[str, int] = {}
        """How many migrations are still to be applied, by owner."""
        self.ready = True
        """Every table is there, or in the copy."""
        self.new = is_new(config)
        super().__init__(rehearsing(config, folder) if self.new else config, found=found)

    def embedded(self) -> Database:
        if self.new or "://" in self.config.database:
            return super().embedded()
        path = self.config.base / self.config.database
        looking = Looking(path)
        self.to_come = missing(upgrades.owned(self), looking.applied())
        if not self.to_come:
            return looking
        with closing(looking.connection):
            looking.copy(self.folder / path.name)
        return Embedded(self.folder / path.name)

    @asynccontextmanager
    async def started(self) -> AsyncIterator[None]:
        if self.new or self.to_come:
            async with super().started():
                yield
            return
        try:
            await self.look()
            yield
        finally:
            await self.database.close()

    async def look(self) -> None:
        """What starting looks at, in a database that is to stay as it is. Raises ConfigError."""
        try:
            applied: Mapping[str, int] = dict(await self.database.read(APPLIED))
        except Exception:  # noqa: BLE001 - of an engine that has no tables yet, in its own words
            applied = {}
        self.to_come = missing(upgrades.owned(self), applied)
        if self.to_come:
            self.ready = False
            return
        for owner, statements in upgrades.owned(self).items():
            await migrations.pending(self.database, owner, statements)
        await self.keys.refresh()
        await self.revocations.poll()
        await self.check_factors()


def missing(owners: Mapping[str, Sequence[str]], applied: Mapping[str, int]) -> Mapping[str, int]:
    counts = {name: len(statements) - applied.get(name, 0) for name, statements in owners.items()}
    return {name: count for name, count in counts.items() if count > 0}


def is_new(config: Config) -> bool:
    """Whether the first start is still to come; of a database elsewhere that is not known."""
    return "://" not in config.database and not (config.base / config.database).exists()


def rehearsing(config: Config, folder: Path) -> Config:
    """The same settings for a first start in another folder."""
    newest, *older = sources(config)
    there = newest.path is None or newest.path.exists()
    secret = newest if there else Secret(f"file {folder / 'picoauth.secret'}")
    return changed(config, database=str(folder / "picoauth.db"), secret=(secret, *older))
