"""How often one host is asked in a minute: no server is used to knock at another's door."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

MINUTE = 60
MOST = 10_000
"""Hosts that are counted at once; when there are more, all count as one (A-6)."""


class Hosts:
    """Counts by host and minute, in this process."""

    def __init__(self, most: int, now: Callable[[], int]) -> None:
        self.most = most
        self.now = now
        self.minute = 0
        self.counts: dict[str, int] = {}

    def wait(self, url: str) -> int:
        """Count one more, of a URL that was checked: 0, or the seconds until the next may come."""
        minute, gone = divmod(self.now(), MINUTE)
        if minute != self.minute:
            self.minute, self.counts = minute, {}
        host = urlsplit(url).hostname or ""
        key = host if host in self.counts or len(self.counts) < MOST else ""
        self.counts[key] = self.counts.get(key, 0) + 1
        return MINUTE - gone if self.counts[key] > self.most else 0
