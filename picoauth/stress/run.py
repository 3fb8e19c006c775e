"""A stress test from beginning to end: users, steps up to the knee, checks under a flood."""

from __future__ import annotations

import asyncio
import os
import platform
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from picoauth.errors import ConfigError
from picoauth.settings import Config
from picoauth.stress.crowd import Crowd, gathered, joined
from picoauth.stress.hosting import Target, cores, own, running, samples, served
from picoauth.stress.links import Use, used, weakest
from picoauth.stress.load import Load, Spell
from picoauth.stress.outcome import NOWHERE, TOLD, UNSEEN, Outcome, Step, bounds, kinds, step
from picoauth.stress.plan import Plan

Say = Callable[[str, float], None]
"""Told what is being done, and which part of the whole test is done."""

CHECKERS = 8
"""Clients that check tokens without pause."""
REFINED = 2
"""Steps between the last that was fine and the first that was not."""
SUMMARY = (
    "logins_per_second",
    "login_p99_ms",
    "operations_per_second",
    "checks_per_second",
    "checks_p99_ms",
    "flooded_checks_per_second",
    "flooded_checks_p99_ms",
    "flood_logins_per_second",
    "memory_per_login_mb",
)
"""What `--least` and `--most` are about."""


async def stress(
    config: Config, path: Path, folder: Path, plan: Plan, say: Say, *, url: str | None = None
) -> Outcome:
    """Load a server of these settings, or that at `url`. Raises ConfigError."""
    async with AsyncExitStack() as stack:
        if url is None:
            say("making users", 0)
            crowd = await gathered(own(config, folder), folder, plan)
            people, argon2 = crowd.people, crowd.argon2
            target = await stack.enter_async_context(served(path, folder, plan.slow))
        else:
            target, argon2 = await stack.enter_async_context(running(url)), ()
            say("registering users", 0)
            people = await joined(target.wire, plan)
        outcome = Outcome(machine(), server(config, url), asdict(plan), argon2=argon2)
        test = Test(target, Crowd(people, plan.seed), plan, outcome, say)
        await test.whole()
    return outcome


def machine() -> Mapping[str, Any]:
    return {
        "cores": cores(),
        "load_average": os.getloadavg()[0],
        "processor": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }


def server(config: Config, url: str | None) -> Mapping[str, Any]:
    """Of a server that runs already, nothing is known."""
    if url is not None:
        return {"url": url}
    scheme, elsewhere, _ = config.database.partition("://")  # the rest may be secret
    return {"plugins": list(config.plugins), "database": scheme if elsewhere else "a new file"}


