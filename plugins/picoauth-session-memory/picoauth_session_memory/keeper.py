"""A bounded number of sessions in memory: what is over goes first, then what nobody uses."""

from __future__ import annotations

import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from typing import TypeVar

from picoauth import Conflict, Session, Unavailable

K = TypeVar("K")

NEVER = sys.maxsize
STEPS = 1000
"""Of a sweep, so that no login holds the others up for longer than a millisecond or so."""


class MemoryKeeper:
    """Keeps at most `most` sessions, and only while it is `open`: in the process that serves."""

    def __init__(self, most: int, now: Callable[[], int]) -> None:
        self.most = most
        self.now = now
        self.open = False
        self.sessions: OrderedDict[str, Session] = OrderedDict()
        """The one that was not used for longest comes first."""
        self.users: defaultdict[str, set[str]] = defaultdict(set)
        self.ends: defaultdict[int, set[str]] = defaultdict(set)
        """What ends by itself at a second, counted from 1970."""
        self.soonest = NEVER
        """No session ends before."""

    def known(self) -> OrderedDict[str, Session]:
        if not self.open:
            raise Unavailable("sessions are in the memory of the server, which sees to it")
        return self.sessions

    async def put(self, session: Session) -> None:
        if session.id in self.known():
            raise Conflict(0)
        self.make_room()
        self.keep(session)

    async def change(self, session: Session, before: Session) -> None:
        if self.known().get(session.id) != before:
            raise Conflict(0)
        self.drop(session.id)
        self.keep(session)

    async def get(self, session_id: str) -> Session | None:
        session = self.known().get(session_id)
        if session is not None:
            self.sessions.move_to_end(session_id)
        return session

    async def list(self, user_id: str) -> Sequence[Session]:
        known = self.known()
        return [known[session_id] for session_id in self.users.get(user_id, ())]

    async def remove(self, session_id: str, user_id: str) -> None:  # noqa: ARG002 - known here
        if session_id in self.known():
            self.drop(session_id)

    def keep(self, session: Session) -> None:
        at = end(session)
        self.sessions[session.id] = session
        self.users[session.user_id].add(session.id)
        self.ends[at].add(session.id)
        self.soonest = min(self.soonest, at)

    def drop(self, session_id: str) -> None:
        session = self.sessions.pop(session_id)
        discard(self.users, session.user_id, session_id)
        discard(self.ends, end(session), session_id)

    def make_room(self) -> None:
        """Let one more in."""
        self.sweep()
        while len(self.sessions) >= self.most:
            self.drop(next(iter(self.sessions)))

    def sweep(self) -> None:
        """Drop what has ended, second after second, and leave what is too much to the next login."""
        now = self.now()
        for _ in range(STEPS):
            if self.soonest > now:
                return
            if ended := self.ends.get(self.soonest):
                self.drop(ended.pop())
            else:
                self.soonest += 1


def discard(ids: dict[K, set[str]], key: K, session_id: str) -> None:
    """Take an id out, and the key with the last one."""
    ids[key].discard(session_id)
    if not ids[key]:
        del ids[key]


def end(session: Session) -> int:
    return min(session.idle_at, session.expires_at)
