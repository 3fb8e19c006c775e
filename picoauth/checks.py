"""Checks of the server's health, by the kernel and by plugins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from picoauth.asking import asked

log = logging.getLogger("picoauth.checks")
PATIENCE = 2.0
"""Seconds that a check may take."""

Level: TypeAlias = Literal["danger", "warning", "advice"]
LEVELS: Sequence[Level] = get_args(Level)
"""Worst first."""


@dataclass(frozen=True)
class Check:
    """`run` answers None where all is well, else one sentence: what is wrong and what to do.

    `live` checks are cheap and belong to `/health-check`; the others to `picoauth doctor` alone.
    `level` says how bad it is: in `danger` somebody gets in who should not, nobody who should, or
    data is lost; a `warning` will break, or is weaker than it should be; `advice` is what would
    be stricter than the default. What is not `vital` leaves the server ready while it fails.
    """

    name: str
    run: Callable[[], Awaitable[str | None]]
    live: bool = True
    level: Level = "warning"
    vital: bool = True


async def run(checks: Iterable[Check]) -> dict[str, str | None]:
    """Run all at once; what is wrong, by the name of the check."""
    checks = list(checks)
    results = await asyncio.gather(*(attempt(check, PATIENCE) for check in checks))
    return {check.name: result for check, result in zip(checks, results, strict=True)}


async def attempt(check: Check, patience: float) -> str | None:
    try:
        said: str | None = await asked(check.run, {}, patience)
    except Exception:
        log.exception("check %s failed", check.name)
        return "The check itself failed: see the log."
    return said


def plain(name: str, level: Level, look: Callable[[], str | None]) -> Check:
    """A check of the doctor's that is no coroutine: it runs in a thread, since it may block."""

    async def run() -> str | None:
        return await asyncio.to_thread(look)

    return Check(name, run, live=False, level=level)
