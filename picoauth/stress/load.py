"""The load itself: operations by a schedule, or by so many clients, and how long each took."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from picoauth.stress.crowd import Crowd
from picoauth.stress.wire import Wire

CROWDED = 2000
"""Operations under way at which the schedule gives up: what comes then counts as failed."""
REFUSALS = (429, 503)
PACE = 0.01


class Done(NamedTuple):
    """One operation. `seconds` are from when it was due, not from when it could be sent."""

    operation: str
    due: float
    seconds: float
    status: int

    @property
    def fine(self) -> bool:
        return 200 <= self.status < 300


@dataclass
class Spell:
    """A time under one load. `began` and `ended` are of the monotonic clock."""

    began: float = 0.0
    ended: float = 0.0
    done: list[Done] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    """By how many seconds the load's own loop was late: then the load is the limit."""
    cpu: float = 0.0
    """Seconds of CPU that the load took."""
    most_logins: int = 0
    """Logins under way at the same time."""
    skipped: int = 0
    """Logins for which nobody had a proof that is still good."""

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class Load:
    """Makes a crowd do things."""

    def __init__(self, wire: Wire, crowd: Crowd, mix: Mapping[str, float], seed: int) -> None:
        self.wire, self.crowd = wire, crowd
        self.names, self.weights = list(mix), list(mix.values())
        self.chance = random.Random(seed)  # noqa: S311 - a schedule, and no secret
        self.logging_in = 0

    def chosen(self) -> str:
        return self.chance.choices(self.names, self.weights)[0]

    async def one(self, spell: Spell, operation: str, due: float) -> None:
        self.logging_in += operation == "login"
        spell.most_logins = max(spell.most_logins, self.logging_in)
        try:
            answer = await self.crowd.do(operation, self.wire)
        finally:
            self.logging_in -= operation == "login"
        if answer is None:
            spell.skipped += 1
        else:
            spell.done.append(Done(operation, due, time.monotonic() - due, answer.status))

    async def open(self, rate: float, seconds: float) -> Spell:
        """By a schedule that waits for no answer: arrivals at random, so many a second.

        An operation that could not be sent in time was waited for all the same: its time counts
        from when it was due.
        """
        spell = self.begun()
        tasks: set[asyncio.Task[None]] = set()
        due, end = spell.began, spell.began + seconds
        while (due := due + self.chance.expovariate(rate)) < end:
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            spell.late.append(max(0.0, time.monotonic() - due))
            operation = self.chosen()
            if len(tasks) >= CROWDED:
                spell.done.append(Done(operation, due, time.monotonic() - due, 0))
                continue
            task = asyncio.create_task(self.one(spell, operation, due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        return await self.over(spell, tasks, end)

    async def closed(self, clients: int, seconds: float, operation: str | None = None) -> Spell:
        """By so many clients, each of which waits for its answer before it goes on."""
        spell = self.begun()
        end = spell.began + seconds

        async def client() -> None:
            while (now := time.monotonic()) < end:
                before = spell.skipped
                await self.one(spell, operation or self.chosen(), now)
                if spell.skipped > before:
                    await asyncio.sleep(PACE)  # until somebody has a proof again

        tasks = {asyncio.create_task(client()) for _ in range(clients)}
        return await self.over(spell, tasks, end)

    def begun(self) -> Spell:
        return Spell(began=time.monotonic(), cpu=-time.process_time())

    async def over(self, spell: Spell, tasks: set[asyncio.Task[None]], end: float) -> Spell:
        """Wait for the answers that are still to come; they belong to the spell."""
        await asyncio.sleep(max(0.0, end - time.monotonic()))
        spell.ended = time.monotonic()
        spell.cpu += time.process_time()
        if tasks:
            await asyncio.gather(*tasks)
        return spell


def percentile(values: Sequence[float], percent: float) -> float:
    """Of none, 0."""
    if not values:
        return 0.0
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]
