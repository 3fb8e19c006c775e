"""Sessions, the protocol of their stores, the SQL store, and rotation."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from picoauth.database import Database, Row, Statement
from picoauth.errors import Denied
from picoauth.events import Caller, Events, RefreshReused
from picoauth.problems import SESSION_ENDED
from picoauth.revocations import Revocations
from picoauth.settings import TokenSettings

COLUMNS = """
    id, user_id, epoch, generation, created_at, rotated_at, idle_at, expires_at, ended_at,
    auth_time, second_at, amr, address, user_agent
"""

# At most once per window, and only while the session and its user live.
ROTATE = f"""
    update sessions set generation = generation + 1, rotated_at = ?,
           idle_at = case when expires_at < ? then expires_at else ? end
     where id = ? and generation = ? and rotated_at <= ?
       and ended_at is null and idle_at > ? and expires_at > ?
       and exists (select 1 from users u where u.id = user_id and u.disabled_at is null)
    returning {COLUMNS}
"""

CHANGE = """
    update sessions set generation = ?, rotated_at = ?, idle_at = ?, auth_time = ?, second_at = ?, amr = ?
     where id = ? and generation = ? and ended_at is null
"""

REVOKE = """
    insert into revocations (session_id, revoked_at, expires_at)
    select id, ?, ? from sessions where ended_at is null and {which}
        on conflict (session_id) do nothing
"""


@dataclass(frozen=True, kw_only=True)
class Session:
    """The result of a completed login. Times are seconds since 1970."""

    id: str
    user_id: str
    epoch: int
    """The user's epoch when it was made."""
    generation: int
    """Rises by one with each rotation of the refresh token."""
    created_at: int
    rotated_at: int
    idle_at: int
    """Ends then unless it is refreshed before."""
    expires_at: int
    """Ends then in any case."""
    ended_at: int | None = None
    auth_time: int
    """When the user last proved who it is."""
    second_at: int | None
    """When a second factor was last part of that."""
    amr: tuple[str, ...]
    """How, in the words of RFC 8176."""
    address: str | None = None
    user_agent: str | None = None

    def alive(self, now: int) -> bool:
        return self.ended_at is None and self.idle_at > now and self.expires_at > now


class SessionStore(Protocol):
    """Keeps sessions; the occupant of the slot `sessions`.

    `put`, `change`, `end` and `end_all` may answer statements, which join the write that
    needs them; a store outside the database acts itself and answers none.
    """

    async def put(self, session: Session) -> Sequence[Statement]: ...
    async def change(self, session: Session, generation: int) -> Sequence[Statement]:
        """Replace a session, if it still has this generation and lives; a conflict if not."""
        ...

    async def end(self, session_id: str) -> Sequence[Statement]: ...
    async def end_all(
        self, user_id: str, *, keep: str | None, below_epoch: int
    ) -> Sequence[Statement]:
        """End what was made under an epoch below this one, but for `keep`."""
        ...

    async def get(self, session_id: str) -> Session | None: ...
    async def rotate(self, session_id: str, generation: int, now: int) -> Session | None:
        """Raise the generation, if it still is this one and the window since the last is over."""
        ...

    async def list(self, user_id: str) -> Sequence[Session]: ...


class SqlSessions:
    """Sessions in the database: what ends one joins the write that says why."""

    def __init__(self, database: Database, settings: TokenSettings, now: Callable[[], int]) -> None:
        self.database = database
        self.settings = settings
        self.now = now
        stateless = settings.refresh == "stateless"
        self.longest = settings.stateless_life if stateless else settings.access_life

    async def put(self, session: Session) -> Sequence[Statement]:
        s = session
        sql = f"insert into sessions ({COLUMNS}) values ({', '.join('?' * 14)})"
        args = (
            *(s.id, s.user_id, s.epoch, s.generation, s.created_at, s.rotated_at, s.idle_at),
            *(s.expires_at, s.ended_at, s.auth_time, s.second_at, json.dumps(s.amr)),
            *(s.address, s.user_agent),
        )
        return [Statement(sql, args, rows=1)]

    async def change(self, session: Session, generation: int) -> Sequence[Statement]:
        s = session
        times = (s.generation, s.rotated_at, s.idle_at, s.auth_time, s.second_at)
        return [Statement(CHANGE, (*times, json.dumps(s.amr), s.id, generation), rows=1)]

    async def end(self, session_id: str) -> Sequence[Statement]:
        return self.ending("id = ?", session_id)

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
        revoke = Statement(REVOKE.format(which=which), (now, now + self.longest, *args))
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


def session(row: Row) -> Session:
    names = [name.strip() for name in COLUMNS.split(",")]
    members = dict(zip(names, row, strict=True))
    return Session(**{**members, "amr": tuple(json.loads(members["amr"]))})


class Rotation:
    """Refreshing: at most one new generation per window, the same answer to all within it."""

    def __init__(
        self,
        store: SessionStore,
        events: Events,
        revocations: Revocations,
        window: int,
        now: Callable[[], int],
    ) -> None:
        self.store = store
        self.events = events
        self.revocations = revocations
        self.window = window
        self.now = now

    async def rotate(self, session_id: str, generation: int, caller: Caller) -> Session:
        """The session to answer for. Raises Denied; ends the session of a token used again.

        Two tabs that refresh at once, or a client that lost the answer, come with a
        generation that is spent, but only just: they get what the first one got. Later
        it is theft, and nobody can tell whose (RFC 9700, section 4.14.2).
        """
        now = self.now()
        self.revocations.check(session_id)
        rotated = await self.store.rotate(session_id, generation, now)
        session = rotated or await self.store.get(session_id)
        if session is None or not session.alive(now):
            raise Denied(SESSION_ENDED)
        spent = session.generation - generation
        if rotated or (spent in (0, 1) and now - session.rotated_at < self.window):
            return session
        await self.stolen(session, caller)
        raise Denied(SESSION_ENDED)

    async def stolen(self, session: Session, caller: Caller) -> None:
        event = RefreshReused(
            at=self.now(), user_id=session.user_id, session_id=session.id, caller=caller
        )
        await self.events.commit(event, *await self.store.end(session.id))
        await self.revocations.poll()


def renewed(session: Session, now: int) -> Session:
    """The next generation of a session whose credentials changed."""
    return replace(session, generation=session.generation + 1, rotated_at=now)


def cleaning(now: int) -> Sequence[Statement]:
    old = now - 86400
    sql = "delete from sessions where expires_at < ? or idle_at < ? or ended_at < ?"
    return [Statement(sql, (old, old, old))]
