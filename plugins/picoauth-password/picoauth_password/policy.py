"""What may be a password, and the hook by which other plugins have a say in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from picoauth import AuthError, Problem, hookspec, problems

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
    async def check_password(self, password: str, context: PasswordContext) -> Problem | None:
        """Answer a problem to refuse a new password; a login is never asked about."""

    @hookspec
    def password_refusals(self) -> Sequence[Problem]:
        """Why `check_password` refuses, for the description of the routes."""
        return ()


def check_text(password: str, *, least: int, most: int) -> None:
    """Raises AuthError for what can be no new password.

    Code points are counted, as they are typed (NIST SP 800-63B-4, section 3.1.1.2). NUL and
    lone surrogates never come in by JSON, but a command line may have them (P-3).
    """
    if re.search(r"[\0\ud800-\udfff]", password):
        raise AuthError(problems.INVALID_BODY, "A password is text without NUL.")
    if len(password) < least:
        raise AuthError(PASSWORD_TOO_SHORT, f"It needs at least {least} characters.", least=least)
    if too_long(password, most):
        detail = f"It may have at most {most} characters, and {LONGEST_BYTES} bytes in UTF-8."
        raise AuthError(PASSWORD_TOO_LONG, detail, most=most)


def too_long(password: str, most: int) -> bool:
    return len(password) > most or len(password.encode()) > LONGEST_BYTES
