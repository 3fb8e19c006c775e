"""The commented `picoauth.toml` that `picoauth init` writes: every setting with its default."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from picoauth.discovery import Found, blaming, find, imported, installed
from picoauth.errors import ConfigError
from picoauth.formats import check_name
from picoauth.overrides import fills, replaces
from picoauth.plugins import ALWAYS, each
from picoauth.schemas import is_required
from picoauth.settings import SECRET, Config, Secret
from picoauth.shapes import UNITS, Seconds, hints

HEAD = """\
# The settings of picoauth. A line that begins with "# " and a name shows a default.
# Relative paths count from this file. Times are in seconds, or "10m", "24h", "14d".
"""
SHOWN = {
    "plugins": None,
    "public_url": "http://127.0.0.1:8100",
    "bind": ["unix:picoauth.sock", "tcp:127.0.0.1:8100"],
}
"""What stands there without a comment sign; the plugins are those that are installed."""


def first() -> tuple[str, Sequence[str], Sequence[str]]:
    """A first file, the plugins in it, and what is wrong with those that are left out."""
    known = [found for found in installed() if not (replaces(found) or asks(found))]
    known = [found for found in known if met(found, known)]
    names = dict.fromkeys(found.origin.name for found in known)
    blocks, problems = each(names, lambda name: block(usable(name, known)))
    return text(blocks), list(blocks), problems


def asks(found: Found) -> bool:
    """Whether it cannot be on before somebody wrote a setting of it."""
    with suppress(ConfigError), blaming(found.origin, "has settings that cannot be read"):
        kind: Any = imported(found).settings_type()
        return any(is_required(field) for field in dataclasses.fields(kind))
    return False


def met(found: Found, known: Sequence[Found]) -> bool:
    """Whether the slots that it needs are filled, where they are not always."""
    with suppress(ConfigError):
        needed = set(imported(found).needs) - ALWAYS
        return all(any(fills(one, slot) for one in known) for slot in needed)
    return True


def usable(name: str, known: Sequence[Found]) -> Found:
    """Raises ConfigError for a plugin that the settings could not list."""
    found = find(name, known)
    try:
        check_name(name)
    except ValueError as error:
        raise ConfigError(f"{found.origin} cannot be listed: its name {error}.") from error
    return found


def template(plugins: Sequence[Found]) -> str:
    """The whole file, with these plugins."""
    return text({found.origin.name: block(found) for found in plugins})


def text(blocks: Mapping[str, str]) -> str:
    """The kernel's settings, and below them a block for each plugin."""
    shown: dict[str, Any] = {**SHOWN, "plugins": list(blocks)}
    tables = [
        table(field.name, hints(Config)[field.name])
        for field in dataclasses.fields(Config)
        if field.init and not field.metadata
    ]
    return "".join([HEAD, *lines(Config, shown), *tables, *blocks.values()])


def block(found: Found) -> str:
    """Raises ConfigError for a plugin that cannot be imported, or whose settings are odd."""
    kind = imported(found)
    with blaming(found.origin, "has settings that cannot be read"):
        return table(found.origin.name, kind.settings_type())


def table(name: str, kind: Any) -> str:
    below = "".join(lines(kind, {}))
    return f"\n[{name}]\n{below}" if below else ""


def lines(kind: Any, shown: Mapping[str, Any]) -> Iterator[str]:
    for field in dataclasses.fields(kind):
        about = field.metadata.get("text")
        if about is None:
            continue
        about = " ".join(about.split())
        if field.name in shown:
            yield f"\n# {about}\n{field.name} = {toml(shown[field.name])}\n"
        else:
            value = default(hints(kind)[field.name], field.default)
            yield f"\n# {about}\n# {field.name} = {value}\n"


def default(kind: Any, value: Any) -> str:
    if kind == tuple[Secret, ...]:
        return f'{{ file = "{SECRET}" }}'
    if value is dataclasses.MISSING:
        return '"…"  # needed'
    if value is None:
        return '"…"  # unset by default'
    return f'"{short(value)}"' if kind is Seconds else toml(value)


def toml(value: Any) -> str:
    """Texts, numbers, booleans and lists look the same in TOML and JSON."""
    if isinstance(value, Path):
        return toml(str(value))
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def short(seconds: int) -> str:
    """The largest unit that divides it: 600 is 10m."""
    unit = next(unit for unit, size in reversed(UNITS.items()) if seconds % size == 0)
    return f"{seconds // UNITS[unit]}{unit}"
