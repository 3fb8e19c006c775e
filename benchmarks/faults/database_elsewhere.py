"""What the scripts about a database elsewhere share: a server, some users, and a database that goes away.

It is no script of its own. The way to the database refuses, resets in the middle, holds back for
seconds, or swallows. Meanwhile who registers, logs in, refreshes, logs out or comes by cookie gets
what would be right, or 503 with problem details; a wrong password or a forged cookie opens nothing;
tokens are checked all the time, without the database. When the way is there again the server goes
on by itself, within some seconds. What was acknowledged holds then: users are there, sessions go
on, those that were ended stay so. What was not may have happened, but as a whole.
"""

from __future__ import annotations

import asyncio
import random
import socket
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from harness import (
    PICOAUTH,
    TORN,
    Answer,
    Figure,
    Journal,
    Options,
    Server,
    again,
    ask,
    cookie_login,
    login,
    person,
    settled,
    timed,
    until,
    validate,
)
from shim import FAULTS, Shim

from picoauth import Database

WRONG = "not the password at all"
REFRESHES = 4
LASTS = 2.0
"""Seconds of a fault, at least."""


@dataclass(frozen=True)
class Elsewhere:
    """A database that runs, how to get there, and what picoauth is told of it."""

    plugin: str
    connect: Callable[[], socket.socket]
    url: Callable[[int], str]
    """Its address by way of a port of loopback."""
    opened: Callable[[], Database]
    """An engine that needs no way."""
    patience: int
    """Seconds that the engine may take to connect, to be answered, and to let go."""
    settings: str = ""


