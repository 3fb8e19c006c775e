"""A keeper of sessions that tests can put out of reach."""

from __future__ import annotations

from collections.abc import Sequence

from picoauth import Conflict, Session, Unavailable


class Shelf:
    """Keeps sessions in a dict."""

    def __init__(self) -> None:
        self.known: dict[str, Session] = {}
        self.reachable = True

    def reach(self) -> dict[str, Session]:
        if not self.reachable:
            raise Unavailable("the keeper is down")
        return self.known

    async def put(self, session: Session) -> None:
        if session.id in self.reach():
            raise Conflict(0)
        self.known[session.id] = session

    async def change(self, session: Session, before: Session) -> None:
        if self.reach().get(session.id) != before:
            raise Conflict(0)
        self.known[session.id] = session

    async def get(self, session_id: str) -> Session | None:
        return self.reach().get(session_id)

    async def list(self, user_id: str) -> Sequence[Session]:
        return [session for session in self.reach().values() if session.user_id == user_id]

    async def remove(self, session_id: str, user_id: str) -> None:
        self.reach().pop(session_id, None)
