"""The log for administrators: `GET /admin/audit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from picoauth import AuthError, Reply, Request, Route
from picoauth_audit.reading import Filter, Reader, moment
from picoauth_audit.shapes import INVALID_QUERY, Entries

MOST = 200
"""Rows of a page."""
DIGITS = 15
"""Of a number; more would be no place in any chain."""
QUERY: Mapping[str, str] = {
    "user": "Of this user: an id, a user name, a verified address, or a pseudonym.",
    "event": "Of this event.",
    "since": "From this time on: seconds since 1970, or ISO 8601.",
    "until": "Before this time.",
    "actor": "By whom, as `key:NAME` or `user:ID`.",
    "address": "From this address.",
    "before": "Rows before this one: the `next` of a page.",
    "limit": f"So many at most; {MOST} by default, and no more.",
}


class Routes:
    """Handlers for administrators."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def all(self) -> list[Route]:
        return [
            Route(
                method="GET",
                path="/admin/audit",
                handler=self.show,
                policy="admin",
                listener="admin",
                query=QUERY,
                answer=Entries,
                problems=(INVALID_QUERY,),
            )
        ]

    async def show(self, request: Request) -> Reply:
        """The log, the newest row first."""
        limit = number(request.query, "limit", MOST)
        if not 1 <= limit <= MOST:
            raise AuthError(INVALID_QUERY, f"limit must be from 1 to {MOST}")
        wanted = await self.filter(request.query)
        entries, following = ([], None) if wanted is None else await self.reader.page(wanted, limit)
        return Reply({"entries": list(entries), "next": following})

    async def filter(self, query: Mapping[str, str]) -> Filter | None:
        """None where there cannot be such rows. Raises AuthError."""
        for name in query:
            if name not in QUERY:
                raise AuthError(INVALID_QUERY, f"{name} is unknown")
        before = number(query, "before", 0) if "before" in query else None
        given: dict[str, Any] = {n: query[n] for n in ("event", "actor", "address") if n in query}
        if "user" in query:
            given["user"] = await self.reader.user(query["user"])
            if given["user"] is None:
                return None
        for name in ("since", "until"):
            if name in query:
                given[name] = time(query, name)
        return Filter(before=before, **given)


def number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS):
        raise AuthError(INVALID_QUERY, f"{name} must be a whole number")
    return int(text)


def time(query: Mapping[str, str], name: str) -> int:
    try:
        return moment(query[name])
    except (ValueError, OverflowError) as error:
        raise AuthError(INVALID_QUERY, f"{name} must be a time") from error
