"""Identifiers beside the user name: added, verified, restored and removed, each in one write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from picoauth.changes import RISE, again, ended
from picoauth.credentials import RISE_ENABLED
from picoauth.database import Statement
from picoauth.errors import AuthError, Conflict, Denied, Problem
from picoauth.events import (
    Caller,
    Event,
    IdentifierAdded,
    IdentifierRemoved,
    IdentifierRestored,
    IdentifierVerified,
)
from picoauth.identifiers import Identifier
from picoauth.problems import NOT_FOUND, START_OVER
from picoauth.users import User

if TYPE_CHECKING:
    from picoauth.auth import Auth


UNCHANGED = "update users set epoch = epoch where id = ? and epoch = ? and disabled_at is null"
"""Under the epoch that was read, which stays."""

CLEAR = "delete from identifiers where user_id = ? and kind = ? and verified_at is null"

ADD = "insert into identifiers (user_id, kind, value, display) values (?, ?, ?, ?)"

# Two users may have it unverified; of two who verify it, the unique index undoes one.
VERIFY = """
    update identifiers set verified_at = ?
     where user_id = ? and kind = ? and value = ? and verified_at is null
"""

REMOVE = "delete from identifiers where user_id = ? and kind = ? and value = ?"

RESTORE = """
    insert into identifiers (user_id, kind, value, display, verified_at) values (?, ?, ?, ?, ?)
"""


class Identities:
    """What plugins do to identifiers of their kind; the user name has rules of its own.

    `statements` are the caller's: they come first in the write, and take the ticket. The user
    is as it was read before anything was decided: its epoch guards the write.
    """

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    async def add(
        self, user: User, new: Identifier, statements: Sequence[Statement], caller: Caller
    ) -> dict[str, Any]:
        """Let an unverified identifier stand beside the verified: it finds and blocks nobody.

        It takes the place of the one of its kind before, so that no user has two. Raises Denied
        if the account changed meanwhile, and Conflict for `statements`.
        """
        guard = Statement(UNCHANGED, (user.id, user.epoch), rows=1)
        clearing = Statement(CLEAR, (user.id, new.kind))
        adding = Statement(ADD, (user.id, new.kind, new.value, new.display), rows=1)
        event = IdentifierAdded(at=self.auth.now(), user_id=user.id, kind=new.kind, caller=caller)
        try:
            return await self.auth.events.commit(event, *statements, guard, clearing, adding)
        except Conflict as conflict:
            if conflict.index < len(statements):
                raise
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

        In the name of a session it answers what a login does, and where one is replaced all
        others end. Without a session it answers the `record` replies. Raises AuthError: `refused`
        where the ticket is gone, or the identifier, or where another account verified the
        same first, so that nobody learns who has it.
        """
        event = IdentifierVerified(
            at=self.auth.now(),
            user_id=user.id,
            kind=which.kind,
            replaced=replacing is not None,
            caller=caller,
        )
        writes = [*statements, *self.removing(user, replacing), self.verifying(user, which)]
        if session_id is not None:
            return await self.auth.credentials.change_proofs(
                session_id, user, event, writes, others=replacing is not None, refused=refused
            )
        return await self.risen(user, event, writes, refused)

    async def risen(
        self, user: User, event: Event, writes: Sequence[Statement], refused: Problem
    ) -> dict[str, Any]:
        rise = Statement(RISE_ENABLED, (user.id, user.epoch), rows=1)
        try:
            return await self.auth.events.commit(event, *writes, rise)
        except Conflict as conflict:
            ours = conflict.index < len(writes)
            raise Denied(refused if ours else START_OVER) from conflict

    def verifying(self, user: User, which: Identifier) -> Statement:
        args = (self.auth.now(), user.id, which.kind, which.value)
        return Statement(VERIFY, args, rows=1)

    def removing(self, user: User, *gone: Identifier | None) -> Sequence[Statement]:
        return [Statement(REMOVE, (user.id, one.kind, one.value), rows=1) for one in gone if one]

    async def remove(
        self,
        user: User,
        gone: Sequence[Identifier],
        statements: Sequence[Statement],
        caller: Caller,
        *,
        session_id: str,
    ) -> dict[str, Any]:
        """Remove identifiers of one kind; if one was verified, all other sessions end.

        Answers what a login does. Raises AuthError (404) where one is gone already.
        """
        event = IdentifierRemoved(
            at=self.auth.now(), user_id=user.id, kind=gone[0].kind, caller=caller
        )
        return await self.auth.credentials.change_proofs(
            session_id,
            user,
            event,
            [*statements, *self.removing(user, *gone)],
            others=any(one.verified for one in gone),
            refused=NOT_FOUND,
        )

    async def restore(
        self, user_id: str, old: Identifier, statements: Sequence[Statement], caller: Caller
    ) -> None:
        """Take a change back: `old` finds the user again, the others of its kind go, all sessions end.

        Whatever comes between, it is tried again. Raises AuthError (404) where the ticket or
        the user is gone, or somebody else has verified `old` since.
        """

        async def attempt() -> None:
            user, now = await self.auth.users.require(user_id), self.auth.now()
            event = IdentifierRestored(at=now, user_id=user.id, kind=old.kind, caller=caller)
            clearing = Statement(
                "delete from identifiers where user_id = ? and kind = ?", (user.id, old.kind)
            )
            args = (user.id, old.kind, old.value, old.display, now)
            writes = [*statements, clearing, Statement(RESTORE, args, rows=1)]
            rise = Statement(RISE, (user.id, user.epoch), rows=1)
            ending = await self.auth.credentials.ending(user)
            try:
                await ended(self.auth, event, *writes, rise, *ending)
            except Conflict as conflict:
                if conflict.index < len(writes):
                    raise AuthError(NOT_FOUND) from conflict
                raise

        await again(attempt)
