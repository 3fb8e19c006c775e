"""Identifiers beside the user name: added, verified and removed, each in one write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from picoauth.callers import Caller
from picoauth.changes import RISE, again, ended
from picoauth.credentials import RISE_BY_MAIL
from picoauth.database import Statement
from picoauth.errors import AuthError, Conflict, Denied, Problem
from picoauth.events import Event, IdentifierAdded, IdentifierRemoved, IdentifierVerified
from picoauth.identifiers import Identifier
from picoauth.problems import IDENTIFIER_TAKEN, NOT_FOUND, START_OVER
from picoauth.users import User

if TYPE_CHECKING:
    from picoauth.auth import Auth

GUARD = """
    update users set epoch = epoch
     where id = ? and epoch = ? and disabled_at is null and closed_at is null
"""
CLEAR = "delete from identifiers where user_id = ? and kind = ? and verified_at is null"
ADD = "insert into identifiers (user_id, kind, value, display) values (?, ?, ?, ?)"
EMPTY = "delete from identifiers where user_id = ? and kind = ?"
ASSIGN = """
    insert into identifiers (user_id, kind, value, display, verified_at) values (?, ?, ?, ?, ?)
"""
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
        rise = Statement(RISE_BY_MAIL, (user.id, user.epoch), rows=1)
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

    async def assign(self, user_id: str, kind: str, new: Identifier | None, caller: Caller) -> None:
        """Give a user this one of a kind and no other, or none: for an administrator alone (E-4).

        Where a verified one goes, all sessions end. Raises AuthError: 404, also where there is
        none to take, or 409 where another account verified the same.
        """

        async def attempt() -> None:
            user, now = await self.auth.users.require(user_id), self.auth.now()
            found = [o for o in await self.auth.users.identifiers(user.id) if o.kind == kind]
            if new is None and not found:
                raise AuthError(NOT_FOUND)
            gone = any(one.verified and (new is None or one.value != new.value) for one in found)
            event = assignment(user, kind, new, replaced=gone, at=now, caller=caller)
            rise = Statement(RISE, (user.id, user.epoch), rows=1)
            writes = [rise, Statement(EMPTY, (user.id, kind)), *assigning(user, new, now)]
            ending = await self.auth.accounts.ending(user) if gone else ()
            try:
                await ended(self.auth, event, *writes, *ending)
            except Conflict as conflict:
                if 0 < conflict.index < len(writes):
                    raise AuthError(IDENTIFIER_TAKEN) from conflict
                raise

        await again(attempt)


def assignment(
    user: User, kind: str, new: Identifier | None, *, replaced: bool, at: int, caller: Caller
) -> Event:
    if new is None:
        return IdentifierRemoved(at=at, user_id=user.id, kind=kind, caller=caller)
    if new.verified:
        return IdentifierVerified(
            at=at, user_id=user.id, kind=kind, replaced=replaced, caller=caller
        )
    return IdentifierAdded(at=at, user_id=user.id, kind=kind, caller=caller)


def assigning(user: User, new: Identifier | None, now: int) -> Sequence[Statement]:
    if new is None:
        return []
    row = (user.id, new.kind, new.value, new.display, now if new.verified else None)
    return [Statement(ASSIGN, row, rows=1)]


def removing(user: User, gone: Sequence[Identifier]) -> Sequence[Statement]:
    return [Statement(REMOVE, (user.id, one.kind, one.value), rows=1) for one in gone]
