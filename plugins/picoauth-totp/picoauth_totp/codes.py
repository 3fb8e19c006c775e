"""Codes of six digits, and the steps of time that they belong to (RFC 6238)."""

from __future__ import annotations

import base64
import hmac
import re

import pyotp

PERIOD = 30
"""Seconds of a step (RFC 6238, section 5.2)."""


class WrongCode(Exception):
    """No code of these steps, or one that is spent."""


def code(secret: bytes, step: int) -> str:
    """What an app shows: six digits, by HMAC-SHA-1, which is what every app knows (RFC 4226, 5.3)."""
    return pyotp.TOTP(base32(secret)).generate_otp(step)


def base32(secret: bytes) -> str:
    return base64.b32encode(secret).decode()


def matched(secret: bytes, typed: str, *, now: int, window: int, after: int) -> int:
    """The step whose code was typed. Raises WrongCode.

    `after` is the last step that was accepted: it and older ones fail, so that a code that
    somebody saw is worth nothing, and a clock that went back brings none to life (O-3).
    """
    here, digits = now // PERIOD, six(typed)
    # A clock that is not set yet may stand at the beginning of time.
    steps = range(max(0, here - window), here + window + 1)
    # All are compared, as a whole: how long it takes tells nothing about any of them.
    found = [step for step in steps if hmac.compare_digest(digits, code(secret, step))]
    if not found or found[-1] <= after:
        raise WrongCode
    return found[-1]


def six(typed: str) -> str:
    """The digits, without the spaces between which apps show them. Raises WrongCode.

    ASCII alone: libraries that normalize accept other digits, and so more than one text (O-2).
    """
    digits = typed.replace(" ", "")
    if not re.fullmatch("[0-9]{6}", digits):
        raise WrongCode
    return digits
