"""What changes of an account share: a race is run again, and ended sessions are known at once."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from picoauth.database import Statement
from picoauth.errors import Conflict, Unavailable
from picoauth.events import Event
from picoauth.revocations import Revocations
from picoauth.sessions import SessionStore

if TYPE_CHECKING:
    from picoauth.auth import Auth

T = TypeVar("T")

log = logging.getLogger("picoauth.changes")

RISE = "update users set epoch = epoch + 1 where id = ? and epoch = ?"
"""Under the epoch that the change was decided by, so that of two at once one is undone."""
TRIES = 3
"""How often a change is tried that another change got in the way of."""


async def again(attempt: Callable[[], Awaitable[T]]) -> T:
    """Try a change that read before it wrote, once more where another one came between."""
    for _ in range(TRIES - 1):
        try:
            return await attempt()
        except Conflict:
            continue
    return await attempt()


async def ended(auth: Auth, event: Event, *statements: Statement) -> dict[str, Any]:
    """Commit what ends sessions, and refuse their tokens here from now on; answer the replies."""
    replies = await auth.events.commit(event, *statements)
    await heed(auth)
    return replies


async def heed(auth: Auth) -> None:
    """Refuse here from now on what a commit ended."""
    await settled(auth.sessions, auth.revocations)


async def settled(store: SessionStore, revocations: Revocations) -> None:
    """What a commit ended has ended, whether this works or not: it is tried again and again."""
    for work in (store.settle, revocations.poll):
        try:
            await work()
        except Unavailable as error:
            log.warning("sessions that just ended are not refused here yet: %s", error)
