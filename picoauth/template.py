"""The commented `picoauth.toml` that `picoauth init` writes: every setting with its default."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

from picoauth.discovery import Found, imported
from picoauth.settings import Config
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


def template(installed: Sequence[Found]) -> str:
    """The whole file, for the plugins that are installed."""
    names = [found.origin.name for found in installed]
    shown: dict[str, Any] = {**SHOWN, "plugins": names}
    blocks = [HEAD, *lines(Config, shown)]
    tables: list[tuple[str, Any]] = [
        (field.name, hints(Config)[field.name])
        for field in dataclasses.fields(Config)
        if field.init and not field.metadata
    ]
    plugins = [(found.origin.name, imported(found).settings_type()) for found in installed]
    for name, kind in [*tables, *plugins]:
        if dataclasses.fields(kind):
            blocks += [f"\n[{name}]\n", *lines(kind, {})]
    return "".join(blocks)


def lines(kind: Any, shown: dict[str, Any]) -> Iterator[str]:
    for field in dataclasses.fields(kind):
        text = field.metadata.get("text")
        if text is None:
            continue
        if field.name in shown:
            yield f"\n# {text}\n{field.name} = {toml(shown[field.name])}\n"
        else:
            span = hints(kind)[field.name] is Seconds
            yield f"\n# {text}\n# {field.name} = {default(field, span=span)}\n"


def default(field: dataclasses.Field[Any], *, span: bool) -> str:
    if field.name == "secret":
        return '{ file = "picoauth.secret" }'
    value: Any = field.default
    if value is None:
        return '"…"'
    return f'"{short(value)}"' if span else toml(value)


def toml(value: Any) -> str:
    """Texts, numbers, booleans and lists look the same in TOML and JSON."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def short(seconds: int) -> str:
    """The largest unit that divides it: 600 is 10m."""
    unit = next(unit for unit, size in reversed(UNITS.items()) if seconds % size == 0)
    return f"{seconds // UNITS[unit]}{unit}"
