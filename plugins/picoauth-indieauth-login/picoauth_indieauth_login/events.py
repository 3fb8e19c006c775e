"""What happens at such a login, beside what the kernel tells."""

from __future__ import annotations

from dataclasses import dataclass

from picoauth import Event


@dataclass(frozen=True, kw_only=True)
class UnknownPermissionSeen(Event):
    """A trusted endpoint told a permission of this application that the settings do not know."""

    endpoint: str
    """The name of the endpoint in the settings."""
    permission: str
