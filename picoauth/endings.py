"""Ends of sessions that are kept outside the database, committed with the write that says why."""

from __future__ import annotations

from dataclasses import dataclass

from picoauth.database import Statement
from picoauth.revocations import ACCEPTED
from picoauth.sessions import Session

# What was put or changed elsewhere stands only where nothing that the database knows ended it.
UNENDED = """
    update users set epoch = epoch where id = ?
       and not exists (select 1 from revocations where session_id = ? or session_id = ?)
       and not exists (
           select 1 from endings where owner = users.id
              and (session_id = ? or session_id = ?
                   or (session_id is null and coalesce(keep, '') <> ? and below_epoch > ?)))
"""

END = "insert into endings (id, owner, session_id, keep, below_epoch) values (?, ?, ?, ?, ?)"

PENDING = "select id, owner, session_id, keep, below_epoch from endings"

# Until its absolute end: a keeper that lost its newest writes may come back with the session.
REVOKE = """
    insert into revocations (session_id, revoked_at, expires_at, seq)
    values (?, ?, ?, (select coalesce(max(seq), 0) + 1 from revocations))
        on conflict (session_id) do nothing
"""


@dataclass(frozen=True)
class Ending:
    """Sessions of a user that the database says have ended: one with its siblings, or many."""

    id: str
    owner: str
    session_id: str | None
    keep: str | None
    below_epoch: int | None

    def covers(self, session: Session) -> bool:
        if session.user_id != self.owner:
            return False
        if self.session_id is not None:
            return self.session_id in (session.id, session.parent_id)
        return session.id != self.keep and session.epoch < (self.below_epoch or 0)

    def statement(self) -> Statement:
        return Statement(END, (self.id, self.owner, self.session_id, self.keep, self.below_epoch))

    def done(self) -> Statement:
        return Statement("delete from endings where id = ?", (self.id,))


def unended(session: Session) -> Statement:
    """Conflicts where the session has ended, or the one that it ends with."""
    which = session.id, session.parent_id
    args = (session.user_id, *which, *which, session.id, session.epoch)
    return Statement(UNENDED, args, rows=1)


def revoking(session: Session, now: int) -> Statement:
    until = max(session.expires_at, now + ACCEPTED)
    return Statement(REVOKE, (session.id, now, until))
