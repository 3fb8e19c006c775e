"""E-mail addresses for picoauth."""

from picoauth_email.plugin import EmailPlugin

__all__ = ["EmailPlugin"]
