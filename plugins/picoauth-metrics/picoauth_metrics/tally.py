"""Counts of events, since the process started."""

from __future__ import annotations

from collections import Counter

from picoauth import Event, LoginCompleted, LoginFailed, SessionDerived

MOST = 100
"""Names that are counted apart: no label may have any number of values."""
OTHER = "other"


class Tally:
    """By type of event, and of logins by how they went."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.logins: Counter[str] = Counter()

    def add(self, event: Event) -> None:
        count(self.events, type(event).__name__)
        if isinstance(event, LoginCompleted):
            count(self.logins, "completed")
        elif isinstance(event, LoginFailed):
            count(self.logins, event.code)

    @property
    def sessions(self) -> int:
        made = (LoginCompleted, SessionDerived)
        return sum(self.events[kind.__name__] for kind in made)


def count(counter: Counter[str], name: str) -> None:
    counter[name if name in counter or len(counter) < MOST else OTHER] += 1
