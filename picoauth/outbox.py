"""The outbox: what leaves the server is written with its reason, and sent by a task of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from picoauth.asking import asked
from picoauth.database import Row, Statement
from picoauth.errors import Unavailable, Undeliverable
from picoauth.events import MessageDropped
from picoauth.secrets import Place

if TYPE_CHECKING:
    from picoauth.auth import Auth

log = logging.getLogger("picoauth.outbox")
PAUSE = 1.0
"""Seconds between two looks at what is due."""
PATIENCE = 60.0
"""Seconds that a sender may take."""
LEASE = 120
"""Seconds for which nobody else takes a message that is being sent."""
AT_ONCE = 4
"""Messages that a process sends at the same time."""
LONGEST = 3600
"""Seconds between two tries, at most."""
BLOCK = 2048
"""Payloads are filled up to a multiple of so many bytes: their length tells nothing."""
KEPT = 7 * 86400
"""Seconds for which it is remembered that a message was sent, or given up."""

# One that is due beyond all reason was put off by a clock that was ahead: it is due.
DUE = """
    select id, next_at from outbox
     where sealed is not null and (next_at <= ? or next_at > ?) order by next_at limit 20
"""
CLAIM = """
    update outbox set next_at = ?, tries = tries + 1
     where id = ? and next_at = ? and sealed is not null
    returning kind, about, user_id, sealed, expires_at, tries
