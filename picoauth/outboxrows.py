"""The rows of the outbox: sealed while they wait, and claimed by one process at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from picoauth.database import Database, Row, Statement
from picoauth.errors import ConfigError
from picoauth.secrets import Place, Secrets

LEASE = 120
"""Seconds for which no other process takes a message that is being sent."""
LONGEST = 3600
"""Seconds between two tries, at most."""
BLOCK = 16384
"""Payloads are filled up to a multiple of so many bytes: their length tells nothing."""
END = b"\1"
"""Between a payload and what fills it up."""
LATE = 300
"""Seconds after which a message that still waits is worth a word."""
KEPT, KEPT_WHY = 86400, 7 * 86400
"""Seconds for which it is remembered that a message was sent, or why it was not."""

# What is new is due, whatever its clock said. So is what is put off, or held, beyond all reason:
# a clock that was ahead did that.
DUE = """
    select id, tries from outbox
     where kind = ? and sealed is not null and (held_until <= ? or held_until > ?)
       and (tries = 0 or next_at <= ? or next_at > ? or expires_at <= ?)
     order by next_at limit ?
"""
CLAIM = """
    update outbox set held_until = ?, tries = tries + 1
     where id = ? and tries = ? and sealed is not null
    returning kind, about, expires_at, tries, sealed
"""
SENT = "update outbox set sealed = null, sent_at = ?, error = null where id = ?"
# Under the number of the try: whoever was overtaken by another process changes nothing.
AGAIN = """
    update outbox set next_at = ?, held_until = 0, error = ?
     where id = ? and tries = ? and sealed is not null
"""
GIVEN_UP = """
    update outbox set sealed = null, error = ? where id = ? and tries = ? and sealed is not null
"""
WAITING = """
    select id, kind, about, expires_at, tries, sealed from outbox
     where sealed is not null and id > ? order by id limit ?
"""
AT_ONCE = 50
"""Messages that are opened in one go."""
COLUMNS = ("id", "kind", "about", "created_at", "tries", "next_at", "sent_at", "error")


@dataclass(frozen=True)
class Claimed:
    """A message that this process may send now, for the `tries`-th time."""

    id: str
    kind: str
    about: str
    expires_at: int
    tries: int
    sealed: bytes


class Rows:
    """Reads and writes them. No clear column tells to whom a message goes, or whether to anybody."""

    def __init__(self, database: Database, secrets: Secrets, now: Callable[[], int]) -> None:
        self.database = database
        self.secrets = secrets
        self.now = now

    def queuing(
        self,
        kind: str,
        message_id: str,
        payload: bytes,
        *,
        about: str,
        expires_at: int,
        user_id: str | None,
    ) -> Statement:
        """Everything but `about` is sealed that differs between two messages of a kind."""
        whole = f"{user_id or ''}\n".encode() + payload + END
        filled = whole.ljust(-(-len(whole) // BLOCK) * BLOCK, b"\0")
        sealed = self.secrets.seal(place(message_id), filled)
        now = self.now()
        sql = """
            insert into outbox
                (id, kind, about, sealed, created_at, expires_at, next_at, held_until, tries)
            values (?, ?, ?, ?, ?, ?, ?, 0, 0)
        """
        return Statement(sql, (message_id, kind, about, sealed, now, expires_at, now), rows=1)

    def open(self, claimed: Claimed) -> tuple[str | None, bytes]:
        """The user's id, if it is for a user, and the payload. Raises ConfigError."""
        filled = self.secrets.open(place(claimed.id), claimed.sealed)
        user_id, _, payload = filled.rstrip(b"\0").removesuffix(END).partition(b"\n")
        return user_id.decode() or None, payload

    async def waiting_for(self, user_id: str) -> Sequence[str]:
        """Ids of what waits for a user, of which each has to be opened."""
        if not await self.kinds():  # a look at an index, as it is nearly always
            return []
        found, last = [], ""
        while rows := await self.database.read(WAITING, (last, AT_ONCE), slow=True):
            for last, *rest in rows:
                with suppress(ConfigError):  # which nobody can send either
                    if self.open(Claimed(last, *rest))[0] == user_id:
                        found.append(last)
        return found

    async def kinds(self) -> Sequence[str]:
        """Of what waits, whether it is due or not."""
        rows = await self.database.read("select distinct kind from outbox where sealed is not null")
        return [kind for (kind,) in rows]

    async def due(self, kind: str, most: int, *, expired: bool) -> Sequence[Row]:
        """Ids and numbers of tries, what is due for longest first; what has `expired` at once."""
        now = self.now()
        held, put_off = (now, now + LEASE), (now, now + LONGEST)
        args = (kind, *held, *put_off, now if expired else -1, most)
        return await self.database.read(DUE, args)

    async def claim(self, message_id: str, tries: int) -> Claimed | None:
        """Of all processes that see a message due, one gets it."""
        claim = Statement(CLAIM, (self.now() + LEASE, message_id, tries))
        [rows] = await self.database.write(claim)
        return Claimed(message_id, *rows[0]) if rows else None

    async def sent(self, claimed: Claimed) -> None:
        await self.database.write(Statement(SENT, (self.now(), claimed.id)))

    async def put_off(self, claimed: Claimed, asks: int, said: str) -> int:
        """Doubling from 15 seconds, and for as long as the other side `asks`; how long."""
        pause = min(LONGEST, max(15 << min(claimed.tries - 1, 10), asks))
        args = (self.now() + pause, said, claimed.id, claimed.tries)
        await self.database.write(Statement(AGAIN, args))
        return pause

    def giving_up(self, claimed: Claimed, why: str) -> Statement:
        return Statement(GIVEN_UP, (why, claimed.id, claimed.tries), rows=1)

    async def late(self) -> int | None:
        """The seconds that the first message has waited for, if that is long."""
        sql = "select min(created_at) from outbox where sealed is not null and created_at <= ?"
        [[since]] = await self.database.read(sql, (self.now() - LATE,))
        return None if since is None else self.now() - since

    async def retry(self) -> int:
        """Let all that waits be due now, but what is being sent; how many wait."""
        sql = "update outbox set next_at = ? where sealed is not null returning id"
        [rows] = await self.database.write(Statement(sql, (self.now(),)))
        return len(rows)

    async def list(self) -> Sequence[Mapping[str, Any]]:
        sql = """
            select sealed is not null, id, kind, about, created_at, tries, next_at, sent_at, error
              from outbox order by created_at, id
        """
        rows = await self.database.read(sql, slow=True)
        return [dict(zip(("waits", *COLUMNS), row, strict=True)) for row in rows]


def place(message_id: str) -> Place:
    return Place("outbox", "sealed", message_id)


def cleaning(now: int) -> Statement:
    sql = """
        delete from outbox
         where sealed is null and created_at < case when error is null then ? else ? end
    """
    return Statement(sql, (now - KEPT, now - KEPT_WHY))
