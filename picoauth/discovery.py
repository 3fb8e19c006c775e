"""Finds what is installed, without importing it, and imports what is listed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

from picoauth.config import KERNEL
from picoauth.errors import ConfigError
from picoauth.hooks import Plugin
from picoauth.schema import TABLES
from picoauth.shapes import suggest

GROUP = "picoauth.v1"
"""The entry-point group. A breaking change of the hooks is a new one."""
REMEDY = "tell its authors, or remove it from `plugins`"
COMMANDS = {
    *("serve", "init", "plugins", "migrate", "users", "keys", "sessions", "doctor"),
    *("backup", "restore", "upgrade", "completion", "new-plugin"),
}
RESERVED = KERNEL | COMMANDS | {"picoauth"}
"""Names that no plugin may have: commands, settings, and the owner of the kernel's migrations."""


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
    found = [Found(origin(entry), entry) for entry in entry_points(group=group)]
    return sorted(found, key=lambda each: (each.origin.name, each.origin.distribution))


def origin(entry: EntryPoint) -> Origin:
    """A distribution that lost its metadata must not stop a server that does not list it."""
    metadata: Any = (entry.dist and entry.dist.metadata) or {}
    return Origin(entry.name, metadata.get("Name", "?"), metadata.get("Version", "?"))


def find(name: str, known: Sequence[Found]) -> Found:
    """The one that is listed by this name. Raises ConfigError."""
    mine = [found for found in known if found.origin.name == name]
    if is_reserved(name):
        who = mine[0].origin if mine else f"plugins: {name}"
        raise ConfigError(f"{who} has a name that is the kernel's: remove it from `plugins`.")
    if not mine:
        raise ConfigError(missing(name, [found.origin.name for found in known]))
    if len(mine) > 1:
        both = " and ".join(f"{f.origin.distribution} {f.origin.version}" for f in mine)
        raise ConfigError(f"plugins: {name} is offered by {both}: uninstall one of them.")
    return mine[0]


def is_reserved(name: str) -> bool:
    """A command, a setting, or a name whose tables could be the kernel's."""
    prefix = name.replace("-", "_")
    return name in RESERVED or any(f"{table}_".startswith(f"{prefix}_") for table in TABLES)


def missing(name: str, known: Sequence[str]) -> str:
    others = [found for group in groups() if group != GROUP for found in installed(group)]
    for found in others:
        if found.origin.name == name:
            return (
                f"{found.origin} was written for the hooks {found.entry.group}, this server "
                f"has {GROUP}: install a version of {found.origin.distribution} that fits."
            )
    near = suggest(name, known)
    return f"plugins: {name} is not installed{near or f': run `pip install picoauth-{name}`.'}"


def imported(found: Found) -> type[Plugin[Any]]:
    """Raises ConfigError for what cannot be imported, or is no plugin."""
    with blaming(found.origin, "cannot be imported", "reinstall it, or remove it from `plugins`"):
        kind = found.entry.load()
    if not (isinstance(kind, type) and issubclass(kind, Plugin)):
        raise ConfigError(
            f"{found.origin} names {found.entry.value}, which is no Plugin: {REMEDY}."
        )
    return kind


def groups() -> list[str]:
    return sorted(group for group in entry_points().groups if group.startswith("picoauth."))


@contextmanager
def blaming(origin: Origin, what: str, remedy: str = REMEDY) -> Iterator[None]:
    """Word whatever a plugin's code raises, `sys.exit()` too, as one sentence: a ConfigError."""
    try:
        yield
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{origin} {what} ({told(error)}): {remedy}.") from error


def told(error: BaseException) -> str:
    """An exception on one line, of 300 characters at most."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
