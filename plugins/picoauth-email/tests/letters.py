"""Mails of a test server, and what users do with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from picoauth import Caller, Message, Plugin, identifier
from picoauth.testing import MailPlugin, Server, Someone, delivered
from tests.factors import PLUGINS

SETTINGS = """
plugins = ["pin", "code", "captured-mail", "email"]
public_url = "https://auth.example.org"
"""
REQUIRED = f"{SETTINGS}[email]\nrequire_verified = true\n"
KINDS: Mapping[str, type[Plugin[Any]]] = {**PLUGINS, "captured-mail": MailPlugin}
ADDRESS, OTHER, THIRD = "Ann@example.com", "ann@example.org", "ann@example.net"
MINUTE, HOUR = 60, 3600


def code_of(message: Message) -> str:
    return message.values["code"]


def token_of(message: Message) -> str:
    """The token behind `#` of its link."""
    return message.values["link"].partition("=")[2]


def told(answer: httpx.Response) -> tuple[int, str]:
    """Status and stable code."""
    return answer.status_code, answer.json().get("code", "") if answer.content else ""


@dataclass
class User:
    """A user with a session, and the mails of the server."""

    server: Server
    someone: Someone
    token: str
    seen: int = 0
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.someone.user.id

    async def mails(self) -> list[Message]:
        """What came since the last look."""
        sent = await delivered(self.server)
        new, self.seen = sent[self.seen :], len(sent)
        return list(new)

    async def mail(self) -> Message:
        [message] = await self.mails()
        return message

    async def post(self, path: str, body: Any = None, **more: Any) -> httpx.Response:
        return await self.server.post(f"/auth/email{path}", body, token=self.token, **more)

    async def set(self, address: str = ADDRESS) -> httpx.Response:
        answer = await self.post("", {"address": address})
        assert 202 == answer.status_code, answer.text
        return answer

    async def verify(self, **proof: str) -> httpx.Response:
        answer = await self.post("/verify", proof)
        if answer.is_success:
            self.token = answer.json()["access_token"]
        return answer

    async def verified(self, address: str = ADDRESS) -> None:
        """Set an address and verify it; what is told of it is seen. It takes a minute."""
        await self.set(address)
        message = next(one for one in await self.mails() if one.template == "email/verify")
        answer = await self.verify(code=code_of(message))
        assert 200 == answer.status_code, answer.text
        self.server.clock.advance(MINUTE)
        await self.mails()

    async def addresses(self) -> dict[str, bool]:
        """Each with whether it is verified."""
        found = await self.server.auth.users.identifiers(self.id)
        return {one.display: one.verified for one in found if one.kind == "email"}

    async def login(self) -> None:
        self.token = (await self.someone.login())["access_token"]


async def joined(server: Server, name: str = "ann") -> User:
    someone = await server.join("pin", username=name)
    user = User(server, someone, (await someone.login())["access_token"])
    await user.mails()
    return user


async def registered(
    server: Server, name: str, address: str = ADDRESS, *, languages: str = "", **more: Any
) -> Someone:
    """A user who gave an address at the registration, as that of password does."""
    draft = server.auth.users.draft(username=name, **more)
    email = identifier("email", address, verified=False)
    draft = replace(draft, identifiers=[*draft.identifiers, email])
    user, _ = await server.auth.users.register(draft, caller=Caller(languages=languages))
    someone = Someone(server, user, name)
    await someone.enrol("pin")
    return someone


def digits(text: str) -> list[str]:
    return re.findall(r"\b[0-9]{8}\b", text)
