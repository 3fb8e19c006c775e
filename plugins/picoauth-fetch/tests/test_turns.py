"""How many fetches run at once."""

from __future__ import annotations

import asyncio

import pytest

from picoauth_fetch import FetchBusy
from picoauth_fetch.turns import Turns


async def test_turns() -> None:
    """So many go on, the next one when one of them is over, be it by an error."""
    turns, running, most, go_on = Turns(3, 60.0), 0, 0, asyncio.Event()

    async def fetch() -> None:
        nonlocal running, most
        async with turns.one():
            running += 1
            most = max(most, running)
            if running == 3:
                go_on.set()
            await go_on.wait()
            running -= 1
            raise ValueError

    fetching = [asyncio.ensure_future(fetch()) for _ in range(10)]
    results = await asyncio.gather(*fetching, return_exceptions=True)
    assert ([ValueError] * 10, 3) == ([type(one) for one in results], most)


async def test_nobody_waits_for_ever() -> None:
    """Who waited long enough fails, and may try again."""
    turns = Turns(1, 0.0)
    async with turns.one():
        with pytest.raises(FetchBusy, match=r"^too many fetches are under way$"):
            async with turns.one():
                raise AssertionError
    async with turns.one():
        assert turns.free.locked()
