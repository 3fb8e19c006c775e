"""That an encrypted database opens by its own key alone, and that nothing is made in its place.

A server with a few users is killed, so that the newest of them are in the log alone. Then its key
is another one, by one bit or all of them, or is short, empty or gone; or the plugin that encrypts
is not listed; or a plain database lies where an encrypted one should be; or the root secret is
another one. Each time the server must refuse to start, by exit code 2 and a sentence, and leave
each byte of the database and its log as it was; or, where SQLite put the log into the file all the
same, such a file has to open. With its key it opens, and everybody is there.
"""

from __future__ import annotations

import base64
import random
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from harness import (
    PICOAUTH,
    Figure,
    Journal,
    Options,
    Server,
    contents,
    folder,
    login,
    main,
    refused,
    register,
    settled,
)

PLUGINS, USERS = ("encrypted", "password"), 4
KEY = '[encrypted]\nencryption_key = { file = "picoauth.key" }\n'


def work(options: Options) -> Sequence[Figure]:
    chance = random.Random(options.seed)  # noqa: S311 - keys of a test
    tried = started = moved = lost = 0
    with folder() as made:
        encrypted, plain = made / "encrypted", made / "plain"
        users = [*filled(encrypted, PLUGINS, chance), *filled(plain, ("password",), chance)]
        for wrong in WRONG * (10 if options.long else 1):
            with folder() as path:
                copied(plain if wrong is plain_database else encrypted, path)
                address = settings(path)
                wrong(path, chance)
                before = rows(path)
                fine = refused(Server([str(PICOAUTH), "serve"], path, address))
                tried, started = tried + 1, started + (not fine)
                if rows(path) != before:
                    moved += 1
                    for name in ("picoauth.key", "picoauth.secret"):
                        shutil.copy(encrypted / name, path)
                    lost += missing(path)
        lost += missing(encrypted)
    return [
        Figure("starts with a wrong key", tried),
        Figure("  not refused in a sentence", started, most=0),
        Figure("  that put the log into the file", moved, most=tried // 4),
        Figure("users acknowledged", len(users)),
        Figure("  of them lost with the right key", lost, most=0),
    ]


def rows(path: Path) -> dict[str, bytes]:
    """The database and its log; not the index of the log, which anybody makes anew."""
    return {n: c for n, c in contents(path, "picoauth.db*").items() if n != "picoauth.db-shm"}


def filled(path: Path, plugins: Sequence[str], chance: random.Random) -> Sequence[str]:
    """A database with users, all of them in the log."""
    path.mkdir()
    (path / "picoauth.key").write_bytes(base64.b64encode(chance.randbytes(33)))
    (path / "picoauth.key").chmod(0o600)
    journal = Journal()
    address = settings(path) if "encrypted" in plugins else settled(path)
    server = Server([str(PICOAUTH), "serve"], path, address)
    try:
        server.ready()
        for number in range(USERS):
            register(server, f"user-{number}", journal)
    finally:
        server.stop(signal.SIGKILL)
    return journal.users


def settings(path: Path) -> str:
    address = settled(path, PLUGINS)
    with (path / "picoauth.toml").open("a") as file:
        file.write(KEY)
    return address


def copied(source: Path, path: Path) -> None:
    shutil.copytree(source, path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("s", "log"))


def missing(path: Path) -> int:
    server = Server([str(PICOAUTH), "serve"], path, settings(path))
    try:
        server.ready()
        answers = [login(server, f"user-{number}") for number in range(USERS)]
    finally:
        server.stop()
    return sum(answer is None or answer.status != 200 for answer in answers)


def another(path: Path, chance: random.Random) -> None:
    (path / "picoauth.key").write_bytes(base64.b64encode(chance.randbytes(33)))


def one_bit(path: Path, chance: random.Random) -> None:
    key = bytearray(base64.b64decode((path / "picoauth.key").read_bytes()))
    key[chance.randrange(len(key))] ^= 1 << chance.randrange(8)
    (path / "picoauth.key").write_bytes(base64.b64encode(key))


def short(path: Path, chance: random.Random) -> None:
    key = (path / "picoauth.key").read_bytes()
    (path / "picoauth.key").write_bytes(key[: chance.randrange(1, 20)])


def empty(path: Path, _: random.Random) -> None:
    (path / "picoauth.key").write_bytes(b"")


def gone(path: Path, _: random.Random) -> None:
    (path / "picoauth.key").unlink()


def unlisted(path: Path, _: random.Random) -> None:
    settled(path)


def plain_database(_: Path, __: random.Random) -> None:
    """The file is one that was made without the plugin."""


def root_secret(path: Path, chance: random.Random) -> None:
    (path / "picoauth.secret").write_bytes(base64.b64encode(chance.randbytes(33)))


WRONG: Sequence[Callable[[Path, random.Random], None]] = (
    *(another, one_bit, short, empty, gone),
    *(unlisted, plain_database, root_secret),
)


if __name__ == "__main__":
    main(__doc__, work)
