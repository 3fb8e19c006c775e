"""What happens to the log itself, as events that are rows of it."""

from __future__ import annotations

from dataclasses import dataclass

from picoauth import Event


@dataclass(frozen=True, kw_only=True)
class RefusalsCounted(Event):
    """In one minute there were more refusals of a kind than have rows: so many more."""

    kind: str
    minute: int
    """When the minute began, in seconds since 1970."""
    count: int


@dataclass(frozen=True, kw_only=True)
class DeletionNoticed(Event):
    """A user was deleted while the plugin was off: the one that had this pseudonym."""

    pseudonym: str


@dataclass(frozen=True, kw_only=True)
class AuditRestarted(Event):
    """A new chain began after a broken one, whose rows went into a file."""

    why: str
    rows: int
