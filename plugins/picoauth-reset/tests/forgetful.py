"""Users who forget their passwords, and the mails that they get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from picoauth import Message, Plugin, Problem, Statement, User, hookimpl
from picoauth.hooks import NoSettings
from picoauth.testing import MailPlugin, Server, delivered
from picoauth.testing.server import PASSWORD
from picoauth_password import PasswordContext
from tests.factors import PLUGINS

PATH = "/auth/forgot_password"
ADDRESS = "Ann@example.com"
OTHER = "another horse battery staple"
MINUTE, HOUR, DAY = 60, 3600, 86400
BREACHED = Problem(400, "password_breached", "This password is known.")

VERIFY = """
    insert into identifiers (user_id, kind, value, display, verified_at) values (?, 'email', ?, ?, ?)
"""


class PickyPlugin(Plugin[NoSettings]):
    """Refuses a password that is known; and lets something happen while one is looked at."""

    meanwhile: Any = None

    @hookimpl
    async def check_password(self, password: str, context: PasswordContext) -> Problem | None:
        if self.meanwhile is not None:
            await self.meanwhile()
        assert context.username is not None
        return BREACHED if password == "password1" else None


SETTINGS = """
plugins = ["password", "pin", "code", "captured-mail", "picky", "reset"]
public_url = "https://auth.example.org"
"""
KINDS: Mapping[str, type[Plugin[Any]]] = {
    **PLUGINS,
    "captured-mail": MailPlugin,
    "picky": PickyPlugin,
}


def told(answer: httpx.Response) -> tuple[int, str]:
    """Status and stable code."""
    return answer.status_code, answer.json().get("code", "") if answer.content else ""


def token_of(message: Message) -> str:
    """The token behind `#` of its link."""
    return message.values["link"].partition("=")[2]


async def address(
    server: Server, user_id: str, text: str = ADDRESS, *, verified: bool = True
) -> None:
    at = 1 if verified else None
    await server.auth.database.write(Statement(VERIFY, (user_id, text.lower(), text, at)))


@dataclass
class Forgetful:
    """A user, and the mails that came since the last look."""

    server: Server
    id: str
    username: str
    seen: int = 0

    @classmethod
    async def joined(
        cls, server: Server, username: str = "ann", email: str | None = ADDRESS
    ) -> Forgetful:
        made = await server.register(username)
        if email is not None:
            await address(server, made["id"], email)
        return cls(server, made["id"], username)

    async def ask(self, **body: Any) -> httpx.Response:
        answer = await self.server.post(PATH, body or {"username": self.username})
        assert (202, {}) == (answer.status_code, answer.json())
        return answer

    async def mails(self) -> list[Message]:
        sent = await delivered(self.server)
        new, self.seen = sent[self.seen :], len(sent)
        return list(new)

    async def token(self, **body: Any) -> str:
        """Ask, and open the mail."""
        await self.ask(**body)
        [message] = await self.mails()
        return token_of(message)

    async def look(self, token: str) -> tuple[int, str]:
        return told(await self.server.get(f"{PATH}/{token}"))

    async def set(self, token: str, password: str = OTHER) -> tuple[int, str]:
        body = {"password": password}
        return told(await self.server.send("PUT", f"{PATH}/{token}", body))

    async def login(self, password: str = PASSWORD) -> tuple[int, str]:
        body = {"username": self.username, "password": password}
        return told(await self.server.post("/auth/login", body))

    async def user(self) -> User:
        return await self.server.auth.users.require(self.id)

    async def sessions(self) -> int:
        return len(await self.server.auth.sessions.list(self.id))
