"""Finds what is installed, without importing it, and imports what is listed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol

from picoauth.errors import ConfigError
from picoauth.hooks import Plugin

GROUP = "picoauth.v1"
"""The entry-point group. A breaking change of the hooks is a new one."""


@dataclass(frozen=True)
class Origin:
    """A plugin and the distribution that it came in."""

    name: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"plugin {self.name} ({self.distribution} {self.version})"


class Entry(Protocol):
    """What an entry point is to the loader."""

    @property
    def value(self) -> str: ...
    @property
    def group(self) -> str: ...
    def load(self) -> Any: ...


@dataclass(frozen=True)
class Found:
    """An entry point of an installed distribution."""

    origin: Origin
    entry: Entry


def installed(group: str = GROUP) -> list[Found]:
    """What is installed, listed or not; nothing is imported."""
    return [
        Found(Origin(e.name, e.dist.name if e.dist else "?", e.dist.version if e.dist else "?"), e)
        for e in sorted(entry_points(group=group), key=lambda e: e.name)
    ]


def imported(found: Found) -> type[Plugin[Any]]:
    try:
        kind = found.entry.load()
    except Exception as error:
        raise ConfigError(
            f"{found.origin} cannot be imported: {error!r}. Reinstall it, or remove it from `plugins`."
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Plugin)):
        raise ConfigError(f"{found.origin} names {found.entry.value}, which is no Plugin.")
    return kind


def groups() -> list[str]:
    return sorted(group for group in entry_points().groups if group.startswith("picoauth."))
