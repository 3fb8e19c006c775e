"""What commands print: tables for people, and cells that a terminal can bear."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


def show(columns: Sequence[str], found: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print a table of these columns, or all members as one JSON object a line."""
    for line in map(json.dumps, found) if as_json else table(columns, found):
        click.echo(line)


def table(columns: Sequence[str], found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of aligned cells, below the names of the columns."""
    rows = [columns, *([printable(n, one[n]) for n in columns] for one in found)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(columns))]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def printable(name: str, value: Any) -> str:
    """A cell, without what would move the cursor of a terminal: names are users' own."""
    if value is None:
        return "-"
    if name == "at" or name.endswith("_at"):
        return moment(value)
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(value)) or "-"


def moment(seconds: int) -> str:
    """A time, by the minute and in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%MZ")
