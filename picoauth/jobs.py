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

# Later than a lease's end, not at it, because clocks are read in whole seconds. A lease that
# ends beyond all reason was taken by a clock that was ahead: it holds nothing up.
LEASE = """
    insert into jobs (name, next_at) values (?, ?)
        on conflict (name) do update set next_at = excluded.next_at
        where jobs.next_at < ? or jobs.next_at > ?
    returning name
"""


@dataclass(frozen=True)
class Job:
    """`run` is called every so many seconds, by one process at a time.

    After `every` seconds it is cut off, since another process may then begin: it must bear that.
    One that `purges` what the clock says is old waits while the clock may be wrong.
    """

    name: str
    every: int
    run: Callable[[], Awaitable[None]]
    purges: bool = False


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
        self.leapt_at: float | None = None

    async def forever(self, pause: float = 5) -> None:
        """Look every `pause` seconds what is due. A job that takes long holds no other up."""
        async with asyncio.TaskGroup() as rounds:
            while True:
                rounds.create_task(self.once())
                await asyncio.sleep(pause)

    async def once(self) -> None:
        """Run what is due. Whatever a job does wrong stays with it."""
        leapt = self.leapt()
        async with asyncio.TaskGroup() as runs:
            for job in self.jobs:
                if not (leapt and job.purges):
                    runs.create_task(self.attempt(job))

    def leapt(self) -> bool:
        """Is the wall clock ahead? One that stays ahead for an hour is believed."""
        measured = self.monotonic()
        offset = self.now() - measured
        leap = offset - self.offset
        if leap > LEAP and self.leapt_at is None:
            log.warning("the clock leapt ahead by %d s: nothing is purged for an hour", leap)
            self.leapt_at = measured
        if self.leapt_at is not None and leap > LEAP and measured - self.leapt_at < LEAP:
            return True
        self.offset, self.leapt_at = offset, None
        return False

    async def attempt(self, job: Job) -> None:
        limit = asyncio.timeout(job.every)
        try:
            async with limit:  # counted from before the lease
                if await self.leased(job):
                    await job.run()
        except Unavailable as error:
            log.warning("job %s has to wait: %s", job.name, error)
        except Exception:
            what = f"was cut off after {job.every} s" if limit.expired() else "failed"
            log.exception("job %s %s", job.name, what)

    async def leased(self, job: Job) -> bool:
        now = self.now()
        end = now + job.every
        lease = Statement(LEASE, (job.name, end, now, end + LEAP))
        return bool((await self.database.write(lease))[0])
