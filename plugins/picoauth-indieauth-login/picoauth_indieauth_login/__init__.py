"""Sign in with one's own domain, or at endpoints that the operator trusts."""

from picoauth_indieauth_login.events import UnknownPermissionSeen
from picoauth_indieauth_login.plugin import IndieAuthLoginPlugin
from picoauth_indieauth_login.settings import IndieAuthLoginSettings, TrustedEndpoint

__all__ = [
    "IndieAuthLoginPlugin",
    "IndieAuthLoginSettings",
    "TrustedEndpoint",
    "UnknownPermissionSeen",
]
