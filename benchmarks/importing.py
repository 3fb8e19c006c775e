"""Importing a million users with ready-made hashes: time, CPU and memory.

A file of so many lines, each with a user name, a verified e-mail address, a name, a time and a
hash by bcrypt, in the order of the times, where neither names nor addresses follow from anything
else, is imported by `picoauth users import` into a new database, as a
process of its own: the time from its start to its end, its CPU time, user and system, and its
greatest resident memory (getrusage(2), ru_maxrss). Then the same file again, all of whose users
are there, as after an import that was killed at its very end; and an export with secrets.
MB are 10^6 bytes. `--quick` takes a tenth, and tenths of the bounds in time.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from measure import PICOAUTH, Figure, folder, main, settled

USERS = 1_000_000
SECONDS, MEGABYTES = 180, 200
ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    share = 10 if quick else 1
    users = USERS // share
    with folder() as path:
        settled(path)
        write(path / "users.jsonl", users)
        figures = []
        for name, words in (
            (f"import of {users:,} users", ["import", "users.jsonl"]),
            ("the same again", ["import", "users.jsonl"]),
            ("export of them", ["export", "--secrets", "out.jsonl"]),
        ):
            seconds, cpu, resident = measured(path, words)
            figures += [
                Figure(name, seconds, "s", most=SECONDS / share),
                Figure(f"{name}: CPU", cpu, "s"),
                Figure(f"{name}: memory", resident, "MB", most=MEGABYTES),
            ]
        size = (path / "picoauth.db").stat().st_size / 1e6
        return [*figures, Figure("size of the database", size, "MB")]


def write(path: Path, users: int) -> None:
    chance = random.Random(1)  # noqa: S311 - the same file each time
    names, addresses = list(range(users)), list(range(users))
    chance.shuffle(names)
    chance.shuffle(addresses)
    with path.open("w", encoding="utf-8") as file:
        for number, (name, address) in enumerate(zip(names, addresses, strict=True)):
            tag = "".join(chance.choices(ALPHABET, k=31))
            line = {
                "username": f"user{name}",
                "email": f"User.{address}@example.com",
                "email_verified": True,
                "name": f"User {name}",
                "created_at": 1_600_000_000 + number,
                "password_hash": f"$2b$12$usesomesillystringfore{tag}",
            }
            file.write(json.dumps(line) + "\n")


def measured(path: Path, words: Sequence[str]) -> tuple[float, float, float]:
    """Seconds, CPU seconds and megabytes of a command."""
    began = time.monotonic()
    command = [str(PICOAUTH), "users", *words]
    process = subprocess.Popen(command, cwd=path, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{words} ends with {process.returncode}")
    resident = usage.ru_maxrss * 1024 / 1e6
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, resident


if __name__ == "__main__":
    main(__doc__, work)
