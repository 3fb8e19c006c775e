"""Checks of the server's health, by the kernel and by plugins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from picoauth.asking import asked

log = logging.getLogger("picoauth.checks")
PATIENCE = 2.0
"""Seconds that a check may take."""


@dataclass(frozen=True)
class Check:
    """`run` answers None where all is well, else one sentence: what is wrong and what to do.

    `live` checks are cheap and belong to `/health-check`; the others to `picoauth doctor` alone.
    """

    name: str
    run: Callable[[], Awaitable[str | None]]
    live: bool = True


async def run(checks: Iterable[Check]) -> dict[str, str | None]:
    """Run all at once; what is wrong, by the name of the check."""
    checks = list(checks)
    results = await asyncio.gather(*(attempt(check) for check in checks))
    return {check.name: result for check, result in zip(checks, results, strict=True)}


async def attempt(check: Check) -> str | None:
    try:
        said: str | None = await asked(check.run, {}, PATIENCE)
    except Exception:
        log.exception("check %s failed", check.name)
        return "The check itself failed: see the log."
    return said
