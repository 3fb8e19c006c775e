"""That a damaged file, a short log or another secret lets nobody in, and never makes a new database.

A server with a few users is killed; then its files are damaged: a page is overwritten with random
bytes, the file is cut off, it is emptied of sense (zeros), the write-ahead log is cut off, or the
secret is another one; and the file cannot be written at all. Then a server starts. It refuses, by
exit code 2 and a sentence, or it serves: then nobody gets in by a wrong password, a login is 200,
401, 500 or 503, and all users are in the file that were in the part of it that was left alone.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from harness import (
    TORN,
    Figure,
    Journal,
    Options,
    folder,
    login,
    main,
    register,
    serving,
)

PAGE, USERS = 4096, 8


def work(options: Options) -> Sequence[Figure]:
    chance = random.Random(options.seed)  # noqa: S311 - where the damage is, and no secret
    tally = Tally()
    with folder() as made:
        for checkpointed in (True, False):
            there = made / str(checkpointed)
            filled(there, checkpointed=checkpointed)
            kinds = DAMAGED if checkpointed else [cut_log]
            for damage in kinds:
                for _ in range(20 if options.long else 2):
                    with folder() as path:
                        shutil.copytree(
                            there, path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("s")
                        )
                        damage(path, chance)
                        tally.look(path, damage)
    return [
        Figure("damaged files", tally.looked),
        Figure("servers that refused to start", tally.refused),
        Figure("  without a sentence, or by another code", tally.unsaid, most=0),
        Figure("servers that served", tally.looked - tally.refused),
        Figure("logins by a wrong password", tally.opened, most=0),
        Figure("fresh databases in the place of a damaged one", tally.fresh, most=0),
        Figure("half-made users after a short log", tally.torn, most=0),
        Figure("answers other than 200, 401, 500, 503", tally.odd, most=0),
    ]


def filled(path: Path, *, checkpointed: bool) -> None:
    """A database with users; all of them in the log alone, or none."""
    path.mkdir()
    with serving(path) as server:
        for number in range(USERS):
            register(server, f"user-{number}", Journal())
        server.stop(signal.SIGKILL)
    if checkpointed:
        with closing(sqlite3.connect(path / "picoauth.db")) as database:
            database.execute("pragma wal_checkpoint(truncate)")


def page(path: Path, chance: random.Random) -> None:
    file = path / "picoauth.db"
    with file.open("r+b") as opened:
        opened.seek(chance.randrange(1, file.stat().st_size // PAGE) * PAGE)
        opened.write(chance.randbytes(PAGE))


def first_page(path: Path, chance: random.Random) -> None:
    with (path / "picoauth.db").open("r+b") as opened:
        opened.write(chance.randbytes(PAGE))


def cut(path: Path, chance: random.Random) -> None:
    file = path / "picoauth.db"
    os.truncate(file, chance.randrange(1, file.stat().st_size))


def zeros(path: Path, _: random.Random) -> None:
    (path / "picoauth.db").write_bytes(bytes(PAGE * 4))


def cut_log(path: Path, chance: random.Random) -> None:
    file = path / "picoauth.db-wal"
    os.truncate(file, chance.randrange(1, file.stat().st_size))


def secret(path: Path, chance: random.Random) -> None:
    (path / "picoauth.secret").write_text(chance.randbytes(32).hex())


def folder_for_file(path: Path, _: random.Random) -> None:
    """A file that nobody can open, root neither."""
    (path / "picoauth.db").unlink()
    (path / "picoauth.db").mkdir()


DAMAGED: Sequence[Callable[[Path, random.Random], None]] = (
    page,
    first_page,
    cut,
    zeros,
    secret,
    folder_for_file,
)


class Tally:
    """What servers did with damaged files."""

    def __init__(self) -> None:
        self.looked = self.refused = self.unsaid = self.opened = 0
        self.fresh = self.torn = self.odd = 0

    def look(self, path: Path, damage: Callable[[Path, random.Random], None]) -> None:
        self.looked += 1
        before = sum(len(one.read_bytes()) for one in path.glob("picoauth.db") if one.is_file())
        log = path / "log"
        log.write_text("")
        with serving(path, wait=False) as server:
            try:
                server.ready()
            except RuntimeError:
                self.refused += 1
                server.process.wait(30)
                said = log.read_text()
                sentence = "picoauth: " in said and "Traceback" not in said
                # 1 where the damage shows after the file was opened
                self.unsaid += server.process.returncode not in (1, 2) or not sentence
                if not sentence:
                    print(f"{damage.__name__}: {said[-800:]}")
            else:
                for number in range(USERS):
                    for password, fine in (("not it at all", (401,)), (None, (200, 401))):
                        given = [] if password is None else [password]
                        answer = login(server, f"user-{number}", *given)
                        status = answer.status if answer else 0
                        self.opened += password is not None and status == 200
                        self.odd += status not in (*fine, 500, 503)
                if damage is cut_log:
                    with closing(sqlite3.connect(path / "picoauth.db")) as database:
                        self.torn += database.execute(TORN).fetchone()[0]
                else:
                    self.fresh += self.users(path) == 0
        after = sum(len(one.read_bytes()) for one in path.glob("picoauth.db") if one.is_file())
        self.fresh += damage is not cut_log and after < before

    def users(self, path: Path) -> int:
        try:
            with closing(sqlite3.connect(path / "picoauth.db")) as database:
                return int(database.execute("select count(*) from users").fetchone()[0])
        except sqlite3.Error:
            return -1


if __name__ == "__main__":
    main(__doc__, work)
