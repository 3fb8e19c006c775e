"""Tickets: single-use, expiring secrets with a purpose and some JSON."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from picoauth import decoys
from picoauth.database import Database, Statement

SIZE = 32
"""Random bytes in a ticket; enough that its plain SHA-256 tells nothing (T-2)."""

# Purpose and hash find a ticket together, so that one made for A is not there for B (T-1).
ALIVE = "purpose = ? and hash = ? and expires_at > ?"


@dataclass(frozen=True)
class Ticket:
    """What a ticket carried. `user_id` is None where it was made for nobody yet."""

    user_id: str | None
    data: Any
    expires_at: int


class Tickets:
    """Issues and takes tickets; only hashes are stored."""

    def __init__(
        self, database: Database, now: Callable[[], int], random: Callable[[int], bytes]
    ) -> None:
        self.database = database
        self.now = now
        self.random = random

    def issue(
        self,
        purpose: str,
        data: Any,
        *,
        expires_at: int,
        user_id: str | None = None,
        decoy: bool = False,
    ) -> tuple[str, Statement]:
        """A new ticket, and the statement that makes it valid once it is written.

        `expires_at` is in seconds since 1970. A `decoy` is for nobody: the same is written, its
        secret opens nothing, and it is erased soon.
        """
        secret = base64.urlsafe_b64encode(self.random(SIZE)).rstrip(b"=").decode()
        sql = (
            "insert into tickets (hash, purpose, user_id, data, expires_at) values (?, ?, ?, ?, ?)"
        )
        hashed = digest(secret)
        if decoy:
            hashed = decoys.HASHES + hashed[len(decoys.HASHES) :]
        args = (hashed, purpose, user_id, json.dumps(data), expires_at)
        return secret, Statement(sql, args)

    def voiding(self, purpose: str, user_id: str) -> Statement:
        """Void every ticket of one purpose that a user has (T-5)."""
        return Statement(
            "delete from tickets where purpose = ? and user_id = ?", (purpose, user_id)
        )

    async def look(self, purpose: str, secret: str) -> Ticket | None:
        """Read a ticket and leave it: a GET never takes one, because mail scanners follow links."""
        sql = f"select user_id, data, expires_at from tickets where {ALIVE}"
        rows = await self.database.read(sql, (purpose, digest(secret), self.now()))
        return ticket(rows[0]) if rows else None

    async def expired(self, purpose: str, secret: str) -> bool:
        """Whether it was a ticket that came too late; that is known for an hour."""
        sql = "select 1 from tickets where purpose = ? and hash = ? and expires_at <= ?"
        args = (purpose, digest(secret), self.now())
        return bool(await self.database.read(sql, args))

    def taking(self, purpose: str, secret: str) -> Statement:
        """Take a ticket within the write of its effect: one racer wins, the others conflict (T-3)."""
        sql = f"delete from tickets where {ALIVE} returning user_id, data, expires_at"
        return Statement(sql, (purpose, digest(secret), self.now()), rows=1)

    async def take(self, purpose: str, secret: str) -> Ticket | None:
        """Take a ticket whose effect follows; None for all but the first."""
        sql = f"delete from tickets where {ALIVE} returning user_id, data, expires_at"
        statement = Statement(sql, (purpose, digest(secret), self.now()))
        [rows] = await self.database.write(statement)
        return ticket(rows[0]) if rows else None


def ticket(row: tuple[Any, ...]) -> Ticket:
    return Ticket(row[0], json.loads(row[1]), row[2])


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def cleaning(now: int) -> Statement:
    return Statement("delete from tickets where expires_at < ?", (now - 3600,))
