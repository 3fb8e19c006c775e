"""How many fetches run at once: no server is made a hammer, and none waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from picoauth_fetch.refusals import FetchBusy


class Turns:
    """So many at once, for which others wait so many seconds."""

    def __init__(self, most: int, seconds: float) -> None:
        self.free = asyncio.Semaphore(most)
        self.seconds = seconds

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Raises FetchBusy where those before take too long: then nobody was asked."""
        try:
            async with asyncio.timeout(self.seconds):
                await self.free.acquire()
        except TimeoutError as error:
            raise FetchBusy("too many fetches are under way") from error
        try:
            yield
        finally:
            self.free.release()
