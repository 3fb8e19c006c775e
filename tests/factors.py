"""Factors of a kind that plugins bring, for tests of the login flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import httpx

from picoauth import (
    Attemptee,
    Auth,
    AuthError,
    Challenge,
    Denied,
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
    Unavailable,
    User,
    Whose,
    described,
    hookimpl,
    problems,
    replies,
)
from picoauth.testing import PASSWORD, Ceremony, Server, Someone

ENROLLING = (problems.START_OVER, problems.NOT_FOUND, problems.REFUSED)


@dataclass(frozen=True)
class NewCode:
    """A code that will be accepted once."""

    code: str = described("The code.", example="123456")


class CodeFactor(Factor):
    """Codes that work once each, as TOTP or recovery codes do."""

    name: ClassVar[str] = "code"
    second: ClassVar[bool] = True

    def __init__(self, auth: Auth, table: str) -> None:
        self.auth = auth
        self.table = table

    async def begin(self, situation: Situation, payload: Payload) -> Challenge:
        if payload.get("hint") == "down":
            raise Unavailable("the sender of codes is down", retry_after=7)
        return Challenge({"hint": payload.get("hint", "six digits")}, {"asked": True})

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        user, code = situation.user, payload.get(self.name)
        if user is None or not isinstance(code, str):
            raise Denied(self.refused)
        if code == "down":
            raise Unavailable("the box that knows codes is down", retry_after=7)
        sql = f"select enrolment_id from {self.table} where user_id = ? and code = ?"
        rows = await self.auth.database.read(sql, (user.id, code))
        if not rows:
            raise Denied(self.refused)
        sql = f"delete from {self.table} where user_id = ? and code = ?"
        spend = Statement(sql, (user.id, code), rows=1)
        return Proof(user=user, amr=("otp",), enrolment_id=rows[0][0], statements=[spend])


class SpareFactor(CodeFactor):
    """Codes for when the others are lost."""

    name: ClassVar[str] = "spare"
    fallback: ClassVar[bool] = True


class CodePlugin(Plugin[NoSettings]):
    """Enrols codes: `POST /code/enrol {"code": "…"}`."""

    factor_type: ClassVar[type[CodeFactor]] = CodeFactor

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return [
            f"""
            create table {self.name} (
                user_id text not null references users(id) on delete cascade,
                enrolment_id text not null references enrolments(id) on delete cascade,
                code text not null, primary key (user_id, code)
            )
            """
        ]

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [self.factor_type(self.auth, self.name)]

    @hookimpl
    def routes(self) -> Sequence[Route]:
        path = f"/{self.name}/enrol"
        return [
            Route(
                method="POST",
                path=path,
                handler=self.enrol,
                policy="fresh",
                body=NewCode,
                answer=replies.Tokens,
                problems=ENROLLING,
            )
        ]

    async def enrol(self, request: Request) -> Reply:
        enrolment = self.auth.users.enrolment(request.access.user_id, self.name)
        row = Statement(
            f"insert into {self.name} values (?, ?, ?)",
            (enrolment.user_id, enrolment.id, request.body.code),
        )
        answer = await self.auth.credentials.enrol(
            request.access.session_id, enrolment, [row], request.caller
        )
        return Reply({**answer, "enrolment_id": enrolment.id})


class SparePlugin(CodePlugin):
    """Enrols spare codes."""

    factor_type: ClassVar[type[CodeFactor]] = SpareFactor


class KeyFactor(Factor):
    """A key that knows whose it is, as passkeys do: the user is learnt in `verify`."""

    name: ClassVar[str] = "key"
    starts: ClassVar[bool] = True
    second: ClassVar[bool] = True

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    async def begin(self, situation: Situation, payload: Payload) -> Challenge:
        return Challenge({"challenge": "sign this"}, "sign this")

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        if situation.state != "sign this":
            raise AuthError(problems.INVALID_BODY, "there is no challenge")
        user = await self.auth.users.find("username", str(payload.get("owner")))
        if user is None:
            raise Denied(self.refused)
        complete = payload.get("verified") is True
        return Proof(user=user, amr=("hwk",), complete=complete)


class KeyPlugin(Plugin[NoSettings]):
    """Enrols a key: `POST /key/enrol {}`."""

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [KeyFactor(self.auth)]

    @hookimpl
    def routes(self) -> Sequence[Route]:
        return [
            Route(
                method="POST",
                path="/key/enrol",
                handler=self.enrol,
                policy="fresh",
                answer=replies.Tokens,
                problems=ENROLLING,
            )
        ]

    async def enrol(self, request: Request) -> Reply:
        access = request.access
        enrolment = self.auth.users.enrolment(access.user_id, "key")
        return Reply(
            await self.auth.credentials.enrol(access.session_id, enrolment, [], request.caller)
        )


class LinkFactor(Factor):
    """A link that was mailed: everyone has it, nobody enrols it."""

    name: ClassVar[str] = "link"
    starts: ClassVar[bool] = True

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    async def begin(self, situation: Situation, payload: Payload) -> Challenge:
        """The test reads the mail of whom `identify` found; the state is nobody's else."""
        user = situation.user or situation.claimed
        return Challenge({"sent": True}, {"user_id": user.id if user else None})

    async def identify(self, payload: Payload) -> Attemptee:
        typed = str(payload.get("to", ""))
        return Attemptee(user=await self.auth.users.find("username", typed), typed=typed)

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        user_id = (situation.state or {}).get("user_id")
        user = await self.auth.users.get(user_id) if user_id else None
        if user is None or payload.get("clicked") is not True:
            raise Denied(self.refused)
        return Proof(user=user, amr=("swk",))


