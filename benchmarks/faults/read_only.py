"""That files which cannot be written stop writes alone, while the server runs, and else its start.

While it runs: the server may write no byte into any file (RLIMIT_FSIZE, set from outside), its
database, its log and the file of log lines among them, which is what SQLite sees where a file
system was remounted read-only. Registering, logging in and refreshing must be 503 or 507; a token
is checked, and who comes by cookie is known. Then it may write again, and the same has to work
within five seconds, without a restart.

Before it starts: the database, or its folder, has no permission to write, not even for root, who
has given that power away. The server must refuse, by exit code 2 and a sentence, and leave the
files as they were. With the permission it starts, and everybody is there.
"""

from __future__ import annotations

import random
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from harness import (
    FULL,
    PICOAUTH,
    Figure,
    Journal,
    Options,
    Server,
    again,
    ask,
    contents,
    cookie_login,
    folder,
    login,
    main,
    refused,
    register,
    serving,
    settled,
    state,
    until,
    validate,
)

POWERLESS = """
import ctypes, os, sys
CAP_DAC_OVERRIDE, PR_CAPBSET_DROP = 1, 24
ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)  # refused to who has it not
os.execv(sys.argv[1], sys.argv[1:])
"""
ROOM = resource.RLIM_INFINITY
COMMAND = (sys.executable, "-c", POWERLESS, str(PICOAUTH), "serve")


def work(options: Options) -> Sequence[Figure]:
    rounds = 50 if options.long else 3
    journal, tally = Journal(), Tally()
    with folder() as path:
        with serving(path) as server:
            tally.begin(server, journal)
            for number in range(rounds):
                tally.written = random.Random(options.seed + number).randint(0, 5)  # noqa: S311
                tally.round(server, journal, number)
            server.stop(signal.SIGKILL)
        for unwritable in (file, file_and_log, whole_folder):
            tally.start(path, unwritable)
        with serving(path) as server:
            tally.lost = sum(not opens(server, name) for name in journal.users)
        figures = state(path, journal)
    return [
        Figure("times that nothing could be written", rounds),
        Figure("writes then", tally.asked),
        Figure("  refused", tally.refused, least=tally.asked),
        Figure("tokens not checked then, users not known", tally.unchecked, most=0),
        Figure("works again, longest", tally.slowest, "s", most=5),
        Figure("starts without permission to write", 3),
        Figure("  refused in a sentence", tally.unstarted, least=3),
        Figure("  that changed a file", tally.changed, most=0),
        Figure("acknowledged users who cannot log in", tally.lost, most=0),
        *figures,
    ]


def file(path: Path) -> list[Path]:
    return [path / "picoauth.db"]


def file_and_log(path: Path) -> list[Path]:
    return list(path.glob("picoauth.db*"))


def whole_folder(path: Path) -> list[Path]:
    return [*file_and_log(path), path]


def opens(server: Server, name: str) -> bool:
    answer = login(server, name)
    return answer is not None and answer.status == 200


def limit(server: Server, most: int) -> None:
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (most, ROOM))


class Tally:
    """What a server did that could not write."""

    def __init__(self) -> None:
        self.asked = self.refused = self.unchecked = self.unstarted = self.changed = 0
        self.written = self.lost = 0
        self.slowest = 0.0

    def begin(self, server: Server, journal: Journal) -> None:
        for name in ("ann", "bob"):
            register(server, name, journal)
        self.tokens = login(server, "bob").json()  # type: ignore[union-attr]
        self.cookie = cookie_login(server, "bob")

    def round(self, server: Server, journal: Journal, number: int) -> None:
        for each in range(self.written):
            register(server, f"before-{number}-{each}", journal)
        limit(server, 0)
        for each in range(3):
            refresh = ask(server, "POST", "/jwt/refresh", None, self.tokens["refresh_token"])
            answers = [refresh, login(server, "ann")]
            statuses = [answer.status if answer else 0 for answer in answers]
            statuses.append(register(server, f"never-{number}-{each}", journal))
            if statuses[0] == 200:  # it was rotated a moment ago, which needs no write
                del statuses[0]
            self.asked += len(statuses)
            self.refused += sum(status in FULL for status in statuses)
            known = ask(server, "GET", "/auth/session", None, None, f"cookie: {self.cookie}")
            self.unchecked += known is None or known.status != 200
            self.unchecked += validate(server, self.tokens["access_token"]) != 200
        limit(server, ROOM)
        self.slowest = max(self.slowest, until(lambda: again(server), 30))

    def start(self, path: Path, unwritable: Callable[[Path], list[Path]]) -> None:
        files = unwritable(path)
        modes = {one: one.stat().st_mode for one in files}
        address, before = settled(path), contents(path)
        for one in files:
            one.chmod(modes[one] & ~0o222)
        try:
            self.unstarted += refused(Server(COMMAND, path, address))
        finally:
            for one in files:
                one.chmod(modes[one])
        self.changed += contents(path) != before


if __name__ == "__main__":
    main(__doc__, work)
