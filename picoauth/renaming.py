"""User names: how an account gets another one, and how often its user may take one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from picoauth.database import Statement
from picoauth.errors import AuthError
from picoauth.identifiers import Identifier, identifier
from picoauth.problems import TOO_MANY_RENAMES
from picoauth.users import User

if TYPE_CHECKING:
    from picoauth.auth import Auth

# What a clock that was ahead wrote counts within the span, too: so to turn it back frees nothing,
# and it shuts nobody out for longer than that.
COUNT = """
    insert into renames (id, user_id, renamed_at)
    select ?, ?, ? where (
        select count(*) from renames where user_id = ? and renamed_at > ? and renamed_at < ?) < ?
"""
COUNTED = """
    select renamed_at from renames where user_id = ? and renamed_at > ? and renamed_at < ?
     order by renamed_at desc limit 1 offset ?
"""


class Renaming:
    """Statements of a new user name. Each retires one for good, so they are counted."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    def statements(
        self, user: User, old: Identifier | None, username: str
    ) -> tuple[Sequence[Statement], Sequence[Statement]]:
        """Of a new name, and of the old one: retired, so that nobody else gets it."""
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

    def counting(self, user: User) -> Statement:
        """Conflicts where the user took a name too often lately."""
        now, span = self.auth.now(), self.auth.config.account.renames_in
        counted = (user.id, now - span, now + span, self.auth.config.account.renames)
        return Statement(COUNT, (self.auth.users.new_id(), user.id, now, *counted), rows=1)

    async def refusal(self, user: User) -> AuthError:
        """Says when one may be taken again: when the newest of so many is old enough."""
        now, settings = self.auth.now(), self.auth.config.account
        span, most = settings.renames_in, settings.renames
        args = (user.id, now - span, now + span, max(0, most - 1))
        rows = await self.auth.database.read(COUNTED, args)
        wait = min(span, max(1, rows[0][0] + span - now)) if rows and most else span
        headers = {"Retry-After": str(wait)}
        return AuthError(TOO_MANY_RENAMES, headers=headers, retry_after=wait)

    async def known(self, user_id: str) -> Sequence[int]:
        """When the user took other names, as far as that still counts."""
        sql = "select renamed_at from renames where user_id = ? order by renamed_at"
        return [at for (at,) in await self.auth.database.read(sql, (user_id,))]


def cleaning(now: int, span: int) -> Statement:
    """What counts no more."""
    return Statement(
        "delete from renames where renamed_at <= ? or renamed_at >= ?", (now - span, now + span)
    )
