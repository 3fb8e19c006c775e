"""That several servers on machines of their own give no wrong answer while they are killed.

Servers on machines made of network namespaces share one libSQL server and one Redis. Users
register, log in, refresh, look and log out without pause, each request at the next machine; every
five seconds a server is killed by SIGKILL, and started again. In between it is measured how soon
an end of a session that one machine committed is known to all others. The first wrong answer
ends the script with an error. It needs the rights of root, and everything runs on this one
machine, so that no figure tells what more machines add.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parent.parent))

from measure import Figure, main

from tests.machines import Machines, machines, until
from tests.visitors import Crowd, Visitor

HOSTS, PAUSE = 4, 5.0
"""Servers, and seconds between two kills."""
KILLS, ENDS = 60, 100


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    with TemporaryDirectory(prefix="pa", dir="/tmp") as path:
        return asyncio.run(measured(Path(path), *((2, 5) if quick else (KILLS, ENDS))))


async def measured(folder: Path, kills: int, ends: int) -> Sequence[Figure]:
    async with machines(folder, HOSTS) as net:
        delays = [await delay(net) for _ in range(ends)]
        crowd = Crowd(net)
        async with crowd.living(8):
            for _, victim in zip(range(kills), cycle(net.hosts), strict=False):
                await asyncio.sleep(PAUSE)
                victim.end()
                victim.start()
                await until(victim.ready)
        lost = [ann for ann in crowd.users if not await known(ann)]
    return [
        Figure("an end is known everywhere, median", statistics.median(delays), "s", most=0.5),
        Figure("the latest of them", max(delays), "s"),
        Figure("kills", kills),
        Figure("answers", crowd.done),
        Figure("requests without an answer, or 503", crowd.unanswered),
        Figure("registered users who cannot log in", len(lost), most=0),
    ]


async def delay(net: Machines) -> float:
    """Seconds from the answer to a logout until every machine refuses the token."""
    ann = await Visitor.joined(net)
    await ann.ask("POST", "/auth/logout")
    began = time.monotonic()
    await ann.ended()
    return time.monotonic() - began


async def known(ann: Visitor) -> bool:
    answer = await ann.net.ask("POST", "/auth/login", ann.own)
    return answer.status_code == 200


if __name__ == "__main__":
    main(__doc__, work)
