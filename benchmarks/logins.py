"""Logins per second, beside what the bare Argon2 calls reach on all cores.

Ten interleaved runs of three seconds each, the best of them. The bare calls are the plugin's
own Argon2id function with its default cost, in a thread per core of this process, made ready
as the plugin's threads are, so at the same low priority. The logins come over four keep-alive
connections per core on loopback, each for a user of its own, with requests made ahead: the
client shares the cores. The CPU that each takes (all threads, user and system, least of ten)
tells what the rates would be if nothing else ran.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from client import message
from measure import PASSWORD, Figure, Server, folder, main, person, register, serving, together

from picoauth_password.hashing import Cost, keyed, prepare, usable_cores

CORES = usable_cores()
RUNS, SECONDS = 10, 3.0
NAMES = [f"user{number}" for number in range(4 * CORES)]


@dataclass(frozen=True)
class Run:
    """`rate` is per second, `cpu` in milliseconds for each."""

    rate: float
    cpu: float


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    runs, seconds = (3, 1.0) if quick else (RUNS, SECONDS)
    with folder() as path, serving(path) as server:
        register(server, NAMES)
        pairs = [(hashes(seconds), logins(server, seconds)) for _ in range(runs)]
    bare, whole = (max(run.rate for run in side) for side in zip(*pairs, strict=True))
    hash_cpu, login_cpu = (min(run.cpu for run in side) for side in zip(*pairs, strict=True))
    return [
        Figure(f"bare Argon2id, {CORES} threads", bare, "/s"),
        Figure("logins", whole, "/s"),
        Figure("  by the bare calls", whole / bare, least=0.9),
        Figure("CPU of a bare call", hash_cpu, "ms"),
        Figure("CPU of a login, server and client", login_cpu, "ms"),
        Figure("  bare call by login", hash_cpu / login_cpu),
    ]


def hashes(seconds: float) -> Run:
    def once() -> None:
        keyed(PASSWORD, bytes(16), bytes(32), Cost())

    with ThreadPoolExecutor(CORES, initializer=prepare) as pool:
        list(pool.map(lambda _: once(), range(CORES)))
        began = time.process_time()
        counts = list(pool.map(lambda _: repeat(once, seconds), range(CORES)))
    return Run(sum(counts) / seconds, (time.process_time() - began) / sum(counts) * 1e3)


def logins(server: Server, seconds: float) -> Run:
    counts = [0.0] * len(NAMES)

    def some(index: int) -> None:
        client, raw = server.client(), message("POST", "/auth/login", person(NAMES[index]))

        def login() -> None:
            client.send(raw)
            answer = client.receive()
            if answer.status != 200:
                raise RuntimeError(f"a login is answered {answer.status}: {answer.body!r}")

        counts[index] = repeat(login, seconds)
        client.close()

    began = server.cpu() + time.process_time()
    together(len(NAMES), some)
    spent = server.cpu() + time.process_time() - began
    return Run(sum(counts) / seconds, spent / sum(counts) * 1e3)


def repeat(once: Callable[[], None], seconds: float) -> float:
    """How often it can be done in a time; the one that the end cuts counts by its part."""
    began = before = time.perf_counter()
    end, count = began + seconds, 0
    while True:
        once()
        now = time.perf_counter()
        if now >= end:
            return count + (end - before) / (now - before)
        count, before = count + 1, now


if __name__ == "__main__":
    main(__doc__, work)
