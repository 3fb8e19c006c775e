"""The mint: sessions are made here and nowhere else, from a login or beside a session."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from picoauth.callers import Caller
from picoauth.changes import heed
from picoauth.database import Statement
from picoauth.errors import Conflict, Denied
from picoauth.events import Event, LoginCompleted, SessionDerived, SessionEnded
from picoauth.problems import SESSION_ENDED
from picoauth.sessions import Delivery, Session, undoing
from picoauth.users import User

if TYPE_CHECKING:
    from picoauth.auth import Auth


log = logging.getLogger("picoauth.sessions")

# A login that raced with a password change, a new factor or a disabling comes to nothing.
GUARD = """
    update users set last_login_at = coalesce(?, last_login_at)
     where id = ? and epoch = ? and disabled_at is null and closed_at is null
"""
# The same, where the login takes back that the account was closed.
RESTORE = """
    update users set last_login_at = ?, closed_at = null, delete_at = null
     where id = ? and epoch = ? and disabled_at is null and closed_at is not null
"""


@dataclass(frozen=True, kw_only=True)
class Login:
    """A login whose factors all passed, as `check_login` sees it."""

    user: User
    factors: tuple[str, ...]
    amr: tuple[str, ...]
    caller: Caller
    delivery: Delivery = "token"


class Mint:
    """Makes sessions, and answers their tokens."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    async def login(
        self,
        login: Login,
        username: str | None,
        second_at: int | None,
        *statements: Statement,
        also: Sequence[Event] = (),
    ) -> dict[str, Any]:
        """The session of a login whose proofs are enough. Raises Conflict for `statements`.

        `also` tells what else happens by it.
        """
        session = self.session(login, second_at)
        event = LoginCompleted(
            at=session.created_at,
            user_id=session.user_id,
            session_id=session.id,
            factors=login.factors,
            caller=login.caller,
        )
        answering = self.auth.grants.login(login.user, username, session)
        return await self.make(session, answering, event, *statements, also=also)

    def session(self, login: Login, second_at: int | None) -> Session:
        now = self.auth.now()
        idle_at, expires_at = self.auth.config.ends(now, login.delivery)
        session = Session(
            id=self.auth.users.new_id(),
            user_id=login.user.id,
            epoch=login.user.epoch,
            generation=0,
            created_at=now,
            rotated_at=now,
            idle_at=idle_at,
            expires_at=expires_at,
            auth_time=now,
            second_at=second_at,
            amr=login.amr,
            address=login.caller.address,
            user_agent=(login.caller.user_agent or "")[:256] or None,
            delivery=login.delivery,
        )
        return self.auth.cookies.stamped(session)

    async def derive(
        self, parent: Session, caller: Caller, site: str, *statements: Statement
    ) -> dict[str, Any]:
        """Tokens, or the cookie, of a sibling: the same login on another root domain.

        It ends with its parent, at the latest; it proves nothing anew. Raises Denied, also
        where `statements`, which join its write, touch other rows than they have to.
        """
        user, now = await self.auth.users.get(parent.user_id), self.auth.now()
        if user is None or not parent.alive(now):
            raise Denied(SESSION_ENDED)
        idle_at, expires_at = self.auth.config.ends(now, parent.delivery)
        sibling = replace(
            parent,
            id=self.auth.users.new_id(),
            parent_id=parent.parent_id or parent.id,
            epoch=user.epoch,
            generation=0,
            created_at=now,
            rotated_at=now,
            idle_at=min(idle_at, parent.idle_at),
            expires_at=min(expires_at, parent.expires_at),
            address=caller.address,
            user_agent=caller.user_agent,
        )
        stamped = self.auth.sites.unstamped if site else self.auth.cookies.stamped
        sibling = stamped(sibling)
        event = SessionDerived(
            at=now,
            user_id=user.id,
            session_id=sibling.id,
            parent_id=sibling.parent_id or "",
            caller=caller,
        )
        guard = Statement(GUARD, (None, user.id, user.epoch), rows=1)
        try:
            answering = self.auth.grants.session(user, sibling)
            answer = await self.make(sibling, answering, event, guard, *statements)
        except Conflict as conflict:
            raise Denied(SESSION_ENDED) from conflict
        if site:
            self.auth.sites.hand(sibling, site)
        return answer

    async def make(
        self,
        session: Session,
        answering: Awaitable[dict[str, Any]],
        event: Event,
        *statements: Statement,
        also: Sequence[Event] = (),
    ) -> dict[str, Any]:
        """The only place where sessions are put into the store. Raises Conflict."""
        answer = await answering
        crowding = await self.auth.sessions.crowding(session, self.auth.config.logins.sessions)
        asking = [crowding] if isinstance(crowding, Statement) else []
        made = await self.auth.sessions.put(session)
        async with undoing(self.auth.sessions, session):
            replies, found = await self.auth.events.committed(
                event, *statements, *made, *asking, also=also
            )
        self.auth.cookies.hand(session)
        crowded = (
            [session_id for (session_id,) in found[-1]]
            if isinstance(crowding, Statement)
            else crowding
        )
        if crowded:
            await self.make_room(crowded, event)
        return {**answer, **replies}

    async def make_room(self, crowded: Sequence[str], event: Event) -> None:
        """End those. Where that fails, the login stands, and the next one ends them."""
        gone = [
            SessionEnded(at=event.at, user_id=event.user_id, session_id=one, caller=event.caller)
            for one in crowded
        ]
        try:
            ends = [each for one in crowded for each in await self.auth.sessions.end(one)]
            await self.auth.events.commit(gone[0], *ends, also=gone[1:])
            await heed(self.auth)
        except Exception as error:  # noqa: BLE001 - it is no fault of the login
            log.warning("a user has more sessions than the settings allow: %r", error)
