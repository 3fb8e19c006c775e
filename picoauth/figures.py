"""Counts and durations, for whoever exports them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds up to which answers are counted apart."""


@dataclass(frozen=True)
class Figure:
    """Answers of one route with one status, and the seconds that they took together."""

    route: str
    status: int
    count: int
    seconds: float
    within: Sequence[tuple[float, int]] = field(default=(), compare=False)
    """How many took so many seconds at most, for a few spans, shortest first."""


class Total:
    """Of one route and status, so far."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.counts = [0] * (len(BOUNDS) + 1)
        """By the span in which an answer lies; the last is for all that took longer."""

    def figure(self, route: str, status: int) -> Figure:
        within = tuple(zip(BOUNDS, accumulate(self.counts), strict=False))
        return Figure(route, status, sum(self.counts), self.seconds, within)


class Figures:
    """Adds up. Bounded by the routes there are: a path that is none counts as `other`."""

    def __init__(self) -> None:
        self.totals: dict[tuple[str, int], Total] = {}

    def add(self, route: str, status: int, seconds: float) -> None:
        total = self.totals.get((route, status))
        if total is None:
            total = self.totals[route, status] = Total()
        total.counts[bisect_left(BOUNDS, seconds)] += 1
        total.seconds += seconds

    def all(self) -> list[Figure]:
        return [total.figure(*key) for key, total in sorted(self.totals.items())]
