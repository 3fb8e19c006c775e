"""The default limiter: delays that double, per account and factor, and never lock anyone out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from picoauth import Attempt, AuthError, Database, Seconds
from picoauth.settings import ThrottleSettings
from picoauth.testing import Clock
from picoauth.throttle import AccountLimiter, cleaning
from tests.storage import kernel_tables

ANN = Attempt("/auth/login", "192.0.2.1", user="ann", factor="password")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with kernel_tables(tmp_path) as database:
        yield database


def limiter(
    database: Database, clock: Clock, failures: int = 10, longest: int = 900
) -> AccountLimiter:
    settings = ThrottleSettings(failures=failures, longest=Seconds(longest))
    return AccountLimiter(database, settings, lambda: int(clock()))


async def wait(limiter: AccountLimiter, attempt: Attempt = ANN) -> int:
    """Seconds that one has to wait before the next attempt; 0 if this one counted."""
    try:
        await limiter.attempt(attempt)
    except AuthError as error:
        refusal = error
    else:
        return 0
    found: int = refusal.extra["retry_after"]
    assert (429, "too_many_attempts") == (refusal.problem.status, refusal.problem.code)
    assert {"Retry-After": str(found)} == refusal.headers
    return found


async def delays(limiter: AccountLimiter, clock: Clock, count: int) -> list[int]:
    """The delay after each of so many failures, each of which comes as soon as it may."""
    found = []
    for _ in range(count):
        assert 0 == await wait(limiter)
        rows = await limiter.database.read("select next_at from throttle")
        found.append(max(0, rows[0][0] - limiter.now()))
        clock.advance(found[-1])
    return found


@pytest.mark.parametrize(
    ("failures", "longest", "expected"),
    [
        (1, 1, [1, 1, 1, 1]),
        (1, 2, [1, 2, 2, 2]),
        (1, 7, [1, 2, 4, 7, 7, 7]),
        (1, 8, [1, 2, 4, 8, 8]),
        (2, 7, [0, 1, 2, 4, 7, 7]),
        (3, 600, [0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]),
        (10, 900, [*[0] * 9, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]),
        (2, 1 << 40, [0, *(1 << n for n in range(41)), 1 << 40]),
    ],
)
async def test_delays_double(
    database: Database, clock: Clock, failures: int, longest: int, expected: list[int]
) -> None:
    """From the set failure on each delay is twice the last, up to the longest, and stays there."""
    limited = limiter(database, clock, failures, longest)
    assert expected == await delays(limited, clock, len(expected))


async def test_withdrawn_attempt_counts_for_nothing(database: Database, clock: Clock) -> None:
    """What nobody could look at, because a queue was full, brings no delay nearer."""
    limit = limiter(database, clock, failures=2)
    for _ in range(5):
        await limit.attempt(ANN)
        await database.write(*limit.withdrawn(ANN))
    assert [(0,)] == await database.read("select failures from throttle")
    await database.write(*limit.withdrawn(ANN))
    assert [(0,)] == await database.read("select failures from throttle")


async def test_routes_alone_are_free(database: Database, clock: Clock) -> None:
    """An attempt of no account is neither counted nor refused: limits by address are a plugin's."""
    limited = limiter(database, clock, failures=1)
    attempt = Attempt("/auth/login", "192.0.2.1")
    assert [0] * 9 == [await wait(limited, attempt) for _ in range(9)]
    assert [] == await database.read("select * from throttle")


@pytest.mark.parametrize("ahead", [3600, 86400 * 365])
async def test_clock_that_was_ahead(database: Database, clock: Clock, ahead: int) -> None:
    """A delay that a wrong clock wrote keeps nobody out; the failures still count (FT-1)."""
    limited = limiter(database, clock, failures=1)
    clock.advance(ahead)
    assert [1, 2, 4] == await delays(limited, clock, 3)
    clock.advance(-ahead)
    assert [0, 8] == [await wait(limited), await wait(limited)]


async def test_clock_that_goes_back_a_little(database: Database, clock: Clock) -> None:
    """A small step back is no way around a delay."""
    limited = limiter(database, clock, failures=1)
    assert 0 == await wait(limited)
    clock.advance(-30)
    assert 31 == await wait(limited)


async def test_delay_of_someone_who_succeeded_meanwhile(database: Database, clock: Clock) -> None:
    """A refusal whose row is gone when it is worded asks for one second."""
    refusal = await limiter(database, clock).refusal(ANN)
    assert (1, "1") == (refusal.extra["retry_after"], refusal.headers["Retry-After"])


@pytest.mark.parametrize(("age", "left"), [(86400, 1), (86401, 0)])
async def test_cleaning(database: Database, clock: Clock, age: int, left: int) -> None:
    """Failures are forgotten a day after the last one."""
    limited = limiter(database, clock)
    await limited.attempt(ANN)
    clock.advance(age)
    await database.write(cleaning(int(clock())))
    assert [(left,)] == await database.read("select count(*) from throttle")
