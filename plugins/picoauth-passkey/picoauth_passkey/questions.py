"""What a login by passkey asked, and what came back for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from picoauth import AuthError, Payload, problems, spelling, text_of
from picoauth_passkey.answers import Answer, AuthenticatorData
from picoauth_passkey.ceremonies import Asked
from picoauth_passkey.credentials import NAME
from picoauth_passkey.refusals import Refusal, failing, require

NOBODY = ""
"""Whose passkey has to come after a name that is nobody's."""


@dataclass(frozen=True)
class Question:
    """What `begin` asked, as the flow keeps it."""

    challenge: str
    at: int
    user_id: str | None
    """Whose passkey it has to be; NOBODY's for a name that is none, None for whoever comes."""
    appid: bool
    """Whether old keys may answer."""

    @classmethod
    def of(cls, state: Any, now: int, life: int) -> Question:
        """Raises Refusal where nothing was asked, or too long ago; a clock may go back."""
        with failing("challenge"):  # one of another version, perhaps
            question = cls(**state)
        require(0 <= now - question.at <= life, "challenge")
        return question


@dataclass(frozen=True)
class Signed:
    """An answer whose client and authenticator data are in order."""

    answer: Answer
    handle: bytes | None
    data: AuthenticatorData
    asked: Asked


def sent_in(payload: Payload) -> Any:
    """The browser's answer; as a further factor of a request it may be the payload itself."""
    return payload.get(NAME, payload if "rawId" in payload else None)


def malformed(refusal: Refusal) -> AuthError:
    detail = f"{NAME} must be what navigator.credentials answered, as JSON"
    return AuthError(problems.INVALID_BODY, detail, check=refusal.check)


def typed(payload: Payload) -> str:
    """The name in its one spelling, so that all count together (P-8). Raises AuthError."""
    return spelling(text_of(payload, "username")) if "username" in payload else ""
