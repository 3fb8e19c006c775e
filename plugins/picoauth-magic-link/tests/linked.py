"""Users who log in by mail, and what they get."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from picoauth import Message, Plugin, Statement
from picoauth.testing import MailPlugin, Server, Someone, delivered, serving
from tests.factors import CEREMONIES, PLUGINS

SETTINGS = """
plugins = ["magic-link", "pin", "code", "key", "captured-mail"]
public_url = "https://auth.example.org"
"""
KINDS: Mapping[str, type[Plugin[Any]]] = {**PLUGINS, "captured-mail": MailPlugin}


def served(
    folder: Path, settings: str, plugins: Mapping[str, type[Plugin[Any]]] = {}, **more: Any
) -> AbstractAsyncContextManager[Server]:
    """A server in a folder, with the factors of these tests."""
    return serving(folder, settings, plugins={**KINDS, **plugins}, ceremonies=CEREMONIES, **more)


ADDRESS = "Ann@example.com"
MINUTE, HOUR = 60, 3600
REFUSED = (401, "proof_refused")
IN = (200, "")

VERIFY = """
    insert into identifiers (user_id, kind, value, display, verified_at) values (?, 'email', ?, ?, ?)
"""


def told(answer: httpx.Response) -> tuple[int, str]:
    """Status and stable code."""
    return answer.status_code, answer.json().get("code", "") if answer.content else ""


def token_of(message: Message) -> str:
    """The token behind `#` of its link."""
    return message.values["link"].partition("=")[2]


def code_of(message: Message) -> str:
    return message.values["code"]


def other(code: str) -> str:
    return f"{(int(code) + 1) % 10**8:08}"


async def address(
    server: Server, user_id: str, text: str = ADDRESS, *, verified: bool = True
) -> None:
    at = 1 if verified else None
    await server.auth.database.write(Statement(VERIFY, (user_id, text.lower(), text, at)))


@dataclass
class Reader:
    """A user with an address, and the mails that came since the last look."""

    server: Server
    someone: Someone
    seen: int = 0

    @property
    def id(self) -> str:
        return self.someone.user.id

    @property
    def username(self) -> str:
        return self.someone.username

    @classmethod
    async def joined(
        cls, server: Server, username: str = "ann", email: str | None = ADDRESS
    ) -> Reader:
        someone = await server.join("pin", username=username)
        if email is not None:
            await address(server, someone.user.id, email)
        return cls(server, someone)

    async def begin(self, token: str | None = None, **body: Any) -> str:
        """Ask for a mail; answers the flow. With a `token`, of a session that proves itself."""
        path = "/auth/stepup/begin" if token else "/auth/login/begin"
        asked = {"factor": "magic-link", **({} if token else {"username": self.username}), **body}
        answer = await self.server.post(path, asked, token=token)
        assert 200 == answer.status_code, answer.text
        begun = answer.json()
        assert {} == begun["challenge"]
        flow: str = begun["flow"]
        return flow

    async def mails(self) -> list[Message]:
        sent = await delivered(self.server)
        new, self.seen = sent[self.seen :], len(sent)
        return list(new)

    async def mail(self) -> Message:
        [message] = await self.mails()
        return message

    async def asked(self) -> tuple[str, Message]:
        """A flow, and its mail."""
        return await self.begin(), await self.mail()

    async def send(
        self, proof: Any, flow: str | None = None, *, token: str | None = None
    ) -> httpx.Response:
        body = {"factor": "magic-link", "magic-link": proof}
        path = "/auth/stepup" if token else "/auth/login"
        return await self.server.post(
            path, {**body, **({"flow": flow} if flow else {})}, token=token
        )

    async def login(self, proof: Any, flow: str | None = None) -> tuple[int, str]:
        return told(await self.send(proof, flow))

    async def sessions(self) -> int:
        return len(await self.server.auth.sessions.list(self.id))
