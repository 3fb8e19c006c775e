"""What is measured inside the server under load: how many wait in which link."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import IO, Any, Protocol, runtime_checkable

from picoauth.auth import Auth
from picoauth.errors import Unavailable

PACE = 0.02
"""Seconds between two samples."""
BACKLOG = "select count(*) from outbox where sealed is not null"
EVERY = 10
"""Samples between two looks at the outbox."""
STORE = ("get", "put", "change", "end", "end_all", "rotate", "list")
HASHES = "hashes_pending"
"""The gauge of whoever hashes passwords."""


@runtime_checkable
class Gauged(Protocol):
    """A plugin that has figures of its own."""

    def gauges(self) -> Mapping[str, float]: ...


class Counted:
    """Calls under way, and the seconds and calls so far."""

    def __init__(self) -> None:
        self.now = self.calls = self.failed = 0
        self.seconds = 0.0

    def around(self, work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*args: Any, **more: Any) -> Any:
            began = time.perf_counter()
            self.now += 1
            try:
                return await work(*args, **more)
            except Unavailable:
                self.failed += 1
                raise
            finally:
                self.now -= 1
                self.calls += 1
                self.seconds += time.perf_counter() - began

        return counted


class Probe:
    """Watches one server, and writes a line of JSON for each sample.

    The two methods of the database, and those of a session store elsewhere, are replaced on
    the objects themselves, since everybody holds these.
    """

    def __init__(self, auth: Auth, file: IO[str]) -> None:
        self.auth, self.file = auth, file
        self.commits, self.store = Counted(), Counted()
        self.backlog = 0
        database: Any = auth.database
        self.count = database.read
        database.write = self.commits.around(database.write)
        database.read = self.store.around(database.read)
        sessions: Any = auth.sessions
        if not hasattr(sessions, "database"):  # else its calls are counted there
            for name in STORE:
                setattr(sessions, name, self.store.around(getattr(sessions, name)))

    async def forever(self) -> None:
        number = 0
        while True:
            due = time.perf_counter() + PACE
            await asyncio.sleep(PACE)
            lag = max(0.0, time.perf_counter() - due)
            if number % EVERY == 0:
                [(self.backlog,)] = await self.count(BACKLOG)
            self.file.write(json.dumps(self.sample(lag)) + "\n")
            self.file.flush()
            number += 1

    def sample(self, lag: float) -> Mapping[str, float]:
        """`at` is of the monotonic clock, which all processes of a machine share."""
        return {
            "at": time.monotonic(),
            "lag": lag,
            "hashes": self.hashes(),
            "writes": self.commits.now,
            "write_calls": self.commits.calls,
            "write_seconds": self.commits.seconds,
            "write_failures": self.commits.failed,
            "reads": self.store.now,
            "read_calls": self.store.calls,
            "read_seconds": self.store.seconds,
            "read_failures": self.store.failed,
            "backlog": self.backlog,
            "cpu": time.process_time(),
            "loop": time.thread_time(),
            "resident": resident(),
        }

    def hashes(self) -> float:
        plugins = self.auth.plugins.on.values()
        return sum(one.gauges().get(HASHES, 0) for one in plugins if isinstance(one, Gauged))


def resident() -> int:
    """Bytes of memory in use; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - 50 times a second
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
