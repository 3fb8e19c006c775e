"""Authenticator apps as a second factor for picoauth."""

from picoauth_totp.plugin import TotpPlugin

__all__ = ["TotpPlugin"]
