"""The directory of users: found by any identifier, listed and counted, a page at a time."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from picoauth.database import Args, Database
from picoauth.errors import AuthError
from picoauth.identifiers import Identifier
from picoauth.problems import INVALID_CURSOR
from picoauth.users import COLUMNS, User
from picoauth.ways import LARGEST, Query, Way, marks, way_of

LOOK = 2000
"""Rows that one page looks at where a filter may pass few: then there are more pages, not a wait."""
COUNTED = 1_000_000
"""As far as anything is counted."""


@dataclass(frozen=True)
class Listed:
    """A user, with everything that finds it or would if it were verified."""

    user: User
    identifiers: Sequence[Identifier]

    @property
    def username(self) -> str | None:
        return next((i.display for i in self.identifiers if i.kind == "username"), None)


@dataclass(frozen=True)
class Page:
    """Some of the users. It may be short, even empty, while there is a `next`."""

    users: Sequence[Listed]
    next: str | None
    """The cursor of the page that follows; None where there is none."""


class Directory:
    """Finds users by indexes alone: a million of them take no longer than a hundred."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def page(self, query: Query, *, after: str | None, limit: int) -> Page:
        """At most `limit` users behind a cursor. Raises AuthError (400) for one that is made up."""
        way = way_of(query)
        key = way.start if after is None else read(way, after)
        end = await self.end(way, key) if way.rest else None
        upto = [] if end is None else [(f"({way.order}) <= ({marks(end)})", end)]
        where, args = way.where(key, *way.once, *way.rest, *upto)
        sql = f"select {way.order}, {COLUMNS} from {way.source} and {where} order by {way.order} limit ?"
        rows, size = await self.database.read(sql, (*args, limit + 1), slow=True), len(way.key)
        keys, users = [row[:size] for row in rows], [User(*row[size:]) for row in rows[:limit]]
        last = keys[limit - 1] if len(rows) > limit else end
        return Page(await self.described(users), None if last is None else written(way, last))

    async def end(self, way: Way, key: Args) -> Args | None:
        """The key as far as one page looks; None where that is everything."""
        where, args = way.where(key)
        sql = f"select {way.order} from {way.source} and {where} order by {way.order} limit 1 offset ?"
        rows = await self.database.read(sql, (*args, LOOK - 1), slow=True)
        return rows[0] if rows else None

    async def count(self, query: Query) -> int:
        """How many there are, as far as `COUNTED`; that takes the longer the more there are."""
        way = way_of(query)
        where, args = way.where(way.start, *way.once, *way.rest)
        sql = f"select count(*) from (select 1 from {way.source} and {where} limit ?) as found"
        rows = await self.database.read(sql, (*args, COUNTED), slow=True)
        found: int = rows[0][0]
        return found

    async def described(self, users: Sequence[User]) -> Sequence[Listed]:
        if not users:
            return []
        ids = [user.id for user in users]
        sql = f"""
            select user_id, kind, value, display, verified_at from identifiers
             where user_id in ({", ".join("?" * len(ids))}) order by user_id, kind, value
        """
        found: dict[str, list[Identifier]] = {}
        for user_id, kind, value, display, at in await self.database.read(sql, ids, slow=True):
            one = Identifier(kind, value, display, at is not None)
            found.setdefault(user_id, []).append(one)
        return [Listed(user, found.get(user.id, [])) for user in users]


def written(way: Way, key: Args) -> str:
    """A cursor: opaque to clients, and yet nothing that is believed when it comes back."""
    text = json.dumps([way.name, *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def read(way: Way, cursor: str) -> Args:
    """The key in a cursor. Raises AuthError for one of another list, or of nobody's."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found: Any = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        name, *key = found
        check(way, name, key)
    except (ValueError, TypeError, RecursionError) as error:
        raise AuthError(INVALID_CURSOR) from error
    return max(way.start, tuple(key))


def check(way: Way, name: Any, key: Sequence[Any]) -> None:
    """Raises ValueError for a key of another list, or what no database can compare."""
    if name != way.name or [*map(type, key)] != [*map(type, way.start)]:
        raise ValueError("of another list")
    for part in key:
        if isinstance(part, str):
            part.encode()  # no lone surrogate
        elif abs(part) > LARGEST:
            raise ValueError("no integer of a database's")
