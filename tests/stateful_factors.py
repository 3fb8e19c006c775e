"""Factors for the stateful test: as strict as real ones, quick, and with nothing in clear."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from picoauth import (
    AuthError,
    Challenge,
    Denied,
    Enrolment,
    Factor,
    NoSettings,
    Payload,
    Plugin,
    Proof,
    Reply,
    Request,
    Route,
    Situation,
    Statement,
    described,
    hookimpl,
    problems,
    replies,
)
from picoauth.testing import Ceremony, Someone
from tests.factors import CodeFactor, CodePlugin, KeyFactor, SpareFactor

ENROLLING = (problems.START_OVER, problems.NOT_FOUND, problems.REFUSED)


def digest(code: object) -> str:
    return hashlib.sha256(str(code).encode()).hexdigest()


class HashedCode(CodeFactor):
    """Codes of which only a hash is stored."""

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        return await super().verify(situation, {self.name: digest(payload.get(self.name))})


class HashedSpare(SpareFactor):
    """Spare codes of which only a hash is stored."""

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        return await super().verify(situation, {self.name: digest(payload.get(self.name))})


class HashedCodePlugin(CodePlugin):
    factor_type: ClassVar[type[CodeFactor]] = HashedCode


class HashedSparePlugin(CodePlugin):
    factor_type: ClassVar[type[CodeFactor]] = HashedSpare


class HeldKey(KeyFactor):
    """A key that signs the challenge it was asked, and has to be enrolled."""

    complete: ClassVar[bool] = False

    async def begin(self, situation: Situation, payload: Payload) -> Challenge:
        nonce = self.auth.secrets.random(16).hex()
        return Challenge({"sign": nonce}, nonce)

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        if situation.state is None:
            raise AuthError(problems.INVALID_BODY, "there is no challenge")
        user = await self.auth.users.find("username", str(payload.get("owner")))
        if user is None or payload.get("signed") != situation.state:
            raise Denied(self.refused)
        found = await self.auth.users.enrolments(user.id)
        held = next((e.id for e in found if e.factor == self.name), None)
        if held is None:
            raise Denied(self.refused)
        return Proof(user=user, amr=("hwk",), enrolment_id=held, complete=self.complete)


class HeldPass(HeldKey):
    """A key that verifies its user, and so is a login by itself."""

    name: ClassVar[str] = "pass"
    complete: ClassVar[bool] = True

    async def completes(self, enrolment: Enrolment) -> bool:
        return True


class HeldKeyPlugin(Plugin[NoSettings]):
    factor_type: ClassVar[type[HeldKey]] = HeldKey

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [self.factor_type(self.auth)]


class HeldPassPlugin(HeldKeyPlugin):
    factor_type: ClassVar[type[HeldKey]] = HeldPass


@dataclass(frozen=True)
class Chosen:
    """An enrolment that waits to be confirmed."""

    id: str = described("Its id.", example="x")


class ConfirmingPlugin(Plugin[NoSettings]):
    """Confirms what a ceremony wrote: `POST /confirming {"id": …}`, whatever factor it is of."""

    @hookimpl
    def routes(self) -> Sequence[Route]:
        return [
            Route(
                method="POST",
                path="/confirming",
                handler=self.confirm,
                policy="fresh",
                body=Chosen,
                answer=replies.Handed,
                problems=ENROLLING,
            )
        ]

    async def confirm(self, request: Request) -> Reply:
        """Whose enrolment it is, is the kernel's business."""
        sql = "select id, user_id, factor from enrolments where id = ?"
        rows = await self.auth.database.read(sql, (request.body.id,))
        if not rows:
            raise AuthError(problems.NOT_FOUND)
        confirm = self.auth.credentials.confirm
        session_id = request.access.session_id
        return Reply(await confirm(session_id, Enrolment(*rows[0]), [], request.caller))


@dataclass(frozen=True)
class Holder(Someone):
    """Someone whose enrolments wait to be confirmed."""

    async def enrolment(self, factor: str) -> Enrolment:
        users = self.server.auth.users
        made = replace(users.enrolment(self.user.id, factor), confirmed_at=None)
        await self.server.auth.database.write(users.enrolling(made))
        return made


class MintingCode(Ceremony):
    """An app that shows another code each time, as long as it is enrolled."""

    factor: ClassVar[str] = "code"

    async def enrol(self, someone: Someone) -> None:
        someone.notes[self.factor] = (await someone.enrolment(self.factor)).id

    async def answer(self, someone: Someone, _: Mapping[str, Any]) -> Payload:
        code = f"marked {self.factor} {self.server.auth.secrets.random(8).hex()}"
        sql = f"insert into {self.factor} select ?, id, ? from enrolments where id = ?"
        args = (someone.user.id, digest(code), someone.notes.get(self.factor, ""))
        await self.server.auth.database.write(Statement(sql, args))
        return {self.factor: code}

    async def wrong(self, someone: Someone, _: Mapping[str, Any]) -> Payload:
        return {self.factor: f"marked wrong {self.factor}"}


class MintingSpare(MintingCode):
    factor: ClassVar[str] = "spare"


class SigningKey(Ceremony):
    """A key that signs."""

    factor: ClassVar[str] = "key"

    async def enrol(self, someone: Someone) -> None:
        await someone.enrolment(self.factor)

    async def asks(self, someone: Someone) -> Payload:
        return {}

    async def answer(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {"owner": someone.username, "signed": challenge.get("sign", "nothing")}

    async def wrong(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {"owner": someone.username, "signed": "something else"}


class SigningPass(SigningKey):
    factor: ClassVar[str] = "pass"
    completes: ClassVar[bool] = True


class Remembered(Ceremony):
    """A password, which is what the notes say: it changes."""

    async def enrol(self, someone: Someone) -> None:
        raise NotImplementedError("passwords are set by HTTP")

    async def answer(self, someone: Someone, _: Mapping[str, Any]) -> Payload:
        return {"username": someone.username, "password": someone.notes["password"]}

    async def wrong(self, someone: Someone, _: Mapping[str, Any]) -> Payload:
        return {"username": someone.username, "password": "marked wrong password"}


CEREMONIES: Mapping[str, type[Ceremony]] = {
    "password": Remembered,
    "code": MintingCode,
    "spare": MintingSpare,
    "key": SigningKey,
    "pass": SigningPass,
}
PLUGINS: Mapping[str, type[Plugin[Any]]] = {
    "code": HashedCodePlugin,
    "spare": HashedSparePlugin,
    "key": HeldKeyPlugin,
    "pass": HeldPassPlugin,
    "confirming": ConfirmingPlugin,
}