"""
DONE = "update outbox set sealed = null, sent_at = ?, error = null where id = ?"
AGAIN = "update outbox set next_at = ?, error = ? where id = ? and sealed is not null"
GIVEN_UP = "update outbox set sealed = null, error = ? where id = ? and sealed is not null"


@dataclass(frozen=True)
class Claimed:
    """A message that this process may send now."""

    id: str
    kind: str
    about: str
    user_id: str | None
    sealed: bytes
    expires_at: int
    tries: int


class Outbox:
    """Queues messages of any kind, and sends them by the `senders` of plugins.

    A message is sent at least once: whoever is cut off between sending and noting it sends it
    again, under the same id.
    """

    def __init__(self, auth: Auth) -> None:
        self.auth = auth
        self.turn = asyncio.Lock()

    def queuing(
        self,
        kind: str,
        message_id: str,
        payload: bytes,
        *,
        about: str,
        expires_at: int,
        user_id: str | None = None,
    ) -> Statement:
        """The statement that queues a payload, for the write of what it tells of.

        `about` stays readable in the database, the payload does not. Of a user who is deleted
        nothing is sent any more; leave `user_id` out of what has to go out even then.
        """
        filled = payload.ljust(-(-len(payload) // BLOCK) * BLOCK)
        sealed = self.auth.secrets.seal(place(message_id), filled)
        now = self.auth.now()
        sql = """
            insert into outbox (id, kind, about, user_id, sealed, created_at, expires_at, next_at, tries)
            values (?, ?, ?, ?, ?, ?, ?, ?, 0)
        """
        return Statement(
            sql, (message_id, kind, about, user_id, sealed, now, expires_at, now), rows=1
        )

    async def forever(self) -> None:
        while True:
            try:
                await self.flush()
            except Unavailable as error:
                log.warning("the outbox has to wait: %s", error)
            except Exception:
                log.exception("the outbox failed")
            await asyncio.sleep(PAUSE)

    async def flush(self) -> None:
        """Send what is due, and what is being sent; one that is slow is cut off in the end."""
        async with self.turn:
            now = self.auth.now()
            rows = await self.auth.database.read(DUE, (now, now + LONGEST + LEASE))
            await self.send_all(rows)

    async def send_all(self, due: Sequence[Row]) -> None:
        places = asyncio.Semaphore(AT_ONCE)

        async def one(message_id: str, next_at: int) -> None:
            async with places:
                claimed = await self.claim(message_id, next_at)
                if claimed is not None:
                    await self.attempt(claimed)

        async with asyncio.TaskGroup() as sending:
            for row in due:
                sending.create_task(one(*row))

    async def claim(self, message_id: str, next_at: int) -> Claimed | None:
        """Of all processes that see a message due, one gets it."""
        claim = Statement(CLAIM, (self.auth.now() + LEASE, message_id, next_at))
        [rows] = await self.auth.database.write(claim)
        return Claimed(message_id, *rows[0]) if rows else None

    async def attempt(self, claimed: Claimed) -> None:
        """Send, and note how that went."""
        if claimed.expires_at <= self.auth.now():
            await self.give_up(claimed, "it came too late")
            return
        try:
            await self.send(claimed)
        except Undeliverable as error:
            await self.give_up(claimed, str(error))
        except Exception as error:  # also of what a sender gets wrong: nothing is lost by that
            if not isinstance(error, Unavailable):
                log.exception("%s %s cannot be sent", claimed.kind, claimed.id)
            await self.put_off(claimed, error)
        else:
            await self.note(DONE, self.auth.now(), claimed.id)

    async def send(self, claimed: Claimed) -> None:
        sender = self.auth.senders.get(claimed.kind)
        if sender is None:
            raise Unavailable(f"no listed plugin sends the kind {claimed.kind}")
        payload = self.auth.secrets.open(place(claimed.id), claimed.sealed)
        await asked(partial(sender, payload.rstrip()), {}, PATIENCE)

    async def put_off(self, claimed: Claimed, error: Exception) -> None:
        asks = error.retry_after if isinstance(error, Unavailable) else 0
        pause = min(LONGEST, max(15 * 2 ** min(claimed.tries - 1, 10), asks))
        said = str(error) if isinstance(error, Unavailable) else type(error).__name__
        log.warning("%s %s has to wait for %d s: %s", claimed.kind, claimed.id, pause, said)
        await self.note(AGAIN, self.auth.now() + pause, said, claimed.id)

    async def give_up(self, claimed: Claimed, why: str) -> None:
        event = MessageDropped(
            at=self.auth.now(),
            user_id=claimed.user_id,
            message_id=claimed.id,
            kind=claimed.kind,
            about=claimed.about,
            why=why,
        )
        await self.auth.events.commit(event, Statement(GIVEN_UP, (why, claimed.id)))

    async def note(self, sql: str, *args: Any) -> None:
        await self.auth.database.write(Statement(sql, args))

    async def waiting(self) -> str | None:
        """What `/health-check` says about messages that were tried, and are still here."""
        sql = """
            select count(*), min(created_at), max(error) from outbox
             where sealed is not null and tries > 0 and error is not null
        """
        [[count, since, error]] = await self.auth.database.read(sql)
        if not count:
            return None
        minutes = max(0, self.auth.now() - since) // 60
        return (
            f"{count} messages wait in the outbox, the first for {minutes} minutes ({error}): "
            "see `picoauth mail list`."
        )

    async def retry(self) -> int:
        """Let all that waits be due now; how many that are."""
        sql = "update outbox set next_at = ? where sealed is not null returning id"
        [rows] = await self.auth.database.write(Statement(sql, (self.auth.now(),)))
        return len(rows)

    async def list(self) -> list[Mapping[str, Any]]:
        """What waits, and what was sent or given up in the last days; without what it says."""
        shown = (
            "id",
            "kind",
            "about",
            "user_id",
            "created_at",
            "tries",
            "next_at",
            "sent_at",
            "error",
        )
        sql = f"select sealed is not null, {', '.join(shown)} from outbox order by created_at, id"
        rows = await self.auth.database.read(sql, slow=True)
        return [dict(zip(("waits", *shown), row, strict=True)) for row in rows]


def place(message_id: str) -> Place:
    return Place("outbox", "sealed", message_id)


def cleaning(now: int) -> Statement:
    sql = "delete from outbox where sealed is null and created_at < ?"
    return Statement(sql, (now - KEPT,))
