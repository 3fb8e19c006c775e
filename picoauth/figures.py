"""Counts and durations, for whoever exports them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """Answers of one route with one status, and the seconds that they took together."""

    route: str
    status: int
    count: int
    seconds: float


class Figures:
    """Adds up. Bounded by the routes there are: a path that is none counts as `other`."""

    def __init__(self) -> None:
        self.totals: dict[tuple[str, int], tuple[int, float]] = {}

    def add(self, route: str, status: int, seconds: float) -> None:
        count, total = self.totals.get((route, status), (0, 0.0))
        self.totals[route, status] = count + 1, total + seconds

    def all(self) -> list[Figure]:
        return [Figure(*key, *total) for key, total in sorted(self.totals.items())]
