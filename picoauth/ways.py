"""Ways to users: each an index that is walked in its order, so that none is slow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from picoauth.database import Args
from picoauth.errors import AuthError
from picoauth.identifiers import canonical, folded, kind_of

LAST = "\U0010ffff"
"""Behind everything that begins alike: no identifier has it."""
LARGEST = 2**63 - 1
"""Of the database's integers."""

SLASHES = 3
"""Of a web address as long as it has no path."""

Condition = tuple[str, Args]
"""What stands behind `where`, with its arguments."""
DISABLED: Mapping[bool, str] = {True: "u.disabled_at is not null", False: "u.disabled_at is null"}
CLOSED: Mapping[bool, str] = {True: "u.closed_at is not null", False: "u.closed_at is null"}
PASSED = "exists (select 1 from enrolments e where e.user_id = u.id and e.factor = ? and e.confirmed_at is not null)"


@dataclass(frozen=True, kw_only=True)
class Query:
    """Which users are asked for; what is left out excludes nobody. Times are seconds since 1970."""

    search: str | None = None
    """The beginning of an identifier in any spelling, verified or not; wildcards are none."""
    exact: bool = False
    """Whether that is the whole identifier."""
    kind: str | None = None
    """Of the identifier that is searched for."""
    factor: str | None = None
    """One that is enrolled and confirmed."""
    disabled: bool | None = None
    closed: bool | None = None
    """Whether the user gave the account up, which is not deleted yet."""
    made_from: int | None = None
    made_before: int | None = None


@dataclass(frozen=True)
class Way:
    """An index that is walked in its order, from behind a key, and conditions on what it finds."""

    name: str
    source: str
    """What is joined, and by which condition; tables in the order in which they are read."""
    key: Sequence[str]
    """Columns of the index, which find each row once."""
    start: tuple[str | int, ...]
    """Stands before every key."""
    within: Sequence[Condition] = ()
    """Where the walk ends."""
    once: Sequence[Condition] = ()
    """That a user who is found by several rows comes by the first of them."""
    rest: Sequence[Condition] = ()
    """What is looked at row by row."""

    @property
    def order(self) -> str:
        return ", ".join(self.key)

    def where(self, after: Args, *conditions: Condition) -> tuple[str, Args]:
        """The text behind `where`, and its arguments."""
        behind = (f"({self.order}) > ({marks(self.key)})", after)
        parts = [*self.within, behind, *conditions]
        return " and ".join(text for text, _ in parts), tuple(a for _, args in parts for a in args)


def way_of(query: Query) -> Way:
    """The narrowest index for what is asked."""
    rest = [*states(query), *between(query)]
    if query.search is not None:
        factor = [] if query.factor is None else [(PASSED, (query.factor,))]
        return searching(query, query.search, [*factor, *rest])
    if query.factor is not None:
        return having(query.factor, rest)
    if query.disabled:
        return disabled([*closing(query), *between(query)])
    return closed(rest) if query.closed else made(query, states(query))


def states(query: Query) -> Sequence[Condition]:
    barred = [] if query.disabled is None else [(DISABLED[query.disabled], ())]
    return [*barred, *closing(query)]


def closing(query: Query) -> Sequence[Condition]:
    return [] if query.closed is None else [(CLOSED[query.closed], ())]


def between(query: Query) -> Sequence[Condition]:
    bounds = {"u.created_at >= ?": query.made_from, "u.created_at < ?": query.made_before}
    return [(text, (at,)) for text, at in bounds.items() if at is not None]


def searching(query: Query, search: str, rest: Sequence[Condition]) -> Way:
    """By the beginning of the canonical form; a user with several that fit comes by the first."""
    first = beginning(search, query)
    last = first if query.exact else first + LAST
    kinds = [] if query.kind is None else [("i.kind = ?", (query.kind,))]
    earlier = f"""
        not exists (select 1 from identifiers j
         where j.user_id = i.user_id and j.value >= ? and j.value <= ?
           and (j.value, j.kind) < (i.value, i.kind) {"and j.kind = i.kind" if kinds else ""})
    """
    return Way(
        name="search",
        source="identifiers i cross join users u where u.id = i.user_id",
        key=("i.value", "i.user_id", "i.kind"),
        start=(first, "", ""),
        within=[("i.value <= ?", (last,))],
        once=[(earlier, (first, last))],
        rest=[*kinds, *rest],
    )


def having(factor: str, rest: Sequence[Condition]) -> Way:
    """Who has enrolled a factor, once however many of them."""
    earlier = """
        not exists (select 1 from enrolments f where f.user_id = e.user_id
           and f.factor = e.factor and f.confirmed_at is not null and f.id < e.id)
    """
    return Way(
        name="factor",
        source="enrolments e cross join users u where u.id = e.user_id",
        key=("e.user_id", "e.id"),
        start=("", ""),
        within=[("e.factor = ?", (factor,))],
        once=[("e.confirmed_at is not null", ()), (earlier, ())],
        rest=rest,
    )


def disabled(rest: Sequence[Condition]) -> Way:
    """In the order in which they were disabled."""
    return Way(
        name="disabled",
        source="users u where u.disabled_at is not null",
        key=("u.disabled_at", "u.id"),
        start=(-1, ""),
        rest=rest,
    )


def closed(rest: Sequence[Condition]) -> Way:
    """In the order in which they are deleted."""
    return Way(
        name="closed",
        source="users u where u.delete_at is not null",
        key=("u.delete_at", "u.id"),
        start=(-1, ""),
        rest=rest,
    )


def made(query: Query, rest: Sequence[Condition]) -> Way:
    """In the order in which they were made, of which two times are a range."""
    last = LARGEST if query.made_before is None else query.made_before
    return Way(
        name="made",
        source="users u where true",
        key=("u.created_at", "u.id"),
        start=(-1 if query.made_from is None else query.made_from, ""),
        within=[("u.created_at < ?", (last,))],
        rest=rest,
    )


def beginning(search: str, query: Query) -> str:
    """What is searched for, as identifiers are compared; half a name may have no such form."""
    kind = query.kind or ("url" if "://" in search else kind_of(search))
    half = kind == "url" and not query.exact and search.count("/") < SLASHES
    try:
        return folded(search) if half else canonical(kind, search)
    except AuthError:
        return folded(search)


def marks(args: Sequence[Any]) -> str:
    return ", ".join("?" * len(args))
