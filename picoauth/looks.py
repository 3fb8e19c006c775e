"""A look at whom a login is of: all that it takes of a user, of one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from picoauth.database import Row, Statement
from picoauth.drafts import Enrolment
from picoauth.users import ENROLMENTS, IDENTIFIERS, USER, User, user_in, username_in
from picoauth.whose import Whose


@dataclass(frozen=True)
class Look:
    """What is known of a user, or of nobody."""

    user: User | None
    username: str | None
    enrolments: Sequence[Enrolment]
    rows: Sequence[Row] = ()
    """Of what a factor asked for beside it."""


def looking(whose: Whose) -> list[Statement]:
    """What a login takes of a user; nobody takes the same (P-8). It belongs into one write.

    What is read one after another may be of before and after a change, and an old password
    beside a new epoch would let somebody in.
    """
    return [Statement(f"{sql}{whose.sql}", whose.args) for sql in (USER, IDENTIFIERS, ENROLMENTS)]


def looked(found: Sequence[Sequence[Row]]) -> Look:
    """What `looking` found, and the rows of what was asked for behind it."""
    user, names, enrolled, *more = found
    enrolments = sorted((Enrolment(*row) for row in enrolled), key=lambda one: one.id)
    rows = [row for found in more for row in found]
    return Look(user_in(user), username_in(names), enrolments, rows)
