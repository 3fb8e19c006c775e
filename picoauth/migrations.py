"""Schema changes: the ledger, whose tables a plugin may make, and the check for drift."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from picoauth.database import Database, Statement
from picoauth.errors import ConfigError, Conflict

LEDGER = Statement(
    """
    create table if not exists migrations (
        owner text not null, number integer not null, hash text not null,
        applied_at integer not null, primary key (owner, number)
    )
    """
)

TABLE = re.compile(
    r"\s*(?:create\s+table\s+(?:if\s+not\s+exists\s+)?|alter\s+table\s+|drop\s+table\s+"
    r"|create\s+(?:unique\s+)?index\s+\w+\s+on\s+|insert\s+into\s+|update\s+|delete\s+from\s+)"
    r'"?(\w+)"?',
    re.IGNORECASE,
)
USER_ID = re.compile(r"\buser_id\s+text\b([^,]*)", re.IGNORECASE)
CASCADE = re.compile(r"references\s+users\s*\(\s*id\s*\)\s+on\s+delete\s+cascade", re.IGNORECASE)


def check(plugin: str, statements: Sequence[str]) -> None:
    """Refuse tables of a name that isn't the plugin's, and rows that would outlive their user.

    Raises ConfigError.
    """
    prefix = plugin.replace("-", "_")
    for number, sql in enumerate(statements, 1):
        found = TABLE.match(sql)
        table = found[1].lower() if found else None
        if table is None or not (table == prefix or table.startswith(f"{prefix}_")):
            raise ConfigError(
                f"Migration {number} of plugin {plugin} changes "
                f"{table or 'something that is no table'}: its tables are named {prefix} or {prefix}_…"
            )
        if any(not CASCADE.search(column[1]) for column in USER_ID.finditer(sql)):
            raise ConfigError(
                f"Migration {number} of plugin {plugin} keeps a user_id that outlives the user: "
                "write `user_id text … references users(id) on delete cascade`."
            )


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
    writes = [
        each
        for number, sql in enumerate(missing, done + 1)
        for each in (entry(owner, number, sql, now), Statement(sql))
    ]
    try:
        await database.write(*writes)
    except Conflict:  # another process was faster
        await pending(database, owner, statements)
        return ()
    return missing


def entry(owner: str, number: int, sql: str, now: int) -> Statement:
    """The ledger's line, written before the change: of two processes, one stumbles over it."""
    ledger = "insert into migrations (owner, number, hash, applied_at) values (?, ?, ?, ?)"
    return Statement(ledger, (owner, number, digest(sql), now), rows=1)


def digest(sql: str) -> str:
    return hashlib.sha256(" ".join(sql.split()).encode()).hexdigest()
