"""What can be wrong with a passkey: the checks by name, for clients, and the events for operators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from picoauth import Event, Problem

PASSKEY_REFUSED = Problem(400, "passkey_refused", "This passkey was refused.")
PASSKEY_TAKEN = Problem(409, "passkey_taken", "This passkey is registered already.")
TOO_MANY_PASSKEYS = Problem(
    409, "too_many_passkeys", "This account has as many passkeys as it may."
)

MALFORMED = frozenset({"form", "id", "client_data", "authenticator_data", "attestation_object"})
"""Checks of the form: what fails them is no answer of a browser, right or wrong."""
UNTOLD = frozenset({"unknown", "signature", "user_handle", "owner", "disabled"})
"""Checks against what is stored. They are one to a client, or they would tell who exists (P-8)."""


class Refusal(Exception):
    """A check that failed. `check` is its name, which does not change."""

    def __init__(self, check: str) -> None:
        super().__init__(check)
        self.check = check

    @property
    def told(self) -> str:
        """What a client may know of a login that was refused."""
        return "credential" if self.check in UNTOLD else self.check


def require(fact: object, check: str) -> None:
    """Raises Refusal unless the fact is one."""
    if not fact:
        raise Refusal(check)


@contextmanager
def failing(check: str) -> Iterator[None]:
    """Whatever a library raises about what a client sent is a refusal, and no fault of ours."""
    try:
        yield
    except Refusal:
        raise
    except Exception as error:
        raise Refusal(check) from error


@dataclass(frozen=True, kw_only=True)
class PasskeyRefused(Event):
    """A passkey was refused, at its registration or at a login, for what `check` names."""

    changes: ClassVar[bool] = False
    check: str


@dataclass(frozen=True, kw_only=True)
class PasskeyCounterFell(Event):
    """A device-bound key came with an older counter: it may have been copied (WebAuthn, 6.1.1)."""

    enrolment_id: str
    stored: int
    sent: int
