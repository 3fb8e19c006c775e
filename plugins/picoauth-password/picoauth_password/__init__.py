"""Password login for picoauth."""

from picoauth_password.plugin import PasswordPlugin
from picoauth_password.policy import PasswordContext, PasswordHooks

__all__ = ["PasswordContext", "PasswordHooks", "PasswordPlugin"]
