"""Which cost of Argon2id this machine affords."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from statistics import median

from picoauth_password.hashing import MOST_KIB, PEPPER, SALT, Cost, keyed, usable_cores

PASSES = (2, 3)
"""Argon2id passes of the costs to choose among (OWASP, RFC 9106)."""
ROUNDS = 2
STEP = 1024
"""KiB to which memory is rounded down."""


async def affordable(cost: Cost, seconds: float) -> Sequence[Mapping[str, float]]:
    """The present cost, then for each number of passes the memory whose hash takes about so long.

    All cores hash at once meanwhile, as they do under load. A cost that OWASP advises against is
    left out: then this machine does not afford `seconds`.
    """
    found = [(cost, await asyncio.to_thread(timed, cost))]
    for passes in PASSES:
        tried = replace(cost, iterations=passes)
        for _ in range(2):  # time grows with memory, but not quite in proportion
            tried = scaled(tried, await asyncio.to_thread(timed, tried), seconds)
        if tried.problem() is None:
            found.append((tried, await asyncio.to_thread(timed, tried)))
    return [row(*one) for one in found]


def scaled(cost: Cost, took: float, seconds: float) -> Cost:
    memory = int(cost.memory_kib * seconds / took) // STEP * STEP
    return replace(cost, memory_kib=min(MOST_KIB, max(8 * cost.parallelism, STEP, memory)))


def timed(cost: Cost) -> float:
    """Seconds of one hash while every core has one.

    They are those of the thread's CPU, which other work on the machine hardly changes; where
    lanes have threads of their own, those of the wall clock.
    """
    clock = time.thread_time if cost.parallelism == 1 else time.perf_counter

    def once(_: int) -> float:
        began = clock()
        keyed("a password", bytes(SALT), bytes(PEPPER), cost)
        return clock() - began

    workers = usable_cores()
    with ThreadPoolExecutor(workers) as pool:
        return median(pool.map(once, range(ROUNDS * workers)))


def row(cost: Cost, seconds: float) -> Mapping[str, float]:
    return {
        "memory_kib": cost.memory_kib,
        "iterations": cost.iterations,
        "parallelism": cost.parallelism,
        "milliseconds": seconds * 1e3,
        "logins_per_second": usable_cores() / seconds,
        "memory_mb": usable_cores() * cost.memory_kib * 1024 / 1e6,
    }
