"""The factor `totp`: a code of six digits, for who has begun to log in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from picoauth import (
    Denied,
    Factor,
    Payload,
    Proof,
    Situation,
    Statement,
    Unavailable,
    Whose,
    text_of,
)
from picoauth_totp.authenticators import FACTOR, Authenticator, Authenticators, confirmed
from picoauth_totp.codes import WrongCode


class TotpFactor(Factor):
    """The code of the moment, of any authenticator of the user."""

    name: ClassVar[str] = FACTOR
    second: ClassVar[bool] = True
    example: ClassVar[Payload] = {"totp": "123456"}

    def __init__(self, authenticators: Authenticators) -> None:
        self.authenticators = authenticators

    def look(self, whose: Whose) -> Statement:
        return confirmed(whose)

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        typed, user = text_of(payload, FACTOR, "a text of six digits"), situation.user
        if user is None:  # no login begins with a code
            raise Denied(self.refused)
        found = [Authenticator(*row) for row in situation.seen]
        fitting = list(self.fitting(found, typed))
        if not fitting:
            raise Denied(self.refused)
        one, step = fitting[0]
        return Proof(
            user=user,
            amr=("otp",),
            enrolment_id=one.enrolment_id,
            statements=[self.authenticators.spending(one, step)],
        )

    def fitting(
        self, found: list[Authenticator], typed: str
    ) -> Iterator[tuple[Authenticator, int]]:
        """All are looked at, so that the time says nothing about which. Raises Unavailable.

        That is where none can be looked at: it takes the attempt back, and so must not come of
        one that is broken beside others that can be guessed at.
        """
        broken = []
        for one in found:
            try:
                yield one, self.authenticators.step(one, typed)
            except WrongCode:
                continue
            except Unavailable as error:
                broken.append(error)
        if broken and len(broken) == len(found):
            raise broken[0]
