"""How long a check of a token takes while 32 clients log in without pause.

One keep-alive connection asks `/jwt/validate` a hundred times a second on loopback, first
while nothing else happens (calm), then while another process logs in over 32 connections, each
for a user of its own and again as soon as the last answer is there, whatever it was: most are
503 while the queue is full, or 429. Five spells of ten seconds of each, in turn. The figures are
the 99th of 100 answers, over all spells.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.synchronize import Event

from client import Client, message
from measure import Figure, folder, main, person, register, serving, together

CLIENTS, SPELLS, SECONDS, PACE = 32, 5, 10.0, 0.01
NAMES = [f"user{number}" for number in range(CLIENTS)]
ASKING = "asking"
"""Whose session nobody ends: of a user's many logins the oldest make room."""
LEAST_BOUND = 25.0
"""Milliseconds that are allowed however fast calm is."""


def work(quick: bool) -> Sequence[Figure]:  # noqa: FBT001 - what the command line says
    spells, seconds = (2, 3.0) if quick else (SPELLS, SECONDS)
    with folder() as path, serving(path) as server:
        register(server, [ASKING, *NAMES])
        client = server.client()
        token = client.ask("POST", "/auth/login", person(ASKING))["access_token"]
        raw = message("POST", "/jwt/validate", token=token)
        calm, busy, done = [], [], [0, 0]
        for _ in range(spells):
            calm += probe(client, raw, seconds)
            with flood(server.address, done):
                busy += probe(client, raw, seconds)
    bound = max(LEAST_BOUND, 3 * percentile(calm, 99))
    return [
        Figure("calm, median", percentile(calm, 50), "ms"),
        Figure("calm, p99", percentile(calm, 99), "ms"),
        Figure(f"{CLIENTS} clients log in, median", percentile(busy, 50), "ms"),
        Figure(f"{CLIENTS} clients log in, p99", percentile(busy, 99), "ms", most=bound),
        Figure(f"{CLIENTS} clients log in, longest", max(busy), "ms"),
        Figure("logins meanwhile", done[0] / spells / seconds, "/s"),
        Figure("refusals meanwhile", done[1] / spells / seconds, "/s"),
    ]


def probe(client: Client, raw: bytes, seconds: float) -> list[float]:
    """Milliseconds until each answer, asked at a steady pace."""
    found, due = [], time.perf_counter()
    end = due + seconds
    while due < end:
        time.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        client.send(raw)
        assert client.receive().status == 200
        found.append((time.perf_counter() - began) * 1e3)
        due = max(due + PACE, time.perf_counter())
    return found


@contextmanager
def flood(address: str, done: list[int]) -> Iterator[None]:
    """Log in without pause, in a process of its own; counts logins and refusals."""
    context = multiprocessing.get_context("spawn")
    begun, over, counts = context.Event(), context.Event(), context.SimpleQueue()
    process = context.Process(target=log_in, args=(address, begun, over, counts))
    process.start()
    begun.wait(60)
    try:
        yield
    finally:
        over.set()
        for index, count in enumerate(counts.get()):
            done[index] += count
        process.join()


def log_in(address: str, begun: Event, over: Event, counts: multiprocessing.SimpleQueue) -> None:  # type: ignore[type-arg]
    done = [0, 0]

    def some(index: int) -> None:
        client, raw = Client(address), message("POST", "/auth/login", person(NAMES[index]))
        while not over.is_set():
            client.send(raw)
            status = client.receive().status
            assert status in (200, 429, 503), status
            done[status != 200] += 1
        client.close()

    begun.set()
    together(CLIENTS, some)
    counts.put(done)


def percentile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[len(values) * percent // 100]


if __name__ == "__main__":
    main(__doc__, work)
