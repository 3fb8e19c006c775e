"""The queries of lists: names and values are data, and nothing else is let through (M-5)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from picoauth import AuthError, Query, problems
from picoauth_admin.shapes import MOST_AT_ONCE

LONGEST = 2048
"""Code points of what is searched for, and of a cursor twice that."""
USUAL = 50
"""Users of a page where nobody says."""


@dataclass(frozen=True)
class Asked:
    """A page of what is asked for."""

    query: Query
    after: str | None
    limit: int


def text(most: int) -> Callable[[str], str]:
    def read(value: str) -> str:
        if not 1 <= len(value) <= most:
            raise ValueError(f"must have from 1 to {most} characters")
        return value

    return read


def flag(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError("must be true or false")
    return value == "true"


def number(least: int, most: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        found = int(value) if re.fullmatch(r"[0-9]{1,15}", value) else -1
        if not least <= found <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return found

    return read


seconds = number(0, 10**12)

FILTERS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "search": (text(LONGEST), "The beginning of an identifier, in any spelling."),
    "exact": (flag, "`true`: that is the whole identifier."),
    "kind": (text(64), "Search in identifiers of this kind: `username`, `email`, …"),
    "factor": (text(64), "Only who has enrolled this factor."),
    "disabled": (flag, "`true`: only who is disabled. `false`: only who is not."),
    "closed": (flag, "`true`: only who closed the account. `false`: only who did not."),
    "made_from": (seconds, "Only who was made then or later, in seconds since 1970."),
    "made_before": (seconds, "Only who was made before, in seconds since 1970."),
}
PAGES: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "after": (text(4 * LONGEST), "The `next` of the page before."),
    "limit": (number(1, MOST_AT_ONCE), f"Users of a page, at most; {USUAL} by default."),
}
COUNTING = {name: what for name, (_, what) in FILTERS.items()}
LISTING = {name: what for name, (_, what) in {**FILTERS, **PAGES}.items()}


def asked(given: Mapping[str, str], *, paged: bool = True) -> Asked:
    """Raises AuthError (400), which names each parameter that is wrong."""
    known = {**FILTERS, **(PAGES if paged else {})}
    found: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name, value in given.items():
        try:
            found[name] = known[name][0](value)
        except KeyError:
            wrong[name[:64]] = "is no parameter of this list"
        except ValueError as error:
            wrong[name] = str(error)
    if "search" not in given and given.keys() & {"exact", "kind"}:
        wrong["search"] = "is missing, to which exact and kind belong"
    if wrong:
        errors = [{"member": name, "message": what} for name, what in wrong.items()]
        detail = "; ".join(f"{name} {what}" for name, what in wrong.items())
        raise AuthError(problems.INVALID_QUERY, detail, errors=errors)
    after, limit = found.pop("after", None), found.pop("limit", USUAL)
    return Asked(Query(**found), after, limit)
