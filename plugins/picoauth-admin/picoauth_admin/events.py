"""What administration tells, beside the kernel's events."""

from __future__ import annotations

from dataclasses import dataclass

from picoauth import Event


@dataclass(frozen=True, kw_only=True)
class InvitationSent(Event):
    """The user was invited, by a mail or by a link that was shown; earlier invitations are void."""

    mailed: bool


@dataclass(frozen=True, kw_only=True)
class AdminKeyMade(Event):
    """An admin key was made, of this scope, and good until then (seconds since 1970)."""

    name: str
    scope: str
    expires_at: int


@dataclass(frozen=True, kw_only=True)
class AdminKeyRevoked(Event):
    """An admin key is nobody's any more."""

    name: str
