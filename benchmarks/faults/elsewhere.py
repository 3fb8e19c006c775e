"""That a session store elsewhere which is away, slow or resets lets nobody in, and is met again.

Sessions are in Redis, behind a shim of this script that passes on, refuses, resets in the middle,
holds back for seconds, or swallows. Meanwhile who comes by cookie gets 503, within half a second,
or for a session that is fine 200; who comes with none, or with a wrong one, never gets 200; tokens
are checked all the time. When it passes on again, the cookie works within two seconds, and is
still that user's. A log-in that was acknowledged has a session afterwards.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from harness import (
    ORIGIN,
    PASSWORD,
    PICOAUTH,
    Answer,
    Figure,
    Journal,
    Options,
    Server,
    ask,
    cookie_of,
    folder,
    free_port,
    login,
    main,
    register,
    serving,
    timed,
    until,
    validate,
)
from shim import FAULTS, Shim, reachable


def work(options: Options) -> Sequence[Figure]:
    chance = random.Random(options.seed)  # noqa: S311 - when, and no secret
    faults = [*FAULTS] * (10 if options.long else 1)
    chance.shuffle(faults)
    run = Run()
    with folder() as path, redis(path) as port, closing(shimmed(port, chance)) as shim:
        with serving(path, plugins=["password", "session-redis"], wait=False) as unsettled:
            unsettled.stop()
        with (path / "picoauth.toml").open("a") as settings:
            settings.write(f'[session-redis]\nurl = "redis://127.0.0.1:{shim.port}"\n')
        server = Server([str(PICOAUTH), "serve"], path, unsettled.address)
        try:
            server.ready()
            run.begin(server)
            for number, fault in enumerate(faults):
                run.during(shim, fault, f"user-{number}")
        finally:
            server.stop()
    return [
        Figure("faults", len(faults)),
        Figure("requests by cookie meanwhile", len(run.times)),
        Figure("  answers other than 200, 503", run.odd, most=0),
        Figure("  longest", max(run.times) * 1e3, "ms", most=500),
        Figure("  of them 503", run.unavailable, least=1),
        Figure("opened without a session", run.opened, most=0),
        Figure("tokens not checked", run.unchecked, most=0),
        Figure("acknowledged logins without a session", run.lost, most=0),
        Figure("another user's answers", run.others, most=0),
        Figure("works again, longest", run.slowest, "s", most=2),
    ]


class Run:
    """One server, two users, and what went wrong."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.odd = self.unavailable = self.opened = self.unchecked = self.lost = self.others = 0
        self.slowest = 0.0

    def begin(self, server: Server) -> None:
        self.server = server
        for name in ("ann", "bob"):
            register(server, name, Journal())
        self.token = login(server, "bob").json()["access_token"]  # type: ignore[union-attr]
        answer = ask(server, "POST", "/auth/login", ANN, None, ORIGIN)
        assert answer is not None
        assert answer.status == 200
        self.cookie = cookie_of(answer)
        self.ann = self.looked().json()  # type: ignore[union-attr]

    def looked(self, cookie: str | None = None) -> Answer | None:
        return ask(
            self.server, "GET", "/auth/session", None, None, f"cookie: {cookie or self.cookie}"
        )

    def during(self, shim: Shim, fault: str, name: str) -> None:
        register(self.server, name, Journal())
        shim.begin(fault)
        end, acknowledged = time.monotonic() + 2, []
        while time.monotonic() < end:
            answer, took = timed(self.looked)
            self.times.append(took)
            self.judge(answer)
            forged = self.looked(self.cookie[:-4] + "AAAA")
            self.opened += forged is not None and forged.status == 200
            self.unchecked += validate(self.server, self.token) != 200
            if len(acknowledged) == LOGINS:
                continue
            new = ask(self.server, "POST", "/auth/login", {**ANN, "username": name}, None, ORIGIN)
            if new is not None and new.status == 200:
                acknowledged.append(cookie_of(new))
        shim.begin("")
        self.slowest = max(self.slowest, until(lambda: self.fine(self.cookie), 30))
        self.lost += sum(not self.fine(each) for each in acknowledged)

    def fine(self, cookie: str) -> bool:
        answer = self.looked(cookie)
        return answer is not None and answer.status == 200

    def judge(self, answer: Answer | None) -> None:
        status = answer.status if answer else 0
        self.odd += status not in (200, 503)
        self.unavailable += status == 503
        if answer is not None and status == 200:
            self.others += answer.json()["sub"] != self.ann["sub"]


LOGINS = 40
"""Of one user: of more than fifty, the oldest would end."""
ANN = {"username": "ann", "password": PASSWORD, "session": "cookie"}


def shimmed(port: int, chance: random.Random) -> Shim:
    return Shim(lambda: socket.create_connection(("127.0.0.1", port)), chance)


@contextmanager
def redis(path: Path) -> Iterator[int]:
    program = shutil.which("redis-server")
    assert program, "redis-server is missing: install the package of that name"
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(path)]
    command += ["--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until(lambda: reachable(port), 30)
        yield port
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main(__doc__, work)
