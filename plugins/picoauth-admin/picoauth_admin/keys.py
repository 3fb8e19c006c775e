"""Admin keys: named, scoped, expiring; only their hashes are stored."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from picoauth import (
    Auth,
    Caller,
    ConfigError,
    Conflict,
    Denied,
    Statement,
    problems,
)
from picoauth_admin.events import AdminKeyMade, AdminKeyRevoked

PREFIX = "picoauth-admin-"
"""Begins every key, so that programs that look for lost secrets know one."""
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What can stand in `Caller.actor`, and in a line of a log."""
SAFE = frozenset({"GET", "HEAD"})
"""Methods for which a key that may only read is enough."""
DAY = 86400

MIGRATIONS = (
    """
    create table admin_keys (
        name text primary key, hash blob not null unique, scope text not null,
        created_at integer not null, expires_at integer not null
    )
    """,
)

Scope = Literal["read", "full"]


@dataclass(frozen=True)
class AdminKey:
    """A key as it is listed."""

    name: str
    scope: str
    created_at: int
    expires_at: int


class AdminKeys:
    """Makes them, and knows them again."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    async def create(self, name: str, scope: Scope, days: int, caller: Caller) -> str:
        """Make a key, which is told this once. Raises ConfigError for a name that has one."""
        if NAME.fullmatch(name) is None:
            raise ConfigError("A key's name has letters, digits, dots, - and _ alone, at most 64.")
        random = base64.urlsafe_b64encode(self.auth.secrets.random(32)).rstrip(b"=").decode()
        key, now = f"{PREFIX}{random}", self.auth.now()
        end = now + days * DAY
        event = AdminKeyMade(
            at=now, user_id=None, name=name, scope=scope, expires_at=end, caller=caller
        )
        sql = "insert into admin_keys (name, hash, scope, created_at, expires_at) values (?, ?, ?, ?, ?)"
        making = Statement(sql, (name, digest(key), scope, now, end), rows=1)
        try:
            await self.auth.events.commit(event, making)
        except Conflict as conflict:
            raise ConfigError(
                f"There is a key {name} already: revoke that first, or take another name."
            ) from conflict
        return key

    async def revoke(self, name: str, caller: Caller) -> None:
        """From now on it is nobody's. Raises ConfigError where there is none."""
        event = AdminKeyRevoked(at=self.auth.now(), user_id=None, name=name, caller=caller)
        revoking = Statement("delete from admin_keys where name = ?", (name,), rows=1)
        try:
            await self.auth.events.commit(event, revoking)
        except Conflict as conflict:
            raise ConfigError(
                f"There is no key {name!r}: `picoauth admin keys list` shows all."
            ) from conflict

    async def all(self) -> Sequence[AdminKey]:
        """Those that expired, too: an operator may wonder why one no longer works."""
        sql = "select name, scope, created_at, expires_at from admin_keys order by name"
        return [AdminKey(*row) for row in await self.auth.database.read(sql)]

    async def check(self, key: str, method: str) -> str:
        """The name of the key. Raises Denied.

        Found by its hash, so that how long the look-up takes tells nothing of a key.
        """
        sql = "select name, scope from admin_keys where hash = ? and expires_at > ?"
        rows = await self.auth.database.read(sql, (digest(key), self.auth.now()))
        if not rows:
            raise Denied(problems.INVALID_TOKEN)
        name, scope = rows[0]
        if scope != "full" and method not in SAFE:
            raise Denied(problems.READ_ONLY)
        found: str = name
        return found


def digest(key: str) -> bytes:
    """Plain, since a key has 256 random bits."""
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()
