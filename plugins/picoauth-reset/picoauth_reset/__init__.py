"""Forgotten passwords for picoauth."""

from picoauth_reset.plugin import ResetPlugin

__all__ = ["ResetPlugin"]
