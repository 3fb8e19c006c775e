"""The factor `recovery`, and what happens by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from picoauth import (
    Auth,
    CredentialChanged,
    Denied,
    Event,
    Factor,
    Payload,
    Problem,
    Proof,
    Situation,
    problems,
    text_of,
)
from picoauth_recovery.codes import read
from picoauth_recovery.sets import FACTOR, Found, Sets


@dataclass(frozen=True, kw_only=True)
class RecoveryCodesMade(CredentialChanged):
    """A user asked for new recovery codes; older ones are void, other sessions ended."""


@dataclass(frozen=True, kw_only=True)
class RecoveryCodeUsed(Event):
    """A recovery code stood for the second factor; so many are left."""

    left: int


class RecoveryFactor(Factor):
    """Codes that stand for a second factor, once each."""

    name: ClassVar[str] = FACTOR
    second: ClassVar[bool] = True
    fallback: ClassVar[bool] = True
    problems: ClassVar[Sequence[Problem]] = (problems.INVALID_BODY,)
    example: ClassVar[Payload] = {FACTOR: "7c0k-9mwe-2x4h-tq8p-5vzd-n3rj"}

    def __init__(self, auth: Auth, sets: Sets) -> None:
        self.auth = auth
        self.sets = sets

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        typed, user = text_of(payload, FACTOR), situation.user
        found = await self.find(user.id, typed) if user else None
        if user is None or found is None:
            raise Denied(self.refused)
        event = RecoveryCodeUsed(
            at=self.auth.now(), user_id=user.id, caller=situation.caller, left=found.count - 1
        )
        return Proof(
            user=user,
            amr=("otp",),
            enrolment_id=found.enrolment_id,
            statements=found.spending(),
            events=[event],
        )

    async def find(self, user_id: str, typed: str) -> Found | None:
        code = read(typed)
        return await self.sets.find(user_id, code) if code else None
