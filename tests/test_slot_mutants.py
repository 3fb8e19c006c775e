"""Session stores and limiters that break a promise fail the contract that names it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from picoauth import (
    Attempt,
    Auth,
    AuthError,
    Conflict,
    Limiter,
    Row,
    Session,
    SessionStore,
    Statement,
    Unavailable,
    parse,
    problems,
)
from picoauth.database import Args
from picoauth.sqlsessions import SqlSessions
from picoauth.testing import Clock
from picoauth.testing.contracts import LimiterContract, SessionStoreContract
from picoauth.throttle import AccountLimiter
from tests.mutants import fails, run


class Mutant(SqlSessions):
    """The store of the kernel, with one thing wrong."""

    async def rewritten(
        self, statements: Sequence[Statement], old: str, new: str
    ) -> Sequence[Statement]:
        assert any(old in each.sql for each in statements)
        return [replace(each, sql=each.sql.replace(old, new)) for each in statements]

    async def rotate_by(
        self, session_id: str, change: Callable[[Session], Session]
    ) -> Session | None:
        """Rotate by reading first, and then writing whatever comes of it."""
        found = await self.get(session_id)
        if found is None or not found.alive(self.now()):
            return None
        new = change(found)
        sql = "update sessions set generation = ?, rotated_at = ?, idle_at = ? where id = ?"
        args = (new.generation, new.rotated_at, new.idle_at, session_id)
        await self.database.write(Statement(sql, args))
        return new


class AnyGeneration(Mutant):
    """Rotates whatever generation comes."""

    async def rotate(self, session_id: str, generation: int, now: int) -> Session | None:
        found = await self.get(session_id)
        return await super().rotate(session_id, found.generation if found else 0, now)


class ReadsFirst(Mutant):
    """Reads, decides, writes."""

    async def rotate(self, session_id: str, generation: int, now: int) -> Session | None:
        found = await self.get(session_id)
        if found is None or found.generation != generation:
            return None
        await asyncio.sleep(0)
        idle_at = min(now + self.settings.idle, found.expires_at)
        changed = replace(found, generation=generation + 1, rotated_at=now, idle_at=idle_at)
        return await self.rotate_by(session_id, lambda _: changed)


class NoWindow(Mutant):
    """Rotates as often as it is asked."""

    async def rotate(self, session_id: str, generation: int, now: int) -> Session | None:
        reset = Statement("update sessions set rotated_at = 0 where id = ?", (session_id,))
        await self.database.write(reset)
        return await super().rotate(session_id, generation, now)


class Stuck(Mutant):
    """Rotates under a lock that whoever gives up leaves behind."""

    locked = False

    async def rotate(self, session_id: str, generation: int, now: int) -> Session | None:
        if self.locked:
            return None
        self.locked = True
        rotated = await super().rotate(session_id, generation, now)
        self.locked = False
        return rotated


class Uncapped(Mutant):
    """Lets the idle end slide past the absolute one."""

    async def rotate(self, session_id: str, generation: int, now: int) -> Session | None:
        rotated = await super().rotate(session_id, generation, now)
        if rotated is None:
            return None
        return await self.rotate_by(
            session_id, lambda found: replace(found, idle_at=now + self.settings.idle)
        )


class Immortal(Mutant):
    """Rotates what is idle or expired, as far as it was not ended."""

    async def rotate(self, session_id: str, generation: int, now: int) -> Session | None:
        sql = "update sessions set idle_at = ?, expires_at = ? where id = ? and ended_at is null"
        later = (now + 10**6, now + 10**6, session_id)
        await self.database.write(Statement(sql, later))
        return await super().rotate(session_id, generation, now)


class Reviving(Mutant):
    """Rotates what was ended."""

    async def rotate(self, session_id: str, generation: int, now: int) -> Session | None:
        sql = "update sessions set ended_at = null where id = ?"
        await self.database.write(Statement(sql, (session_id,)))
        return await super().rotate(session_id, generation, now)


class BlindChange(Mutant):
    """Changes whatever generation is there."""

    async def change(self, session: Session, generation: int) -> Sequence[Statement]:
        statements = await super().change(session, generation)
        return await self.rewritten(statements, "generation = ? and", "? is not null and")


class ChangeOfEnded(Mutant):
    """Changes what has ended."""

    async def change(self, session: Session, generation: int) -> Sequence[Statement]:
        return await self.rewritten(
            await super().change(session, generation), "and ended_at is null", ""
        )


class SilentChange(Mutant):
    """Does not say when there was nothing to change."""

    async def change(self, session: Session, generation: int) -> Sequence[Statement]:
        return [replace(each, rows=None) for each in await super().change(session, generation)]


class Forgetful(Mutant):
    """Does not keep the methods."""

    async def put(self, session: Session) -> Sequence[Statement]:
        return await super().put(replace(session, amr=()))


class Overwriting(Mutant):
    """Takes the same id twice."""

    async def put(self, session: Session) -> Sequence[Statement]:
        gone = Statement("delete from sessions where id = ?", (session.id,))
        return [gone, *await super().put(session)]


class Childish(Mutant):
    """Takes a child whose parent has ended."""

    async def put(self, session: Session) -> Sequence[Statement]:
        statements = await super().put(session)
        return await self.rewritten(statements, "and ended_at is null)", ")")


class Leaky(Mutant):
    """Puts by itself, and cannot take back."""

    async def put(self, session: Session) -> Sequence[Statement]:
        await self.database.write(*await super().put(session))
        return []


class Orphaning(Mutant):
    """Ends no children."""

    async def end(self, session_id: str) -> Sequence[Statement]:
        return self.ending("(id = ? and ? is not null)", session_id, session_id)


class Lenient(Mutant):
    """Ends sessions, and lets their tokens live."""

    def ending(self, which: str, *args: str | int) -> Sequence[Statement]:
        return super().ending(which, *args)[1:]


class Early(Mutant):
    """Ends before the write that says so."""

    async def end(self, session_id: str) -> Sequence[Statement]:
        statements = await super().end(session_id)
        await self.database.write(*statements)
        return statements


class KeepsNone(Mutant):
    """Ends also what was to be kept."""

    async def end_all(
        self, user_id: str, *, keep: str | None, below_epoch: int
    ) -> Sequence[Statement]:
        return await super().end_all(user_id, keep=None, below_epoch=below_epoch)


class EndsNew(Mutant):
    """Ends whatever epoch it was made under."""

    async def end_all(
        self, user_id: str, *, keep: str | None, below_epoch: int
    ) -> Sequence[Statement]:
        return await super().end_all(user_id, keep=keep, below_epoch=10**6)


class EndsEveryone(Mutant):
    """Ends the sessions of everybody."""

    async def end_all(
        self, user_id: str, *, keep: str | None, below_epoch: int
    ) -> Sequence[Statement]:
        which = "? is not null and id <> ? and epoch < ?"
        return self.ending(which, user_id, keep or "", below_epoch)


class ListsAll(Mutant):
    """Lists what has ended, too."""

    async def list(self, user_id: str) -> Sequence[Session]:
        rows = await self.database.read("select id from sessions where user_id = ?", (user_id,))
        found = [await self.get(session_id) for (session_id,) in reversed(rows)]
        return [session for session in found if session is not None]


class Anonymous(Mutant):
    """Finds nothing where it cannot look."""

    async def get(self, session_id: str) -> Session | None:
        with contextlib.suppress(Unavailable):
            return await super().get(session_id)
        return None


class Similar(Mutant):
    """Finds a session by the beginning of its id."""

    async def get(self, session_id: str) -> Session | None:
        sql = "select id from sessions where id like ?"
        rows = await self.database.read(sql, (f"{session_id}%",))
        return await super().get(rows[0][0] if rows else session_id)


class OfSql(SessionStoreContract):
    """The contract of a store whose database can be closed."""

    async def down(self, store: Any) -> None:
        await store.database.close()


STORES: Sequence[tuple[str, Mapping[str, Any], type[SqlSessions]]] = [
    ("test_keeps_what_is_put", {}, Forgetful),
    ("test_keeps_what_is_put", {}, Similar),
    ("test_id_is_put_once", {}, Overwriting),
    ("test_login_that_comes_to_nothing", {}, Leaky),
    ("test_list", {}, ListsAll),
    ("test_change", {}, Forgetful),
    ("test_change_of_what_changed", {}, BlindChange),
    ("test_change_of_what_changed", {}, ChangeOfEnded),
    ("test_change_of_what_changed", {}, SilentChange),
    ("test_fifty_changes_at_once", {}, BlindChange),
    ("test_fifty_changes_at_once", {}, SilentChange),
    ("test_rotate", {}, Uncapped),
    ("test_rotates_once_per_window", {}, NoWindow),
    ("test_does_not_rotate", {"spent": 1, "more": {}}, AnyGeneration),
    ("test_does_not_rotate", {"spent": 0, "more": {"rotated_at": -1}}, NoWindow),
    ("test_does_not_rotate", {"spent": 0, "more": {"idle_at": 0}}, Immortal),
    ("test_does_not_rotate", {"spent": 0, "more": {"idle_at": 0, "expires_at": 0}}, Immortal),
    ("test_fifty_rotations_at_once", {}, ReadsFirst),
    ("test_rotation_that_nobody_waits_for", {}, Stuck),
    ("test_ended_sessions_stay_ended", {}, Reviving),
    ("test_end_that_comes_to_nothing", {}, Early),
    ("test_end_among_rotations", {}, Reviving),
    ("test_children_end_with_their_parent", {}, Orphaning),
    ("test_child_of_an_ended_parent", {}, Childish),
    ("test_end_all", {}, KeepsNone),
    ("test_end_all", {}, EndsNew),
    ("test_end_all", {}, EndsEveryone),
    ("test_what_ends_is_revoked", {}, Lenient),
    ("test_what_ends_is_revoked", {}, Orphaning),
    ("test_store_that_is_down", {}, Anonymous),
]


@asynccontextmanager
async def kernel(folder: Path, settings: str) -> AsyncIterator[dict[str, Any]]:
    """The fixtures of the contracts of slots."""
    clock = Clock()
    await asyncio.to_thread(folder.mkdir)
    auth = Auth(parse(settings, folder), clock=clock, monotonic=clock, found=[])
    async with auth.started():
        users = {}
        for name in ("ann", "bob"):
            user, _ = await auth.users.register(auth.users.draft(username=name))
            users[name] = user.id
        yield {"auth": auth, "clock": clock, "users": users}


@pytest.mark.parametrize(("test", "more", "kind"), STORES)
async def test_stores(
    tmp_path: Path, test: str, more: Mapping[str, Any], kind: type[SqlSessions]
) -> None:
    """The test passes for the kernel's store, and fails for the one that is broken."""
    for each, expected in ((SqlSessions, run), (kind, fails)):
        async with kernel(tmp_path / expected.__name__, SessionStoreContract.SETTINGS) as fixtures:
            auth: Auth = fixtures["auth"]
            store: SessionStore = each(auth.database, auth.config.tokens, auth.now)
            also = () if expected is run else (Conflict,)
            await expected(OfSql(), test, *also, store=store, **fixtures, **more)


