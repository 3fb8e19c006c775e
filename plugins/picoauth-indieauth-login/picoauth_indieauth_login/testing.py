"""How users of a test log in by a domain, for the matrices and contracts of picoauth's test kit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from picoauth import Payload, Statement, identifier
from picoauth.testing import Ceremony, Server, Someone
from picoauth_fetch import Answer
from picoauth_indieauth_login.accounts import FACTOR
from picoauth_indieauth_login.client import Identity, challenge
from picoauth_indieauth_login.plugin import IndieAuthLoginPlugin

ISSUER = "https://people.example/"
METADATA = f"{ISSUER}metadata"
AUTHORIZE = f"{ISSUER}authorize"


class Endpoint:
    """Pages and an endpoint of people in this process, in the place of a fetcher."""

    def __init__(self) -> None:
        self.codes: dict[str, tuple[str, str]] = {}
        """By code, of whom it is, and the challenge that it was asked with."""
        self.numbers = count(1)

    def page(self, username: str) -> str:
        """The profile URL of a user."""
        return f"{ISSUER}{quote(username, safe='')}"

    def approve(self, url: str, username: str) -> str:
        """What a user's browser brings back, who let the client in that sent it to this URL."""
        asked = {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
        code = f"code-{next(self.numbers)}"
        self.codes[code] = (self.page(username), asked.get("code_challenge", ""))
        return urlencode({"code": code, "state": asked.get("state", ""), "iss": ISSUER})

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Answer:  # noqa: ARG002
        if url != METADATA:
            link = {"link": f'<{METADATA}>; rel="indieauth-metadata"'}
            return Answer(url, 200, link, b"")
        told = {"issuer": ISSUER, "authorization_endpoint": AUTHORIZE}
        return Answer(url, 200, {"content-type": "application/json"}, json.dumps(told).encode())

    async def post(
        self,
        url: str,
        body: bytes,
        *,
        headers: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> Answer:
        """A code is good once, right or wrong, and for who has its verifier."""
        form = {name: value for name, [value] in parse_qs(body.decode()).items()}
        me, asked = self.codes.pop(form["code"], ("", ""))
        if not me or asked != challenge(form["code_verifier"]):
            return Answer(url, 400, {}, b'{"error": "invalid_grant"}')
        return Answer(
            url, 200, {"content-type": "application/json"}, json.dumps({"me": me}).encode()
        )


class IndieAuthCeremony(Ceremony):
    """To each user a domain, whose endpoint is in the test's own process: nothing is fetched."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.plugin = server.auth.plugin(IndieAuthLoginPlugin)
        self.endpoint = Endpoint()
        self.plugin.client.fetching(self.endpoint, self.endpoint)

    async def enrol(self, someone: Someone) -> None:
        me = identifier("url", self.endpoint.page(someone.username), verified=True)
        enrolment = await someone.enrolment(FACTOR)
        users, now = self.server.auth.users, self.server.auth.now()
        linking = self.plugin.accounts.linking(enrolment, Identity("", me.value, me.value))
        naming: Statement = users.naming(someone.user.id, me, now)
        await self.server.auth.database.write(naming, linking)

    async def asks(self, someone: Someone) -> Payload | None:
        self.plugin.starts.counts.clear()  # as if each were the first of its minute
        return {"me": self.endpoint.page(someone.username)}

    async def answer(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        return {FACTOR: self.endpoint.approve(str(challenge.get("url", "")), someone.username)}

    async def wrong(self, someone: Someone, challenge: Mapping[str, Any]) -> Payload:
        """With a code that the endpoint does not know."""
        brought = self.endpoint.approve(str(challenge.get("url", "")), someone.username)
        return {FACTOR: brought.replace("code=code-", "code=none-")}
