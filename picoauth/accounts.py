"""Changes to an account as a whole, each with what it means for its sessions, in one write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from picoauth.database import Statement
from picoauth.errors import AuthError, Conflict
from picoauth.events import (
    Caller,
    Event,
    SessionEnded,
    SessionsEnded,
    UserChanged,
    UserDeleted,
    UserDisabled,
    UserEnabled,
)
from picoauth.identifiers import identifier
from picoauth.problems import NOT_FOUND, USERNAME_TAKEN
from picoauth.throttle import Attempt
from picoauth.users import User

if TYPE_CHECKING:
    from picoauth.auth import Auth

T = TypeVar("T")

RISE = "update users set epoch = epoch + 1 where id = ? and epoch = ?"
DISABLE = "update users set epoch = epoch + 1, disabled_at = ? where id = ? and epoch = ?"
TRIES = 3
"""How often a change is tried that another change got in the way of."""


class Accounts:
    """What users and administrators do to accounts. Conflicts are tried again, then raised."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    async def change(self, user_id: str, changes: Mapping[str, str | None], caller: Caller) -> None:
        """Change `name`, `locale`, `username`, as far as given. Raises AuthError for a taken name."""
        user = await self.auth.users.require(user_id)
        naming, gone = await self.renaming(user, changes.get("username"))
        fields = {name: value for name, value in changes.items() if name in ("name", "locale")}
        sets = ", ".join([*(f"{name} = ?" for name in fields), "epoch = epoch + ?"])
        sql = f"update users set {sets} where id = ? and epoch = ?"
        args = (*fields.values(), len(naming), user.id, user.epoch)
        event = UserChanged(
            at=self.auth.now(), user_id=user.id, fields=tuple(sorted(changes)), caller=caller
        )
        try:
            await self.auth.events.commit(event, *naming, Statement(sql, args, rows=1), *gone)
        except Conflict as conflict:
            if conflict.index < len(naming):
                raise AuthError(USERNAME_TAKEN) from conflict
            raise

    async def renaming(
        self, user: User, username: str | None
    ) -> tuple[Sequence[Statement], Sequence[Statement]]:
        """Statements of a new name, and of the old one: retired, so that nobody else gets it."""
        if username is None:
            return (), ()
        new = identifier("username", username, verified=True)
        old = [i for i in await self.auth.users.identifiers(user.id) if i.kind == "username"]
        where = "where user_id = ? and kind = ? and value = ?"
        if [one.value for one in old] == [new.value]:
            sql = f"update identifiers set display = ? {where}"
            return (), [Statement(sql, (new.display, user.id, new.kind, new.value), rows=1)]
        sql = f"delete from identifiers {where}"
        gone = [Statement(sql, (user.id, one.kind, one.value), rows=1) for one in old]
        naming = self.auth.users.naming(user.id, new, self.auth.now())
        return [naming], [*gone, *(self.auth.users.retiring(one) for one in old)]

    async def logout(self, user_id: str, session_id: str, caller: Caller) -> None:
        """End one session of a user. Raises AuthError if the user has no such session."""
        session = await self.auth.sessions.get(session_id)
        if session is None or session.user_id != user_id:
            raise AuthError(NOT_FOUND)
        event = SessionEnded(
            at=self.auth.now(), user_id=user_id, session_id=session_id, caller=caller
        )
        await self.ended(event, await self.auth.sessions.end(session_id))

    async def logout_from_all(self, user_id: str, caller: Caller) -> None:
        """End every session; the epoch rises, so that logins under way come to nothing."""

        async def attempt() -> None:
            user = await self.auth.users.require(user_id)
            event = SessionsEnded(at=self.auth.now(), user_id=user_id, kept=None, caller=caller)
            rise = Statement(RISE, (user.id, user.epoch), rows=1)
            await self.ended(event, [rise, *await self.ending(user)])

        await again(attempt)

    async def disable(self, user_id: str, caller: Caller) -> None:
        """Keep a user out: sessions and tickets end at once."""

        async def attempt() -> None:
            user, now = await self.auth.users.require(user_id), self.auth.now()
            event = UserDisabled(at=now, user_id=user.id, caller=caller)
            disabling = Statement(DISABLE, (now, user.id, user.epoch), rows=1)
            voiding = Statement("delete from tickets where user_id = ?", (user.id,))
            await self.ended(event, [disabling, voiding, *await self.ending(user)])

        await again(attempt)

    async def enable(self, user_id: str, caller: Caller) -> None:
        user = await self.auth.users.require(user_id)
        event = UserEnabled(at=self.auth.now(), user_id=user.id, caller=caller)
        sql = "update users set disabled_at = null where id = ?"
        await self.auth.events.commit(event, Statement(sql, (user.id,)))

    async def delete(self, user_id: str, caller: Caller) -> None:
        """Delete a user: every row that refers to it goes with it; the name is retired."""

        async def attempt() -> None:
            user = await self.auth.users.require(user_id)
            event = UserDeleted(at=self.auth.now(), user_id=user.id, caller=caller)
            found = await self.auth.users.identifiers(user.id)
            retiring = [self.auth.users.retiring(one) for one in found if one.kind == "username"]
            sql = "delete from users where id = ? and epoch = ?"
            deleting = Statement(sql, (user.id, user.epoch), rows=1)
            forgetting = self.forgetting(user)
            await self.ended(event, [*await self.ending(user), *retiring, *forgetting, deleting])

        await again(attempt)

    def forgetting(self, user: User) -> Sequence[Statement]:
        """Failures are counted under the user's id, which nothing may hold after a deletion."""
        attempts = [Attempt("", user=user.id, factor=name) for name in self.auth.factors]
        return [one for attempt in attempts for one in self.auth.limiter.succeeded(attempt)]

    async def ending(self, user: User) -> Sequence[Statement]:
        return await self.auth.sessions.end_all(user.id, keep=None, below_epoch=user.epoch + 1)

    async def ended(self, event: Event, statements: Sequence[Statement]) -> None:
        await self.auth.events.commit(event, *statements)
        await self.auth.revocations.poll()


async def again(attempt: Callable[[], Awaitable[T]]) -> T:
    """Try a change that read before it wrote, once more where another one came between."""
    for _ in range(TRIES - 1):
        try:
            return await attempt()
        except Conflict:
            continue
    return await attempt()