# Limiters


def plain(attempt: Attempt) -> str:
    return f"{attempt.factor} {attempt.user}"


class AfterChecking(AccountLimiter):
    """Looks whether there were too many, and counts afterwards."""

    async def attempt(self, attempt: Attempt, *look: Statement) -> list[list[Row]]:
        sql = "select failures, next_at from throttle where key = ?"
        rows = await self.database.read(sql, (plain(attempt),))
        await asyncio.sleep(0)
        if rows and rows[0][1] > self.now():
            raise await self.refusal(attempt)
        with contextlib.suppress(AuthError):
            return await super().attempt(attempt, *look)
        return []


class Blind(AccountLimiter):
    """Looks at nothing."""

    async def attempt(self, attempt: Attempt, *_: Statement) -> list[list[Row]]:
        return await super().attempt(attempt)


class Speechless(AccountLimiter):
    """Does not say how long to wait."""

    async def refusal(self, attempt: Attempt) -> AuthError:
        return AuthError(problems.TOO_MANY_ATTEMPTS, retry_after=1)


class Prolonging(AccountLimiter):
    """Moves the end of a delay with each attempt that comes too soon."""

    async def attempt(self, attempt: Attempt, *look: Statement) -> list[list[Row]]:
        try:
            return await super().attempt(attempt, *look)
        except AuthError:
            sql = "update throttle set next_at = ? + 2 where key = ?"
            await self.database.write(Statement(sql, (self.now(), plain(attempt))))
            raise


