"""What happens to permissions and roles."""

from __future__ import annotations

from dataclasses import dataclass

from picoauth import Event


@dataclass(frozen=True, kw_only=True)
class PermissionGranted(Event):
    """A user has a permission of the own, beside what roles bring."""

    permission: str


@dataclass(frozen=True, kw_only=True)
class PermissionRevoked(Event):
    """A user has lost a permission of the own; a role may still bring it."""

    permission: str


@dataclass(frozen=True, kw_only=True)
class RoleAssigned(Event):
    """A user has a role."""

    role: str


@dataclass(frozen=True, kw_only=True)
class RoleUnassigned(Event):
    """A user has lost a role."""

    role: str


@dataclass(frozen=True, kw_only=True)
class RoleChanged(Event):
    """A role was made, or has other permissions now: these."""

    role: str
    permissions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RoleRemoved(Event):
    """A role is gone, and nobody has it any more."""

    role: str
