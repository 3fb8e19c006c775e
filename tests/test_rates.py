"""How often something may be sent: by one statement, whoever asks, and whatever the clock does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from picoauth import Auth, parse
from picoauth.rates import DAY, HOUR, Rates
from picoauth.testing import Clock

SETTINGS = 'plugins = []\n[mail]\npause = "1m"\nhourly = 3\ndaily = 5'


class Taker:
    """The rates of a server, and its clock."""

    def __init__(self, auth: Auth, clock: Clock) -> None:
        self.auth = auth
        self.clock = clock
        self.rates: Rates = auth.mail.rates

    async def after(self, seconds: float, *keys: str) -> bool:
        self.clock.advance(seconds)
        return await self.rates.take(*(keys or ("ann",)))


async def opened(stack: AsyncExitStack, folder: Path, clock: Clock, more: str = "") -> Taker:
    auth = Auth(parse(SETTINGS + more, folder), clock=clock, monotonic=clock, found=[])
    await stack.enter_async_context(auth.started())
    return Taker(auth, clock)


@pytest.fixture
async def taker(tmp_path: Path) -> AsyncIterator[Taker]:
    async with AsyncExitStack() as stack:
        yield await opened(stack, tmp_path, Clock())


async def test_one_a_minute(taker: Taker) -> None:
    """What comes too soon is refused, and prolongs nothing."""
    found = [await taker.after(seconds) for seconds in (0, 0, 59, 1, 30, 29, 1)]
    assert [True, False, False, True, False, False, True] == found


async def test_three_an_hour_five_a_day(taker: Taker) -> None:
    """Spans begin with the first message in them; what was refused is not counted."""
    found = [await taker.after(60) for _ in range(6)]
    assert [True] * 3 + [False] * 3 == found
    assert not await taker.after(HOUR - 5 * 60 - 1)
    assert [True, True, False] == [await taker.after(60) for _ in range(3)]
    assert not await taker.after(2 * HOUR)
    assert not await taker.after(DAY - 4 * HOUR)
    assert [True] * 3 + [False] == [
        await taker.after(2 * HOUR),
        *[await taker.after(60) for _ in range(3)],
    ]


async def test_fifty_at_once(taker: Taker, tmp_path: Path) -> None:
    """Of fifty in each of two processes one may, each minute."""
    async with AsyncExitStack() as stack:
        other = await opened(stack, tmp_path, taker.clock)
        for expected in (1, 1, 1, 0):
            both = [one.after(0) for _ in range(50) for one in (taker, other)]
            assert expected == sum(await asyncio.gather(*both))
            taker.clock.advance(60)


async def test_keys(taker: Taker) -> None:
    """Each has its own count; a message under several has to be allowed by each of them."""
    assert await taker.after(0, "ann")
    assert await taker.after(0, "bob")
    assert not await taker.after(0, "ann", "carl")
    assert not await taker.after(0, "carl")
    assert await taker.after(60, "ann", "carl")
    assert await taker.after(0, "")


@pytest.mark.parametrize("back", [1, 60, HOUR, DAY, 365 * DAY])
async def test_clock_that_goes_back(taker: Taker, back: int) -> None:
    """What a clock that was ahead counted keeps nobody from a mail, and gives nobody a flood."""
    for _ in range(2):
        assert await taker.after(60)
    assert await taker.after(-back)
    assert not await taker.after(0)
    assert not await taker.after(59)


async def test_no_pause(tmp_path: Path) -> None:
    """Without a pause the bounds of the hour and of the day are left."""
    async with AsyncExitStack() as stack:
        text = "\npause = 0".join(SETTINGS.split('\npause = "1m"'))
        auth = Auth(parse(text, tmp_path), clock=(clock := Clock()), monotonic=clock, found=[])
        await stack.enter_async_context(auth.started())
        found = await asyncio.gather(*(auth.mail.rates.take("ann") for _ in range(9)))
        assert 3 == sum(found)


async def test_cleaning(taker: Taker) -> None:
    """A key is forgotten when nothing counts any more."""
    await taker.after(0)
    for seconds, left in ((DAY, 1), (1, 0)):
        taker.clock.advance(seconds)
        for job in taker.auth.jobs.jobs:
            await job.run()
        [[count]] = await taker.auth.database.read("select count(*) from rates")
        assert left == count