class LinkPlugin(Plugin[NoSettings]):
    """Offers links."""

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [LinkFactor(self.auth)]


class PinFactor(Factor):
    """User name and a number: a first factor as a password is, without what that costs."""

    name: ClassVar[str] = "pin"
    starts: ClassVar[bool] = True

    def __init__(self, auth: Auth) -> None:
        self.auth = auth

    async def identify(self, payload: Payload) -> Attemptee:
        typed = str(payload.get("username", ""))
        name = Whose.identified("username", typed) if typed else None  # what is missing is nobody's
        return Attemptee(name=name, typed=typed)

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        user, pin = situation.user or situation.claimed, payload.get("pin")
        if not isinstance(pin, str):
            raise AuthError(problems.INVALID_BODY, "pin must be a text")
        sql = "select enrolment_id from pin where user_id = ? and pin = ?"
        rows = await self.auth.database.read(sql, (user.id if user else "", pin))
        if user is None or not rows:
            raise Denied(self.refused)
        return Proof(user=user, amr=("pin",), enrolment_id=rows[0][0])


class PinPlugin(Plugin[NoSettings]):
    """Offers pins, which `join` gives to users."""

    @hookimpl
    def migrations(self) -> Sequence[str]:
        return [
            """
            create table pin (
                user_id text primary key references users(id) on delete cascade,
                enrolment_id text not null references enrolments(id) on delete cascade,
                pin text not null
            )
            """
        ]

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [PinFactor(self.auth)]


