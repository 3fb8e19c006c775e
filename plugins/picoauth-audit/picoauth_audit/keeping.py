"""What goes on beside the requests: sealing, rows of what is told alone, and mails to users."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from picoauth import Auth, Event, Unavailable
from picoauth_audit.chain import Broken
from picoauth_audit.notices import Notices
from picoauth_audit.rows import Rows
from picoauth_audit.sealer import Sealer

log = logging.getLogger("picoauth.audit")
PAUSE = 0.5
"""Seconds between two rounds."""
CHUNK = 100
"""Refusals that are written together."""


class Keeper:
    """Runs in every process that serves; each round is safe beside those of others."""

    def __init__(self, auth: Auth, rows: Rows, sealer: Sealer, notices: Notices) -> None:
        self.auth = auth
        self.rows = rows
        self.sealer = sealer
        self.notices = notices
        self.refused: deque[Event] = deque()
        self.more = 0
        """Refusals beyond those that can have a row, which are but counted."""
        self.failing: str | None = None
        self.turn = asyncio.Lock()
        self.begun = False

    def heard(self, event: Event) -> None:
        """What is told and not committed gets its row in the next round."""
        if len(self.refused) < self.rows.settings.refusals:
            self.refused.append(event)
        else:
            self.more += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Rounds until the server stops, and a last one, none of which is cut off."""
        stopping = asyncio.Event()
        task = asyncio.create_task(self.until(stopping))
        try:
            yield
        finally:
            stopping.set()
            await task
            await self.attempt()

    async def until(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await self.attempt()
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), PAUSE)

    async def attempt(self) -> None:
        """One round, or a line of the log that says why not: once, until that changes."""
        try:
            await self.round()
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            if said != self.failing:
                bug = None if isinstance(error, (Broken, Unavailable)) else error
                log.warning("the audit log has to wait: %s", said, exc_info=bug)
            self.failing = said
        else:
            self.failing = None

    async def round(self) -> None:
        """Mails do not wait for a chain that is broken."""
        async with self.turn:
            if not self.begun:
                await self.sealer.notice_deletions()
                self.begun = True
            await self.write_refused()
            await self.rows.learn()
            await self.notices.send()
            await self.sealer.count()
            self.sealer.say_hourly(await self.sealer.settle())

    async def write_refused(self) -> None:
        """Of a flood as many have rows as may have them in a minute; the rest is counted last."""
        while self.refused:
            some = [self.refused.popleft() for _ in range(min(CHUNK, len(self.refused)))]
            more = 0 if self.refused else self.more
            counting = [self.rows.counting(some[0], more)] if more else []
            appending = [each for one in some for each in self.rows.appending(one)]
            try:
                await self.auth.database.write(*appending, *counting)
            except BaseException:
                self.refused.extendleft(reversed(some))
                raise
            self.more -= more
