"""Resource servers: who may ask about the tokens of others, each with a key of its own."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from picoauth.database import Database, Statement
from picoauth.errors import ConfigError, Conflict, Denied
from picoauth.problems import INVALID_CLIENT
from picoauth.shapes import suggest

CHALLENGE = {"WWW-Authenticate": 'Bearer, Basic realm="picoauth"'}
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What no client encodes another way in a `Basic` header (RFC 6749, section 2.3.1)."""


@dataclass(frozen=True)
class ResourceServer:
    """A server that holds what users want to reach (RFC 6749, section 1.1)."""

    name: str
    created_at: int


class ResourceServers:
    """Makes their keys, of which only hashes are stored, and knows them again."""

    def __init__(
        self, database: Database, now: Callable[[], int], random: Callable[[int], bytes]
    ) -> None:
        self.database = database
        self.now = now
        self.random = random

    async def add(self, name: str) -> str:
        """Make a key, which is told this once. Raises ConfigError for a name that has one."""
        if NAME.fullmatch(name) is None:
            raise ConfigError("A resource server's name has letters, digits, dots, - and _ alone.")
        key = base64.urlsafe_b64encode(self.random(32)).rstrip(b"=").decode()
        sql = "insert into resource_servers (name, hash, created_at) values (?, ?, ?)"
        try:
            await self.database.write(Statement(sql, (name, digest(key), self.now())))
        except Conflict as conflict:
            raise ConfigError(
                f"The resource server {name} has a key already: remove that first, or take "
                "another name."
            ) from conflict
        return key

    async def remove(self, name: str) -> None:
        """From now on its key is nobody's. Raises ConfigError where there is none."""
        try:
            sql = "delete from resource_servers where name = ?"
            await self.database.write(Statement(sql, (name,), rows=1))
        except Conflict as conflict:
            names = [server.name for server in await self.all()]
            raise ConfigError(
                f"There is no resource server {name}{suggest(name, names) or '.'}"
            ) from conflict

    async def all(self) -> Sequence[ResourceServer]:
        rows = await self.database.read(
            "select name, created_at from resource_servers order by name"
        )
        return [ResourceServer(*row) for row in rows]

    async def check(self, authorization: str | None) -> ResourceServer:
        """Who sent this header: `Bearer KEY`, or `Basic` with name and key (RFC 6749, 2.3.1).

        Found by its hash, so that how long the look-up takes tells nothing of a key.
        Raises Denied.
        """
        name, key = credentials(authorization or "")
        sql = "select name, created_at from resource_servers where hash = ?"
        rows = await self.database.read(sql, (digest(key),))
        if not rows or name not in (None, rows[0][0]):
            raise Denied(INVALID_CLIENT, headers=CHALLENGE)
        return ResourceServer(*rows[0])


def credentials(header: str) -> tuple[str | None, str]:
    """The name, where the scheme has one, and the key. What is no header of ours is no key."""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer":
        return None, rest.strip()
    if scheme.lower() != "basic":
        return None, ""
    try:
        name, _, key = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None, ""
    return name, key


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()
