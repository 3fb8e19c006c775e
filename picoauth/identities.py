"""Identifiers beside the user name: added, verified and removed, each in one write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from picoauth.credentials import RISE_ENABLED
from picoauth.database import Statement
from picoauth.errors import Conflict, Denied, Problem
from picoauth.events import Caller, IdentifierAdded, IdentifierRemoved, IdentifierVerified
from picoauth.identifiers import Identifier
from picoauth.problems import NOT_FOUND, START_OVER
from picoauth.users import User

if TYPE_CHECKING:
    from picoauth.auth import Auth


GUARD = "update users set epoch = epoch where id = ? and epoch = ? and disabled_at is null"
CLEAR = "delete from identifiers where user_id = ? and kind = ? and verified_at is null"
ADD = "insert into identifiers (user_id, kind, value, display) values (?, ?, ?, ?)"
REMOVE = "delete from identifiers where user_id = ? and kind = ? and value = ?"
# Two users may have it unverified; of two who verify it, the unique index undoes one.
VERIFY = """
    update identifiers set verified_at = ?
     where user_id = ? and kind = ? and value = ? and verified_at is null
"""


class Identities:
    """What plugins do to identifiers of their kind; the user name has rules of its own.

    `statements` come first in the write: they take the ticket. The user is as it was read
    before anything was decided; an account that changed since raises Denied.
    """

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    async def add(
        self, user: User, new: Identifier, statements: Sequence[Statement], caller: Caller
    ) -> dict[str, Any]:
        """Let an unverified identifier stand beside the verified: it finds and blocks nobody.

        It takes the place of the one before, so that no user has two of a kind. Answers the
        `record` replies.
        """
        guard = Statement(GUARD, (user.id, user.epoch), rows=1)
        clearing = Statement(CLEAR, (user.id, new.kind))
        adding = Statement(ADD, (user.id, new.kind, new.value, new.display), rows=1)
        event = IdentifierAdded(at=self.auth.now(), user_id=user.id, kind=new.kind, caller=caller)
        try:
            return await self.auth.events.commit(event, *statements, guard, clearing, adding)
        except Conflict as conflict:
            raise Denied(START_OVER) from conflict

    async def verify(
        self,
        user: User,
        which: Identifier,
        statements: Sequence[Statement],
        caller: Caller,
        *,
        session_id: str | None = None,
        replacing: Identifier | None = None,
        refused: Problem = NOT_FOUND,
    ) -> dict[str, Any]:
        """Verify an identifier that the user added; the one that it replaces goes, if any.

        By a session it answers what a login does, and where one is replaced all others end;
        without one it answers the `record` replies. Raises Denied: `refused` where the ticket is
        gone, or the identifier, or where another account verified the same first, so that
        nobody learns who has it.
        """
        now, replaced = self.auth.now(), replacing is not None
        event = IdentifierVerified(
            at=now, user_id=user.id, kind=which.kind, replaced=replaced, caller=caller
        )
        verifying = Statement(VERIFY, (now, user.id, which.kind, which.value), rows=1)
        writes = [*statements, *removing(user, [replacing] if replacing else ()), verifying]
        if session_id is not None:
            return await self.auth.credentials.change_proofs(
                session_id, user, event, writes, others=replaced, refused=refused
            )
        rise = Statement(RISE_ENABLED, (user.id, user.epoch), rows=1)
        try:
            return await self.auth.events.commit(event, *writes, rise)
        except Conflict as conflict:
            raise Denied(refused if conflict.index < len(writes) else START_OVER) from conflict

    async def remove(
        self,
        user: User,
        gone: Sequence[Identifier],
        statements: Sequence[Statement],
        caller: Caller,
        *,
        session_id: str,
    ) -> dict[str, Any]:
        """Remove some of one kind; with a verified one all other sessions end. Answers as a login."""
        now, others = self.auth.now(), any(one.verified for one in gone)
        event = IdentifierRemoved(at=now, user_id=user.id, kind=gone[0].kind, caller=caller)
        writes = [*statements, *removing(user, gone)]
        return await self.auth.credentials.change_proofs(
            session_id, user, event, writes, others=others, refused=NOT_FOUND
        )


def removing(user: User, gone: Sequence[Identifier]) -> Sequence[Statement]:
    return [Statement(REMOVE, (user.id, one.kind, one.value), rows=1) for one in gone]
