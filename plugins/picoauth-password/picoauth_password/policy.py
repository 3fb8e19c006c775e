"""What may be a password, and the hook by which other plugins have a say in it."""

from __future__ import annotations

from dataclasses import dataclass

from picoauth import AuthError, Problem, hookspec

PASSWORD_TOO_SHORT = Problem(400, "password_too_short", "This password is too short.")
PASSWORD_TOO_LONG = Problem(400, "password_too_long", "This password is too long.")

LONGEST_BYTES = 1024
"""Bytes of a password in UTF-8; longer ones are refused, never cut."""


@dataclass(frozen=True)
class PasswordContext:
    """What is known of the user whose password it is to be."""

    username: str | None = None
    email: str | None = None
    name: str | None = None


class PasswordHooks:
    """Hooks that this plugin offers to others."""

    @hookspec
    async def check_password(self, password: str, context: PasswordContext) -> None:
        """Raise AuthError to refuse a new password; a login is never asked about."""


def check_length(password: str, *, least: int, most: int) -> None:
    """Count code points, as they are typed (NIST SP 800-63B-4, section 3.1.1.2). Raises AuthError."""
    if len(password) < least:
        raise AuthError(PASSWORD_TOO_SHORT, f"It needs at least {least} characters.", least=least)
    if len(password) > most or len(password.encode()) > LONGEST_BYTES:
        raise AuthError(PASSWORD_TOO_LONG, f"It may have {most} characters at most.", most=most)