class Locking(AccountLimiter):
    """Lets nobody in any more after some failures."""

    async def attempt(self, attempt: Attempt, *look: Statement) -> list[list[Row]]:
        sql = "select failures from throttle where key = ?"
        rows = await self.database.read(sql, (plain(attempt),))
        if rows and rows[0][0] > self.settings.failures + 2:
            raise AuthError(problems.TOO_MANY_ATTEMPTS, retry_after=3600)
        return await super().attempt(attempt, *look)


class ByAccount(AccountLimiter):
    """Counts all factors of an account together."""

    def key(self, attempt: Attempt) -> tuple[str, Args]:
        return "?", (attempt.user,)


class ByAddress(AccountLimiter):
    """Counts each address by itself."""

    def key(self, attempt: Attempt) -> tuple[str, Args]:
        return "?", (f"{plain(attempt)} {attempt.address}",)


class ByRoute(AccountLimiter):
    """Counts each entrance by itself."""

    def key(self, attempt: Attempt) -> tuple[str, Args]:
        return "?", (f"{plain(attempt)} {attempt.route}",)


class Ambiguous(AccountLimiter):
    """Takes the account of one for the factor of another."""

    def key(self, attempt: Attempt) -> tuple[str, Args]:
        return "?", (plain(attempt).strip(),)


class ForgetsAll(AccountLimiter):
    """Forgets everybody's failures with one success."""

    def succeeded(self, attempt: Attempt) -> Sequence[Statement]:
        return [Statement("delete from throttle")]


class ForgetsAccount(AccountLimiter):
    """Forgets the failures of other factors, too."""

    def succeeded(self, attempt: Attempt) -> Sequence[Statement]:
        return [Statement("delete from throttle where key like ?", (f"% {attempt.user}",))]


