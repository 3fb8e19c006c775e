"""Changes to an account as a whole, each with what it means for its sessions, in one write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from picoauth.changes import RISE, again, ended, heed
from picoauth.database import Statement
from picoauth.errors import AuthError, Conflict
from picoauth.events import (
    Caller,
    IdentifierRestored,
    SessionEnded,
    SessionsEnded,
    UserChanged,
    UserDeleted,
    UserDisabled,
    UserEnabled,
)
from picoauth.identifiers import Identifier, identifier
from picoauth.problems import NOT_FOUND, USERNAME_TAKEN
from picoauth.throttle import Attempt
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

    async def change(
        self, user_id: str, changes: Mapping[str, str | None], caller: Caller
    ) -> dict[str, Any]:
        """Change `name`, `locale` and `username`, where they differ; of them the locale may be None.

        Answers the `record` replies. Raises AuthError for a taken name.
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
            return await self.changed(user, old, new, caller) if new else {}

        return await again(attempt)

    async def changed(
        self, user: User, old: Identifier | None, new: Mapping[str, str | None], caller: Caller
    ) -> dict[str, Any]:
        """Write what is new. The guard comes first: a race is not taken for a taken name."""
        username, columns = new.get("username"), [name for name in new if name != "username"]
        naming, gone = ((), ()) if username is None else self.renaming(user, old, username)
        sets = ", ".join([*(f"{name} = ?" for name in columns), "epoch = epoch + ?"])
        sql = f"update users set {sets} where id = ? and epoch = ?"
        args = (*(new[name] for name in columns), len(naming), user.id, user.epoch)
        event = UserChanged(
            at=self.auth.now(), user_id=user.id, fields=tuple(sorted(new)), caller=caller
        )
        changing = Statement(sql, args, rows=1)
        try:
            return await self.auth.events.commit(event, changing, *naming, *gone)
        except Conflict as conflict:
            if 1 <= conflict.index <= len(naming):
                raise AuthError(USERNAME_TAKEN) from conflict
            raise

    def renaming(
        self, user: User, old: Identifier | None, username: str
    ) -> tuple[Sequence[Statement], Sequence[Statement]]:
        """Statements of a new name, and of the old one: retired, so that nobody else gets it."""
        new = identifier("username", username, verified=True)
        naming = self.auth.users.naming(user.id, new, self.auth.now())
        if old is None:
            return [naming], []
        where, args = "where user_id = ? and kind = ? and value = ?", (user.id, old.kind, old.value)
        if old.value == new.value:
            sql = f"update identifiers set display = ? {where}"
            return [], [Statement(sql, (new.display, *args), rows=1)]
        deleting = Statement(f"delete from identifiers {where}", args, rows=1)
        return [naming], [deleting, self.auth.users.retiring(old)]

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

        async def attempt() -> None:
            user = await self.auth.users.require(user_id)
            event = UserDeleted(at=self.auth.now(), user_id=user.id, caller=caller)
            found = await self.auth.users.identifiers(user.id)
            retiring = [self.auth.users.retiring(one) for one in found if one.kind == "username"]
            sql = "delete from users where id = ? and epoch = ?"
            deleting = Statement(sql, (user.id, user.epoch), rows=1)
            rest = [*retiring, *self.forgetting(user), deleting]
            await ended(self.auth, event, *await self.ending(user), *rest)

        await again(attempt)

    def forgetting(self, user: User) -> Sequence[Statement]:
        """Failures are counted under the user's id, which nothing may hold after a deletion."""
        names = [*self.auth.factors, *self.auth.config.ignore_factors]
        attempts = [Attempt("", user=user.id, factor=name) for name in names]
        return [one for attempt in attempts for one in self.auth.limiter.succeeded(attempt)]

    async def ending(self, user: User, keep: str | None = None) -> Sequence[Statement]:
        return await self.auth.sessions.end_all(user.id, keep=keep, below_epoch=user.epoch + 1)
