"""Changes to an account as a whole, each with what it means for its sessions, in one write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from picoauth.callers import Caller
from picoauth.changes import RISE, again, ended, heed
from picoauth.database import Statement
from picoauth.errors import AuthError, Conflict
from picoauth.events import (
    IdentifierRestored,
    SessionEnded,
    SessionsEnded,
    UserChanged,
    UserDisabled,
    UserEnabled,
)
from picoauth.identifiers import Identifier
from picoauth.leaving import Leaving
from picoauth.problems import NOT_FOUND, USERNAME_TAKEN
from picoauth.renaming import Renaming
from picoauth.users import User

if TYPE_CHECKING:
    from picoauth.auth import Auth

CLEAR = "delete from identifiers where user_id = ? and kind = ?"
RESTORE = """
    insert into identifiers (user_id, kind, value, display, verified_at) values (?, ?, ?, ?, ?)
"""
DISABLE = "update users set epoch = epoch + 1, disabled_at = ? where id = ? and epoch = ?"


class Accounts:
    """What users and administrators do to accounts. Conflicts are tried again, then raised."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth
        self.leaving = Leaving(auth)
        self.renaming = Renaming(auth)

    async def change(
        self,
        user_id: str,
        changes: Mapping[str, str | None],
        caller: Caller,
        *,
        limited: bool = False,
    ) -> dict[str, Any]:
        """Change `name`, `locale` and `username`, where they differ; of them the locale may be None.

        `limited` where it is the user who does, and may take another user name only so often.
        Answers the `record` replies. Raises AuthError for a taken name, or one name too many.
        """

        async def attempt() -> dict[str, Any]:
            user = await self.auth.users.require(user_id)
            found = await self.auth.users.identifiers(user_id)
            old = next((one for one in found if one.kind == "username"), None)
            before = {"name": user.name, "locale": user.locale, "username": old and old.display}
            new = {
                n: v
                for n, v in changes.items()
                if v != before[n] and (v is not None or n == "locale")
            }
            return await self.changed(user, old, new, caller, limited=limited) if new else {}

        return await again(attempt)

    async def changed(
        self,
        user: User,
        old: Identifier | None,
        new: Mapping[str, str | None],
        caller: Caller,
        *,
        limited: bool,
    ) -> dict[str, Any]:
        """Write what is new. The guard comes first: a race is not taken for a taken name."""
        username, columns = new.get("username"), [name for name in new if name != "username"]
        none: tuple[Sequence[Statement], Sequence[Statement]] = ([], [])
        naming, gone = none if username is None else self.renaming.statements(user, old, username)
        sets = ", ".join([*(f"{name} = ?" for name in columns), "epoch = epoch + ?"])
        sql = f"update users set {sets} where id = ? and epoch = ?"
        args = (*(new[name] for name in columns), len(naming), user.id, user.epoch)
        event = UserChanged(
            at=self.auth.now(), user_id=user.id, fields=tuple(sorted(new)), caller=caller
        )
        changing = Statement(sql, args, rows=1)
        counting = [self.renaming.counting(user)] if limited and naming else []
        try:
            return await self.auth.events.commit(event, changing, *naming, *gone, *counting)
        except Conflict as conflict:
            if 1 <= conflict.index <= len(naming):
                raise AuthError(USERNAME_TAKEN) from conflict
            if counting and conflict.index == 1 + len(naming) + len(gone):
                raise await self.renaming.refusal(user) from conflict
            raise

    async def restore(
        self, user_id: str, old: Identifier, statements: Sequence[Statement], caller: Caller
    ) -> None:
        """Take a change back: `old` finds the user again, the others of its kind go, all sessions end.

        `statements` come first in the write, and take the ticket. Raises AuthError (404) where
        that is gone, or the user, or where somebody else verified `old` since.
        """

        async def attempt() -> None:
            user, now = await self.auth.users.require(user_id), self.auth.now()
            event = IdentifierRestored(at=now, user_id=user.id, kind=old.kind, caller=caller)
            clearing = Statement(CLEAR, (user.id, old.kind))
            args = (user.id, old.kind, old.value, old.display, now)
            writes = [*statements, clearing, Statement(RESTORE, args, rows=1)]
            rise = Statement(RISE, (user.id, user.epoch), rows=1)
            try:
                await ended(self.auth, event, *writes, rise, *await self.ending(user))
            except Conflict as conflict:
                if conflict.index < len(writes):
                    raise AuthError(NOT_FOUND) from conflict
                raise

        await again(attempt)

    async def logout(self, user_id: str, session_id: str, caller: Caller) -> None:
        """End one session of a user. Raises AuthError if the user has no such session.

        Of several at once one ends it, and says so.
        """

        async def attempt() -> None:
            session = await self.auth.sessions.get(session_id)
            if session is None or session.user_id != user_id or session.ended_at is not None:
                raise AuthError(NOT_FOUND)
            event = SessionEnded(
                at=self.auth.now(), user_id=user_id, session_id=session_id, caller=caller
            )
            try:
                still = await self.auth.sessions.change(session, session.generation)
                ending = await self.auth.sessions.end(session_id)
                await ended(self.auth, event, *still, *ending)
            except Conflict:
                await heed(self.auth)  # what another process ended
                raise

        await again(attempt)

    async def logout_from_all(
        self, user_id: str, caller: Caller, *, keep: str | None = None
    ) -> None:
        """End every session but `keep`; the epoch rises, so that logins under way come to nothing."""

        async def attempt() -> None:
            user = await self.auth.users.require(user_id)
            event = SessionsEnded(at=self.auth.now(), user_id=user_id, kept=keep, caller=caller)
            rise = Statement(RISE, (user.id, user.epoch), rows=1)
            await ended(self.auth, event, rise, *await self.ending(user, keep))

        await again(attempt)

    async def disable(self, user_id: str, caller: Caller) -> None:
        """Keep a user out: sessions and tickets end at once."""

        async def attempt() -> None:
            user, now = await self.auth.users.require(user_id), self.auth.now()
            event = UserDisabled(at=now, user_id=user.id, caller=caller)
            disabling = Statement(DISABLE, (now, user.id, user.epoch), rows=1)
            voiding = Statement("delete from tickets where user_id = ?", (user.id,))
            await ended(self.auth, event, disabling, voiding, *await self.ending(user))

        await again(attempt)

    async def enable(self, user_id: str, caller: Caller) -> None:
        """Let a disabled user in again."""

        async def attempt() -> None:
            user = await self.auth.users.require(user_id)
            event = UserEnabled(at=self.auth.now(), user_id=user.id, caller=caller)
            sql = "update users set disabled_at = null where id = ?"
            await self.auth.events.commit(event, Statement(sql, (user.id,), rows=1))

        await again(attempt)

    async def delete(self, user_id: str, caller: Caller) -> None:
        """Delete a user: every row that refers to it goes with it; the name is retired."""
        await self.leaving.delete(user_id, caller)

    async def close(self, user_id: str, caller: Caller) -> int:
        """Let a user leave who may come back for a while; answers when the account is deleted."""
        return await self.leaving.close(user_id, caller)

    async def reopen(self, user_id: str, caller: Caller) -> None:
        """Restore a closed account. Raises AuthError where it is not closed."""
        await self.leaving.reopen(user_id, caller)

    async def ending(self, user: User, keep: str | None = None) -> Sequence[Statement]:
        return await self.auth.sessions.end_all(user.id, keep=keep, below_epoch=user.epoch + 1)
