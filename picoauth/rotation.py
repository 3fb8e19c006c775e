"""Rotation of refresh tokens: two tabs and lost answers are served, theft is noticed."""

from __future__ import annotations

from collections.abc import Callable

from picoauth.callers import Caller
from picoauth.changes import settled
from picoauth.delivery import Events
from picoauth.errors import Conflict, Denied
from picoauth.events import RefreshReused
from picoauth.problems import SESSION_ENDED
from picoauth.revocations import Revocations
from picoauth.sessions import Session, SessionStore


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

    def current(self, session: Session, generation: int) -> bool:
        """Whether a refresh token of this generation would be taken, as far as that shows."""
        spent = session.generation - generation
        lately = self.now() - session.rotated_at < self.window
        return spent == 0 or (spent == 1 and lately)

    async def stolen(self, session: Session, caller: Caller) -> None:
        """End the session and say so, once, however often the spent token comes at once."""
        current: Session | None = session
        while current is not None and current.alive(self.now()):
            if await self.ended(current, caller):
                break
            await settled(self.store, self.revocations)  # what another process ended
            current = await self.store.get(session.id)
        await settled(self.store, self.revocations)

    async def ended(self, session: Session, caller: Caller) -> bool:
        """End a session that is as it was read, or answer that it is not."""
        event = RefreshReused(
            at=self.now(), user_id=session.user_id, session_id=session.id, caller=caller
        )
        try:
            still = await self.store.change(session, session.generation)
        except Conflict:  # of a store that acts by itself
            return False
        try:
            await self.events.commit(event, *still, *await self.store.end(session.id))
        except Conflict as conflict:
            if conflict.index >= len(still):
                raise
            return False
        return True
