"""Schema changes: the ledger, whose tables a plugin may make, and the check for drift."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from picoauth.database import Database, Statement
from picoauth.errors import ConfigError, Conflict, Unavailable
from picoauth.schema import TABLES

LEDGER = Statement(
    """
    create table if not exists migrations (
        owner text not null, number integer not null, hash text not null,
        applied_at integer not null, primary key (owner, number)
    )
    """
)

TABLE = re.compile(
    r"\s*(?:create\s+table\s+(?:if\s+not\s+exists\s+)?|alter\s+table\s+"
    r"|drop\s+(?:table|index)\s+(?:if\s+exists\s+)?"
    r"|create\s+(?:unique\s+)?index\s+(?:if\s+not\s+exists\s+)?\w+\s+on\s+"
    r'|insert\s+into\s+|update\s+|delete\s+from\s+)"?(\w+)',
    re.IGNORECASE,
)
RENAMED = re.compile(r'\brename\s+to\s+"?(\w+)', re.IGNORECASE)
COMMENT = re.compile(r"--[^\n]*")
COLUMN = re.compile(r'\buser_id"?\s+(?:text|int|integer|blob|real|any)\b([^,]*)', re.IGNORECASE)
FOREIGN_KEY = re.compile(r'\bforeign\s+key\s*\(\s*"?user_id"?\s*\)([^,]*)', re.IGNORECASE)
REFERENCE = re.compile(r'\breferences\s+"?(\w+)"?\s*(?:\([^)]*\))?([^,]*)', re.IGNORECASE)
CASCADE = re.compile(r"\bon\s+delete\s+cascade\b", re.IGNORECASE)


def check(plugin: str, statements: Sequence[str]) -> None:
    """Refuse tables that aren't the plugin's, and rows that would outlive or hold their user.

    Raises ConfigError.
    """
    for number, sql in enumerate(statements, 1):
        bare = COMMENT.sub("", sql)
        wrong = foreign(plugin.replace("-", "_"), bare) or holding(bare)
        if wrong:
            raise ConfigError(f"Migration {number} of plugin {plugin} {wrong}")


def foreign(prefix: str, sql: str) -> str | None:
    """What is wrong with the names of the tables that a statement changes."""
    names = [found[1].lower() for found in (TABLE.match(sql), RENAMED.search(sql)) if found]
    for name in names or ["something that is no table"]:
        if name in TABLES:
            return f"changes {name}, which is the kernel's: its tables need other names."
        if name != prefix and not name.startswith(f"{prefix}_"):
            return f"changes {name}: its tables are named {prefix} or {prefix}_…"
    return None


def holding(sql: str) -> str | None:
    """What is wrong with the references of a statement: deleting a user is one statement."""
    for table, rest in REFERENCE.findall(sql):
        if table.lower() in TABLES and not CASCADE.search(rest):
            return (
                f"refers to {table} without `on delete cascade`, so that no user with such a row "
                f"could be deleted: write `references {table}(id) on delete cascade`."
            )
    keys = " ".join(FOREIGN_KEY.findall(sql))
    if any("users" not in referred(column + keys) for column in COLUMN.findall(sql)):
        return (
            "keeps a user_id that outlives the user: "
            "write `user_id text … references users(id) on delete cascade`."
        )
    return None


def referred(definition: str) -> list[str]:
    return [table.lower() for table, _ in REFERENCE.findall(definition)]


async def pending(database: Database, owner: str, statements: Sequence[str]) -> int:
    """How many statements are applied already. Raises ConfigError where the ledger disagrees."""
    sql = "select hash from migrations where owner = ? order by number"
    applied = [hash_ for (hash_,) in await database.read(sql, (owner,))]
    if len(applied) > len(statements):
        raise ConfigError(
            f"The database is newer than the installed {owner}: it has {len(applied)} migrations, "
            f"the package {len(statements)}. Install the version that made it, or a newer one."
        )
    for number, (known, sql) in enumerate(zip(applied, statements, strict=False), 1):
        if known != digest(sql):
            raise ConfigError(
                f"Migration {number} of {owner} is not the one that made this database: "
                "install the version that made it; migrations are only ever added."
            )
    return len(applied)


async def migrate(
    database: Database, owner: str, statements: Sequence[str], now: int
) -> Sequence[str]:
    """Apply what is missing, all or nothing; answers what was applied. Raises ConfigError."""
    done = await pending(database, owner, statements)
    missing = statements[done:]
    if not missing:
        return ()
    entries = [entry(owner, done + n, sql, now) for n, sql in enumerate(missing, 1)]
    writes = [each for pair in zip(entries, map(Statement, missing), strict=True) for each in pair]
    try:
        await database.write(*writes)
    except Conflict as conflict:
        place, of_rows = divmod(conflict.index, 2)
        if of_rows:
            raise failed(
                owner, f"the rows that are there break number {done + place + 1}"
            ) from conflict
        return await migrate(database, owner, statements, now)  # another process was faster
    except Unavailable:
        raise
    except Exception as error:
        raise failed(owner, error) from error
    return missing


def failed(owner: str, reason: object) -> ConfigError:
    return ConfigError(
        f"The migrations of {owner} failed, and nothing was changed: {reason}. "
        "Install another version of it."
    )


def entry(owner: str, number: int, sql: str, now: int) -> Statement:
    """The ledger's line, written before the change: of two processes, one stumbles over it."""
    ledger = "insert into migrations (owner, number, hash, applied_at) values (?, ?, ?, ?)"
    return Statement(ledger, (owner, number, digest(sql), now), rows=1)


def digest(sql: str) -> str:
    return hashlib.sha256(" ".join(sql.split()).encode()).hexdigest()
