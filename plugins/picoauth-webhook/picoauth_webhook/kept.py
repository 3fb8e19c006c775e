"""The plugin's table: what was queued, sealed, so that it can be queued again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from picoauth import Auth, Place, Statement

MIGRATIONS = (
    """
    create table webhook (
        id text primary key,
        queued_as text not null,
        endpoint text not null,
        type text not null,
        user_id text references users (id) on delete cascade,
        created_at integer not null,
        sealed blob not null
    )
    """,
    "create index webhook_created_at on webhook (created_at)",
    "create index webhook_user_id on webhook (user_id)",
)
# A user who is deleted in the same write is nobody's any more.
KEEP = """
    insert into webhook (id, queued_as, endpoint, type, user_id, created_at, sealed)
    values (?, ?, ?, ?, (select id from users where id = ?), ?, ?)
"""
# What waits is not queued a second time.
AGAIN = """
    update webhook set queued_as = ?
     where id = ? and queued_as = ?
       and not exists (select 1 from outbox o where o.id = webhook.queued_as and o.sealed is not null)
"""
# A restore empties the outbox: what was sent by then, nobody knows.
LOSE = "update webhook set queued_as = ''"
LIST = """
    select w.id, w.endpoint, w.type, w.created_at, o.tries, o.error, o.sealed is not null,
           w.queued_as = ''
      from webhook w left join outbox o on o.id = w.queued_as
     order by w.created_at, w.id
"""


@dataclass(frozen=True)
class Notice:
    """One event for one receiver; its id stays the same, however often it is sent."""

    id: str
    endpoint: str
    type: str
    user_id: str | None
    body: bytes


class Kept:
    """Reads and writes it. Rows of a user go with the user."""

    def __init__(self, auth: Auth, seconds: int) -> None:
        self.auth = auth
        self.seconds = seconds

    def keeping(self, notice: Notice) -> Statement:
        """Kept under the id by which it is queued first."""
        sealed = self.auth.secrets.seal(place(notice.id), notice.body)
        names = (notice.id, notice.id, notice.endpoint, notice.type, notice.user_id)
        return Statement(KEEP, (*names, self.auth.now(), sealed))

    async def get(self, notice_id: str) -> tuple[Notice, str] | None:
        """It, and under which id it was queued last. Raises ConfigError where no secret opens it."""
        sql = "select id, endpoint, type, user_id, sealed, queued_as from webhook where id = ?"
        rows = await self.auth.database.read(sql, (notice_id,))
        if not rows:
            return None
        [(_, endpoint, kind, user_id, sealed, queued_as)] = rows
        body = self.auth.secrets.open(place(notice_id), sealed)
        return Notice(notice_id, endpoint, kind, user_id, body), queued_as

    async def list(self) -> Sequence[Mapping[str, Any]]:
        """Without what they say. One that the outbox has forgotten was sent."""
        rows = await self.auth.database.read(LIST, slow=True)
        return [
            {
                "id": notice_id,
                "endpoint": endpoint,
                "type": kind,
                "state": state(tries, error, waits=waits, lost=lost),
                "created_at": created_at,
                "tries": tries,
                "error": error,
            }
            for notice_id, endpoint, kind, created_at, tries, error, waits, lost in rows
        ]

    async def clean(self) -> None:
        """Forget what is older than it is kept."""
        before = self.auth.now() - self.seconds
        await self.auth.database.write(
            Statement("delete from webhook where created_at < ?", (before,))
        )


def state(tries: int | None, error: str | None, *, waits: bool, lost: bool) -> str:
    """How it went, as far as that is known."""
    if waits:
        return "waits"
    return "unknown" if lost else "given up" if tries and error else "sent"


def place(notice_id: str) -> Place:
    return Place("webhook", "sealed", notice_id)
