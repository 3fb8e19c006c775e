"""The default session store: rows of the database."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from picoauth.database import Database, Row, Statement
from picoauth.revocations import ACCEPTED
from picoauth.sessions import Session
from picoauth.settings import TokenSettings

COLUMNS = """
    id, user_id, epoch, generation, created_at, rotated_at, idle_at, expires_at, ended_at,
    auth_time, second_at, amr, address, user_agent, parent_id, cookie, delivery
"""
NAMES = COLUMNS.replace(",", " ").split()

# At most once per window, and only while the session and its user live.
ROTATE = f"""
    update sessions set generation = generation + 1, rotated_at = ?,
           idle_at = case when expires_at < ? then expires_at else ? end
     where id = ? and generation = ? and rotated_at <= ?
       and ended_at is null and idle_at > ? and expires_at > ?
       and exists (select 1 from users u
                    where u.id = user_id and u.disabled_at is null and u.closed_at is null)
    returning {COLUMNS}
"""

# A sibling of a session that has just ended comes too late.
PUT = f"""
    insert into sessions ({COLUMNS}) select {", ".join("?" * 17)}
     where ? is null or exists (select 1 from sessions where id = ? and ended_at is null)
"""

CHANGE = """
    update sessions set generation = ?, rotated_at = ?, idle_at = ?, auth_time = ?, second_at = ?, amr = ?,
           cookie = ?, parent_id = ?
     where id = ? and generation = ? and ended_at is null
"""

# As long as anything could be accepted without a look at the row: an access token, and a
# stateless refresh token, whose session's idle end is its absolute one. So is that of a cookie
# that is remembered, for which the row is always looked at.
REVOKE = """
    insert into revocations (session_id, revoked_at, expires_at, seq)
    select id, ?, case when delivery = 'token' and idle_at = expires_at and expires_at > ?
                       then expires_at else ? end,
           (select coalesce(max(seq), 0) + 1 from revocations)
      from sessions where ended_at is null and {which}
        on conflict (session_id) do nothing
"""


# Beside the one that is being put: siblings of the same session, or logins.
CROWDING = """
    select id from sessions
     where user_id = ? and coalesce(parent_id, '') = ? and id <> ?
       and ended_at is null and idle_at > ? and expires_at > ?
     order by rotated_at desc, id limit 1000 offset ?
"""


class SqlSessions:
    """Sessions in the database: what ends one joins the write that says why."""

    def __init__(self, database: Database, settings: TokenSettings, now: Callable[[], int]) -> None:
        self.database = database
        self.settings = settings
        self.now = now

    async def put(self, session: Session) -> Sequence[Statement]:
        s = session
        args = (
            *(s.id, s.user_id, s.epoch, s.generation, s.created_at, s.rotated_at, s.idle_at),
            *(s.expires_at, s.ended_at, s.auth_time, s.second_at, json.dumps(s.amr)),
            *(s.address, s.user_agent, s.parent_id, s.cookie, s.delivery),
        )
        return [Statement(PUT, (*args, s.parent_id, s.parent_id), rows=1)]

    async def change(self, session: Session, generation: int) -> Sequence[Statement]:
        s = session
        times = (s.generation, s.rotated_at, s.idle_at, s.auth_time, s.second_at)
        args = (*times, json.dumps(s.amr), s.cookie, s.parent_id, s.id, generation)
        return [Statement(CHANGE, args, rows=1)]

    async def end(self, session_id: str) -> Sequence[Statement]:
        return self.ending("(id = ? or parent_id = ?)", session_id, session_id)

    async def end_all(
        self, user_id: str, *, keep: str | None, below_epoch: int
    ) -> Sequence[Statement]:
        return self.ending(
            "user_id = ? and id <> ? and epoch < ?", user_id, keep or "", below_epoch
        )

    def ending(self, which: str, *args: str | int) -> Sequence[Statement]:
        """Listed first, for what could still be accepted without a look at the row."""
        now = self.now()
        end = f"update sessions set ended_at = ? where ended_at is null and {which}"
        until = now + ACCEPTED
        revoke = Statement(REVOKE.format(which=which), (now, until, until, *args))
        return [revoke, Statement(end, (now, *args))]

    async def get(self, session_id: str) -> Session | None:
        sql = f"select {COLUMNS} from sessions where id = ?"
        rows = await self.database.read(sql, (session_id,))
        return session(rows[0]) if rows else None

    async def rotate(self, session_id: str, generation: int, now: int) -> Session | None:
        idle = now + self.settings.idle
        args = (now, idle, idle, session_id, generation, now - self.settings.window, now, now)
        [rows] = await self.database.write(Statement(ROTATE, args))
        return session(rows[0]) if rows else None

    async def list(self, user_id: str) -> Sequence[Session]:
        sql = f"select {COLUMNS} from sessions where user_id = ? and ended_at is null order by id desc"
        rows = await self.database.read(sql, (user_id,))
        return [found for row in rows if (found := session(row)).alive(self.now())]

    async def crowding(self, session: Session, most: int) -> Statement | Sequence[str]:
        now, like = self.now(), session.parent_id or ""
        return Statement(CROWDING, (session.user_id, like, session.id, now, now, most - 1))

    async def undo(self, session: Session, before: Session | None = None) -> None:
        """Nothing to do: all of it was in the write."""

    async def settle(self) -> None:
        """Nothing to do: all of it was in the write."""


def session(row: Row) -> Session:
    members = dict(zip(NAMES, row, strict=True))
    members["amr"] = tuple(json.loads(members["amr"]))
    return Session(**members)


def cleaning(now: int) -> Sequence[Statement]:
    old = now - 86400
    sql = "delete from sessions where expires_at < ? or idle_at < ? or ended_at < ?"
    return [Statement(sql, (old, old, old))]