class CodeCeremony(Ceremony):
    """One code, written as its plugin does."""

    factor: ClassVar[str] = "code"

    async def enrol(self, someone: Someone) -> None:
        enrolment = await someone.enrolment(self.factor)
        row = f"insert into {self.factor} values (?, ?, ?)"
        args = (someone.user.id, enrolment.id, f"code of {someone.username}")
        await self.server.auth.database.write(Statement(row, args))

    async def answer(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {self.factor: f"code of {someone.username}"}

    async def wrong(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {self.factor: "222222"}


class SpareCeremony(CodeCeremony):
    """One spare code."""

    factor: ClassVar[str] = "spare"


class KeyCeremony(Ceremony):
    """A key, which anybody who knows a user name has."""

    async def enrol(self, someone: Someone) -> None:
        await someone.enrolment("key")

    async def asks(self, someone: Someone) -> Payload:
        return {}

    async def answer(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {"owner": someone.username}

    async def wrong(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {"owner": "nobody"}


class LinkCeremony(Ceremony):
    """A link that everybody has."""

    async def enrol(self, someone: Someone) -> None: ...

    async def asks(self, someone: Someone) -> Payload:
        return {"to": someone.username}

    async def answer(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {"clicked": True}

    async def wrong(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {"clicked": False}


class PinCeremony(Ceremony):
    """A pin, which costs nothing to check."""

    async def enrol(self, someone: Someone) -> None:
        enrolment = await someone.enrolment("pin")
        args = (someone.user.id, enrolment.id, f"pin of {someone.username}")
        await self.server.auth.database.write(Statement("insert into pin values (?, ?, ?)", args))

    async def answer(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {"username": someone.username, "pin": f"pin of {someone.username}"}

    async def wrong(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {"username": someone.username, "pin": "4321"}


CEREMONIES: dict[str, type[Ceremony]] = {
    "pin": PinCeremony,
    "code": CodeCeremony,
    "spare": SpareCeremony,
    "key": KeyCeremony,
    "link": LinkCeremony,
}
PLUGINS: dict[str, type[Plugin[Any]]] = {
    "pin": PinPlugin,
    "code": CodePlugin,
    "spare": SparePlugin,
    "key": KeyPlugin,
    "link": LinkPlugin,
}
SETTINGS = 'plugins = ["password", "code", "spare", "key"]'
EVERY = 'plugins = ["password", "code", "spare", "key", "link"]'
ALL = 'plugins = ["pin", "code", "spare", "key", "link"]'
"""Every kind of factor, and nothing that takes time."""
PATIENT = "\n[throttle]\nfailures = 1000"
FIRST = {"username": "ann", "password": PASSWORD}
WRONG = {"username": "ann", "password": "not the password"}
PIN = {"username": "ann", "pin": "1234"}
WRONG_PIN = {"username": "ann", "pin": "4321"}


async def join(server: Server, username: str = "ann", pin: str = "1234") -> User:
    """Make a user with a pin."""
    draft = server.auth.users.draft(username=username)
    enrolment = server.auth.users.enrolment(draft.user_id, "pin")
    row = Statement("insert into pin values (?, ?, ?)", (draft.user_id, enrolment.id, pin))
    user, _ = await server.auth.users.register(draft, [row], enrolments=[enrolment])
    return user


async def enrol(server: Server, *codes: str, table: str = "code") -> dict[str, Any]:
    """Give Ann codes in one login; answers the newest tokens."""
    answer = await step(server, **(FIRST if "password" in server.auth.factors else PIN))
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    for code in codes:
        path = f"/{table}/enrol"
        answer = await server.post(path, {"code": code}, token=tokens["access_token"])
        assert answer.status_code == 200, answer.text
        tokens = answer.json()
    return tokens


def code_of(answer: httpx.Response) -> tuple[int, str | None]:
    """Status and stable code; None stands for an answer that is no problem."""
    return answer.status_code, answer.json().get("code") if answer.content else None


async def step(server: Server, flow: str | None = None, **body: Any) -> httpx.Response:
    """One step of a login."""
    return await server.post("/auth/login", {**({"flow": flow} if flow else {}), **body})


async def begin(server: Server, factor: str, flow: str | None = None, **body: Any) -> str:
    """Ask for a challenge; answers the flow."""
    asked = {"factor": factor, **({"flow": flow} if flow else {}), **body}
    answer = await server.post("/auth/login/begin", asked)
    assert answer.status_code == 200, answer.text
    begun: str = answer.json()["flow"]
    return begun


async def count(server: Server, table: str) -> int:
    rows = await server.auth.database.read(f"select count(*) from {table}")
    found: int = rows[0][0]
    return found
