"""What the kernel and plugins ask of storage, whatever engine is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

Args: TypeAlias = Sequence[str | int | float | bytes | None]
Row: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class Statement:
    """One SQL statement of a write, in a portable dialect with `?` for arguments.

    `rows` is the number of rows that it must touch (or return), else the whole write is
    undone: that is how a race is decided, in one statement, without reading first.
    """

    sql: str
    args: Args = ()
    rows: int | None = None


class Database(Protocol):
    """What the kernel and plugins ask of storage; the occupant of the slot `database`."""

    async def read(self, sql: str, args: Args = (), *, slow: bool = False) -> list[Row]:
        """Rows of a committed state. `slow` says that it is no look-up by key."""
        ...

    async def write(self, *statements: Statement) -> list[list[Row]]:
        """Do all or nothing, and answer after the commit, with the rows of each statement.

        Raises Conflict where a statement breaks a constraint or touches another number of
        rows than it says, and Unavailable where the database cannot be reached.
        """
        ...

    async def close(self) -> None: ...


def values_of(table: str, column: str) -> str:
    """A query for the values of an indexed column, in their order.

    It looks into the index once for each of them, where `distinct` would read all of it.
    """
    return f"""
        with recursive found (value) as (
            select min({column}) from {table}
             union all
            select (select min(t.{column}) from {table} t where t.{column} > found.value)
              from found where found.value is not null
        )
        select value from found where value is not null
    """
