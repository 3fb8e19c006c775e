"""Answers reverse proxies whether a request may pass, and whose it is."""

from picoauth_forward_auth.plugin import ForwardAuthPlugin
from picoauth_forward_auth.settings import ForwardAuthSettings

__all__ = ["ForwardAuthPlugin", "ForwardAuthSettings"]
