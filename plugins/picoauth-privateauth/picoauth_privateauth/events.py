"""What happens at the endpoint."""

from __future__ import annotations

from dataclasses import dataclass

from picoauth import Event


@dataclass(frozen=True, kw_only=True)
class AuthorizationApproved(Event):
    """A user let a client know who it is, and do what these scopes name."""

    client_id: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class AuthorizationDenied(Event):
    """A user sent a client away."""

    client_id: str


@dataclass(frozen=True, kw_only=True)
class CodeReused(Event):
    """A code came a second time: what the first got for it is revoked (RFC 6749, 4.1.2)."""

    client_id: str


@dataclass(frozen=True, kw_only=True)
class ClientTokenReused(Event):
    """A spent refresh token of a client came again: it was stolen (RFC 9700, 4.14)."""

    client_id: str


@dataclass(frozen=True, kw_only=True)
class GrantEnded(Event):
    """A user ended what a client was let to do; its tokens are good no more."""

    client_id: str


@dataclass(frozen=True, kw_only=True)
class ProfileAdded(Event):
    """A user has one more profile URL."""

    url: str


@dataclass(frozen=True, kw_only=True)
class ProfileRemoved(Event):
    """A profile URL is the user's no more."""

    url: str
