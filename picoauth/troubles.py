"""What went wrong with a message, in words that hold no address."""

from __future__ import annotations

import re
import traceback

from picoauth.errors import ConfigError, Unavailable, Undeliverable

LONGEST = 200
"""Characters of what is told."""
ADDRESS = re.compile(r"\S*@\S*")


def worded(error: Exception) -> str:
    """One line for the log and the database, without what might be an address (L-2)."""
    ours = isinstance(error, Unavailable | Undeliverable | ConfigError)
    said = ADDRESS.sub("…", str(error)) if ours else type(error).__name__
    return " ".join("".join(c if c.isprintable() else " " for c in said).split())[:LONGEST]


def where(error: Exception) -> str:
    """The line that raised what nobody foresaw; its text may hold an address."""
    if isinstance(error, Unavailable | ConfigError):
        return ""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f" ({last.filename}:{last.lineno})"