def measured(options: Options, path: Path, there: Elsewhere) -> Sequence[Figure]:
    chance = random.Random(options.seed)  # noqa: S311 - when, and no secret
    faults = [*FAULTS] * (10 if options.long else 1)
    chance.shuffle(faults)
    with closing(Shim(there.connect, chance)) as shim:
        server = started(path, there, shim.port)
        run = Run(server)
        try:
            server.ready(60)
            run.begin()
            for number, fault in enumerate(faults):
                run.during(shim, fault, number)
        finally:
            server.stop()
    lost, torn = asyncio.run(look(there, run.journal.users))
    return [
        Figure("faults", len(faults)),
        Figure("requests meanwhile", run.asked),
        Figure("  longest", run.longest, "s", most=3 * there.patience + 1),
        Figure("  answers that are neither right nor 503", run.odd, most=0),
        Figure("  of them 503", run.unavailable, least=len(faults) // 2),
        Figure("  without problem details", run.bare, most=0),
        Figure("opened by a wrong password or a forged cookie", run.opened, most=0),
        Figure("tokens not checked", run.unchecked, most=0),
        Figure("works again, longest", run.slowest, "s", most=10),
        Figure("acknowledged log-ins and log-outs", len(run.begun) + len(run.ended)),
        Figure("  of them lost", run.lost, most=0),
        Figure("users acknowledged", len(run.journal.users)),
        Figure("  of them lost", lost, most=0),
        Figure("users that are not whole", torn, most=0),
    ]


def started(path: Path, there: Elsewhere, port: int) -> Server:
    address = settled(path, ["password", there.plugin])
    file = path / "picoauth.toml"
    file.write_text(f'{file.read_text()}database = "{there.url(port)}"\n{there.settings}')
    secret = path / "picoauth.secret"
    secret.touch(0o600)
    secret.write_bytes(bytes(range(32)))
    return Server([str(PICOAUTH), "serve"], path, address)


async def look(there: Elsewhere, users: Sequence[str]) -> tuple[int, int]:
    """How many of these are not in the database, and how many there are half."""
    database = there.opened()
    try:
        rows = await database.read("select value from identifiers where kind = 'username'")
        [(torn,)] = await database.read(TORN)
    finally:
        await database.close()
    return len(set(users) - {name for (name,) in rows}), torn


@dataclass
class Run:
    """One server, and what it did."""

    server: Server
    journal: Journal = field(default_factory=Journal)
    begun: list[str] = field(default_factory=list)
    """Refresh tokens of sessions that were acknowledged."""
    ended: list[str] = field(default_factory=list)
    """Those whose end was."""
    asked: int = 0
    odd: int = 0
    unavailable: int = 0
    bare: int = 0
    opened: int = 0
    unchecked: int = 0
    lost: int = 0
    longest: float = 0.0
    slowest: float = 0.0

    def begin(self) -> None:
        for name in ("ann", "bob", "eve"):
            self.register(name)
        self.token = login(self.server, "bob").json()["access_token"]  # type: ignore[union-attr]
        self.cookie = cookie_login(self.server, "bob")

    def during(self, shim: Shim, fault: str, number: int) -> None:
        name = self.joined(f"user-{number}")
        handed = [self.handed(name) for _ in range(1 + REFRESHES)]
        shim.begin(fault)
        end, turn = time.monotonic() + LASTS, 0
        while turn == 0 or time.monotonic() < end:
            works: Sequence[Callable[[], object]] = (
                lambda turn=turn: self.register(f"{name}-{turn}"),  # type: ignore[misc]
                lambda: self.log_in(name),
                lambda: self.log_out(handed[0]),
                lambda turn=turn: self.refresh(handed[1 + turn :]),  # type: ignore[misc]
                lambda: self.judge(self.known(self.cookie), 200),
                lambda: self.opens(self.known(f"{self.cookie[:-4]}AAAA"), 401),
                lambda: self.opens(login(self.server, "eve", WRONG), 401, 429),
                self.check,
            )
            with ThreadPoolExecutor(len(works)) as pool:
                for done in [pool.submit(timed, work) for work in works]:
                    self.longest = max(self.longest, done.result()[1])
            turn += 1
        shim.begin("")
        self.slowest = max(self.slowest, until(lambda: again(self.server), 60))
        self.hold()

    def joined(self, name: str) -> str:
        """Somebody new: a first request may still meet what the last fault has left."""
        return next(one for one in (f"{name}{n * 'x'}" for n in count()) if self.register(one))

    def handed(self, name: str) -> dict[str, str]:
        while (answer := login(self.server, name)) is None or answer.status != 200:
            time.sleep(0.1)
        return answer.json()

    def hold(self) -> None:
        """What was acknowledged meanwhile is so."""
        for token in self.begun:
            answer = self.ask("/jwt/refresh", token)
            self.lost += answer is None or answer.status != (401 if token in self.ended else 200)
        self.begun.clear()

    def ask(self, path: str, token: str) -> Answer | None:
        return ask(self.server, "POST", path, None, token)

    def known(self, cookie: str) -> Answer | None:
        return ask(self.server, "GET", "/auth/session", None, None, f"cookie: {cookie}")

    def register(self, name: str) -> bool:
        answer = ask(self.server, "POST", "/auth/register", person(name))
        fine = self.judge(answer, 201)
        if fine:
            self.journal.users.append(name)
        return fine

    def log_in(self, name: str) -> None:
        answer = login(self.server, name)
        if self.judge(answer, 200):
            self.begun.append(answer.json()["refresh_token"])  # type: ignore[union-attr]

    def log_out(self, tokens: dict[str, str]) -> None:
        """The first one that is acknowledged counts; the session may have ended without a word."""
        answer = self.ask("/auth/logout", tokens["access_token"])
        if self.judge(answer, 204, 401, 404) and answer.status == 204:  # type: ignore[union-attr]
            self.ended.append(tokens["refresh_token"])
            self.begun.append(tokens["refresh_token"])

    def refresh(self, handed: Sequence[dict[str, str]]) -> None:
        """Each once, if there is one: that which is used again much later ends its session."""
        for tokens in handed[:1]:
            self.judge(self.ask("/jwt/refresh", tokens["refresh_token"]), 200)

    def check(self) -> None:
        self.unchecked += validate(self.server, self.token) != 200

    def opens(self, answer: Answer | None, *statuses: int) -> None:
        self.judge(answer, *statuses)
        self.opened += answer is not None and answer.status == 200

    def judge(self, answer: Answer | None, *statuses: int) -> bool:
        """Whether it is one of those that are right."""
        status = answer.status if answer else 0
        self.asked += 1
        if status not in (*statuses, 503):
            self.odd += 1
            print(f"{status}, not one of {statuses}: {answer}", file=sys.stderr)
        if answer is not None and status == 503:
            self.unavailable += 1
            self.bare += b"application/problem+json" not in answer.head
        return status in statuses
