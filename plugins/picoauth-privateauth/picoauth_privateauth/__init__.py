"""An endpoint for IndieAuth and PrivateAuth clients: who logs in here is known there."""

from picoauth_privateauth.events import (
    AuthorizationApproved,
    AuthorizationDenied,
    ClientTokenReused,
    CodeReused,
    GrantEnded,
    ProfileAdded,
    ProfileRemoved,
)
from picoauth_privateauth.plugin import PrivateAuthPlugin
from picoauth_privateauth.settings import PrivateAuthSettings, RegisteredClient

__all__ = [
    "AuthorizationApproved",
    "AuthorizationDenied",
    "ClientTokenReused",
    "CodeReused",
    "GrantEnded",
    "PrivateAuthPlugin",
    "PrivateAuthSettings",
    "ProfileAdded",
    "ProfileRemoved",
    "RegisteredClient",
]
