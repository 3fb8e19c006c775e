"""Sessions kept outside the database: it says what ended, and their keeper follows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from picoauth.database import Statement
from picoauth.endings import PENDING, Ending, revoking, unended
from picoauth.errors import Conflict, Unavailable
from picoauth.sessions import Session, renewed

if TYPE_CHECKING:
    from picoauth.auth import Auth

REPLACED = "update sessions set ended_at = ? where ended_at is null"

log = logging.getLogger("picoauth.sessions")


class SessionKeeper(Protocol):
    """Keeps single sessions outside the database, each until its end; see `KeptSessions`.

    Every method happens or does not, at once for all who look, and raises Unavailable within
    half a second where the keeper is not reachable.
    """

    async def put(self, session: Session) -> None:
        """Raises Conflict for an id that is there, or was removed just now."""
        ...

    async def change(self, session: Session, before: Session) -> None:
        """Replace a session that is still as it was before. Raises Conflict if it is not."""
        ...

    async def get(self, session_id: str) -> Session | None: ...
    async def list(self, user_id: str) -> Sequence[Session]:
        """All that are kept of a user, in any order."""
        ...

    async def remove(self, session_id: str, user_id: str) -> None:
        """Forget a session, if it is there."""
        ...


class KeptSessions:
    """The session store of whatever can keep, replace and forget one session.

    What ends sessions commits an ending, whatever becomes of this process or of the keeper
    after that. From then on the sessions are refused; they are listed as revoked and removed
    by whichever process comes to it first, and again until that worked.
    """

    def __init__(self, auth: Auth, keeper: SessionKeeper) -> None:
        self.auth = auth
        self.keeper = keeper
        self.pending: Sequence[Ending] = ()
        """What the keeper may not know yet."""
        self.settling = asyncio.Lock()
        self.begun = False

    async def put(self, session: Session) -> Sequence[Statement]:
        if self.over(session):
            raise Conflict(0)
        try:
            await self.keeper.put(session)
        except Unavailable:  # which may come too late for what was sent
            await self.later(session)
            raise
        return [unended(session)]

    async def change(self, session: Session, generation: int) -> Sequence[Statement]:
        current = await self.get(session.id)
        if current is None or current.generation != generation:
            raise Conflict(0)
        if session != current:
            await self.keeper.change(session, current)
        return [unended(current)]  # by what it ended with so far

    async def end(self, session_id: str) -> Sequence[Statement]:
        session = await self.get(session_id)
        if session is None:
            return ()
        ending = Ending(self.new_id(), session.user_id, session_id, None, None)
        return [revoking(session, self.auth.now()), ending.statement()]

    async def end_all(
        self, user_id: str, *, keep: str | None, below_epoch: int
    ) -> Sequence[Statement]:
        return [Ending(self.new_id(), user_id, None, keep, below_epoch).statement()]

    def new_id(self) -> str:
        return self.auth.users.new_id()

    async def get(self, session_id: str) -> Session | None:
        session = await self.keeper.get(session_id)
        return None if session is None or self.over(session) else session

    def over(self, session: Session) -> bool:
        """Whether it ended, as far as this process knows, whatever its keeper says."""
        ended = self.auth.revocations.ended
        listed = session.id in ended or session.parent_id in ended
        older = session.created_at <= self.auth.revocations.restored_at
        return listed or older or any(ending.covers(session) for ending in self.pending)

    async def rotate(self, session_id: str, generation: int, now: int) -> Session | None:
        settings = self.auth.config.tokens
        while True:
            found = await self.get(session_id)
            if found is None or not found.alive(now) or found.generation != generation:
                return None
            if found.rotated_at > now - settings.window:
                return None
            rotated = renewed(found, now, now + settings.idle)
            with suppress(Conflict):  # by a step-up that must not be lost, or by another rotation
                await self.keeper.change(rotated, found)
                return rotated

    async def list(self, user_id: str) -> Sequence[Session]:
        now, kept = self.auth.now(), await self.keeper.list(user_id)
        found = [one for one in kept if one.alive(now) and not self.over(one)]
        return sorted(found, key=lambda session: session.id, reverse=True)

    async def crowding(self, session: Session, most: int) -> Statement | Sequence[str]:
        kept = await self.list(session.user_id)
        beside = [one for one in kept if one.parent_id == session.parent_id]
        beside.sort(key=lambda one: one.rotated_at, reverse=True)
        return [one.id for one in beside[most - 1 :]]

    async def undo(self, session: Session, before: Session | None = None) -> None:
        """Nobody was handed what is taken back here; where that fails, nobody ever is."""
        try:
            if before is None:
                await self.keeper.remove(session.id, session.user_id)
            else:
                await self.keeper.change(before, session)
        except Conflict:
            log.info("session %s changed before a change could be taken back", session.id)
        except Unavailable as error:
            log.warning("session %s is not as it was: %s", session.id, error)
            if before is None:
                await self.later(session)

    async def later(self, session: Session) -> None:
        """Remove a session once its keeper can be reached."""
        ending = Ending(self.new_id(), session.user_id, session.id, None, None)
        self.pending = [*self.pending, ending]
        with suppress(Unavailable):  # then it is one that nobody can use, until its idle end
            await self.auth.database.write(ending.statement())

    async def settle(self) -> None:
        """Do the endings that are committed. Raises Unavailable where the keeper is away."""
        async with self.settling:
            await self.begin()
            self.pending = [Ending(*row) for row in await self.auth.database.read(PENDING)]
            for ending in self.pending:
                await self.do(ending)
                self.pending = [one for one in self.pending if one != ending]

    async def begin(self) -> None:
        """End the rows of the store before this one: who goes back to it gets none of them back."""
        if not self.begun:
            await self.auth.database.write(Statement(REPLACED, (self.auth.now(),)))
            self.begun = True

    async def do(self, ending: Ending) -> None:
        """Listed first: a crash between the two leaves the ending to be done again."""
        kept = await self.keeper.list(ending.owner)
        gone = [one for one in kept if ending.covers(one) and one.id != ending.session_id]
        if gone:
            now = self.auth.now()
            await self.auth.database.write(*(revoking(one, now) for one in gone))
        for one in gone:
            await self.keeper.remove(one.id, one.user_id)
        if ending.session_id is not None:
            await self.keeper.remove(ending.session_id, ending.owner)
        await self.auth.database.write(ending.done())
