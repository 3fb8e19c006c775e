"""That no acknowledged registration is lost, however often the server is killed.

200 times: start the server on the files of the time before, let four clients register users
without pause, and send SIGKILL when so many are acknowledged, and so much time has passed then,
as a fixed seed says (0 to 12, 0 to 30 ms). The clients keep a journal: a name is written down
when its 201 is there. After the next start, which has to answer
within two seconds, SQLite's `integrity_check` and `foreign_key_check` must find nothing, every
user must be whole (name, enrolment and hash), all names in the journal must be in the database,
and the last one acknowledged must be able to log in. This shows that a crash of the process
loses nothing; a power cut also needs a disk that keeps what it was told to sync.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from client import Client, message
from measure import PICOAUTH, Figure, Server, folder, main, person, settled, together

KILLS, CLIENTS, SEED = 200, 4, 20260101
MOST, LONGEST = 12, 0.03
"""Acknowledged registrations before a kill, and seconds after the last of them."""
READY = 2.0
"""Seconds in which a killed server must be back."""
LACKING = """
    select count(*) from users u where
        not exists (select 1 from identifiers i where i.user_id = u.id and i.kind = 'username')
        or not exists (select 1 from enrolments e join password p on p.enrolment_id = e.id
                        where e.user_id = u.id and p.user_id = u.id)
"""


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    kills, chance = (10 if quick else KILLS), random.Random(SEED)  # noqa: S311 - no secret
    with folder() as path:
        run = Run(path)
        try:
            for number in range(kills):
                run.once(number, chance.randint(0, MOST), chance.uniform(0, LONGEST))
            run.start()
            run.examine()
        finally:
            run.server.stop()
    starts = sorted(run.starts[1:])
    return [
        Figure("kills", kills),
        Figure("registrations acknowledged", len(run.journal)),
        Figure("  of them lost", run.lost, most=0),
        Figure("registrations begun, not acknowledged", run.begun - len(run.journal)),
        Figure("users that are not whole", run.torn, most=0),
        Figure("faults that SQLite finds", run.faults, most=0),
        Figure("refused logins of users acknowledged", run.refused, most=0),
        Figure("ready again, median", starts[len(starts) // 2], "s"),
        Figure("ready again, longest", starts[-1], "s", most=READY),
    ]


class Run:
    """One database, and the servers that died over it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.address = settled(path)
        self.journal: list[str] = []
        self.written = threading.Condition()
        self.starts: list[float] = []
        self.begun = self.lost = self.torn = self.faults = self.refused = 0

    def once(self, number: int, count: int, after: float) -> None:
        """Start, see what is left of the time before, and kill within the load."""
        self.start()
        self.examine()
        enough = len(self.journal) + count

        def part(index: int) -> None:
            if index < CLIENTS:
                with contextlib.suppress(ConnectionError):  # which is how the kill looks from here
                    self.register(self.server.client(), f"user-{number}-{index}")
                return
            with self.written:
                self.written.wait_for(lambda: len(self.journal) >= enough, timeout=60)
            time.sleep(after)
            self.server.stop(signal.SIGKILL)

        together(CLIENTS + 1, part)

    def start(self) -> None:
        self.server = Server([str(PICOAUTH), "serve"], self.path, self.address)
        self.starts.append(self.server.ready())

    def register(self, client: Client, name: str) -> None:
        """Register until the server dies."""
        count = 0
        while True:
            raw = message("POST", "/auth/register", person(f"{name}-{count}"))
            self.begun += 1
            client.send(raw)
            status = client.receive().status
            if status != 201:
                raise RuntimeError(f"a registration is answered {status}")
            with self.written:
                self.journal.append(f"{name}-{count}")
                self.written.notify_all()
            count += 1

    def examine(self) -> None:
        database = sqlite3.connect(f"file:{self.path}/picoauth.db?mode=ro", uri=True)
        found = database.execute("select value from identifiers where kind = 'username'")
        self.lost += len(set(self.journal) - {name for (name,) in found})
        self.torn += database.execute(LACKING).fetchone()[0]
        self.faults += database.execute("pragma integrity_check").fetchall() != [("ok",)]
        self.faults += len(database.execute("pragma foreign_key_check").fetchall())
        database.close()
        if self.journal:
            client = self.server.client()
            client.send(message("POST", "/auth/login", person(self.journal[-1])))
            self.refused += client.receive().status != 200
            client.close()


if __name__ == "__main__":
    main(__doc__, work)
