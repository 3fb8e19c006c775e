"""What `picoauth doctor` says about the breach list."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from picoauth import Check, ConfigError
from picoauth_hibp.filters import Filter, Head
from picoauth_hibp.settings import HibpSettings

DAY = 86400
OLD = 365
"""Days after which a list lacks too much."""
FEW = 1_000_000
"""Digests: a whole list has a thousand times as many."""


class Checkups:
    """Looks at the file itself, not at what a server has open."""

    def __init__(self, settings: HibpSettings, now: Callable[[], int]) -> None:
        self.settings = settings
        self.now = now

    def checks(self) -> Sequence[Check]:
        return [
            Check("hibp-filter", self.unreadable, live=False, level="danger"),
            Check("hibp-filter-size", self.small, live=False),
            Check("hibp-filter-age", self.old, live=False),
            Check("hibp-corpus", self.missing, live=False, level="advice"),
        ]

    def head(self) -> Head | None:
        """What the filter says of itself, if there is one. Raises ConfigError."""
        if self.settings.filter is None:
            return None
        opened = Filter(self.settings.filter)
        opened.close()
        return opened.head

    def readable(self) -> Head | None:
        try:
            return self.head()
        except ConfigError:
            return None

    async def unreadable(self) -> str | None:
        """The server does not start then."""
        try:
            self.head()
        except ConfigError as error:
            return str(error)
        return None

    async def small(self) -> str | None:
        head = self.readable()
        if head is None or head.entries >= FEW:
            return None
        return (
            f"filter in [hibp] holds {head.entries} passwords, a small part of the public list: "
            "make it of the whole one."
        )

    async def old(self) -> str | None:
        head = self.readable()
        days = (self.now() - head.made) // DAY if head else 0
        if days <= OLD:
            return None
        return (
            f"filter in [hibp] is {days} days old: take the public list anew, "
            "and run `picoauth hibp build`."
        )

    async def missing(self) -> str | None:
        if self.settings.filter is not None or self.settings.mode == "online":
            return None
        return (
            "New passwords are compared with the commonest alone: make a filter of the public "
            'breach list with `picoauth hibp build`, or set mode = "online" in [hibp].'
        )
