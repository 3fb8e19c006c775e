"""Whose rows a statement is about: a user's, named by id or by what people type."""

from __future__ import annotations

from dataclasses import dataclass

from picoauth.database import Args
from picoauth.errors import AuthError
from picoauth.identifiers import canonical, kind_of

OWNER = "(select user_id from identifiers where kind = ? and value = ? and verified_at is not null)"


@dataclass(frozen=True)
class Whose:
    """A user's id as SQL finds it: an expression, null for nobody, and its arguments.

    So a name needs no look of its own: whatever is read of a user, and what is counted for
    one, goes to a database far away in one trip.
    """

    sql: str
    args: Args

    @classmethod
    def of(cls, user_id: str) -> Whose:
        return cls("?", (user_id,))

    @classmethod
    def identified(cls, kind: str, text: str) -> Whose:
        """Whoever has the verified identifier; a text that cannot be one is nobody's."""
        try:
            return cls(OWNER, (kind, canonical(kind, text)))
        except AuthError:
            return cls(OWNER, (kind, None))  # equals nothing

    @classmethod
    def named(cls, typed: str) -> Whose:
        """By what people type: a user name, or a verified e-mail address."""
        return cls.identified(kind_of(typed), typed)


NOBODY = Whose.of("")
