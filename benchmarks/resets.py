"""Whether time tells whom a reset was asked for: run by hand, `python resets.py [ROUNDS]`.

Each round (2,000 by default) is four questions for a new password, in a random order, one after
another, at a server in this process on a real file, whose mail takes two seconds each: for nobody,
for a user with a verified address, for one without, and for one who is disabled. Of the users
there are so many that hardly any is beyond the limits; nobody has as many names.

Each kind is compared with nobody of the same round, so that a machine which is busy for a while
slows both: by the differences without the tenth that is least and the tenth that is most, their t
and their median, of the time and of the CPU time of the process. Exit code 1 where |t| is 4.5 or
more and the gap more than a tenth of a percent, or the gap 2 % or more (P-8, R-1).
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

from alike import MOST_GAP, MOST_T

from picoauth import Caller, Message, Statement
from picoauth.testing import MailPlugin, Server, serving

ROUNDS, SECONDS, CUT = 2000, 2.0, 0.1
SETTINGS = 'plugins = ["password", "captured-mail", "reset"]'
KINDS = ("nobody", "known", "without", "disabled")
VERIFY = "insert into identifiers values (?, 'email', ?, ?, 1)"


async def slow(_: Message) -> None:
    await asyncio.sleep(SECONDS)


async def people(server: Server, count: int) -> None:
    users = server.auth.users
    for kind in KINDS[1:]:
        for number in range(count):
            user, _ = await users.register(users.draft(username=f"{kind}{number}"))
            address = f"{kind}{number}@example.com"
            if kind != "without":
                await server.auth.database.write(Statement(VERIFY, (user.id, address, address)))
            if kind == "disabled":
                await server.auth.accounts.disable(user.id, Caller())


async def once(server: Server, username: str) -> tuple[float, float]:
    """Milliseconds of a question, and those of CPU."""
    begun, worked = time.perf_counter(), time.process_time()
    answer = await server.post("/auth/forgot_password", {"username": username})
    took = (time.perf_counter() - begun) * 1000, (time.process_time() - worked) * 1000
    assert answer.status_code == 202, answer.text
    return took


async def measured(rounds: int) -> dict[str, list[tuple[float, float]]]:
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    with TemporaryDirectory() as folder:
        async with serving(Path(folder), SETTINGS, plugins={"captured-mail": MailPlugin}) as server:
            server.auth.plugin(MailPlugin).send = slow  # type: ignore[method-assign]
            await people(server, rounds + 10)
            gc.collect()
            gc.freeze()
            for number in range(rounds + 10):
                for kind in random.sample(KINDS, len(KINDS)):
                    took = await once(server, f"{kind}{number}")
                    if number >= 10:  # the first ones warm up
                        times[kind].append(took)
    return times


def paired(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Student's t of the differences without the extremes (Yuen), and their median, in parts."""
    found = sorted(a - b for a, b in zip(one, other, strict=True))
    cut = int(len(found) * CUT)
    kept = found[cut : len(found) - cut]
    winsorized = [kept[0]] * cut + kept + [kept[-1]] * cut
    error = statistics.stdev(winsorized) / ((1 - 2 * CUT) * math.sqrt(len(found)))
    return statistics.fmean(kept) / error, statistics.median(found) / statistics.median(other)


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    times = asyncio.run(measured(rounds))
    print(f"{rounds} rounds, milliseconds; t and gap beside nobody of the same round")
    failed = False
    for number, what in enumerate(("time", "CPU")):
        nobody = [took[number] for took in times[KINDS[0]]]
        print(f"{what:>10}  median       t     gap")
        print(f"{KINDS[0]:>10}{statistics.median(nobody):8.3f}")
        for kind in KINDS[1:]:
            took = [each[number] for each in times[kind]]
            t, gap = paired(took, nobody)
            failed |= abs(t) >= MOST_T or abs(gap) >= MOST_GAP
            print(f"{kind:>10}{statistics.median(took):8.3f}{t:8.2f}{gap:8.2%}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
