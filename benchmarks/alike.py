"""Whether time tells who has an account: run by hand, `python alike.py [ROUNDS]`.

Each round (2,000 by default) is four logins that fail, in a random order, one after another, at
a server in this process on a real file: of nobody, by a wrong password, of a disabled user, of a
user without a password. Each kind is compared with the first: Welch's t of the times, and the gap
of the medians. Exit code 1 where |t| is 4.5 or more, or a gap 2 % or more (P-8).
"""

from __future__ import annotations

import asyncio
import gc
import math
import random
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from picoauth import Caller
from picoauth.testing import Server, serving

ROUNDS = 2000
MOST_T, MOST_GAP = 4.5, 0.02
SETTINGS = 'plugins = ["password"]\n[throttle]\nfailures = 1000000'
NOBODY = "nobody"
KINDS = {NOBODY: "nobody", "wrong password": "ann", "disabled": "eve", "no password": "kim"}
"""User names, by what is wrong with them."""


async def people(server: Server) -> None:
    for username in ("ann", "eve"):
        await server.register(username)
    eve = await server.auth.users.find("username", "eve")
    assert eve is not None
    await server.auth.accounts.disable(eve.id, Caller())
    await server.auth.users.register(server.auth.users.draft(username="kim"))


async def once(server: Server, username: str) -> float:
    """Milliseconds of a login that fails."""
    body = {"username": username, "password": "not the password"}
    begun = time.perf_counter()
    answer = await server.post("/auth/login", body)
    took = (time.perf_counter() - begun) * 1000
    assert answer.status_code == 401, answer.text
    return took


async def measured(rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with TemporaryDirectory() as folder:
        async with serving(Path(folder), SETTINGS) as server:
            await people(server)
            gc.collect()
            gc.freeze()
            for number in range(rounds + 10):
                for kind in random.sample(list(KINDS), len(KINDS)):
                    took = await once(server, KINDS[kind])
                    if number >= 10:  # the first ones warm up
                        times[kind].append(took)
    return times


def welch(one: Sequence[float], other: Sequence[float]) -> float:
    """Welch's t: how far the means are apart, in standard errors."""
    error = statistics.variance(one) / len(one) + statistics.variance(other) / len(other)
    return (statistics.fmean(one) - statistics.fmean(other)) / math.sqrt(error)


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    times = asyncio.run(measured(rounds))
    base = statistics.median(times[NOBODY])
    print(f"{rounds} rounds, milliseconds")
    print(f"{'':>16}  median    mean   least       t     gap")
    failed = False
    for kind, took in times.items():
        t, gap = welch(took, times[NOBODY]), statistics.median(took) / base - 1
        failed |= abs(t) >= MOST_T or abs(gap) >= MOST_GAP
        numbers = f"{statistics.median(took):8.2f}{statistics.fmean(took):8.2f}{min(took):8.2f}"
        print(f"{kind:>16}{numbers}{t:8.2f}{gap:8.2%}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
