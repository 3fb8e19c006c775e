"""What an event says, as JSON has it: for the log, and for plugins that pass it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from math import isfinite
from typing import Any

from picoauth.callers import Caller
from picoauth.events import Event

LONGEST = 200
"""Characters of any text."""


def said(part: Event | Caller) -> dict[str, Any]:
    """The members of an event, or of its caller, as JSON has them.

    Without what is for plugins alone (L-2), and without the time and the caller of an event.
    Texts are cut at 200 characters. Raises TypeError for what JSON cannot have.
    """
    return members(part)


def members(part: Any) -> dict[str, Any]:
    kind: Any = type(part)
    return {name: plain(getattr(part, name)) for name in told_of(kind)}


@cache
def told_of(kind: type[Any]) -> Sequence[str]:
    """Names of members; an import asks about a million events of one kind."""
    left_out = ("at", "caller") if issubclass(kind, Event) else ()
    return [f.name for f in fields(kind) if f.name not in left_out and f.metadata.get("told", True)]


def plain(value: Any) -> Any:
    """Bytes in hexadecimal, sets in one order, and dataclasses like events."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, bytes):
        return value.hex()[:LONGEST]
    return nested(value)


def nested(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {text(str(plain(name))): plain(one) for name, one in value.items()}
    if isinstance(value, AbstractSet):
        return sorted(map(plain, value), key=repr)
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if is_dataclass(value) and not isinstance(value, type):
        return members(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def text(value: str) -> str:
    """Cut, and without what is no text in UTF-8, which neither databases nor receivers take."""
    return value[:LONGEST].encode(errors="replace").decode()
