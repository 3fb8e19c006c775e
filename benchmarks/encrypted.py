"""What encryption of the database costs: reads and durable writes, plain and encrypted.

Two real files in the folder for temporary files, one of the embedded engine and one of
`picoauth-encrypted`, both with 10,000 rows. Interleaved runs of each, the best of them: reads
by key, one after the other; writes of 32 tasks, each answered after its commit; and how long it
takes to open the file and read a row, as every command does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from measure import Figure, folder, main

from picoauth.database import Statement
from picoauth.embedded import Embedded
from picoauth_encrypted.connections import connecting, raw

RUNS, SECONDS, WRITERS, ROWS = 6, 1.0, 32, 10_000
TABLE = Statement("create table t (id integer primary key, text text not null)")
FILL = Statement(
    "insert into t (text) with recursive n(i) as (select 1 union all select i + 1 from n "
    f"where i < {ROWS}) select printf('%0100d', i) from n"
)
INSERT = Statement("insert into t (text) values (?)", ("x" * 100,), rows=1)
READ = "select text from t where id = ?"
Opening = Callable[[Path], Embedded]


def encrypted(path: Path) -> Embedded:
    return Embedded(path, connect=connecting(raw(b"k" * 40)))


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    runs, seconds = (2, 0.3) if quick else (RUNS, SECONDS)
    with folder() as path:
        return asyncio.run(compared(path, runs, seconds))


async def compared(path: Path, runs: int, seconds: float) -> Sequence[Figure]:
    engines: dict[str, Opening] = {"plain": Embedded, "encrypted": encrypted}
    best: dict[str, dict[str, float]] = {name: {} for name in engines}
    for run in range(runs):
        for name, opening in engines.items():
            measured = await once(opening, path / f"{name}.db", seconds, fill=run == 0)
            for what, value in measured.items():
                best[name][what] = max(best[name].get(what, 0), value)
    return [
        figure
        for what in best["encrypted"]
        for figure in (
            *(Figure(f"{what}, {name}", best[name][what], "/s") for name in engines),
            Figure("  by plain", best["encrypted"][what] / best["plain"][what], least=0.3),
        )
    ]


async def once(opening: Opening, path: Path, seconds: float, *, fill: bool) -> dict[str, float]:
    began = time.perf_counter()
    database = opening(path)
    if fill:
        await database.write(TABLE)
        await database.write(FILL)
    await database.read(READ, (1,))
    opened = time.perf_counter() - began
    reads = await reading(database, seconds)
    counts = await asyncio.gather(*(writing(database, seconds) for _ in range(WRITERS)))
    await database.close()
    found = {"reads": reads, "writes": sum(counts) / seconds}
    return found if fill else {**found, "openings": 1 / opened}


async def reading(database: Embedded, seconds: float) -> float:
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        count += 1
        await database.read(READ, (count * 7919 % ROWS + 1,))
    return count / seconds


async def writing(database: Embedded, seconds: float) -> int:
    end, count = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        await database.write(INSERT)
        count += 1
    return count


if __name__ == "__main__":
    main(__doc__, work)