class ForgetsNoChallenge(AccountLimiter):
    """Goes on counting challenges."""

    def succeeded(self, attempt: Attempt) -> Sequence[Statement]:
        return [Statement("delete from throttle where key = ?", (plain(attempt),))]


class NeverForgets(AccountLimiter):
    """Forgets nothing."""

    def succeeded(self, attempt: Attempt) -> Sequence[Statement]:
        return []


class WithdrawsNothing(AccountLimiter):
    """Counts what nobody looked at."""

    def withdrawn(self, attempt: Attempt) -> Sequence[Statement]:
        return []


class WithdrawsTooMuch(AccountLimiter):
    """Gives tries away for what was taken back twice."""

    def withdrawn(self, attempt: Attempt) -> Sequence[Statement]:
        sql = "update throttle set failures = failures - 1 where key = ?"
        return [Statement(sql, (plain(attempt),))]


class KnownOnly(AccountLimiter):
    """Counts what are the ids of users, and lets others try for ever."""

    async def attempt(self, attempt: Attempt, *look: Statement) -> list[list[Row]]:
        return [] if len(attempt.user or "") == 64 else await super().attempt(attempt, *look)


class Unnamed(AccountLimiter):
    """Counts a name for itself, whosever it is."""

    def key(self, attempt: Attempt) -> tuple[str, Args]:
        return super().key(replace(attempt, name=None))


class Trusting(AccountLimiter):
    """Believes whatever time the table says."""

    async def attempt(self, attempt: Attempt, *look: Statement) -> list[list[Row]]:
        sql = "select next_at from throttle where key = ?"
        rows = await self.database.read(sql, (plain(attempt),))
        wait = rows[0][0] - self.now() if rows else 0
        if wait > 0:
            raise AuthError(problems.TOO_MANY_ATTEMPTS, retry_after=wait)
        return await super().attempt(attempt, *look)


class InMemory(AccountLimiter):
    """Counts in the process alone, and forgets at once."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.counts: dict[str, int] = {}

    async def attempt(self, attempt: Attempt, *look: Statement) -> list[list[Row]]:
        key = plain(attempt)
        self.counts[key] = self.counts.get(key, 0) + 1
        if self.counts[key] > self.settings.failures:
            raise AuthError(problems.TOO_MANY_ATTEMPTS, retry_after=1)
        return []

    def succeeded(self, attempt: Attempt) -> Sequence[Statement]:
        self.counts.pop(plain(attempt), None)
        return []


class OfTable(LimiterContract):
    """The contract of a limiter that is made anew."""

    def restarted(self, auth: Auth, limiter: Limiter) -> Limiter:
        kind: Any = type(limiter)
        made: Limiter = kind(auth.database, auth.config.throttle, auth.now)
        return made


LIMITERS: Sequence[tuple[str, type[AccountLimiter]]] = [
    ("test_free_attempts_and_a_refusal", Speechless),
    ("test_look_comes_with_the_count", Blind),
    ("test_two_hundred_at_once", AfterChecking),
    ("test_delays_double_to_the_longest", Locking),
    ("test_attempt_that_comes_too_soon", Prolonging),
    ("test_accounts_and_factors_have_their_own_counts", ByAccount),
    ("test_accounts_and_factors_have_their_own_counts", Ambiguous),
    ("test_entrances_share_the_count", ByAddress),
    ("test_entrances_share_the_count", ByRoute),
    ("test_success_forgets_its_own_failures", ForgetsAll),
    ("test_success_forgets_its_own_failures", ForgetsAccount),
    ("test_success_forgets_its_own_failures", ForgetsNoChallenge),
    ("test_success_forgets_its_own_failures", NeverForgets),
    ("test_success_that_comes_to_nothing", InMemory),
    ("test_withdrawn_attempt", WithdrawsNothing),
    ("test_withdrawn_attempt", WithdrawsTooMuch),
    ("test_name_that_is_nobodys", KnownOnly),
    ("test_name_of_an_account", Unnamed),
    ("test_clock_that_was_ahead", Trusting),
    ("test_restart", InMemory),
]


@pytest.mark.parametrize(("test", "kind"), LIMITERS)
async def test_limiters(tmp_path: Path, test: str, kind: type[AccountLimiter]) -> None:
    """The test passes for the kernel's limiter, and fails for the one that is broken."""
    for each, expected in ((AccountLimiter, run), (kind, fails)):
        async with kernel(tmp_path / expected.__name__, LimiterContract.SETTINGS) as fixtures:
            auth: Auth = fixtures["auth"]
            limiter: Limiter = each(auth.database, auth.config.throttle, auth.now)
            also = () if expected is run else (KeyError,)
            await expected(OfTable(), test, *also, limiter=limiter, **fixtures)
