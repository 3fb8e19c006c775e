"""What is revoked and could still be accepted: a table, and its copy in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from picoauth.database import Database, Statement
from picoauth.errors import Denied, Unavailable
from picoauth.problems import SESSION_ENDED
from picoauth.settings import LONGEST_ACCESS

Learn: TypeAlias = Callable[[], Awaitable[None]]
Ended: TypeAlias = Mapping[str, int]
"""Ids of sessions, with the time until which something of theirs could be accepted."""

log = logging.getLogger("picoauth.revocations")
ACCEPTED = LONGEST_ACCESS + 60
"""Seconds after its session's end for which an access token may be valid: one whose signing was
under way then, of the longest life that settings may say."""
OVERLAP = 15
"""Seconds that a poll looks back, for writers whose clock or commit lags."""
WHOLE = 60
"""Seconds after which the whole list is read again."""
PAUSE = 0.4
"""Seconds between two polls."""
STALE = 5
"""Seconds without a successful poll after which the list counts as stale."""
NEWEST = """
    select session_id, revoked_at, expires_at, seq from revocations
     where revoked_at >= ? and expires_at > ?
"""


RESTORED = "select coalesce(max(restored_at), 0) from restores"


class Revocations:
    """Ids of ended sessions, until nothing that was handed out for them can be valid."""

    def __init__(self, database: Database, now: Callable[[], int]) -> None:
        self.database = database
        self.now = now
        self.ended: dict[str, int] = {}
        self.recent: dict[str, int] = {}
        """Those of which an access token may be valid, with the time until which; for others,
        who never see more of a session than that."""
        self.listeners: list[Callable[[Ended], None]] = []
        """Told of what is newly known, and recent."""
        self.restored_at = 0
        """When a backup was put back: no session from before has outlived that."""
        self.seq = 0
        """Of the newest that is known; rises with each write that ends a session."""
        self.looked_at = 0
        self.read_whole_at = 0

    def check(self, session_id: str) -> None:
        """Raises Denied for an ended session. A look at a dict, and no more."""
        if session_id in self.ended:
            raise Denied(SESSION_ENDED)

    async def poll(self) -> None:
        """Learn what was revoked, here or by another process. Nothing is ever unlearnt early."""
        now = self.now()
        whole = abs(now - self.read_whole_at) >= WHOLE
        since = 0 if whole else min(self.looked_at, now) - OVERLAP
        rows = await self.database.read(NEWEST, (since, now), slow=whole)
        fresh = [row for row in rows if row[0] not in self.ended]
        until = {session_id: min(end, at + ACCEPTED) for session_id, at, end, _ in fresh}
        recent = {session_id: end for session_id, end in until.items() if end > now}
        self.ended.update({session_id: end for session_id, _, end, _ in fresh})
        self.recent.update(recent)
        self.seq = max([self.seq, *(seq for *_, seq in rows)])
        self.looked_at = now
        if whole:
            [(self.restored_at,)] = await self.database.read(RESTORED)
            self.read_whole_at = now
            self.ended = {session_id: end for session_id, end in self.ended.items() if end > now}
            self.recent = {session_id: end for session_id, end in self.recent.items() if end > now}
        if recent:
            for listener in self.listeners:
                listener(recent)

    async def stale(self) -> str | None:
        if abs(self.now() - self.looked_at) <= STALE:
            return None
        return (
            "The list of revoked sessions is not up to date: see why the database is not reachable."
        )


async def forever(*learn: Learn) -> None:
    """Learn for ever, one after the other. No failure ends it."""
    failing: set[Learn] = set()
    while True:
        for one in learn:
            await attempt(one, failing)
        await asyncio.sleep(PAUSE)


async def attempt(learn: Learn, failing: set[Learn]) -> None:
    """Learn, or log why not: once, until it works again."""
    try:
        await learn()
        failing.discard(learn)
    except Exception as error:
        if learn not in failing:
            bug = None if isinstance(error, Unavailable) else error
            log.warning("revocations or keys are not up to date: %s", error, exc_info=bug)
        failing.add(learn)


def cleaning(now: int) -> Statement:
    """The newest stays, so that the next one has a higher number."""
    sql = """
        delete from revocations
         where expires_at < ? and seq < (select max(seq) from revocations)
    """
    return Statement(sql, (now - 3600,))
