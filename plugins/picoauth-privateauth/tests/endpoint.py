"""An endpoint under test, its users, and clients that do as the specifications say."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from picoauth import Caller, NoSettings, Plugin, Statement
from picoauth.testing import Clock, Server
from picoauth_fetch import Fetcher
from picoauth_privateauth import PrivateAuthPlugin
from tests.accounts import accounts, login, watched
from tests.factors import join

ISSUER = "https://auth.example/"
APP = "https://app.example/"
BACK = "https://app.example/callback"
OLD = "https://media.example/privateauth/"
OLD_BACK = "https://media.example/privateauth/callback"
DOOR = "https://door.example/"
DOOR_BACK = "https://door.example/in"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
"""RFC 7636, appendix B."""
ON = """
plugins = ["watched", "pin", "code", "rights", "privateauth"]
public_url = "https://auth.example"
cors_origins = ["https://pages.example"]
"""
TABLE = """
[privateauth]
consent_url = "https://auth.example/consent/"
scopes = ["profile", "email", "create"]
"""
CLIENTS = """
[[privateauth.clients]]
client_id = "https://app.example/"
name = "App"
redirect_uris = ["https://app.example/callback"]

[[privateauth.clients]]
client_id = "https://media.example/privateauth/"
name = "Media"
redirect_uris = ["https://media.example/privateauth/callback"]
pkce = "optional"
legacy = true
application = "media"

[[privateauth.clients]]
client_id = "https://door.example/"
name = "Door"
redirect_uris = ["https://door.example/in"]
required_permission = "door:open"
"""
PRIVATE = {"X-PrivateAuth-Version": "1"}
WRITES: ContextVar[list[Sequence[Statement]] | None] = ContextVar("WRITES", default=None)


class RightsPlugin(Plugin[NoSettings]):
    """Keeps permissions in memory, in the place of the plugin that does."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.known: dict[str, set[str]] = {}

    async def held(self, user_id: str) -> frozenset[str]:
        return frozenset(self.known.get(user_id, ()))

    async def holders(self, permission: str) -> Sequence[str]:
        return [user_id for user_id, held in self.known.items() if permission in held]

    async def grant(self, user_id: str, permission: str, caller: Caller) -> None:
        self.known.setdefault(user_id, set()).add(permission)

    async def revoke(self, user_id: str, permission: str, caller: Caller) -> None:
        self.known.get(user_id, set()).discard(permission)


def challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass
class Home:
    """The endpoint, with Ann logged in."""

    server: Server
    tokens: dict[str, str] = field(default_factory=dict)
    """Access tokens by user name."""

    @property
    def plugin(self) -> PrivateAuthPlugin:
        found = self.server.auth.plugins.on["privateauth"]
        assert isinstance(found, PrivateAuthPlugin)
        return found

    async def user_id(self, username: str = "ann") -> str:
        user = await self.server.auth.users.find("username", username)
        assert user is not None
        return user.id

    async def join(self, username: str) -> None:
        await join(self.server, username)

    async def permit(self, permission: str, username: str = "ann") -> None:
        rights = self.server.auth.plugins.on["rights"]
        assert isinstance(rights, RightsPlugin)
        await rights.grant(await self.user_id(username), permission, Caller())

    async def forbid(self, permission: str, username: str = "ann") -> None:
        rights = self.server.auth.plugins.on["rights"]
        assert isinstance(rights, RightsPlugin)
        await rights.revoke(await self.user_id(username), permission, Caller())

    async def token(self, username: str = "ann") -> str:
        if username not in self.tokens:
            self.tokens[username] = (await login(self.server, username))["access_token"]
        return self.tokens[username]

    async def ask(
        self, method: str, path: str, body: Any = None, *, username: str = "ann"
    ) -> httpx.Response:
        """As a page that a user is logged in at."""
        token = await self.token(username)
        return await self.server.send(method, f"/indieauth/{path}", body, token=token)

    async def authorize(
        self, *more: tuple[str, str], accept: str = "*/*", **changes: Any
    ) -> httpx.Response:
        """As the browser comes from a client; a change to None leaves a parameter out."""
        query = urlencode([*asked(**changes).items(), *more])
        return await self.server.client.get(
            f"/indieauth/authorize?{query}", headers={"Accept": accept}
        )

    async def request(self, **changes: Any) -> str:
        """The id under which a request waits."""
        answer = await self.authorize(**changes)
        assert 303 == answer.status_code, answer.text
        location = answer.headers["location"]
        assert location.startswith("https://auth.example/consent/?request="), location
        return str(query(location)["request"])

    async def approved(self, request: str, username: str = "ann", **body: Any) -> dict[str, str]:
        """What comes back to the client."""
        answer = await self.ask("POST", f"requests/{request}/approve", body, username=username)
        assert 200 == answer.status_code, answer.text
        return query(answer.json()["redirect_to"])

    async def code(self, username: str = "ann", **changes: Any) -> str:
        return (await self.approved(await self.request(**changes), username))["code"]

    async def post(
        self, path: str, *, headers: Mapping[str, str] | None = None, **form: Any
    ) -> httpx.Response:
        """As a client; a member that is None is left out."""
        data = {name: value for name, value in form.items() if value is not None}
        return await self.server.client.post(
            f"/indieauth/{path}", data=data, headers=dict(headers or {})
        )

    async def redeem(self, code: str, path: str = "authorize", **changes: Any) -> httpx.Response:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": APP,
            "redirect_uri": BACK,
            "code_verifier": VERIFIER,
        }
        return await self.post(path, **{**form, **changes})

    async def handed(self, scope: str = "profile", username: str = "ann") -> dict[str, Any]:
        """Tokens of a client."""
        answer = await self.redeem(await self.code(username, scope=scope), "token")
        assert 200 == answer.status_code, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens

    async def legacy(self, code: str, **changes: Any) -> httpx.Response:
        """As the PrivateAuth clients do that there are."""
        form = {"code": code, "client_id": OLD, "redirect_uri": OLD_BACK}
        return await self.post("authorize", headers=PRIVATE, **{**form, **changes})

    async def legacy_code(self, username: str = "ann", **changes: Any) -> str:
        return await self.code(username, **{**legacy(), **changes})

    async def introspected(self, token: str) -> dict[str, Any]:
        servers = self.server.auth.resource_servers
        if "files" not in self.tokens:
            self.tokens["files"] = await servers.add("files")
        key = self.tokens["files"]
        answer = await self.post(
            "introspect", headers={"Authorization": f"Bearer {key}"}, token=token
        )
        assert 200 == answer.status_code, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def userinfo(self, token: str) -> httpx.Response:
        return await self.server.get("/indieauth/userinfo", token=token)

    def fetching(self, names: Mapping[str, str], ca: Path | None = None, **more: Any) -> None:
        """Let names lead to servers of the test; all others are asked of nobody."""
        settings = self.plugin.settings
        for part in (self.plugin.clients, self.plugin.profiles):
            known = {"timeout": settings.fetch_timeout, "limit": settings.fetch_limit}
            known |= {"redirects": part.fetcher.redirects, "ca": ca, **more}
            part.fetcher = Fetcher(agent="picoauth-privateauth", names=names, **known)


def asked(**changes: Any) -> dict[str, str]:
    query = {
        "response_type": "code",
        "client_id": APP,
        "redirect_uri": BACK,
        "state": "st at/e+1",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changes,
    }
    return {name: value for name, value in query.items() if value is not None}


def legacy() -> dict[str, Any]:
    """What PrivateAuth clients ask with: `client_id`, `redirect_uri` and `state`."""
    nothing = dict.fromkeys(("response_type", "code_challenge", "code_challenge_method"))
    return {"client_id": OLD, "redirect_uri": OLD_BACK, **nothing}


def query(location: str) -> dict[str, str]:
    found = parse_qs(urlsplit(location).query, keep_blank_values=True)
    return {name: value for name, [value] in found.items()}


@asynccontextmanager
async def home(
    folder: Path, table: str = TABLE + CLIENTS, on: str = ON, *, clock: Clock | None = None
) -> AsyncIterator[Home]:
    async with accounts(folder, on + table, clock=clock, rights=RightsPlugin) as server:
        yield Home(server)


@contextmanager
def writing(server: Server) -> Iterator[list[Sequence[Statement]]]:
    """The writes of what is done within, each with all its statements."""
    database = watched(server)
    write, found = database.write, list[Sequence[Statement]]()

    async def noted(*statements: Statement) -> Any:
        heard = WRITES.get()
        if heard is not None:
            heard.append(statements)
        return await write(*statements)

    database.write = noted  # type: ignore[method-assign]
    token = WRITES.set(found)
    try:
        yield found
    finally:
        WRITES.reset(token)
        database.write = write  # type: ignore[method-assign]
