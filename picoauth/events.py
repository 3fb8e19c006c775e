"""What can happen: the types of events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from picoauth.database import Statement
from picoauth.identifiers import Identifier


def untold(default: Any) -> Any:
    """A field for plugins alone: no line of the log has it."""
    return field(default=default, repr=False, metadata={"told": False})


@dataclass(frozen=True)
class Caller:
    """Where a request came from, as far as that is known."""

    address: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    languages: str | None = untold(None)
    """The header `Accept-Language` (RFC 9110, section 12.5.4)."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened, at a time (seconds since 1970), to a user where there was one."""

    at: int
    user_id: str | None
    caller: Caller = field(default_factory=Caller)


@dataclass(frozen=True, kw_only=True)
class UserRegistered(Event):
    """A user was made, who has these factors from the start."""

    factors: tuple[str, ...] = ()

    identifiers: Sequence[Identifier] = untold(())
    """What finds the user, and what would if it were verified."""
    locale: str | None = untold(None)


@dataclass(frozen=True, kw_only=True)
class UserChanged(Event):
    """Name, locale or user name of an account changed."""

    fields: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class IdentifierAdded(Event):
    """An unverified identifier of this kind stands beside what finds the user."""

    kind: str


@dataclass(frozen=True, kw_only=True)
class IdentifierVerified(Event):
    """An identifier of this kind finds the user; if it `replaced` one, other sessions ended."""

    kind: str
    replaced: bool


@dataclass(frozen=True, kw_only=True)
class IdentifierRestored(Event):
    """An earlier identifier of this kind finds the user again; all sessions ended."""

    kind: str


@dataclass(frozen=True, kw_only=True)
class IdentifierRemoved(Event):
    """Identifiers of this kind are gone; other sessions ended if one of them was verified."""

    kind: str


@dataclass(frozen=True, kw_only=True)
class UserDisabled(Event):
    """A user can no longer log in; all sessions ended."""


@dataclass(frozen=True, kw_only=True)
class UserEnabled(Event):
    """A disabled user can log in again."""


@dataclass(frozen=True, kw_only=True)
class UserDeleted(Event):
    """A user and all rows of the user are gone."""


@dataclass(frozen=True, kw_only=True)
class LoginCompleted(Event):
    """A session was made from the proofs of these factors."""

    session_id: str
    factors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SessionDerived(Event):
    """A session of the same login was made, which ends with its parent."""

    session_id: str
    parent_id: str


@dataclass(frozen=True, kw_only=True)
class LoginFailed(Event):
    """A proof was refused. `typed` is a keyed hash of the name, where it is nobody's."""

    factor: str
    code: str
    typed: str | None = None


@dataclass(frozen=True, kw_only=True)
class SteppedUp(Event):
    """A session was proven afresh."""

    session_id: str
    factors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SessionEnded(Event):
    """A session was ended by its user, or by someone who may."""

    session_id: str


@dataclass(frozen=True, kw_only=True)
class SessionsEnded(Event):
    """All sessions of a user ended, but for `kept`."""

    kept: str | None


@dataclass(frozen=True, kw_only=True)
class RefreshReused(Event):
    """A spent refresh token came again: it was stolen, and its session ended (RFC 9700, 4.14)."""

    session_id: str


@dataclass(frozen=True, kw_only=True)
class CredentialChanged(Event):
    """A user's credential of a factor was replaced; other sessions ended."""

    factor: str


@dataclass(frozen=True, kw_only=True)
class FactorConfirmed(Event):
    """A factor was enrolled. `first` says that the user had no second factor before."""

    factor: str
    enrolment_id: str
    first: bool


@dataclass(frozen=True, kw_only=True)
class FactorRemoved(Event):
    """An enrolled factor was removed."""

    factor: str
    enrolment_id: str


@dataclass(frozen=True, kw_only=True)
class AccessRefused(Event):
    """A policy let someone not in. Nothing was changed, so it is told and not committed."""

    route: str
    code: str


@dataclass(frozen=True, kw_only=True)
class SigningKeyAdded(Event):
    """A key was published, which signs from `signs_at` on (seconds since 1970)."""

    key_id: str
    algorithm: str
    signs_at: int


@dataclass(frozen=True, kw_only=True)
class SigningKeyRetired(Event):
    """A key is accepted no more, and all that it signed."""

    key_id: str


@dataclass(frozen=True, kw_only=True)
class MessageDropped(Event):
    """A message of the outbox was not sent, and will not be: it came too late, or was refused."""

    message_id: str
    kind: str
    about: str
    why: str


@dataclass(frozen=True)
class Addition:
    """What a plugin adds to a write by its `record` hook; `reply` goes into the answer."""

    statements: Sequence[Statement] = ()
    reply: Any = None
