"""The database in PostgreSQL: picoauth's portable SQL, in serializable transactions."""

import asyncio
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from picoauth import (
    ConfigError,
    Conflict,
    Database,
    Plugin,
    Row,
    Secret,
    Statement,
    Unavailable,
    described,
    hookimpl,
)

TYPES = {str: "text", int: "bigint", bool: "bigint", float: "double precision", bytes: "bytea"}
PLACE = re.compile(r"('[^']*')|\?")
TABLE = re.compile(r"\s*(create|alter)\s+table\b", re.IGNORECASE)
ANSWERS = re.compile(r"\s*(select|values|with)\b|.*\breturning\b", re.IGNORECASE | re.DOTALL)
REFUSED = (
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.DatatypeMismatchError,
    asyncpg.InvalidTextRepresentationError,
)
LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,  # a connection that is closed
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
)
WRONG = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
TRIES = 50


def portable(sql: str, args: Sequence[Any]) -> tuple[str, list[Any]]:
    """The statement with `$n` for `?`, each of the type of its value, as SQLite has it."""
    if TABLE.match(sql):
        return re.sub(r"\binteger\b", "bigint", re.sub(r"\bblob\b", "bytea", sql)), []
    rest, number = iter(args), iter(range(1, len(args) + 1))

    def place(found: re.Match[str]) -> str:
        if found[1]:
            return found[1]
        value = next(rest)
        return "null" if value is None else f"${next(number)}::{TYPES[type(value)]}"

    text = PLACE.sub(place, sql)
    if next(rest, None) is not None:
        raise ValueError("there are more arguments than places for them")
    return text, [packed(value) for value in args if value is not None]


def packed(value: Any) -> Any:
    """PostgreSQL has no NUL in a text."""
    return value.replace("\1", "\1\1").replace("\0", "\1\2") if isinstance(value, str) else value


def unpacked(value: Any) -> Any:
    nul = isinstance(value, str) and "\1" in value
    return re.sub("\1(.)", lambda m: "\0" if m[1] == "\2" else "\1", value) if nul else value


class Postgres:
    """A pool of connections. A write that met another one is done again, as long as it was not."""

    def __init__(self, url: str, password: Secret | None = None, patience: float = 5) -> None:
        self.url, self.password, self.patience = url, password, patience
        self.pool: Any = None
        self.opening = asyncio.Lock()

    async def connections(self) -> Any:
        async with self.opening:
            if self.pool is None:
                password = self.password and self.password.read().decode()
                options = {"password": password, "min_size": 1, "timeout": self.patience}
                options["command_timeout"] = self.patience
                try:
                    self.pool = await asyncpg.create_pool(self.url, **options)
                except WRONG as error:
                    raise ConfigError(f"postgres: {error}: mend `database`.") from error
            return self.pool

    async def read(self, sql: str, args: Sequence[Any] = (), *, slow: bool = False) -> list[Row]:
        sql, given = portable(sql, args)
        try:
            pool = await self.connections()
            async with pool.acquire(timeout=self.patience) as connection:
                return [tuple(map(unpacked, row)) for row in await connection.fetch(sql, *given)]
        except LOST as error:
            raise Unavailable(f"PostgreSQL cannot be reached: {type(error).__name__}") from error

    async def write(self, *statements: Statement) -> list[list[Row]]:
        for _ in range(TRIES):
            try:
                async with (
                    (await self.connections()).acquire(timeout=self.patience) as connection,
                    connection.transaction(isolation="serializable"),
                ):
                    return [await one(connection, n, each) for n, each in enumerate(statements)]
            except (asyncpg.TransactionRollbackError, asyncpg.DuplicateTableError):  # two met
                await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311 - no secret
            except LOST as error:
                raise Unavailable(f"PostgreSQL is lost: {type(error).__name__}") from error
        raise Unavailable("PostgreSQL has too many writes at once")

    async def close(self) -> None:
        if self.pool is not None:
            await self.pool.close()


async def one(connection: Any, index: int, statement: Statement) -> list[Row]:
    """Do one statement. Raises Conflict."""
    sql, given = portable(statement.sql, statement.args)
    rows: list[Row] = []
    try:
        if ANSWERS.match(sql):
            rows = [tuple(map(unpacked, row)) for row in await connection.fetch(sql, *given)]
            touched = len(rows)
        else:
            words = (await connection.execute(sql, *given)).split()
            touched = int(words[-1]) if words[-1].isdigit() else 0
    except REFUSED as error:
        if error.schema_name == "pg_catalog":  # another process makes the same table right now
            raise asyncpg.SerializationError(str(error)) from error
        raise Conflict(index) from error
    if statement.rows not in (None, touched):
        raise Conflict(index)
    return rows


@dataclass(frozen=True)
class Settings:
    """The table `[postgres]`."""

    password: Secret | None = described("Unless the address or ~/.pgpass says it.", default=None)


class PostgresPlugin(Plugin[Settings]):
    """Fills the slot for addresses that begin with postgresql://."""

    @hookimpl
    def database(self, url: str) -> Database | None:
        if not url.startswith("postgresql://"):
            raise ConfigError("postgres: `database` must be postgresql://USER@HOST/DATABASE.")
        return Postgres(url, self.settings.password)
