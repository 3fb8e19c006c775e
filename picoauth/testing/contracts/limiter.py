"""The contract of the slot `limiter`: guesses are few, and nobody is ever shut out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import pytest

from picoauth.auth import Auth
from picoauth.database import Statement
from picoauth.errors import AuthError
from picoauth.testing.contracts.base import KernelContract, committed, undone, unfilled
from picoauth.testing.server import Clock
from picoauth.throttle import Attempt, Limiter
from picoauth.whose import Whose

ANN = Attempt("/auth/login", "192.0.2.1", user="ann", factor="password")
OTHERS = (
    Attempt("/auth/login", "192.0.2.1", user="bob", factor="password"),
    Attempt("/auth/login", "192.0.2.1", user="ann", factor="totp"),
    Attempt("/auth/login", "192.0.2.1", user="password ann", factor=""),
)
"""Other accounts, and other factors of the same."""


class LimiterContract(KernelContract):
    """Inherit it, and override `limiter`; the method `restarted` too, if you can.

        class TestMine(LimiterContract):
            @pytest.fixture
            def limiter(self, auth):
                return MyLimiter(auth)

    It has to heed `auth.config.throttle`: the `failures`-th failure is the first that is
    followed by a delay, and delays double up to the `longest`. It may look at more, such as
    addresses, as long as one address may try so often for several accounts.
    """

    SETTINGS: ClassVar[str] = 'plugins = []\n[throttle]\nfailures = 4\nlongest = "30s"'

    @pytest.fixture
    def limiter(self, auth: Auth) -> Limiter:  # noqa: ARG002
        """Override it: your limiter, of a server where nobody ever failed."""
        unfilled("limiter", "a limiter that has counted nothing yet")

    def restarted(self, auth: Auth, limiter: Limiter) -> Limiter:  # noqa: ARG002
        """Override it: another object, as the same server has it after a restart."""
        pytest.skip("`restarted` is not overridden")

    async def test_free_attempts_and_a_refusal(self, auth: Auth, limiter: Limiter) -> None:
        """The refusal is a 429 that tells how long to wait, in its header and in its body."""
        free = auth.config.throttle.failures
        assert [0] * free == [await wait(limiter) for _ in range(free)]
        with pytest.raises(AuthError) as caught:
            await limiter.attempt(ANN)
        refusal = caught.value
        assert (429, "too_many_attempts") == (refusal.problem.status, refusal.problem.code)
        assert str(refusal.extra["retry_after"]) == refusal.headers["Retry-After"] == "1"

    async def test_look_comes_with_the_count(self, auth: Auth, limiter: Limiter) -> None:
        """Whoever enters a route, or is tried, is looked at; else nobody could log in."""
        user, _ = await auth.users.register(auth.users.draft(username="bea"))
        name = Statement("select name from users where id = ?", (user.id,))
        for attempt in (ANN, replace(ANN, user=None, factor=None)):
            found = await limiter.attempt(attempt, Statement("select 1"), name)
            assert [[1], ["bea"]] == [[row[0] for row in rows] for rows in found]

    async def test_two_hundred_at_once(self, auth: Auth, limiter: Limiter, clock: Clock) -> None:
        """Counted before anything is checked, parallel guesses do not pass the limit (A-2)."""
        for expected in (auth.config.throttle.failures, 1, 1):
            waits = await asyncio.gather(*(wait(limiter) for _ in range(200)))
            assert expected == waits.count(0)
            clock.advance(max(waits))

    async def test_delays_double_to_the_longest(
        self, auth: Auth, limiter: Limiter, clock: Clock
    ) -> None:
        """And stay there: no number of failures is a lock (A-1)."""
        await exhaust(auth, limiter)
        longest, found = auth.config.throttle.longest, []
        for _ in range(longest.bit_length() + 3):
            found.append(await wait(limiter))
            clock.advance(found[-1])
            assert 0 == await wait(limiter)
        assert [min(1 << n, longest) for n in range(len(found))] == found

    async def test_attempt_that_comes_too_soon(
        self, auth: Auth, limiter: Limiter, clock: Clock
    ) -> None:
        """It is refused, and prolongs nothing: a stranger who goes on shuts nobody out (A-1)."""
        await exhaust(auth, limiter)
        clock.advance(1)
        assert 0 == await wait(limiter)
        for expected in (2, 1):
            assert [expected] * 50 == [await wait(limiter) for _ in range(50)]
            clock.advance(1)
        assert 0 == await wait(limiter)

    async def test_accounts_and_factors_have_their_own_counts(
        self, auth: Auth, limiter: Limiter
    ) -> None:
        """Who cannot use one factor may try another, and so may everybody else (A-3)."""
        await exhaust(auth, limiter)
        for other in OTHERS:
            assert 0 == await wait(limiter, other)

    async def test_entrances_share_the_count(self, auth: Auth, limiter: Limiter) -> None:
        """Another route or address is no way around it (A-1)."""
        await exhaust(auth, limiter)
        for route, address in (
            ("/auth/stepup", ANN.address),
            (ANN.route, "2001:db8::1"),
            ("/auth/stepup", None),
        ):
            assert 1 == await wait(limiter, replace(ANN, route=route, address=address))

    async def test_success_forgets_its_own_failures(self, auth: Auth, limiter: Limiter) -> None:
        """Those of its account and factor, challenges included, and of no other (A-4)."""
        challenges = replace(ANN, factor="password begin")
        for attempt in (ANN, challenges, *OTHERS):
            await exhaust(auth, limiter, attempt)
        await committed(auth, limiter.succeeded(ANN))
        assert [0, 0] == [await wait(limiter, attempt) for attempt in (ANN, challenges)]
        assert [1] * len(OTHERS) == [await wait(limiter, other) for other in OTHERS]

    async def test_success_that_comes_to_nothing(self, auth: Auth, limiter: Limiter) -> None:
        """Nothing is forgotten before the write of the success, which may never come."""
        await exhaust(auth, limiter)
        statements: Sequence[Statement] = limiter.succeeded(ANN)
        assert 1 == await wait(limiter)
        await undone(auth, statements)
        assert 1 == await wait(limiter)

    async def test_withdrawn_attempt(self, auth: Auth, limiter: Limiter) -> None:
        """What nobody could look at, since a queue was full, brings no delay nearer."""
        for _ in range(3 * auth.config.throttle.failures):
            assert 0 == await wait(limiter)
            await committed(auth, limiter.withdrawn(ANN))
        await committed(auth, limiter.withdrawn(ANN))
        await exhaust(auth, limiter)
        assert 1 == await wait(limiter)

    async def test_name_that_is_nobodys(self, auth: Auth, limiter: Limiter) -> None:
        """It is counted like an account: a delay does not tell whether there is one (P-8)."""
        nobody = replace(ANN, user="d6" * 32)
        await exhaust(auth, limiter, nobody)
        assert 1 == await wait(limiter, nobody)

    async def test_name_of_an_account(self, auth: Auth, limiter: Limiter) -> None:
        """Whichever name is typed, it is counted for its owner, and so are tries taken back."""
        user, _ = await auth.users.register(auth.users.draft(username="bea"))
        owner = replace(ANN, user=user.id)
        name = replace(ANN, user="b8" * 32, name=Whose.named("Bea"))
        for _ in range(3 * auth.config.throttle.failures):
            assert 0 == await wait(limiter, name)
            await committed(auth, limiter.withdrawn(name))
        await exhaust(auth, limiter, name)
        assert [1, 1] == [await wait(limiter, attempt) for attempt in (name, owner)]
        assert 0 == await wait(limiter, replace(name, name=Whose.named("nobody")))
        await committed(auth, limiter.succeeded(owner))
        assert 0 == await wait(limiter, name)

    async def test_clock_that_was_ahead(self, auth: Auth, limiter: Limiter, clock: Clock) -> None:
        """Whatever a wrong clock wrote, nobody waits more than the longest delay."""
        clock.advance(86400 * 365)
        await exhaust(auth, limiter)
        clock.advance(-86400 * 365)
        assert await wait(limiter) <= auth.config.throttle.longest
        clock.advance(auth.config.throttle.longest)
        assert 0 == await wait(limiter)

    async def test_restart(self, auth: Auth, limiter: Limiter) -> None:
        """Counts outlive the process: a crash is no new try (A-1)."""
        await exhaust(auth, limiter)
        assert 1 == await wait(self.restarted(auth, limiter))


async def exhaust(auth: Auth, limiter: Limiter, attempt: Attempt = ANN) -> None:
    """Fail as often as may be without a delay."""
    for _ in range(auth.config.throttle.failures):
        assert 0 == await wait(limiter, attempt)


async def wait(limiter: Limiter, attempt: Attempt = ANN) -> int:
    """Seconds to wait before the attempt; 0 if it counted."""
    try:
        await limiter.attempt(attempt)
    except AuthError as refusal:
        seconds: int = refusal.extra["retry_after"]
        return seconds
    return 0
