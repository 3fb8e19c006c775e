"""Whether time tells whom a reset was asked for: run by hand, `python resets.py [ROUNDS]`.

Each round (1,000 by default) is four questions for a new password, in a random order, one after
another, at a server in this process on a real file, whose mail takes two seconds each: for nobody,
for a user with a verified address, for one without, and for one who is disabled. Of the users
there are so many that hardly any is beyond the limits; nobody has as many names. Each kind is
compared with the first, as `alike.py` does it. Exit code 1 where |t| is 4.5 or more, or a gap of
the medians 2 % or more (P-8, R-1).
"""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from alike import MOST_GAP, MOST_T, welch

from picoauth import Caller, Message, Statement
from picoauth.testing import MailPlugin, Server, serving

ROUNDS, SECONDS = 1000, 2.0
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


async def once(server: Server, username: str) -> float:
    """Milliseconds of a question."""
    begun = time.perf_counter()
    answer = await server.post("/auth/forgot_password", {"username": username})
    took = (time.perf_counter() - begun) * 1000
    assert answer.status_code == 202, answer.text
    return took


async def measured(rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
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


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    times = asyncio.run(measured(rounds))
    nobody = times[KINDS[0]]
    print(f"{rounds} rounds, milliseconds")
    print(f"{'':>10}  median    mean   least       t     gap")
    failed = False
    for kind, took in times.items():
        t, gap = welch(took, nobody), statistics.median(took) / statistics.median(nobody) - 1
        failed |= abs(t) >= MOST_T or abs(gap) >= MOST_GAP
        numbers = f"{statistics.median(took):8.2f}{statistics.fmean(took):8.2f}{min(took):8.2f}"
        print(f"{kind:>10}{numbers}{t:8.2f}{gap:8.2%}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
