"""A bounded number of sessions in memory: what is over goes first, then what nobody uses."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence

from picoauth import Conflict, Session, Unavailable


class MemoryKeeper:
    """Keeps at most `most` sessions, and only while it is `open`: in the process that serves."""

    def __init__(self, most: int, now: Callable[[], int]) -> None:
        self.most = most
        self.now = now
        self.open = False
        self.sessions: OrderedDict[str, Session] = OrderedDict()
        """The one that was not used for longest comes first."""
        self.users: defaultdict[str, set[str]] = defaultdict(set)
        self.soonest = 0
        """No session ends before, in seconds since 1970."""

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
        self.sessions[session.id] = session
        self.sessions.move_to_end(session.id)
        self.users[session.user_id].add(session.id)
        self.soonest = min(self.soonest, end(session))

    def drop(self, session_id: str) -> None:
        session = self.sessions.pop(session_id)
        of_user = self.users[session.user_id]
        of_user.discard(session_id)
        if not of_user:
            del self.users[session.user_id]

    def make_room(self) -> None:
        """Let one more in. All are looked at only where some may have ended since the last time."""
        if len(self.sessions) < self.most:
            return
        if self.soonest <= self.now():
            self.sweep()
        while len(self.sessions) >= self.most:
            self.drop(next(iter(self.sessions)))

    def sweep(self) -> None:
        now = self.now()
        for session_id in [s.id for s in self.sessions.values() if not s.alive(now)]:
            self.drop(session_id)
        self.soonest = min(map(end, self.sessions.values()), default=now)


def end(session: Session) -> int:
    return min(session.idle_at, session.expires_at)
