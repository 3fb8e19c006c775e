"""Background work: each run is done by one process, which leases it by one conditional update."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from picoauth.database import Database, Statement
from picoauth.errors import Unavailable

log = logging.getLogger("picoauth.jobs")
LEAP = 3600
"""Seconds that the wall clock may run ahead of the monotonic one before jobs wait (FT-1)."""

LEASE = """
    insert into jobs (name, next_at) values (?, ?)
        on conflict (name) do update set next_at = excluded.next_at where jobs.next_at <= ?
    returning name
"""


@dataclass(frozen=True)
class Job:
    """`run` is called every so many seconds, by one process; it must bear being cut off."""

    name: str
    every: int
    run: Callable[[], Awaitable[None]]


class Jobs:
    """Runs jobs that are due, and holds back after a leap of the wall clock.

    `monotonic` tells a leap from time that passed: without it, a clock that jumps ahead
    would make the cleaner delete what is still valid.
    """

    def __init__(
        self, database: Database, now: Callable[[], int], monotonic: Callable[[], float]
    ) -> None:
        self.database = database
        self.now = now
        self.monotonic = monotonic
        self.jobs: Sequence[Job] = ()
        self.offset = now() - monotonic()

    async def forever(self, pause: float = 5) -> None:
        while True:
            await self.once()
            await asyncio.sleep(pause)

    async def once(self) -> None:
        if self.leapt():
            return
        for job in self.jobs:
            try:
                await self.attempt(job)
            except Unavailable as error:
                log.warning("job %s has to wait: %s", job.name, error)
            except Exception:
                log.exception("job %s failed", job.name)

    def leapt(self) -> bool:
        offset = self.now() - self.monotonic()
        leap, self.offset = offset - self.offset, offset
        if leap > LEAP:
            log.warning("the clock leapt ahead by %d s: background work waits one round", leap)
        return leap > LEAP

    async def attempt(self, job: Job) -> None:
        now = self.now()
        lease = Statement(LEASE, (job.name, now + job.every, now))
        if (await self.database.write(lease))[0]:
            await job.run()
