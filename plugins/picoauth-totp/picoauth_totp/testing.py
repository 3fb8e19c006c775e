"""How users of a test have an authenticator, for the matrices and contracts of picoauth's test kit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from picoauth import Payload
from picoauth.testing import Ceremony, Clock, Someone
from picoauth_totp.authenticators import FACTOR
from picoauth_totp.codes import PERIOD, code
from picoauth_totp.plugin import SECRET, TotpPlugin

SPARE = 10
"""Seconds for which a code has to be good yet: what it is sent with may take a while."""


@dataclass
class App:
    """An app on a phone, by the clock of the server.

    It shows each code once, as none is good twice: the oldest first that is good yet for a
    while. When those are used up, it waits for the next step, and the clock goes on with it.
    """

    secret: bytes
    clock: Clock
    window: int = 1
    last: int = -1

    def code(self) -> str:
        oldest = int(self.clock() + SPARE) // PERIOD - self.window
        self.last = max(self.last + 1, oldest)
        if self.last > self.now + self.window:
            self.clock.advance(PERIOD * (self.last - self.window) - self.clock())
        return code(self.secret, self.last)

    def wrong(self) -> str:
        """Six digits that are no code of these minutes."""
        near = {code(self.secret, max(0, self.now + each)) for each in range(-3, 4)}
        return next(digits for n in range(8) if (digits := f"{n:06}") not in near)

    @property
    def now(self) -> int:
        return int(self.clock()) // PERIOD


class TotpCeremony(Ceremony):
    """To each user an app of her own, in her notes as `totp`."""

    async def enrol(self, someone: Someone) -> None:
        auth = self.server.auth
        authenticators = auth.plugin(TotpPlugin).authenticators
        secret = auth.secrets.random(SECRET)
        enrolment = await someone.enrolment(FACTOR)
        await auth.database.write(authenticators.adding(enrolment, secret))
        someone.notes[FACTOR] = App(secret, self.server.clock, authenticators.window)

    async def answer(self, someone: Someone, _: Mapping[str, Any]) -> Payload:
        return {FACTOR: someone.notes[FACTOR].code()}

    async def wrong(self, someone: Someone, _: Mapping[str, Any]) -> Payload:
        return {FACTOR: someone.notes[FACTOR].wrong()}
