"""Counting of any number of sources in memory of one size: it errs, but only against them."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from hashlib import blake2b
from math import ceil

from picoauth_ratelimit.settings import Rate

ROWS = 4
WIDTH = 1 << 17
"""Cells of a row. With 4 bytes each, and six groups, it is 12 MiB; pages that are not used cost nothing."""
TICKS = 100
"""In a second."""
WRAP = 0xFFFFFFFF


class Sketch:
    """A virtual queue for each source (GCRA), in the cells of a count-min sketch.

    Each source has a cell in each row, with the time at which its queue is empty; others share
    some of them, but seldom all: the emptiest cell is the one that counts. So a source waits at
    most longer than it has to, never less (A-6), and nothing has to be cleaned up, since times
    pass by themselves. The places are keyed: nobody can look for those of somebody else.
    """

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        self.step = ceil(rate.seconds * TICKS / rate.count)
        self.span = self.step * rate.count
        self.clock = clock
        self.start = clock()
        self.key = os.urandom(16)
        self.cells = memoryview(mmap.mmap(-1, ROWS * WIDTH * 4)).cast("I")

    def take(self, source: bytes) -> float:
        """0 where the source may go on, and is counted; else seconds to wait."""
        now = int((self.clock() - self.start) * TICKS) & WRAP
        places = self.places(source)
        debts = [self.debt(place, now) for place in places]
        debt = min(debts) + self.step
        if debt > self.span:
            return (debt - self.span) / TICKS
        for place, known in zip(places, debts, strict=True):
            if known < debt:
                self.cells[place] = (now + debt) & WRAP or 1  # 0 is one that was never used
        return 0

    def debt(self, place: int, now: int) -> int:
        """Ticks until a cell is empty: never used, or past, or of a clock that went back."""
        cell = self.cells[place]
        ahead = (cell - now) & WRAP
        return ahead if cell and ahead <= self.span + 1 else 0

    def places(self, source: bytes) -> list[int]:
        digest = blake2b(source, digest_size=4 * ROWS, key=self.key).digest()
        return [
            row * WIDTH + int.from_bytes(digest[4 * row : 4 * row + 4], "big") % WIDTH
            for row in range(ROWS)
        ]
