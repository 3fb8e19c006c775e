"""A server where people log in by domains, and the web that they live in, on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import httpx

from picoauth import Plugin
from picoauth.testing import Server, serving
from picoauth_fetch import Fetcher
from picoauth_fetch.testing import Asked, Authority, Site, answer, site
from picoauth_indieauth_login import IndieAuthLoginPlugin
from tests.factors import CEREMONIES, PLUGINS

NAMES = ("ann.example", "bob.example", "auth.example", "evil.example", "xn--bcher-kva.example")
ANN = "https://ann.example/"
ISSUER = "https://auth.example/"
ENDPOINT = "https://auth.example/authorize"
METADATA = "https://auth.example/metadata"
HOME = "https://auth.example/home"
CLIENT = "https://app.example/auth/indieauth/client"
BACK = "https://app.example/auth/indieauth/callback"
ON = """
plugins = ["indieauth-login", "pin", "code", "key"]
public_url = "https://app.example"
"""
TABLE = """
[indieauth-login]
domains = true
starts = 1000
"""
TRUSTED = """
[[indieauth-login.endpoints]]
name = "home"
url = "https://auth.example/home"
issuer = "https://auth.example/"
required_permission = "Media:Watch"
application = "media"
permissions = ["media:listen"]
register = true

[[indieauth-login.endpoints]]
name = "old"
url = "https://auth.example/old?x=1"
response_type = "id"
"""
OPEN = f'{TABLE}registration = "open"\n'
REFUSED = (401, "proof_refused")
IN = (200, "")
UNUSABLE = (400, "profile_unusable")


def told(reply: httpx.Response) -> tuple[int, str]:
    """Status and stable code."""
    return reply.status_code, reply.json().get("code", "") if reply.content else ""


def page(text: str = "", **headers: str) -> bytes:
    return answer(text.encode(), kind="text/html", **headers)


def as_json(members: Any, status: int = 200) -> bytes:
    return answer(json.dumps(members).encode(), status=status, kind="application/json")


def query(url: str) -> dict[str, str]:
    found = parse_qs(urlsplit(url).query, keep_blank_values=True)
    return {name: value for name, [value] in found.items()}


@dataclass
class Begun:
    """A login whose browser is on its way to the endpoint."""

    flow: str
    url: str

    @property
    def asked(self) -> dict[str, str]:
        return query(self.url)

    def brought(self, **changes: str | None) -> str:
        """What the browser comes back with; a change to None leaves a member out."""
        members = {"code": "a code", "state": self.asked["state"], "iss": ISSUER, **changes}
        return urlencode({name: value for name, value in members.items() if value is not None})


@dataclass
class People:
    """The server, and the web, of which every host has the same pages."""

    server: Server
    web: Site
    ca: Path
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def plugin(self) -> IndieAuthLoginPlugin:
        return self.server.auth.plugin(IndieAuthLoginPlugin)

    def reach(self, names: Mapping[str, str] | None = None, **more: Any) -> None:
        """Let names lead to the web of the test, or elsewhere; all others lead nowhere."""
        known = {**dict.fromkeys(NAMES, self.web.place), **(names or {})}
        settings = {"agent": "test", "redirects": 5, "ca": self.ca, "names": known}
        insecure = self.plugin.settings.http_profiles
        mine = Fetcher(**{**settings, "insecure": insecure, **more})
        self.plugin.client.fetching(mine, Fetcher(**{**settings, "private": True, **more}))

    def modern(self, me: str = ANN) -> None:
        """Every page names the endpoint by its metadata, and it says that somebody is `me`."""
        self.web.answers["/"] = page(f'<link rel="indieauth-metadata" href="{METADATA}">')
        self.web.answers["/metadata"] = as_json(
            {"issuer": ISSUER, "authorization_endpoint": ENDPOINT}
        )
        self.says({"me": me})

    def says(self, members: Any, status: int = 200, path: str = "/authorize") -> None:
        self.web.answers[path] = as_json(members, status)

    async def ask(self, **asked: Any) -> httpx.Response:
        return await self.server.post("/auth/login/begin", {"factor": "indieauth", **asked})

    async def begin(self, me: str | None = ANN, **asked: Any) -> Begun:
        reply = await self.ask(**({"me": me} if me else {}), **asked)
        assert 200 == reply.status_code, reply.text
        body = reply.json()
        return Begun(body["flow"], body["challenge"]["url"])

    async def come_back(self, flow: str, brought: Any) -> httpx.Response:
        return await self.server.post(
            "/auth/login", {"factor": "indieauth", "flow": flow, "indieauth": brought}
        )

    async def login(self, me: str | None = ANN, **asked: Any) -> httpx.Response:
        begun = await self.begin(me, **asked)
        return await self.come_back(begun.flow, begun.brought())

    async def token(self, username: str = "ann") -> str:
        """Of an account that has a pin, and no domain yet."""
        if username not in self.tokens:
            someone = await self.server.join("pin", username=username)
            self.tokens[username] = (await someone.login())["access_token"]
        return self.tokens[username]

    async def link(self, username: str = "ann", me: str = ANN, **begin: Any) -> httpx.Response:
        """Link to the account; it takes the new token."""
        token = await self.token(username)
        body = begin or {"me": me}
        begun = await self.server.post("/auth/indieauth/begin", body, token=token)
        assert 200 == begun.status_code, begun.text
        made = Begun(begun.json()["ticket"], begun.json()["url"])
        sent = {"ticket": made.flow, "indieauth": made.brought()}
        reply = await self.server.post("/auth/indieauth", sent, token=token)
        if reply.status_code == 201:
            self.tokens[username] = reply.json()["access_token"]
        return reply

    async def linked(self, username: str = "ann", **begin: Any) -> str:
        """The id of a new link."""
        reply = await self.link(username, **begin)
        assert 201 == reply.status_code, reply.text
        made: str = reply.json()["id"]
        return made

    async def user_of(self, me: str = ANN) -> str | None:
        user = await self.server.auth.users.find("url", me)
        return user.id if user else None

    @property
    def posted(self) -> Asked:
        """The last code that was redeemed."""
        return [asked for asked in self.web.asked if asked.method == "POST"][-1]

    @property
    def form(self) -> dict[str, str]:
        return {n: v for n, [v] in parse_qs(self.posted.body.decode()).items()}


def fragment(location: str) -> dict[str, str]:
    """What the callback hands to the page."""
    name, _, value = urlsplit(location).fragment.partition("=")
    assert "indieauth" == name
    return {n: v for n, [v] in parse_qs(unquote(value)).items()}


@asynccontextmanager
async def people(
    folder: Path,
    table: str = TABLE + TRUSTED,
    on: str = ON,
    plugins: Mapping[str, type[Plugin[Any]]] | None = None,
) -> AsyncIterator[People]:
    authority = Authority(folder)
    async with (
        serving(
            folder, on + table, plugins={**PLUGINS, **(plugins or {})}, ceremonies=CEREMONIES
        ) as server,
        site(authority.context(*NAMES)) as web,
    ):
        made = People(server, web, authority.ca)
        made.reach()
        made.modern()
        yield made
