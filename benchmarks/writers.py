"""How many durable writes a second the embedded engine makes, for one writer and for many.

One real file in the folder for temporary files, which must not be in memory. Ten interleaved
runs of two seconds for each, the best of them: one task that awaits each `write` before the
next, then 32 such tasks. A write inserts one row, and is answered after its commit with
`synchronous = full`; all rows are counted at the end. Beside it what the file system allows:
four kilobytes appended to a file and synced, by one thread.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

from measure import Figure, folder, main

from picoauth.database import Database, Statement
from picoauth.embedded import Embedded

RUNS, SECONDS, WRITERS = 10, 2.0, 32
TABLE = Statement("create table t (id integer primary key, text text not null)")
INSERT = Statement("insert into t (text) values (?)", ("x" * 100,), rows=1)


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    runs, seconds = (3, 0.5) if quick else (RUNS, SECONDS)
    with folder() as path:
        one, many = asyncio.run(embedded(path / "file.db", runs, seconds))
        synced = max(syncs(path / "synced", seconds) for _ in range(3))
    return [
        Figure("file system, append and sync", synced, "/s"),
        Figure("one writer", one, "/s"),
        Figure(f"{WRITERS} writers", many, "/s"),
        Figure("  by one", many / one, least=5),
    ]


async def embedded(path: Path, runs: int, seconds: float) -> tuple[float, float]:
    database = Embedded(path)
    rates = await compared(database, runs, seconds)
    await database.close()
    return rates


async def compared(database: Database, runs: int, seconds: float) -> tuple[float, float]:
    """What one writer does in a second, and what many do together."""
    await database.write(TABLE)
    rates: dict[int, list[float]] = {1: [], WRITERS: []}
    written = 0
    for _ in range(runs):
        for writers, found in rates.items():
            began = time.perf_counter()
            counts = await asyncio.gather(
                *(writing(database, began + seconds) for _ in range(writers))
            )
            found.append(sum(counts) / (time.perf_counter() - began))
            written += sum(counts)
    assert [(written,)] == await database.read("select count(*) from t", slow=True)
    return max(rates[1]), max(rates[WRITERS])


async def writing(database: Database, end: float) -> int:
    count = 0
    while time.perf_counter() < end:
        await database.write(INSERT)
        count += 1
    return count


def syncs(path: Path, seconds: float) -> float:
    count, began = 0, time.perf_counter()
    with path.open("ab", buffering=0) as file:
        while time.perf_counter() - began < seconds:
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            count += 1
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    main(__doc__, work)
