"""How often a login may be tried: the `Limiter` protocol, and the default in one statement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from picoauth.database import Database, Statement
from picoauth.errors import AuthError
from picoauth.problems import TOO_MANY_ATTEMPTS
from picoauth.settings import ThrottleSettings

IDLE = 86400
"""Seconds after which failures are forgotten."""

# Counted before anything is checked, so that parallel guesses cannot pass the limit.
# A delay beyond the longest comes from a clock that was ahead: it keeps nobody out (FT-1).
COUNT = """
    insert into throttle (key, failures, next_at, updated_at) values (?, 1, ?, ?)
        on conflict (key) do update set
            failures = throttle.failures + 1, updated_at = excluded.updated_at,
            next_at = case
                when throttle.failures + 1 < ? then 0
                when throttle.failures + 1 < ? then excluded.updated_at + (1 << (throttle.failures + 1 - ?))
                else excluded.updated_at + ? end
        where throttle.next_at <= excluded.updated_at or throttle.next_at > excluded.updated_at + ?
    returning failures
"""


@dataclass(frozen=True)
class Attempt:
    """Something that may be tried only so often.

    `user` is an account's id, or the keyed hash of a name that is nobody's; with `factor`
    it is set while someone proves who they are, and unset when a route is entered.
    """

    route: str
    address: str | None = None
    user: str | None = None
    factor: str | None = None


class Limiter(Protocol):
    """Decides how often something may be tried; the occupant of the slot `limiter`."""

    async def attempt(self, attempt: Attempt) -> None:
        """Count the attempt. Raises AuthError (429) where it comes too soon."""
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

    async def attempt(self, attempt: Attempt) -> None:
        if attempt.user is None:
            return
        key, free, longest = self.key(attempt), self.settings.failures, self.settings.longest
        now, doubling = self.now(), free + longest.bit_length()
        first = (key, now + 1 if free == 1 else 0, now)
        args = (*first, free, doubling, free, longest, longest)
        [counted] = await self.database.write(Statement(COUNT, args))
        if not counted:
            raise await self.refusal(key)

    async def refusal(self, key: str) -> AuthError:
        rows = await self.database.read("select next_at from throttle where key = ?", (key,))
        wait = max(1, rows[0][0] - self.now()) if rows else 1
        return AuthError(TOO_MANY_ATTEMPTS, headers={"Retry-After": str(wait)}, retry_after=wait)

    def succeeded(self, attempt: Attempt) -> Sequence[Statement]:
        key = self.key(attempt)
        sql = "delete from throttle where key in (?, ?)"
        return [Statement(sql, (key, key.replace(" ", " begin ", 1)))]

    def withdrawn(self, attempt: Attempt) -> Sequence[Statement]:
        sql = "update throttle set failures = failures - 1 where key = ? and failures > 0"
        return [Statement(sql, (self.key(attempt),))]

    def key(self, attempt: Attempt) -> str:
        return f"{attempt.factor} {attempt.user}"


def cleaning(now: int) -> Statement:
    return Statement("delete from throttle where updated_at < ?", (now - IDLE,))
