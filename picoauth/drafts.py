"""Users who are about to be made, and what they begin with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from picoauth.database import Statement
from picoauth.errors import AuthError, Conflict
from picoauth.identifiers import Identifier
from picoauth.problems import IDENTIFIER_TAKEN, USERNAME_TAKEN


@dataclass(frozen=True)
class Enrolment:
    """A factor that a user has; the credential is a row of the plugin that refers to it."""

    id: str
    user_id: str
    factor: str
    label: str | None = None
    confirmed_at: int | None = None
    last_used_at: int | None = None


@dataclass(frozen=True)
class Draft:
    """A user who is about to be made."""

    user_id: str
    identifiers: Sequence[Identifier]
    name: str
    locale: str | None = None
    created_at: int | None = None
    """When the user was made elsewhere; now, if unset."""
    disabled: bool = False
    imported: bool = False
    """Whether another system knew the user: nobody is there to be welcomed."""


@dataclass(frozen=True)
class Registration:
    """A user who is about to be made, with what is written in the same breath."""

    draft: Draft
    statements: Sequence[Statement] = ()
    enrolments: Sequence[Enrolment] = ()


def taken(draft: Draft, conflict: Conflict) -> AuthError | Conflict:
    """Word a conflict: the first statement makes the user, those that follow name it."""
    if not 1 <= conflict.index <= len(draft.identifiers):
        return conflict
    kind = draft.identifiers[conflict.index - 1].kind
    return AuthError(USERNAME_TAKEN if kind == "username" else IDENTIFIER_TAKEN)
