"""Password login for picoauth."""

from picoauth_password.plugin import PasswordContext, PasswordHooks, PasswordPlugin

__all__ = ["PasswordContext", "PasswordHooks", "PasswordPlugin"]
