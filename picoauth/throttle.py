"""How often a login may be tried: the `Limiter` protocol, and the default in one statement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from picoauth.database import Args, Database, Row, Statement
from picoauth.errors import AuthError
from picoauth.problems import TOO_MANY_ATTEMPTS
from picoauth.settings import ThrottleSettings
from picoauth.whose import Whose

IDLE = 86400
"""Seconds after which failures are forgotten."""

# Counted before anything is checked, so that parallel guesses cannot pass the limit.
# A delay beyond the longest comes from a clock that was ahead: it keeps nobody out (FT-1).
COUNT = """
    insert into throttle (key, failures, next_at, updated_at) values ({key}, 1, ?, ?)
        on conflict (key) do update set
            failures = throttle.failures + 1, updated_at = excluded.updated_at,
            next_at = case
                when throttle.failures + 1 < ? then 0
                when throttle.failures + 1 < ?
                then excluded.updated_at
                    + (cast(1 as bigint) << cast(throttle.failures + 1 - ? as integer))
                else excluded.updated_at + ? end
        where throttle.next_at <= excluded.updated_at or throttle.next_at > excluded.updated_at + ?
    returning failures
"""


@dataclass(frozen=True)
class Attempt:
    """Something that may be tried only so often.

    `user` is an account's id, or the keyed hash of a name; with `factor` it is set while
    someone proves who they are, and unset when a route is entered. `name` is set where that
    name was not looked up yet: if it is somebody's, the attempt counts for that account.
    """

    route: str
    address: str | None = None
    user: str | None = None
    factor: str | None = None
    name: Whose | None = None


class Limiter(Protocol):
    """Decides how often something may be tried; the occupant of the slot `limiter`."""

    async def attempt(self, attempt: Attempt, *look: Statement) -> list[list[Row]]:
        """Count the attempt. Raises AuthError (429) where it comes too soon.

        Answers the rows of `look`, queries that are not worth a trip of their own: what counts
        in the database asks them in the same write, and else `auth.database.write(*look)` does.
        """
        ...

    def succeeded(self, attempt: Attempt) -> Sequence[Statement]:
        """Forget failures: statements that join the write of the success."""
        ...

    def withdrawn(self, attempt: Attempt) -> Sequence[Statement]:
        """Take an attempt back that nobody could look at."""
        ...


class AccountLimiter:
    """Delays per account and factor, doubling; never a lock, so that no stranger shuts one out."""

    def __init__(
        self, database: Database, settings: ThrottleSettings, now: Callable[[], int]
    ) -> None:
        self.database = database
        self.settings = settings
        self.now = now

    async def attempt(self, attempt: Attempt, *look: Statement) -> list[list[Row]]:
        if attempt.user is None:
            return await self.database.write(*look) if look else []
        key, named = self.key(attempt)
        free, longest = self.settings.failures, self.settings.longest
        now, doubling = self.now(), free + longest.bit_length()
        first = (*named, now + 1 if free == 1 else 0, now)
        args = (*first, free, doubling, free, longest, longest)
        count = Statement(COUNT.format(key=key), args)
        [counted, *found] = await self.database.write(count, *look)
        if not counted:
            raise await self.refusal(attempt)
        return found

    async def refusal(self, attempt: Attempt) -> AuthError:
        key, named = self.key(attempt)
        rows = await self.database.read(f"select next_at from throttle where key = {key}", named)
        wait = max(1, rows[0][0] - self.now()) if rows else 1
        return AuthError(TOO_MANY_ATTEMPTS, headers={"Retry-After": str(wait)}, retry_after=wait)

    def succeeded(self, attempt: Attempt) -> Sequence[Statement]:
        begun, other = self.key(replace(attempt, factor=f"{attempt.factor} begin"))
        key, named = self.key(attempt)
        sql = f"delete from throttle where key in ({key}, {begun})"
        return [Statement(sql, (*named, *other))]

    def withdrawn(self, attempt: Attempt) -> Sequence[Statement]:
        key, named = self.key(attempt)
        sql = f"update throttle set failures = failures - 1 where key = {key} and failures > 0"
        return [Statement(sql, named)]

    def key(self, attempt: Attempt) -> tuple[str, Args]:
        """The factor and the account as an expression: SQL finds whoever has the name."""
        factor, name = attempt.factor, attempt.name
        if name is None:
            return "?", (f"{factor} {attempt.user}",)
        return f"? || coalesce({name.sql}, ?)", (f"{factor} ", *name.args, attempt.user)


def cleaning(now: int) -> Statement:
    return Statement("delete from throttle where updated_at < ?", (now - IDLE,))