class Test:
    """One target, one crowd, and what was found so far."""

    def __init__(
        self, target: Target, crowd: Crowd, plan: Plan, outcome: Outcome, say: Say
    ) -> None:
        self.target, self.crowd, self.plan, self.outcome = target, crowd, plan, outcome
        self.load = Load(target.wire, crowd, plan.mix, plan.seed)
        self.say = say

    async def whole(self) -> None:
        self.say("warming up", 0.02)
        answer = await self.crowd.login(self.target.wire)
        if answer is None or answer.status != 200:
            raise unlogged(answer.status if answer else 0)
        await self.load.closed(2, self.plan.warm_up, "login")
        await self.climb()
        await self.checks()
        self.conclude()
        self.say("done", 1)

    async def climb(self) -> None:
        """Ever more load until a step is too much, then closer to where that begins."""
        offered, last, bad = self.plan.start, 0.0, None
        for _ in range(self.plan.steps):
            if not (await self.step(offered)).fine:
                bad = offered
                break
            last, offered = offered, self.next(offered)
        for _ in range(REFINED if bad else 0):
            offered = self.between(last, bad or 0)
            if offered in (last, bad):
                return
            if (await self.step(offered)).fine:
                last = offered
            else:
                bad = offered

    def next(self, offered: float) -> float:
        more = offered * self.plan.factor
        return more if self.plan.loop == "open" else max(offered + 1, float(int(more)))

    def between(self, last: float, bad: float) -> float:
        middle = (last + bad) / 2
        return middle if self.plan.loop == "open" else float(int(middle))

    async def step(self, offered: float) -> Step:
        unit = "operations a second" if self.plan.loop == "open" else "clients"
        part = len(self.outcome.steps) / (self.plan.steps + REFINED)
        self.say(f"{offered:.0f} {unit}", 0.05 + 0.75 * part)
        await self.loaded(offered, self.plan.warm_up)
        spell = await self.loaded(offered, self.plan.duration)
        found = step(offered, spell, self.used(spell), self.plan)
        self.outcome.steps.append(found)
        return found

    async def loaded(self, offered: float, seconds: float) -> Spell:
        if self.plan.loop == "open":
            return await self.load.open(offered, seconds)
        return await self.load.closed(int(offered), seconds)

    def used(self, spell: Spell) -> Use:
        seen = samples(self.target.samples, spell.began, spell.ended)
        rate = len(spell.done) / spell.seconds
        late = fmean(spell.late) if spell.late else 0.0
        return used(seen, rate, late, spell.cpu / spell.seconds)

    async def checks(self) -> None:
        """Tokens checked without pause, alone and beside a flood of logins."""
        self.say("checking tokens", 0.8)
        alone = await self.load.closed(CHECKERS, self.plan.duration, "validate")
        self.say("checking tokens in a flood of logins", 0.9)
        spell, flood = await asyncio.gather(
            self.load.closed(CHECKERS, self.plan.duration, "validate"),
            self.load.closed(self.plan.flood, self.plan.duration, "login"),
        )
        found = self.outcome.summary
        for name, one in (("checks", alone), ("flooded_checks", spell)):
            kind = kinds(one.done, one.seconds).get("validate")
            found[f"{name}_per_second"] = kind.rate if kind else 0.0
            found[f"{name}_p99_ms"] = kind.p99 if kind else 0.0
        logins = kinds(flood.done, flood.seconds).get("login")
        found["flood_logins_per_second"] = logins.rate if logins else 0.0
        before, after = self.used(alone).resident, self.used(flood).resident
        if before and flood.most_logins:
            found["memory_per_login_mb"] = max(0.0, after - before) / flood.most_logins / 1e6

    def conclude(self) -> None:
        outcome, summary = self.outcome, self.outcome.summary
        outcome.steps.sort(key=lambda one: one.offered)
        fine = [one for one in outcome.steps if one.fine]
        best = max(fine, key=lambda one: one.achieved, default=None)
        logins = best.operations.get("login") if best else None
        summary["operations_per_second"] = best.achieved if best else 0.0
        summary["logins_per_second"] = logins.rate if logins else 0.0
        if logins:
            summary["login_p99_ms"] = logins.p99
        outcome.link, outcome.sentence = verdict(outcome.steps, inside=bool(self.target.samples))
        outcome.bounds = bounds(summary, self.plan)


def verdict(steps: Sequence[Step], *, inside: bool) -> tuple[str | None, str]:
    """The link that gives way, and a sentence about it."""
    bad = [one for one in steps if not one.fine]
    if not bad:
        most = max((one.offered for one in steps), default=0.0)
        return (
            None,
            f"Nothing gave way up to {most:.0f}: raise --steps or --start to find out more.",
        )
    if bad[0].limited > (bad[0].refused + bad[0].failed) / 2:
        return "limits", TOLD["limits"]
    for one in bad:
        link = weakest(one.use, steps[0].use if steps[0].fine else replace(one.use, waiting={}))
        if link is not None:
            return link, TOLD[link]
    return None, NOWHERE if inside else UNSEEN


def unlogged(status: int) -> ConfigError:
    return ConfigError(
        f"No user of the test can log in (the server answers {status}): "
        "try these settings by hand, and `picoauth doctor`."
    )
