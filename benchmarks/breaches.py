"""What picoauth-hibp costs: making the filter, asking it, and what it refuses wrongly.

A list as it is published, of digests that are spread evenly (10,000,000; 1,000,000 with --quick), is
turned into a filter by `picoauth hibp build`, a process of its own: its CPU, user and system, and its
peak of resident memory beside that of `picoauth --version`. Then a million random digests are looked for
that are in no list, with the file in the page cache; and a thousand that are. Then the memory of a
server (VmRSS) after one registration, with the password plugin alone, with hibp beside it, and with
the filter, too; each the least of three. MB are 10^6 bytes.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from measure import PICOAUTH, Figure, Server, folder, main, register, settled

from picoauth_hibp.digests import digest, is_common
from picoauth_hibp.filters import Filter

LINES, FEW, ASKED, KNOWN = 10_000_000, 1_000_000, 1_000_000, 1000
SERVERS = {"alone": ["password"], "beside": ["password", "hibp"]}


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    count = FEW if quick else LINES
    with folder() as path:
        known = published(path / "list.txt", count)
        figures = [*building(path, count), *asking(path / "breaches", known)]
        (path / "list.txt").unlink()
        return [*figures, *servers(path)]


def published(path: Path, count: int) -> Sequence[bytes]:
    """Write a list, in order; some of its digests."""
    chance = random.Random(1)  # noqa: S311 - nothing secret
    at, mean, known = 0.0, 2**64 / (count + 1), []
    with path.open("w", encoding="ascii", newline="") as file:
        for number in range(count):
            at += chance.expovariate(1 / mean)
            text = f"{min(int(at), 2**64 - 1):016X}{chance.getrandbits(96):024X}"
            file.write(f"{text}:{number % 9 + 1}\r\n")
            if number % (count // KNOWN) == 0:
                known.append(bytes.fromhex(text))
    return known


def building(path: Path, count: int) -> Iterator[Figure]:
    (path / "picoauth.toml").write_text('plugins = ["password", "hibp"]\n')
    _, bare = run(path, "--version")
    seconds, peak = run(path, "hibp", "build", "list.txt", "--to", "breaches")
    size = (path / "breaches").stat().st_size
    yield Figure("lines built in a second of CPU", count / seconds, least=500_000)
    yield Figure("peak of memory above that of --version", peak - bare, "MB", most=200)
    yield Figure("bits of the file for each password", size * 8 / count, most=20)


def run(path: Path, *arguments: str) -> tuple[float, float]:
    """Seconds of CPU, and the peak of resident memory in MB."""
    command = [str(PICOAUTH), *arguments]
    process = subprocess.Popen(command, cwd=path, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6


def asking(path: Path, known: Sequence[bytes]) -> Iterator[Figure]:
    opened = Filter(path)
    assert all(map(opened.has, known))
    chance = random.Random(2)  # noqa: S311 - nothing secret
    others = [chance.randbytes(20) for _ in range(ASKED)]
    wrongly = sum(map(opened.has, others))
    yield Figure("found wrongly, of a million", wrongly, most=1000)
    yield Figure("  as the head of the file says", opened.head.wrongly * ASKED)
    yield Figure("one look-up", per_call(lambda: opened.has(others[7])), "µs", most=20)
    yield Figure("  each of another page", sweep(opened, others), "µs", most=20)
    yield Figure("one look into the list that comes along", per_call(common), "µs")
    opened.close()


def common() -> None:
    is_common("correct horse battery staple")


def sweep(opened: Filter, others: Sequence[bytes]) -> float:
    began = time.perf_counter()
    for one in others[:100_000]:
        opened.has(one)
    return (time.perf_counter() - began) / 100_000 * 1e6


def per_call(call: Callable[[], object], times: int = 2000) -> float:
    """Microseconds, the least of ten."""
    digest("warm")
    found = []
    for _ in range(10):
        began = time.perf_counter()
        for _ in range(times):
            call()
        found.append((time.perf_counter() - began) / times * 1e6)
    return min(found)


def servers(path: Path) -> Iterator[Figure]:
    alone = resident(path, "alone", "")
    beside = resident(path, "beside", "")
    filtered = resident(path, "beside", f'[hibp]\nfilter = "{path / "breaches"}"\n')
    yield Figure("server after a registration", alone, "MB")
    yield Figure("with hibp: more", beside - alone, "MB", most=5)
    yield Figure("with the filter: more", filtered - alone, "MB", most=5)


def resident(path: Path, name: str, table: str) -> float:
    found = []
    for number in range(3):
        place = path / f"{name}{len(table)}{number}"
        place.mkdir()
        settled(place, SERVERS[name])
        with (place / "picoauth.toml").open("a") as settings:
            settings.write(table)
        address = tomllib.loads((place / "picoauth.toml").read_text())["public_url"]
        server = Server([str(PICOAUTH), "serve"], place, address)
        try:
            server.ready()
            register(server, ["ann"])
            found.append(server.resident())
        finally:
            server.stop()
    return min(found)


if __name__ == "__main__":
    main(__doc__, work)
