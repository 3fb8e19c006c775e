"""The mint: sessions are made here and nowhere else, from a login or beside a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from picoauth.changes import heed
from picoauth.database import Statement
from picoauth.errors import Conflict, Denied
from picoauth.events import Caller, Event, LoginCompleted, SessionDerived, SessionEnded
from picoauth.problems import SESSION_ENDED
from picoauth.sessions import Delivery, Session, undoing
from picoauth.users import User

if TYPE_CHECKING:
    from picoauth.auth import Auth


# A login that raced with a password change, a new factor or a disabling comes to nothing.
GUARD = """
    update users set last_login_at = coalesce(?, last_login_at)
     where id = ? and epoch = ? and disabled_at is null
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
        self, login: Login, second_at: int | None, *statements: Statement
    ) -> dict[str, Any]:
        """The session of a login whose proofs are enough. Raises Conflict for `statements`."""
        session = self.session(login, second_at)
        event = LoginCompleted(
            at=session.created_at,
            user_id=session.user_id,
            session_id=session.id,
            factors=login.factors,
            caller=login.caller,
        )
        return await self.make(session, login.user, event, *statements)

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
            answer = await self.make(sibling, user, event, guard, *statements)
        except Conflict as conflict:
            raise Denied(SESSION_ENDED) from conflict
        if site:
            self.auth.sites.hand(sibling, site)
        return answer

    async def crowded(self, session: Session) -> Sequence[Session]:
        """Those that were not used for longest and have to end, so that one more has room (S-7).

        Of logins for a login, of its own siblings for a sibling: no number of sites ends a login.
        """
        most = self.auth.config.logins.sessions
        found = [
            one
            for one in await self.auth.sessions.list(session.user_id)
            if one.parent_id == session.parent_id
        ]
        found.sort(key=lambda one: one.rotated_at)
        return found[: max(0, len(found) - most + 1)]

    async def make(
        self, session: Session, user: User, event: Event, *statements: Statement
    ) -> dict[str, Any]:
        """The only place where sessions are put into the store. Raises Conflict."""
        answer = await self.auth.grants.session(user, session)
        crowded = await self.crowded(session)
        ends = [each for one in crowded for each in await self.auth.sessions.end(one.id)]
        made = await self.auth.sessions.put(session)
        async with undoing(self.auth.sessions, session):
            replies = await self.auth.events.commit(event, *statements, *made, *ends)
        self.auth.cookies.hand(session)
        if crowded:
            await heed(self.auth)
        for one in crowded:
            self.auth.events.deliver(
                SessionEnded(
                    at=session.created_at,
                    user_id=user.id,
                    session_id=one.id,
                    caller=event.caller,
                )
            )
        return {**answer, **replies}
