"""Inserts of many rows, one statement each, as one statement of all."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache

from picoauth.database import Statement

INSERT = re.compile(
    r"(\s*insert\s+into\s+\w+\s*(?:\([\w\s,]+\)\s*)?values\s*)(\(.*\))\s*", re.DOTALL
)
MOST = 30_000
"""Arguments of one statement; SQLite takes 32,766 of them, and PostgreSQL one more."""


def merged(parts: Sequence[Sequence[Statement]]) -> list[Statement]:
    """The statements of all parts, with rows for the same table in one where they can be.

    Those of each part keep their order. An engine does the rows of one statement by itself, which
    it could not do for so many statements. A conflict does not tell whose row it was.
    """
    rests, found = [deque(part) for part in parts], list[Statement]()
    while rests := [rest for rest in rests if rest]:
        first, same = rests[0][0], list[Statement]()
        for rest in rests:
            while rest and (rest[0].sql, rest[0].rows) == (first.sql, first.rows):
                same.append(rest.popleft())
        found += joined(same)
    return found


def joined(same: Sequence[Statement]) -> Iterator[Statement]:
    """Statements of one text as few of them, if all that they do is to insert a row."""
    sql, rows, args = same[0].sql, same[0].rows, same[0].args
    halves = halved(sql)
    if halves is None or rows not in (None, 1) or len(same) == 1:
        yield from same
        return
    most = MOST // max(1, len(args))
    for begin in range(0, len(same), most):
        some = same[begin : begin + most]
        all_args = [each for one in some for each in one.args]
        text = f"{halves[0]}{', '.join([halves[1]] * len(some))}"
        yield Statement(text, all_args, rows and len(some))


@lru_cache(maxsize=128)
def halved(sql: str) -> tuple[str, str] | None:
    """What comes before the one row that is inserted, and the row; None if that is not all."""
    match = INSERT.fullmatch(sql)
    return (match[1], match[2]) if match and whole(match[2]) else None


def whole(row: str) -> bool:
    """Whether its first bracket is closed by its last."""
    depth = 0
    for place, letter in enumerate(row, 1):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return place == len(row)
    return False
