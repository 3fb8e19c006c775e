"""What the audit log adds to a durable commit: run by hand, `python auditing.py [ROUNDS]`.

Two servers in this process, each on a file of its own in the same folder (the current one, since
`/tmp` may be no disk): one with the plugin audit, one without. A round (2,000 by default) commits
what a login writes, with its event, on one of the two and then on the other, in a random order;
only the write is measured, with what `record` adds. Then the same with
fifty writes at once. Nothing is sealed meanwhile, as the task that does so waits for its turn.

It prints the lowest deciles and their ratio. Exit code 1 where the audit log adds more than 10 %
to one write; fifty share one commit, so that theirs tells what rows cost beside it.
"""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from picoauth import Auth, Caller, LoginCompleted, Statement, parse

ROUNDS, AT_ONCE, MOST = 2000, 50, 1.10
PLUGINS = {"without": ["password"], "with": ["password", "audit"]}
GUARD = "update users set last_login_at = ? where id = ? and epoch = 0 and disabled_at is null"
SESSION = """
    insert into sessions (id, user_id, epoch, generation, created_at, rotated_at, idle_at,
                          expires_at, auth_time, amr, address, user_agent)
    values (?, ?, 0, 0, ?, ?, ?, ?, ?, '["pwd"]', ?, ?)
"""
CALLER = Caller("192.0.2.1", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101", "rq-1")


def writing(auth: Auth, user_id: str) -> tuple[LoginCompleted, Sequence[Statement]]:
    """The write of a login, without what its factor adds."""
    now, session_id = auth.now(), auth.users.new_id()
    event = LoginCompleted(
        at=now, user_id=user_id, session_id=session_id, factors=("password",), caller=CALLER
    )
    times = (now, now, now + 86400, now + 86400, now)
    args = (session_id, user_id, *times, CALLER.address, CALLER.user_agent)
    return event, [Statement(GUARD, (now, user_id), rows=1), Statement(SESSION, args, rows=1)]


async def once(auth: Auth, user_id: str, count: int) -> float:
    """Milliseconds of so many writes at once."""
    made = [writing(auth, user_id) for _ in range(count)]
    writes = [[*some, *auth.events.prepared(event).statements] for event, some in made]
    begun = time.perf_counter()
    await asyncio.gather(*(auth.database.write(*some) for some in writes))
    return (time.perf_counter() - begun) * 1000


async def measured(
    servers: dict[str, tuple[Auth, str]], rounds: int, count: int
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in servers}
    for number in range(-50, rounds):
        for name in random.sample(sorted(servers), 2):
            took = await once(*servers[name], count)
            if number >= 0:
                times[name].append(took)
    return times


def told(times: dict[str, list[float]], what: str) -> float:
    """The ratio of the lowest deciles, since what else the machine does only adds."""
    low = {name: statistics.quantiles(some, n=10)[0] for name, some in times.items()}
    ratio = low["with"] / low["without"]
    print(f"{what}: {low['without']:.3f} ms without, {low['with']:.3f} ms with: {ratio:.3f}")
    return ratio


async def main(rounds: int) -> int:
    with TemporaryDirectory(dir=".") as folder:
        async with AsyncExitStack() as stack:
            servers = {}
            for name, plugins in PLUGINS.items():
                place = Path(folder) / name
                place.mkdir()
                auth = Auth(parse(f"plugins = {plugins}", place))
                await stack.enter_async_context(auth.started())
                user, _ = await auth.users.register(auth.users.draft(username="ann"))
                servers[name] = (auth, user.id)
            for auth, user_id in servers.values():
                await once(auth, user_id, 1)
            audit: Any = servers["with"][0].plugins.on["audit"]
            await audit.keeper.round()  # as the server does twice a second
            gc.disable()
            one = told(await measured(servers, rounds, 1), "one write at a time")
            told(await measured(servers, rounds // AT_ONCE, AT_ONCE), f"{AT_ONCE} at once")
    return int(one > MOST)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)))
