"""Files of an import: their lines, bounded; which names two of them have, and their order."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, TypeAlias, TypeVar

from picoauth.importlines import LONGEST_LINE, Line

T = TypeVar("T")

BOM = b"\xef\xbb\xbf"
CACHE = "pragma cache_size = -32768"
"""KiB of names in memory at once; the rest is in a file that nobody else sees."""
TOGETHER = 1000
NOTE = "insert into seen values (?, ?, ?)"
SORT = "create index sorted on seen (name, line, at)"
PLACES = "select line, at from seen where at is not null order by name"
TWICE = """
    select line, name, first from seen
      join (select name as same, min(line) as first from seen group by name having count(*) > 1)
        on name = same
     where line > first order by line, seen.rowid
"""

Raw: TypeAlias = tuple[int, int, bytes]
"""The number of a line, from 1; how many bytes are before it; and its own."""


def raw_lines(file: IO[bytes]) -> Iterator[Raw]:
    """All lines; of one that is too long there is only so much that it shows."""
    number, at = 0, 0
    while raw := file.readline(LONGEST_LINE + 1):
        number += 1
        yield number, at, unmarked(number, raw)
        rest = raw
        at += len(raw)
        while len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):
            rest = file.readline(LONGEST_LINE + 1)
            at += len(rest)


def lines_at(file: IO[bytes], places: Iterable[tuple[int, int]]) -> Iterator[Raw]:
    """Lines that were found at these places."""
    for number, at in places:
        file.seek(at)
        yield number, at, unmarked(number, file.readline(LONGEST_LINE + 1))


def unmarked(number: int, raw: bytes) -> bytes:
    return raw.removeprefix(BOM) if number == 1 else raw


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


class Names:
    """What only one user can have, of any number of lines in little memory."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect("")  # a temporary file, gone when it is closed
        self.connection.execute(CACHE)
        self.connection.execute("pragma journal_mode = off")
        self.connection.execute("create table seen (name text, line int, at int)")
        self.connection.execute("begin")
        self.waiting: list[tuple[str, int, int | None]] = []

    def add(self, line: Line, at: int) -> None:
        names = [f"{one.kind} {one.value}" for one in line.unique]
        first, *more = [*names, f"id {line.id}"] if line.id else names
        self.waiting.append((first, line.number, at))
        self.waiting += [(name, line.number, None) for name in more]
        if len(self.waiting) > TOGETHER:
            self.write()

    def write(self) -> None:
        self.connection.executemany(NOTE, self.waiting)
        self.waiting.clear()

    def sort(self) -> None:
        """To be called once, when all are there."""
        self.write()
        self.connection.execute(SORT)

    def twice(self) -> Iterator[tuple[int, str, int]]:
        """Numbers of lines with the kind of a name that an earlier line has, too, and its number."""
        for number, name, first in self.connection.execute(TWICE):
            yield number, name.partition(" ")[0], first

    def places(self) -> Iterator[tuple[int, int]]:
        """Numbers and places of all lines, in the order of a name of each."""
        return iter(self.connection.execute(PLACES))

    def close(self) -> None:
        self.connection.close()
