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

KERNEL = (
    """
    create table users (
        id text primary key, name text not null, locale text, created_at integer not null,
        disabled_at integer, epoch integer not null, last_login_at integer
    )
    """,
    """
    create table identifiers (
        user_id text not null references users(id) on delete cascade,
        kind text not null, value text not null, display text not null, verified_at integer,
        primary key (user_id, kind, value)
    )
    """,
    """
    create unique index identifiers_verified on identifiers (kind, value)
     where verified_at is not null
    """,
    "create table retired_names (hash blob primary key, retired_at integer not null)",
    """
    create table enrolments (
        id text primary key, user_id text not null references users(id) on delete cascade,
        factor text not null, label text, confirmed_at integer, last_used_at integer
    )
    """,
    "create index enrolments_user on enrolments (user_id)",
    "create index enrolments_factor on enrolments (factor)",
    """
    create table sessions (
        id text primary key, user_id text not null references users(id) on delete cascade,
        epoch integer not null, generation integer not null, created_at integer not null,
        rotated_at integer not null, idle_at integer not null, expires_at integer not null,
        ended_at integer, auth_time integer not null, second_at integer, amr text not null,
        address text, user_agent text
    )
    """,
    "create index sessions_user on sessions (user_id)",
    "create index sessions_idle on sessions (idle_at)",
    """
    create table tickets (
        hash blob primary key, purpose text not null,
        user_id text references users(id) on delete cascade,
        data text not null, expires_at integer not null
    )
    """,
    "create index tickets_user on tickets (user_id)",
    "create index tickets_expiry on tickets (expires_at)",
    """
    create table signing_keys (
        id text primary key, algorithm text not null, created_at integer not null,
        sealed blob not null
    )
    """,
    """
    create table revocations (
        session_id text primary key, revoked_at integer not null, expires_at integer not null
    )
    """,
    "create index revocations_time on revocations (revoked_at)",
    """
    create table throttle (
        key text primary key, failures integer not null, next_at integer not null,
        updated_at integer not null
    )
    """,
    "create index throttle_time on throttle (updated_at)",
    "create table jobs (name text primary key, next_at integer not null)",
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
