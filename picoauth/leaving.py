"""How users leave: at once, or after a time in which they may come back."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from picoauth.callers import Caller
from picoauth.changes import again, ended
from picoauth.database import Statement
from picoauth.errors import AuthError, Conflict
from picoauth.events import UserClosed, UserDeleted, UserRestored
from picoauth.jobs import Job
from picoauth.problems import NOT_CLOSED
from picoauth.throttle import Attempt
from picoauth.users import User

if TYPE_CHECKING:
    from picoauth.auth import Auth

log = logging.getLogger("picoauth.leaving")
BATCH = 100
"""Accounts that are looked up at once."""

CLOSE = """
    update users set epoch = epoch + 1, closed_at = ?, delete_at = ?
     where id = ? and epoch = ? and closed_at is null
"""
REOPEN = (
    "update users set closed_at = null, delete_at = null where id = ? and closed_at is not null"
)
DUE = "select id from users where delete_at <= ? and id > ? order by id limit ?"
# Who came back meanwhile stays: of a restoring login and a deletion one comes to nothing.
DELETE = "delete from users where id = ? and epoch = ? and (? is null or delete_at <= ?)"


class Leaving:
    """Closes, restores and deletes accounts."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    async def close(self, user_id: str, caller: Caller) -> int:
        """All sessions and tickets end; answers when the account is deleted."""

        async def attempt() -> int:
            user, now = await self.auth.users.require(user_id), self.auth.now()
            if user.delete_at is not None:
                return user.delete_at
            due = now + self.auth.config.account.deletion_grace
            event = UserClosed(at=now, user_id=user.id, delete_at=due, caller=caller)
            closing = Statement(CLOSE, (now, due, user.id, user.epoch), rows=1)
            voiding = Statement("delete from tickets where user_id = ?", (user.id,))
            rest = await self.auth.accounts.ending(user)
            await ended(self.auth, event, closing, voiding, *rest)
            return due

        return await again(attempt)

    async def reopen(self, user_id: str, caller: Caller) -> None:
        """Raises AuthError where there is no such user, or none whose account is closed."""
        await self.auth.users.require(user_id)
        event = UserRestored(at=self.auth.now(), user_id=user_id, caller=caller)
        try:
            await self.auth.events.commit(event, Statement(REOPEN, (user_id,), rows=1))
        except Conflict as conflict:
            raise AuthError(NOT_CLOSED) from conflict

    async def delete(self, user_id: str, caller: Caller, *, due: int | None = None) -> None:
        """Delete a user, with everything; where `due`, only if that was to happen by then."""

        async def attempt() -> None:
            user = await self.auth.users.require(user_id)
            if due is not None and (user.delete_at is None or user.delete_at > due):
                return
            event = UserDeleted(at=self.auth.now(), user_id=user.id, caller=caller)
            found = await self.auth.users.identifiers(user.id)
            retiring = [self.auth.users.retiring(one) for one in found if one.kind == "username"]
            deleting = Statement(DELETE, (user.id, user.epoch, due, due), rows=1)
            queued = await self.auth.outbox.forgetting(user.id)
            rest = [*retiring, *self.forgetting(user), *queued, deleting]
            await ended(self.auth, event, *await self.auth.accounts.ending(user), *rest)

        await again(attempt)

    def forgetting(self, user: User) -> Sequence[Statement]:
        """Failures are counted under the user's id, which nothing may hold after a deletion."""
        names = [*self.auth.factors, *self.auth.config.ignore_factors]
        attempts = [Attempt("", user=user.id, factor=name) for name in names]
        return [one for attempt in attempts for one in self.auth.limiter.succeeded(attempt)]

    async def sweep(self) -> None:
        """Delete the accounts whose time is over."""
        now, last = self.auth.now(), ""
        while rows := await self.auth.database.read(DUE, (now, last, BATCH)):
            for (last,) in rows:
                try:
                    await self.delete(last, Caller(), due=now)
                except (AuthError, Conflict) as refusal:  # gone, changed, or kept by a plugin
                    log.warning("the closed account %s is not deleted yet: %s", last, refusal)


def sweeping(auth: Auth) -> Job:
    return Job("delete-closed", 300, auth.accounts.leaving.sweep, purges=True)
