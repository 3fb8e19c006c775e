"""Use prolongs a session: its idle end moves, and with it that of the login it belongs to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from picoauth.errors import Conflict
from picoauth.sessions import Session, undoing

if TYPE_CHECKING:
    from picoauth.auth import Auth


def aged(auth: Auth, session: Session) -> bool:
    """Whether half of its idle time is over: not every use is worth a write.

    A sibling's may be shorter than its own settings say, since it ends with its login.
    """
    life, _ = auth.config.ends(0, session.delivery)
    half = min(life, session.idle_at - session.rotated_at) / 2
    return session.idle_at < session.expires_at and session.idle_at - auth.now() < half


async def lengthened(auth: Auth, session: Session) -> Session | None:
    """Move the idle end; whoever did so at the same time did the same. None if it changed.

    A sibling's end is that of its login at the latest, so that a look at the sibling alone
    tells whether both live. Raises Denied where the login is over.
    """
    login = await login_of(auth, session)
    longer = moved(auth, session)
    if login is not None:
        longer = replace(longer, idle_at=min(longer.idle_at, login.idle_at))
    try:
        changing = await auth.sessions.change(longer, session.generation)
        async with undoing(auth.sessions, longer, session):
            await auth.database.write(*changing)
    except Conflict:
        return None
    return longer


async def login_of(auth: Auth, sibling: Session) -> Session | None:
    """The login of a sibling, which use of the sibling prolongs. Raises Denied where it is over."""
    if sibling.parent_id is None:
        return None
    login = await auth.credentials.session(sibling.parent_id)
    return await lengthened(auth, login) or login


def moved(auth: Auth, session: Session) -> Session:
    """With an idle end as if it were used now.

    What is kept as tokens keeps the time of its rotation: a spent token would be good again (K-10).
    """
    now = auth.now()
    idle_at, _ = auth.config.ends(now, session.delivery)
    rotated_at = session.rotated_at if session.delivery == "token" else now
    return replace(session, rotated_at=rotated_at, idle_at=min(idle_at, session.expires_at))
