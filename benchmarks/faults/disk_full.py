"""That a full disk loses nothing and lets nobody in, and that the server goes on by itself.

The files of the server, its log among them, are alone on a small file system in memory, which only
this script and its children see (a mount namespace: as root, or where users may make their own).
It is filled to the last byte, or to a few pages before it, so that a write ends in the middle.
Meanwhile users register and log in, which is 503 or 507 with problem details, and refresh, which is
so or works, since what was just handed out is not written anew; who comes by cookie is known, and a
token is checked, which must go on. (After many rounds SQLite begins its log anew, and has room in
there.) Then there is room again, and the same has to work within five seconds, without a restart.
In the end the server is killed on the full disk: one that starts there serves, or refuses by exit
code 2 and a sentence, and with room everybody is there.

Exit code 3: there is no mount namespace to be had here.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from harness import (
    FULL,
    NOWHERE,
    PICOAUTH,
    Answer,
    Figure,
    Journal,
    Options,
    Server,
    again,
    ask,
    cookie_login,
    folder,
    login,
    main,
    person,
    refused,
    register,
    serving,
    settled,
    state,
    until,
    validate,
)

SIZE = 24 * 2**20
"""Bytes of the disk: what SQLite writes to its log before it begins anew, several times."""
PAGE, EACH, LEAST = 4096, 5, 4
ALONE = "PICOAUTH_FAULTS_ALONE"
NAMESPACES = (["unshare", "--mount"], ["unshare", "--mount", "--map-root-user"])


def work(options: Options) -> Sequence[Figure]:
    chance, rounds = random.Random(options.seed), 50 if options.long else LEAST  # noqa: S311
    journal, tally = Journal(), Tally()
    with folder() as outside, disk(outside / "disk") as path:
        with serving(path) as server:
            tally.begin(server, journal)
            for number in range(rounds):
                for each in range(chance.randint(0, 5)):
                    register(server, f"before-{number}-{each}", journal)
                handed = tally.handed(server, journal, f"user-{number}")
                fill(path, chance.choice((0, 0, 1, 2, 5, 10)))
                tally.round(server, journal, number, handed)
                empty(path)
                tally.slowest = max(tally.slowest, until(lambda: again(server), 30))
            (path / "log").unlink()
            (path / "log").symlink_to(outside / "log")
            address = settled(path)
            fill(path, 0)
            server.stop(signal.SIGKILL)
        tally.start(Server([str(PICOAUTH), "serve"], path, address))
        empty(path)
        with serving(path) as server:
            lost = sum(not opens(server, name) for name in journal.users)
        figures = state(path, journal)
    return [
        Figure("times that the disk was full", rounds),
        Figure("requests to write then", tally.asked),
        Figure("  refused", tally.refused, least=EACH * LEAST),
        Figure("  answers other than 2xx, 503, 507", tally.wrong, most=0),
        Figure("  refusals without problem details", tally.bare, most=0),
        Figure("tokens not checked then, users not known", tally.unchecked, most=0),
        Figure("works again, longest", tally.slowest, "s", most=5),
        Figure("starts then: neither served nor refused in a sentence", tally.unsaid, most=0),
        Figure("acknowledged users who cannot log in", lost, most=0),
        *figures,
    ]


class Tally:
    """What a server did that had no room."""

    def __init__(self) -> None:
        self.asked = self.refused = self.wrong = self.bare = self.unchecked = self.unsaid = 0
        self.slowest = 0.0

    def begin(self, server: Server, journal: Journal) -> None:
        for name in ("ann", "bob"):
            register(server, name, journal)
        self.cookie = cookie_login(server, "bob")

    def handed(self, server: Server, journal: Journal, name: str) -> Sequence[str]:
        """Refresh tokens: each is used once, since one that is used again later ends its session."""
        register(server, name, journal)
        logins = [login(server, name).json() for _ in range(EACH)]  # type: ignore[union-attr]
        self.token: str = logins[0]["access_token"]
        return [tokens["refresh_token"] for tokens in logins]

    def round(self, server: Server, journal: Journal, number: int, handed: Sequence[str]) -> None:
        for each, token in enumerate(handed):
            name = f"full-{number}-{each}"
            made = ask(server, "POST", "/auth/register", person(name))
            if made is not None and made.status == 201:
                journal.users.append(name)
            refreshed = ask(server, "POST", "/jwt/refresh", None, token)
            for answer in (made, login(server, "ann"), refreshed):
                self.judge(answer)
            known = ask(server, "GET", "/auth/session", None, None, f"cookie: {self.cookie}")
            self.unchecked += known is None or known.status != 200
            self.unchecked += validate(server, self.token) != 200

    def judge(self, answer: Answer | None) -> None:
        status = answer.status if answer else 0
        self.asked += 1
        self.wrong += status not in (200, 201, *FULL)
        if answer is not None and status in FULL:
            self.refused += 1
            self.bare += b"application/problem+json" not in answer.head
            self.bare += "code" not in answer.json()

    def start(self, server: Server) -> None:
        """One that serves is stopped then, and ends with 0."""
        self.unsaid += not refused(server) and server.process.returncode != 0


def opens(server: Server, name: str) -> bool:
    answer = login(server, name)
    return answer is not None and answer.status == 200


@contextmanager
def disk(path: Path) -> Iterator[Path]:
    """A file system of its own."""
    path.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", str(path)], check=True
    )
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def fill(path: Path, spare: int) -> None:
    """Until not a byte has room, or no more than these pages."""
    with (path / "filler").open("wb", buffering=0) as filler:
        with suppress(OSError):
            while filler.write(bytes(PAGE)):
                pass
        filler.truncate(max(filler.tell() - spare * PAGE, 0))


def empty(path: Path) -> None:
    (path / "filler").unlink()


def alone() -> Sequence[str]:
    """What runs a command where nobody else sees what it mounts. Ends the script where nothing does."""
    for words in NAMESPACES:
        with suppress(OSError):
            tried = ["mount", "-t", "tmpfs", "tmpfs", "/mnt"]
            if subprocess.run([*words, *tried], capture_output=True, check=False).returncode == 0:
                return words
    print("no mount namespace is to be had here: be root, or allow users their own")
    sys.exit(NOWHERE)


if __name__ == "__main__":
    if ALONE not in os.environ:
        os.environ[ALONE] = "1"
        command = [*alone(), sys.executable, *sys.argv]
        os.execvp(command[0], command)  # noqa: S606 - itself
    main(__doc__, work)
