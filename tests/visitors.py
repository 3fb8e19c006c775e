"""Users of several machines, whose every request goes to the next one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import httpx

from picoauth.testing.server import PASSWORD
from tests.factors import code_of
from tests.machines import Machines, until

OK, GONE = (200, None), (204, None)
ENDED, WRONG = (401, "session_ended"), (401, "invalid_credentials")
NUMBERS = count()
BOUND = 10
"""Seconds: far more than the half that others may take to learn of an end."""


class Visitor:
    """A user, whose requests go to any machine."""

    def __init__(self, net: Machines) -> None:
        self.net = net
        self.name = f"ann{next(NUMBERS)}"
        self.address = f"{self.name}@example.com"
        self.password = PASSWORD
        self.tokens: dict[str, str] = {}

    @classmethod
    async def joined(cls, net: Machines) -> Visitor:
        """One that is registered and logged in."""
        visitor = cls(net)
        body = {"username": visitor.name, "password": PASSWORD, "email": visitor.address}
        assert (201, None) == code_of(await net.ask("POST", "/auth/register", body))
        await visitor.login()
        return visitor

    @property
    def own(self) -> dict[str, str]:
        return {"username": self.name, "password": self.password}

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What has to go well; tokens of the answer are the newest."""
        answer = await self.net.ask(method, path, body, token=self.tokens.get("access_token"))
        assert answer.is_success, answer.text
        found = answer.json() if answer.content else {}
        if "access_token" in found:
            self.tokens |= {key: found[key] for key in found if key.endswith("_token")}
        return found

    async def refresh(self) -> None:
        token = self.tokens["refresh_token"]
        answer = await self.net.ask("POST", "/jwt/refresh", token=token)
        assert OK == code_of(answer), answer.text
        self.tokens = answer.json()

    async def login(self, **more: Any) -> Any:
        return await self.ask("POST", "/auth/login", more or self.own)

    async def flow(self) -> str:
        """A login that waits for its second factor."""
        answer = await self.net.ask("POST", "/auth/login", self.own)
        assert (401, "more_needed") == code_of(answer)
        flow: str = answer.json()["flow"]
        return flow

    async def valid(self, token: str | None = None) -> set[tuple[int, str | None]]:
        """What each machine says to the access token that is up."""
        token = token or self.tokens["access_token"]
        asked = [host.ask("POST", "/jwt/validate", token=token) for host in self.net.hosts]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return {code_of(each) for each in answers if isinstance(each, httpx.Response)}

    async def ended(self, token: str | None = None) -> None:
        """Every machine learns it."""

        async def everywhere() -> bool:
            return {ENDED} == await self.valid(token)

        await until(everywhere, BOUND)

    async def mailed(self, mark: str, after: int) -> str:
        """The token of the next mail's link."""
        mail = await self.net.mail(self.address, after)
        text = mail.get_payload()[0].get_payload(decode=True).decode()  # type: ignore[union-attr,index]
        found = re.search(rf"#{mark}=([\w.-]+)", text)
        assert found, text
        return found[1]


class Crowd:
    """Users who do what users do, while machines go and come."""

    def __init__(self, net: Machines) -> None:
        self.net = net
        self.users: list[Visitor] = []
        self.done = self.unanswered = 0
        self.over = False

    @asynccontextmanager
    async def living(self, many: int) -> AsyncIterator[None]:
        """So many at a time, until the end; whoever gets a wrong answer raises it there."""
        tasks = [asyncio.create_task(self.live()) for _ in range(many)]
        try:
            yield
        finally:
            self.over = True
            await asyncio.gather(*tasks)

    async def busy(self, times: int) -> None:
        """Wait until that many answers more are there."""
        goal = self.done + times

        async def reached() -> bool:
            return self.done >= goal

        await until(reached)

    async def ask(self, *words: Any, token: str | None = None) -> httpx.Response | None:
        """None where nobody knows what became of it."""
        try:
            answer = await self.net.ask(*words, token=token)
        except httpx.TransportError:
            await asyncio.sleep(0)
            self.unanswered += 1
            return None
        self.done += 1
        self.unanswered += answer.status_code == 503
        return None if answer.status_code == 503 else answer

    async def live(self) -> None:
        while not self.over:
            ann = Visitor(self.net)
            if joined := await self.ask("POST", "/auth/register", ann.own):
                assert (201, None) == code_of(joined)
                self.users.append(ann)
                await self.visit(ann)

    async def visit(self, ann: Visitor) -> None:
        """A login, a renewal, a change and a logout; each refusal would be a wrong answer."""
        if not (answer := await self.ask("POST", "/auth/login", ann.own)):
            return
        assert OK == code_of(answer)
        tokens = answer.json()
        if answer := await self.ask("POST", "/jwt/refresh", token=tokens["refresh_token"]):
            assert OK == code_of(answer)
            tokens = answer.json()
        if answer := await self.ask("POST", "/jwt/validate", token=tokens["access_token"]):
            assert OK == code_of(answer)
        if answer := await self.ask("POST", "/auth/logout", token=tokens["access_token"]):
            assert GONE == code_of(answer)
            await ann.ended(tokens["access_token"])
