"""Whether a server with very many users is as fast as one with a thousand.

Two servers, one with 1,000 users and one with 10,000,000 (`--users`), whose rows are written
straight into the file: a name, a password and a session for each. Both are asked in turn, round
by round, one request after the other, for users from all over the file: a login, a refresh, and a
session check by cookie. The figures are medians of the times of the answers, and CPU of the
server process for each. A login is mostly Argon2id, which knows nothing of other users; refresh
and check ask the database and little else.
"""

from __future__ import annotations

import argparse
import os
import random
import sqlite3
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from client import Client, message
from measure import PASSWORD, Figure, Server, folder, print_table, register, serving

FEW, MANY, ROUNDS, EACH, SEED = 1_000, 10_000_000, 20, 25, 20260101
BULK = ("journal_mode = off", "synchronous = off", "cache_size = -400000", "foreign_keys = off")
# Ids grow with the number, and so do names: the pages of every index are filled one by one.
NUMBERS = "with recursive n(i) as (select {first} union all select i + 1 from n where i < {last})"
ID = "printf('%08x%s', {i} * {step}, substr('0123456789abcdef0123456789', 1, 18))"
USERS = (
    """
    insert into users (id, name, created_at, epoch)
    select {id}, printf('user%d', i), {now}, 0 from n
    """,
    """
    insert into identifiers (user_id, kind, value, display, verified_at)
    select {id}, 'username', printf('user%08d', i), printf('user%08d', i), {now} from n
    """,
    """
    insert into enrolments (id, user_id, factor, confirmed_at)
    select {id}, {id}, 'password', {now} from n
    """,
    """
    insert into password (user_id, enrolment_id, hash, pepper_id, changed_at)
    select {id}, {id}, hash, pepper_id, {now}
      from n, (select hash, pepper_id from password limit 1)
    """,
    """
    insert into sessions (id, user_id, epoch, generation, created_at, rotated_at, idle_at,
        expires_at, auth_time, amr)
    select {id}, {id}, 0, 0, {now}, {now}, {now} + 1000000, {now} + 5000000, {now}, '["pwd"]'
      from n
    """,
)
PART = 500_000
"""Users for each transaction."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=MANY, help="users of the larger server")
    parser.add_argument("--quick", action="store_true", help="100,000 users, fewer rounds")
    options = parser.parse_args()
    users, rounds = (100_000, 5) if options.quick else (options.users, ROUNDS)
    figures = compared(users, rounds)
    print_table(figures)
    raise SystemExit(any(not figure.kept for figure in figures))


def compared(users: int, rounds: int) -> Sequence[Figure]:
    with ExitStack() as stack:
        paths = [stack.enter_context(folder()) for _ in range(2)]
        for path, count in zip(paths, (FEW, users), strict=True):
            filled(path, count)
        sides = []
        for path, count in zip(paths, (FEW, users), strict=True):
            server = stack.enter_context(serving(path, wait=False))
            took = server.ready(120)
            sides.append(Side(server, count, path, took))
        for side in sides:
            side.round()  # to warm up
            side.forget()
        for _ in range(rounds):
            for side in sides:
                side.round()
        return figures(*sides)


def filled(path: Path, count: int) -> None:
    """A file that a server has made, with one user who registered, and `count` beside her."""
    with serving(path) as server:
        register(server, ["template"])
    began = time.monotonic()
    with closing(sqlite3.connect(path / "picoauth.db", isolation_level=None)) as database:
        for setting in BULK:
            database.execute(f"pragma {setting}").fetchall()
        for first in range(0, count, PART):
            last = min(first + PART, count) - 1
            database.execute("begin")
            for insert in USERS:
                database.execute(sql(insert, first, last, count))
            database.execute("commit")
        database.execute("pragma journal_mode = wal").fetchall()
        [(found,)] = database.execute("select count(*) from users")
        assert found == count + 1, found
    with (path / "picoauth.db").open("rb") as file:
        os.fsync(file.fileno())  # else the first commit of a server would wait for all of it
    size = (path / "picoauth.db").stat().st_size / 1e9
    print(f"{count} users: {size:.2f} GB, made in {time.monotonic() - began:.0f} s", flush=True)


def sql(insert: str, first: int, last: int, count: int) -> str:
    identity = ID.format(i="i", step=0xFFFFFFFF // count)
    numbers = NUMBERS.format(first=first, last=last)
    body = insert.format(id=identity, now=int(time.time()))
    head, _, select = body.partition("select ")
    return f"{head} {numbers} select {select}"


class Side:
    """One server, and what it was measured to take."""

    def __init__(self, server: Server, count: int, path: Path, took: float) -> None:
        self.server, self.count, self.path, self.took = server, count, path, took
        self.chance = random.Random(SEED)  # noqa: S311 - no secret
        self.size = (path / "picoauth.db").stat().st_size / 1e9
        self.forget()

    def forget(self) -> None:
        self.times: dict[str, list[float]] = {"login": [], "refresh": [], "session check": []}
        self.cpu = dict.fromkeys(self.times, 0.0)

    def round(self) -> None:
        """Log some in, each for a token and for a cookie; then refresh, then check."""
        self.client = self.server.client()
        names = [f"user{self.chance.randrange(self.count):08d}" for _ in range(EACH)]
        tokens = self.asked("login", [login(name) for name in names])
        refreshed = [message("POST", "/jwt/refresh", token=one["refresh_token"]) for one in tokens]
        self.asked("refresh", refreshed)
        cookies = [cookie(self.client, name) for name in names]
        check = [message("GET", "/auth/session", None, None, f"cookie: {each}") for each in cookies]
        self.asked("session check", check)
        self.client.close()

    def asked(self, kind: str, requests: Sequence[bytes]) -> list[dict[str, str]]:
        answers, before = [], self.server.cpu()
        for raw in requests:
            began = time.perf_counter()
            self.client.send(raw)
            answer = self.client.receive()
            self.times[kind].append((time.perf_counter() - began) * 1e3)
            assert answer.status == 200, (kind, answer)
            answers.append(answer.json())
        self.cpu[kind] += self.server.cpu() - before
        return answers

    def median(self, kind: str) -> float:
        return statistics.median(self.times[kind])

    def each(self, kind: str) -> float:
        """CPU, in milliseconds."""
        return self.cpu[kind] / len(self.times[kind]) * 1e3


def login(name: str, session: str = "token") -> bytes:
    body = {"username": name, "password": PASSWORD, "session": session}
    return message("POST", "/auth/login", body, None, "origin: http://127.0.0.1")


def cookie(client: Client, name: str) -> str:
    body = {"username": name, "password": PASSWORD, "session": "cookie"}
    client.send(message("POST", "/auth/login", body, None, "sec-fetch-site: same-origin"))
    answer = client.receive()
    assert answer.status == 200, answer
    lines = answer.head.decode().split("\r\n")
    [found] = [line for line in lines if line.lower().startswith("set-cookie:")]
    return found.partition(":")[2].partition(";")[0].strip()


def figures(few: Side, many: Side) -> Sequence[Figure]:
    found = [Figure("size of the larger file", many.size, "GB")]
    for kind in few.times:
        ratio = many.median(kind) / few.median(kind)
        found += [
            Figure(f"{kind}, {few.count:,} users", few.median(kind), "ms"),
            Figure(f"{kind}, {many.count:,} users", many.median(kind), "ms"),
            Figure("  by the smaller", ratio, most=1.5),
            Figure("  CPU, by the smaller", many.each(kind) / few.each(kind), most=1.5),
        ]
    starts = [Figure(f"start, {side.count:,} users", side.took, "s") for side in (few, many)]
    resident = [
        Figure(f"resident, {side.count:,} users", side.server.resident(), "MB")
        for side in (few, many)
    ]
    return [*found, *starts, *resident]


if __name__ == "__main__":
    main()
