"""Looking up names, without ever waiting for the resolver longer than one wants to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import BoundedSemaphore, Thread

from picoauth_fetch.refusals import FetchBusy, FetchFailed

MOST = 8
"""Look-ups at once. A dead resolver blocks for half a minute, and nothing can interrupt it."""


class Resolver:
    """The system's resolver, in threads of its own.

    Not in the loop's pool, which others need, and whose threads would hold up the end of the
    process.
    """

    def __init__(self) -> None:
        self.free = BoundedSemaphore(MOST)

    async def look_up(self, name: str) -> list[str]:
        """Every address of a name, the preferred one first. Raises FetchFailed and FetchBusy."""
        if not self.free.acquire(blocking=False):
            raise FetchBusy("too many names are being looked up")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()
        Thread(target=self.work, args=(name, loop, answer), daemon=True).start()
        return await answer

    def work(
        self, name: str, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[list[str]]
    ) -> None:
        try:
            result = looked_up(name, answer)
        finally:
            self.free.release()
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, answer, result)


def looked_up(name: str, answer: asyncio.Future[list[str]]) -> Callable[[], None]:
    """What to tell the one who waits."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return partial(answer.set_exception, FetchFailed("its name cannot be resolved"))
    return partial(answer.set_result, list(dict.fromkeys(str(each[4][0]) for each in found)))


def settle(answer: asyncio.Future[list[str]], result: Callable[[], None]) -> None:
    if not answer.done():  # nobody waits any longer
        result()
