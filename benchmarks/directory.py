"""What it takes to find users among a hundred, and among a million.

The directory's pages, as administration asks for them: each figure is the median time of a
page of 20 users, from the database's file, in this process. The two sizes are measured in
turns, with other searches and cursors each time. What is searched for is found as often in
either. Users have a user name and an address; one of ten has an authenticator, and one of a
hundred is disabled.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path

from measure import Figure, folder, main

from picoauth import Auth, Directory, Query, parse

FEW, MANY = 100, 1_000_000
PAGE = 20
ROUNDS = 400
START = 1_700_000_000

Ask = Callable[[Directory, int, random.Random], Awaitable[object]]


def name(number: int) -> str:
    """Of a million a hundred begin with the same word, `w0042-…`."""
    return f"w{number % 10_000:04}-{number:07}"


def fill(path: Path, users: int) -> None:
    """Rows as registrations write them, a second apart."""
    with closing(sqlite3.connect(path)) as connection, connection:
        numbers = range(users)
        connection.executemany(
            "insert into users (id, name, created_at, disabled_at, epoch) values (?, ?, ?, ?, 0)",
            ((f"u{n:07}", name(n), START + n, START if n % 100 == 0 else None) for n in numbers),
        )
        connection.executemany(
            "insert into identifiers (user_id, kind, value, display, verified_at) "
            "values (?, ?, ?, ?, 1)",
            (
                (f"u{n:07}", kind, value, value)
                for n in numbers
                for kind, value in (("username", name(n)), ("email", f"{n:07}@example.com"))
            ),
        )
        connection.executemany(
            "insert into enrolments (id, user_id, factor, confirmed_at) values (?, ?, 'totp', 1)",
            ((f"e{n:07}", f"u{n:07}") for n in numbers if n % 10 == 0),
        )


def middle(users: int, chance: random.Random) -> Query:
    return Query(made_from=START + chance.randrange(users // 2))


async def listing(directory: Directory, users: int, chance: random.Random) -> object:
    return await directory.page(middle(users, chance), after=None, limit=PAGE)


async def following(directory: Directory, users: int, chance: random.Random) -> object:
    first = await directory.page(middle(users, chance), after=None, limit=PAGE)
    return await directory.page(Query(), after=first.next, limit=PAGE)


async def exact(directory: Directory, users: int, chance: random.Random) -> object:
    text = f"{chance.randrange(users):07}@example.com"
    return await directory.page(Query(search=text, exact=True), after=None, limit=PAGE)


async def prefix(directory: Directory, users: int, chance: random.Random) -> object:
    """It is one user among few, and among many."""
    found = name(chance.randrange(users))
    return await directory.page(Query(search=found[:-1]), after=None, limit=PAGE)


async def wide(directory: Directory, users: int, chance: random.Random) -> object:  # noqa: ARG001
    """The beginning of every user name."""
    return await directory.page(Query(search="w"), after=None, limit=PAGE)


async def factor(directory: Directory, users: int, chance: random.Random) -> object:  # noqa: ARG001
    return await directory.page(Query(factor="totp"), after=None, limit=10)


async def disabled(directory: Directory, users: int, chance: random.Random) -> object:  # noqa: ARG001
    return await directory.page(Query(disabled=True), after=None, limit=1)


ASKED: dict[str, Ask] = {
    "a page of the list": listing,
    "that page, and the next one": following,
    "an address, exact": exact,
    "a user name but for its last character": prefix,
    "the first letter of all user names": wide,
    "who has an authenticator": factor,
    "who is disabled": disabled,
}


async def directory(stack: AsyncExitStack, path: Path, users: int) -> Directory:
    auth = Auth(parse('plugins = ["password"]', path))
    await stack.enter_async_context(auth.started())
    await asyncio.to_thread(fill, path / "picoauth.db", users)
    return Directory(auth.database)


async def measured(path: Path, many: int, rounds: int) -> Sequence[Figure]:
    chance, sizes = random.Random(1), (FEW, many)  # noqa: S311 - the same each time
    figures = []
    async with AsyncExitStack() as stack:
        found = {size: await directory(stack, path / str(size), size) for size in sizes}
        for words, ask in ASKED.items():
            times: dict[int, list[float]] = {size: [] for size in sizes}
            for _ in range(rounds):
                for size in sizes:
                    began = time.perf_counter()
                    await ask(found[size], size, chance)
                    times[size].append(time.perf_counter() - began)
            few, much = (statistics.median(times[size]) * 1e6 for size in sizes)
            figures += [
                Figure(f"{words}: of {FEW}", few, "µs"),
                Figure(f"{words}: of {many:,}", much, "µs"),
                Figure(f"{words}: ratio", much / few, "", most=2.0),
            ]
        began = time.perf_counter()
        await found[many].count(Query())
        figures.append(Figure(f"count of {many:,}", (time.perf_counter() - began) * 1e3, "ms"))
    return figures


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    with folder() as path:
        many, rounds = (20_000, 50) if quick else (MANY, ROUNDS)
        for size in (FEW, many):
            (path / str(size)).mkdir()
        return asyncio.run(measured(path, many, rounds))


if __name__ == "__main__":
    main(__doc__, work)
