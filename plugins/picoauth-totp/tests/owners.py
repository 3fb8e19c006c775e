"""Users with apps, who do everything by HTTP."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import httpx

from picoauth.testing import Server, Someone
from picoauth_totp import TotpPlugin
from picoauth_totp.testing import App

SETTINGS = 'plugins = ["pin", "key", "totp"]'


@dataclass
class Owner:
    """A user, the newest access token, and the apps by the ids of their enrolments."""

    someone: Someone
    token: str = ""
    apps: dict[str, App] = field(default_factory=dict)

    @classmethod
    async def joined(cls, server: Server, username: str) -> Owner:
        owner = cls(await server.join("pin", username=username))
        owner.token = (await owner.someone.login("pin"))["access_token"]
        return owner

    @property
    def server(self) -> Server:
        return self.someone.server

    @property
    def pin(self) -> dict[str, str]:
        return {"username": self.someone.username, "pin": f"pin of {self.someone.username}"}

    @property
    def app(self) -> App:
        """The newest."""
        return list(self.apps.values())[-1]

    async def post(self, path: str, body: Any = None) -> httpx.Response:
        """Ask with the newest token, and keep the one that comes of it."""
        answer = await self.server.post(path, body, token=self.token)
        if answer.is_success:
            self.token = answer.json().get("access_token", self.token)
        return answer

    async def add(self, **body: Any) -> str:
        """Begin to enrol an app; answers the id."""
        answer = await self.post("/auth/totp", body)
        assert 201 == answer.status_code, answer.text
        made = answer.json()
        window = self.server.auth.plugin(TotpPlugin).settings.window
        secret = base64.b32decode(made["secret"])
        self.apps[made["id"]] = App(secret, self.server.clock, window)
        enrolment_id: str = made["id"]
        return enrolment_id

    async def confirm(self, enrolment_id: str, code: str) -> httpx.Response:
        return await self.post("/auth/totp/confirm", {"id": enrolment_id, "code": code})

    async def enrol(self, **body: Any) -> str:
        """Enrol an app; answers the id."""
        enrolment_id = await self.add(**body)
        answer = await self.confirm(enrolment_id, self.apps[enrolment_id].code())
        assert 200 == answer.status_code, answer.text
        return enrolment_id

    async def flow(self) -> str:
        """A login that waits for a code."""
        answer = await self.server.post("/auth/login", self.pin)
        assert "more_needed" == answer.json().get("code"), answer.text
        flow: str = answer.json()["flow"]
        return flow

    async def login(self, code: str, flow: str | None = None) -> httpx.Response:
        """Log in by pin and code, in two steps."""
        body = {"flow": flow or await self.flow(), "factor": "totp", "totp": code}
        return await self.server.post("/auth/login", body)

    async def stepup(self, code: Any) -> httpx.Response:
        return await self.post("/auth/stepup", {"factor": "totp", "totp": code})


def code_of(answer: httpx.Response) -> tuple[int, str | None]:
    """Status and stable code; None stands for an answer that is no problem."""
    return answer.status_code, answer.json().get("code") if answer.content else None
