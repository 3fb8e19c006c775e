"""That a process which holds the database locked delays writes within bounds, and nothing else.

Another process holds `begin exclusive` for ten seconds, in the short form for four. Meanwhile
writes must answer 201 or 503 within 2.5 s, the event loop may stall 50 ms at most beyond what it
did before, as the checks of tokens show, none of which may fail; once the lock is gone, writes
must work within a second, without a restart. On a machine on which a registration takes half a
second by itself, bounds of time are longer by that much.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from harness import (
    Figure,
    Journal,
    Options,
    Server,
    folder,
    login,
    main,
    message,
    register,
    serving,
    state,
    timed,
    until,
)

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("begin exclusive")
print("held", flush=True)
sys.stdin.readline()
"""


def work(options: Options) -> Sequence[Figure]:
    seconds = 10.0 if options.long else 4.0
    journal, times, wrong = Journal(), [], 0
    with folder() as path, serving(path) as server:
        register(server, "ann", journal)
        token = login(server, "ann").json()["access_token"]  # type: ignore[union-attr]
        calm = Checking(server, token)
        alone = max(timed(lambda n=n: register(server, f"calm-{n}", journal))[1] for n in range(10))
        calm.stop()
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(path / "picoauth.db")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert holder.stdout
        assert holder.stdin
        assert holder.stdout.readline() == b"held\n"
        busy, end, number = Checking(server, token), time.monotonic() + seconds, 0
        while time.monotonic() < end:
            status, took = timed(lambda n=number: register(server, f"locked-{n}", journal))
            wrong += status not in (201, 503)
            times.append(took)
            number += 1
        busy.stop()
        holder.stdin.close()
        holder.wait()
        recovered = until(lambda: register(server, f"free-{time.time_ns()}", journal) == 201, 30)
        figures = state(path, journal)
    base = calm.p99
    return [
        Figure("writes meanwhile", len(times)),
        Figure("  answers other than 201, 503", wrong, most=0),
        Figure("a write alone, longest", alone, "s"),
        Figure("  longest", max(times), "s", most=max(2.5, 2 + 2 * alone)),
        Figure("tokens checked meanwhile", len(busy.times)),
        Figure("  of them failed", calm.failed + busy.failed, most=0),
        Figure("  p99, calm", base * 1e3, "ms"),
        Figure("  p99, locked", busy.p99 * 1e3, "ms", most=max(50.0, 2e3 * base)),
        Figure("works again", recovered, "s", most=max(1.0, 2 * alone)),
        *figures,
    ]


class Checking:
    """Checks a token a hundred times a second, in a thread."""

    def __init__(self, server: Server, token: str) -> None:
        self.times: list[float] = []
        self.failed = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(server, token))
        self.thread.start()

    def run(self, server: Server, token: str) -> None:
        client, raw = server.client(), message("POST", "/jwt/validate", token=token)
        while not self.over.wait(0.01):
            began, status = time.monotonic(), 0
            with suppress(OSError):
                client.send(raw)
                status = client.receive().status
            self.failed += status != 200
            self.times.append(time.monotonic() - began)
        client.close()

    def stop(self) -> None:
        self.over.set()
        self.thread.join()

    @property
    def p99(self) -> float:
        return sorted(self.times)[len(self.times) * 99 // 100]


if __name__ == "__main__":
    main(__doc__, work)
