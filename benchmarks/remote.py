"""What a libSQL server and a Redis give to the servers that share them.

A real sqld on loopback whose answers wait for its disk (`durability_mode` strong), asked by the
engine of picoauth-libsql as in writers.py, with ten interleaved runs of two seconds, the best of
them: one task that awaits each write before the next, and 32. Then 32 tasks that read a row by
its key. And a real Redis that is given 10,000 sessions as picoauth-session-redis keeps them: by
how much more memory it says that it uses; beside it the same sessions as rows of the file, and the ends of as many in the list that
each process has in memory. All of it is on one machine and shares its cores.
"""

from __future__ import annotations

import asyncio
import sys
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from measure import Figure, folder, main
from sessions import redis
from writers import RUNS, SECONDS, WRITERS, compared

from picoauth.database import Database, Statement
from picoauth.sessions import Session
from picoauth.testing import serving
from picoauth_libsql import Libsql
from picoauth_session_redis.client import client
from picoauth_session_redis.keeper import RedisKeeper
from tests.sqld import Sqld, sqld

SESSIONS = 10_000
USER = "insert into users (id, name, created_at, epoch) values (?, 'Ann', 0, 0)"
SIZE = "select sum(pgsize) from dbstat where name like '%sessions%'"
READ = "select text from t where id = ?"
NOW = 1_800_000_000


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    runs, seconds = (3, 0.5) if quick else (RUNS, SECONDS)
    with folder() as path, sqld(path / "sqld") as server, kept(path) as socket:
        one, many, reads = asyncio.run(asked(server, runs, seconds))
        size, row = asyncio.run(sized(socket)), asyncio.run(as_rows(path))
    return [
        Figure("sqld, one writer", one, "/s"),
        Figure(f"sqld, {WRITERS} writers", many, "/s"),
        Figure(f"sqld, {WRITERS} readers", reads, "/s"),
        Figure("Redis, a session", size, "bytes"),
        Figure("the same as a row, with its indexes", row, "bytes"),
        Figure("an ended session, in memory", remembered(), "bytes"),
    ]


async def asked(server: Sqld, runs: int, seconds: float) -> tuple[float, float, float]:
    await server.strong()
    database = Libsql(server.url, patience=30)
    one, many = await compared(database, runs, seconds)
    began = time.perf_counter()
    counts = (reading(database, began + seconds) for _ in range(WRITERS))
    total = sum(await asyncio.gather(*counts))
    taken = time.perf_counter() - began
    await database.close()
    return one, many, total / taken


async def reading(database: Database, end: float) -> int:
    count = 0
    while time.perf_counter() < end:
        count += 1
        assert len(await database.read(READ, (count,))) == 1
    return count


@contextmanager
def kept(path: Path) -> Iterator[str]:
    with redis(path):
        while not (path / "redis.sock").exists():
            time.sleep(0.01)
        yield f"unix://{path}/redis.sock"


async def sized(url: str) -> float:
    """Bytes of one session more."""
    connection = client(url, 32, 5.0)
    keeper = RedisKeeper(connection, prefix="picoauth:", places=32, patience=5.0, now=lambda: NOW)
    before = await used(connection)
    for number in range(SESSIONS):
        await keeper.put(session(number))
    after = await used(connection)
    await connection.aclose()
    return (after - before) / SESSIONS


async def as_rows(path: Path) -> float:
    """Bytes in the file of one session more."""
    sessions = [session(number) for number in range(SESSIONS)]
    async with serving(path, 'plugins = ["password"]') as server:
        database = server.auth.database
        for some in (sessions[at : at + 500] for at in range(0, SESSIONS, 500)):
            owners = {each.user_id for each in some}
            rows = [each for one in some for each in await server.auth.sessions.put(one)]
            await database.write(*(Statement(USER, (owner,)) for owner in owners), *rows)
        [(size,)] = await database.read(SIZE)
    return float(size) / SESSIONS


def remembered() -> float:
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    ended = {session(number).id: NOW + number for number in range(SESSIONS)}
    after, _ = tracemalloc.get_traced_memory()
    return (after - before) / len(ended)


async def used(connection: object) -> int:
    return int((await connection.info("memory"))["used_memory"])  # type: ignore[attr-defined]


def session(number: int) -> Session:
    """One with what a browser says, on ten devices of each user."""
    return replace(FIRST, id=f"01session{number:023}", user_id=f"01user{number // 10:026}")


FIRST = Session(
    id="",
    user_id="",
    epoch=0,
    generation=0,
    created_at=NOW,
    rotated_at=NOW,
    idle_at=NOW + 14 * 86400,
    expires_at=NOW + 90 * 86400,
    auth_time=NOW,
    second_at=None,
    amr=("pwd",),
    address="192.0.2.7",
    user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
)


if __name__ == "__main__":
    main(__doc__, work)
