"""What trusted endpoints tell of permissions, which are compared without regard to case."""

from __future__ import annotations

from collections.abc import Sequence

from picoauth_indieauth_login.client import Identity
from picoauth_indieauth_login.settings import TrustedEndpoint

REPORTED = 20
"""Of one login; the doctor names them all."""


def permitted(identity: Identity) -> bool:
    required = identity.trusted.required_permission if identity.trusted else None
    return required is None or required.lower() in identity.permissions


def unknown(identity: Identity) -> Sequence[str]:
    """Permissions of this application that the settings do not have (PrivateAuth)."""
    trusted = identity.trusted
    if trusted is None or trusted.application is None:
        return ()
    return strange(trusted, identity.permissions)[:REPORTED]


def strange(trusted: TrustedEndpoint, permissions: Sequence[str]) -> Sequence[str]:
    listed = {one.lower() for one in trusted.permissions}
    if trusted.required_permission is not None:
        listed.add(trusted.required_permission.lower())
    own = f"{trusted.application}:"
    return [one for one in permissions if one.startswith(own) and one not in listed]
