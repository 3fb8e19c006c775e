"""`picoauth doctor`: runs every check, and names the weakest link first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from picoauth import clockchecked, secretschecked
from picoauth.accountschecked import Accounts
from picoauth.addresseschecked import Addresses
from picoauth.app import Application
from picoauth.checks import LEVELS, Check, Level, attempt
from picoauth.discovery import Found
from picoauth.fileschecked import Files
from picoauth.observing import Observed, scratch
from picoauth.schemachecked import Schema
from picoauth.settings import Config
from picoauth.standards import Standards

UNHURRIED = 20.0
"""Seconds that a check may take: a hash is slow, and so is the count of many users."""


@dataclass(frozen=True)
class Finding:
    """What a check says; one that says nothing is fine, whatever its level."""

    check: str
    level: Level
    problem: str | None


async def examine(
    config: Config, settings: Path, *, found: Sequence[Found] | None = None
) -> Sequence[Finding]:
    """Look at everything, and change nothing; the weakest link first.

    `settings` is the file, `found` the plugins that there are, installed ones by default.
    Raises ConfigError where the server would not start.
    """
    files = Files(config, settings)  # before SQLite adds its own by opening the database
    with scratch() as folder:
        auth = Observed(config, folder, found=found)
        async with auth.started():
            Application(auth)  # routes and factors have to fit together
            every = look(auth, config, files)
            said = await asyncio.gather(*(attempt(check, UNHURRIED) for check in every))
    answers = zip(every, said, strict=True)
    return ranked(Finding(check.name, check.level, problem) for check, problem in answers)


def look(auth: Observed, config: Config, files: Files) -> Sequence[Check]:
    """Every check, the weightier first; without tables, those that read none."""
    schema = Schema(auth).checks()
    tables = [*schema, *Accounts(auth).checks(), *clockchecked.checks(auth), *auth.checks]
    return [
        *files.checks(),
        *secretschecked.checks(auth),
        *(tables if auth.ready else [one for one in schema if one.name == "migrations"]),
        *Addresses(config).checks(),
        *Standards(config).checks(),
    ]


def ranked(findings: Iterator[Finding]) -> Sequence[Finding]:
    """The worst first, what is fine last; else as they were made."""
    return sorted(findings, key=lambda one: (one.problem is None, LEVELS.index(one.level)))


def failing(findings: Sequence[Finding]) -> bool:
    """Whether there is something to mend: more than advice."""
    return any(one.problem is not None and one.level != "advice" for one in findings)


def text(findings: Sequence[Finding]) -> Iterator[str]:
    """For people: a line that names a check, and below it what it says."""
    wrong = [one for one in findings if one.problem is not None]
    fine = [one.check for one in findings if one.problem is None]
    if not wrong:
        yield "Nothing is wrong."
    for number, one in enumerate(wrong):
        yield f"{one.level:8} {one.check}{'' if number else ', the weakest link'}"
        yield f"  {one.problem}"
    if fine:
        yield f"Fine: {', '.join(fine)}."
