"""Users of a test server, whatever factors they have: how they enrol them, log in and prove."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar

import httpx

from picoauth.drafts import Enrolment
from picoauth.factors import Payload
from picoauth.users import User

if TYPE_CHECKING:
    from picoauth.testing.server import Server

GROUP = "picoauth.testing"
"""Entry points of ceremonies: the name is that of the factor."""


class Ceremony(ABC):
    """How a user of a test enrols one factor, and proves it.

    Write one for each factor of your plugin, and name it in your package's metadata:

        [project.entry-points."picoauth.testing"]
        totp = "picoauth_totp.testing:TotpCeremony"

    From then on your factor takes part in every matrix and contract, also in the tests of
    those who combine it with theirs. There is one object per server, made on first use.
    """

    completes: ClassVar[bool] = False
    """Whether what it answers is a login by itself, as is a passkey that verified its user."""

    def __init__(self, server: Server) -> None:
        self.server = server

    @abstractmethod
    async def enrol(self, someone: Someone) -> None:
        """Give the user the factor, confirmed, as your plugin's own rows.

        `await someone.enrolment("totp")` writes the kernel's row and answers it. What you need
        later, such as a secret, goes into `someone.notes`. Leave the body empty for a factor
        that everybody has.
        """

    async def asks(self, someone: Someone) -> Payload | None:  # noqa: ARG002
        """What a client sends to begin; None, the default, where the factor has no challenge."""
        return None

    @abstractmethod
    async def answer(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        """What a client sends to prove the factor; no member more than it takes.

        `challenge` is what the server answered to `asks`, and empty where that is None. It may
        be somebody else's: send what an attacker would, who has this user's secrets.
        """

    @abstractmethod
    async def wrong(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        """The same in form, and no proof: another password, a signature by another key."""


class Ceremonies:
    """The ceremonies of one server: those given, and those of what is installed."""

    def __init__(self, server: Server, given: Mapping[str, type[Ceremony]]) -> None:
        self.server = server
        self.given = given
        self.made: dict[str, Ceremony] = {}

    def find(self, factor: str) -> Ceremony | None:
        if factor not in self.made:
            kind = self.given.get(factor) or installed(factor)
            if kind is None:
                return None
            self.made[factor] = kind(self.server)
        return self.made[factor]

    def __getitem__(self, factor: str) -> Ceremony:
        """Raises LookupError where nobody told how the factor is proven."""
        ceremony = self.find(factor)
        if ceremony is None:
            raise LookupError(
                f"How does a test user prove the factor {factor}? Write a Ceremony for it, and "
                f"name it in the fixture picoauth_ceremonies or the entry points {GROUP}."
            )
        return ceremony


@cache
def installed(factor: str) -> type[Ceremony] | None:
    for entry in entry_points(group=GROUP, name=factor):
        kind: type[Ceremony] = entry.load()
        return kind
    return None


@dataclass(frozen=True)
class Someone:
    """A user, with what a client in her hands would know."""

    server: Server
    user: User
    username: str
    notes: dict[str, Any] = field(default_factory=dict)
    """Where ceremonies keep what they need: secrets, keys."""
    factors: list[str] = field(default_factory=list)
    """The factors that she has, in the order in which she got them."""

    async def enrol(self, *factors: str) -> None:
        """Enrol factors, by their ceremonies."""
        for factor in factors:
            await self.server.ceremonies[factor].enrol(self)
            self.factors.append(factor)

    async def enrolment(self, factor: str) -> Enrolment:
        """Write the kernel's row of a confirmed enrolment; for ceremonies."""
        users = self.server.auth.users
        enrolment = users.enrolment(self.user.id, factor)
        await self.server.auth.database.write(users.enrolling(enrolment))
        return enrolment

    async def prove(
        self,
        factor: str,
        flow: str | None = None,
        *,
        token: str | None = None,
        wrong: bool = False,
    ) -> httpx.Response:
        """Take one step of a login with a factor; with a `token`, of a step-up.

        `wrong` sends what is no proof.
        """
        flow, challenge = await self.begin(factor, flow, token=token)
        ceremony = self.server.ceremonies[factor]
        payload = await (ceremony.wrong if wrong else ceremony.answer)(self, challenge)
        return await self.send(factor, payload, flow, token=token)

    async def begin(
        self, factor: str, flow: str | None = None, *, token: str | None = None
    ) -> tuple[str | None, Mapping[str, Any]]:
        """Get the challenge of a factor, if it has any; answers it with the flow to go on with."""
        asked = await self.server.ceremonies[factor].asks(self)
        if asked is None:
            return flow, {}
        body = {**asked, **named(factor, flow)}
        path = "/auth/stepup/begin" if token else "/auth/login/begin"
        answer = await self.server.post(path, body, token=token)
        assert 200 == answer.status_code, answer.text
        begun = answer.json()
        return begun["flow"], begun["challenge"]

    async def send(
        self, factor: str, payload: Payload, flow: str | None = None, *, token: str | None = None
    ) -> httpx.Response:
        """Send what is to prove a factor, right or wrong."""
        path = "/auth/stepup" if token else "/auth/login"
        return await self.server.post(path, {**payload, **named(factor, flow)}, token=token)

    async def login(self, *factors: str) -> dict[str, Any]:
        """Log in by these factors, or by all that she has, as far as they are asked for.

        Answers the tokens.
        """
        first, *others = factors or self.factors
        answer = await self.prove(first)
        for factor in others:
            flow = answer.json().get("flow")
            if answer.status_code == 401 and flow:
                answer = await self.prove(factor, flow)
        assert 200 == answer.status_code, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens

    async def sessions(self) -> int:
        """How many sessions she has."""
        return len(await self.server.auth.sessions.list(self.user.id))


def named(factor: str, flow: str | None) -> dict[str, str]:
    return {"factor": factor} if flow is None else {"factor": factor, "flow": flow}
