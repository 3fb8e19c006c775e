"""What can happen: the types of events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from picoauth.callers import Caller, untold
from picoauth.identifiers import Identifier


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened, at a time (seconds since 1970), to a user where there was one."""

    changes: ClassVar[bool] = True
    """False where nothing changed, and strangers decide how often it happens: it may be counted."""

    at: int
    user_id: str | None
    caller: Caller = field(default_factory=Caller)

    @classmethod
    def kinds(cls) -> set[type[Event]]:
        """Every type of event that this process knows, those of listed plugins too."""
        below = cls.__subclasses__()
        return {*below, *(each for one in below for each in one.kinds())}


@dataclass(frozen=True, kw_only=True)
class UserRegistered(Event):
    """A user was made, who has these factors from the start.

    One who was `imported` from another system asked for nothing: nobody waits for an answer.
    """

    factors: tuple[str, ...] = ()
    imported: bool = False

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
class UserClosed(Event):
    """A user gave the account up: all sessions ended, and it is deleted at `delete_at`."""

    delete_at: int


@dataclass(frozen=True, kw_only=True)
class UserRestored(Event):
    """A closed account is as it was before, by a login or an administrator."""


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

    changes: ClassVar[bool] = False
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
    """A user's credential of a factor was replaced; other sessions ended.

    A `reset` was done without a session, by a link or an operator, and ended all of them.
    """

    factor: str
    reset: bool = False


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
class BackupRestored(Event):
    """The database is what it once was; what was handed out since then, or before, is void."""


@dataclass(frozen=True, kw_only=True)
class AccessRefused(Event):
    """A policy let someone not in. Nothing was changed, so it is told and not committed."""

    changes: ClassVar[bool] = False
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
