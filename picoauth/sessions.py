"""Sessions, and the protocol of their stores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from picoauth.database import Statement

Delivery = Literal["token", "cookie", "remembered"]
"""How a client keeps a session; `remembered` is a cookie that outlives the browser's closing."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """The result of a completed login. Times are seconds since 1970."""

    id: str
    user_id: str
    epoch: int
    """The user's epoch when it was made."""
    generation: int
    """Rises by one with each rotation of the refresh token."""
    created_at: int
    rotated_at: int
    idle_at: int
    """Ends then unless it is refreshed before."""
    expires_at: int
    """Ends then in any case."""
    ended_at: int | None = None
    auth_time: int
    """When the user last proved who it is."""
    second_at: int | None
    """When a second factor was last part of that."""
    amr: tuple[str, ...]
    """How, in the words of RFC 8176."""
    address: str | None = None
    user_agent: str | None = None
    cookie: bytes | None = None
    """SHA-256 of the secret in its cookie; none where it is delivered as tokens, or to a site."""
    delivery: Delivery = "token"
    parent_id: str | None = None
    """The session of the same login with which this one ends."""

    def alive(self, now: int) -> bool:
        return self.ended_at is None and self.idle_at > now and self.expires_at > now


def renewed(session: Session, now: int, idle_at: int) -> Session:
    """The next generation of a session whose credentials changed."""
    generation, idle_at = session.generation + 1, min(idle_at, session.expires_at)
    return replace(session, generation=generation, rotated_at=now, idle_at=idle_at)


def logins(found: Sequence[Session]) -> Sequence[Sequence[Session]]:
    """Each login, followed by its siblings: a user sees the two as one."""
    return [
        [session, *(one for one in found if one.parent_id == session.id)]
        for session in found
        if session.parent_id is None
    ]


class SessionStore(Protocol):
    """Keeps sessions; the occupant of the slot `sessions`.

    `put`, `change`, `end` and `end_all` answer statements, which join the write that needs
    them. What cannot join it, since it happens elsewhere, `put` and `change` do before it, and
    `undo` takes back where it fails; what ends is committed first, and `settle` does it then.
    `KeptSessions` is all that for whatever can keep, replace and forget one session.
    """

    async def put(self, session: Session) -> Sequence[Statement]: ...
    async def crowding(self, session: Session, most: int) -> Statement | Sequence[str]:
        """The ids of those beside it that have to end so that `most` are left with it (S-7).

        Those not used for longest: of logins for a login, and of its own siblings for a sibling,
        so that no number of sites ends a login. Or a query for them, which joins its write.
        """

    async def change(self, session: Session, generation: int) -> Sequence[Statement]:
        """Replace a session, if it still has this generation and lives; a conflict if not."""

    async def end(self, session_id: str) -> Sequence[Statement]: ...
    async def end_all(
        self, user_id: str, *, keep: str | None, below_epoch: int
    ) -> Sequence[Statement]:
        """End what was made under an epoch below this one, but for `keep`."""

    async def get(self, session_id: str) -> Session | None: ...
    async def rotate(self, session_id: str, generation: int, now: int) -> Session | None:
        """Raise the generation, if it still is this one and the window since the last is over."""

    async def list(self, user_id: str) -> Sequence[Session]: ...
    async def undo(self, session: Session, before: Session | None = None) -> None:
        """Take back what `put` or, with the session as it was, `change` did. Raises nothing."""

    async def settle(self) -> None:
        """Do what the writes committed that ended sessions. Raises Unavailable; then again."""


@asynccontextmanager
async def undoing(
    store: SessionStore, session: Session, before: Session | None = None
) -> AsyncIterator[None]:
    """Around the write that a `put` or `change` belongs to, which may fail or be given up."""
    try:
        yield
    except BaseException:
        await store.undo(session, before)
        raise
