"""Permissions and roles for picoauth."""

from picoauth_permissions.events import (
    PermissionGranted,
    PermissionRevoked,
    RoleAssigned,
    RoleChanged,
    RoleRemoved,
    RoleUnassigned,
)
from picoauth_permissions.names import ADMIN
from picoauth_permissions.plugin import PermissionsPlugin

__all__ = [
    "ADMIN",
    "PermissionGranted",
    "PermissionRevoked",
    "PermissionsPlugin",
    "RoleAssigned",
    "RoleChanged",
    "RoleRemoved",
    "RoleUnassigned",
]
