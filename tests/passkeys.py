"""Devices and their passkeys, for tests of the plugin: right ones, and those with one thing wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import httpx

from picoauth.testing import Clock, Server, serving
from picoauth.testing.authenticator import Authenticator, Credential
from tests.accounts import WatchedPlugin
from tests.factors import CEREMONIES, PLUGINS

PAGE = "http://localhost:8100"
ON = 'plugins = ["watched", "pin", "passkey"]'
DROP = object()
"""In the place of a member: it is left out."""

Answer = dict[str, Any]
Change = Callable[[Any], Any]


def same(value: Any) -> Any:
    return value


@dataclass
class Bent(Authenticator):
    """A device, or the browser in front of it, that is right but for one thing, which it signs."""

    client: Mapping[str, Any] = field(default_factory=dict)
    """Members of the client data."""
    raw_client: Change = same
    data: Change = same
    """Makes other authenticator data."""
    told: Change = same
    """Makes another answer, nothing of which is signed anew."""
    stated: Change = same
    """Makes another format and attestation statement."""

    def client_data(self, kind: str, challenge: str) -> bytes:
        members = {**json.loads(super().client_data(kind, challenge)), **self.client}
        kept = {name: value for name, value in members.items() if value is not DROP}
        bent: bytes = self.raw_client(json.dumps(kept).encode())
        return bent

    def authenticator_data(
        self, credential: Credential, site: str, *, attested: bool = False
    ) -> bytes:
        bent: bytes = self.data(super().authenticator_data(credential, site, attested=attested))
        return bent

    def statement(self, *args: Any) -> tuple[str, dict[str, Any]]:
        bent: tuple[str, dict[str, Any]] = self.stated(super().statement(*args))
        return bent

    def answer(self, *args: Any, **response: Any) -> Answer:
        bent: Answer = self.told(super().answer(*args, **response))
        return bent


def bent(device: Authenticator, **changes: Any) -> Bent:
    """The same device with the same keys, and something else."""
    kept = {f.name: getattr(device, f.name) for f in fields(Authenticator)}
    return Bent(**{**kept, **changes})


@asynccontextmanager
async def running(
    folder: Path, more: str = "", *, above: str = "", clock: Clock | None = None
) -> AsyncIterator[Server]:
    """A server with pins and passkeys; `above` the tables, and `more` of them."""
    settings = f"{ON}\n{above}\n{more}"
    plugins = {"pin": PLUGINS["pin"], "watched": WatchedPlugin}
    pins = {"pin": CEREMONIES["pin"]}
    async with serving(folder, settings, plugins=plugins, ceremonies=pins, clock=clock) as server:
        yield server


def device(**more: Any) -> Authenticator:
    return Authenticator(**{"origin": PAGE, **more})


def only(device: Authenticator) -> Credential:
    [credential] = device.credentials.values()
    return credential


def status_check(answer: httpx.Response) -> tuple[int, str | None, str | None]:
    """Status, stable code, and which check failed."""
    body = answer.json()
    return answer.status_code, body.get("code"), body.get("check")


async def begin_enrol(server: Server, token: str, **body: Any) -> Answer:
    answer = await server.post("/auth/passkey/begin", body, token=token)
    assert 200 == answer.status_code, answer.text
    begun: Answer = answer.json()
    return begun


async def end_enrol(
    server: Server, token: str, ticket: str, made: Any, **more: Any
) -> httpx.Response:
    body = {"ticket": ticket, "passkey": made, **more}
    return await server.post("/auth/passkey", body, token=token)


async def enrol(server: Server, token: str, device: Authenticator, **body: Any) -> httpx.Response:
    """Add the device's new key to an account; `kind` and `label` as in the bodies."""
    label = {"label": body.pop("label")} if "label" in body else {}
    begun = await begin_enrol(server, token, **body)
    made = device.create(begun["options"])
    return await end_enrol(server, token, begun["ticket"], made, **label)


async def user(server: Server, name: str = "ann") -> str:
    """A user with a pin, which costs nothing; answers a token."""
    someone = await server.join("pin", username=name)
    token: str = (await someone.login())["access_token"]
    return token


async def owner(server: Server, device: Authenticator, name: str = "ann", **body: Any) -> str:
    """A user with a pin and this device; answers a token."""
    answer = await enrol(server, await user(server, name), device, **body)
    assert 201 == answer.status_code, answer.text
    token: str = answer.json()["access_token"]
    return token


async def begin(server: Server, **body: Any) -> Answer:
    answer = await server.post("/auth/login/begin", {"factor": "passkey", **body})
    assert 200 == answer.status_code, answer.text
    begun: Answer = answer.json()
    return begun


async def prove(server: Server, flow: str, signed: Any, **more: Any) -> httpx.Response:
    body = {"factor": "passkey", "flow": flow, "passkey": signed, **more}
    return await server.post("/auth/login", body)


async def login(server: Server, device: Authenticator, **body: Any) -> httpx.Response:
    """One whole login: `username` or `flow` as in the body of its beginning."""
    begun = await begin(server, **body)
    return await prove(server, begun["flow"], device.get(begun["challenge"]))


async def after_pin(server: Server, name: str = "ann") -> str:
    """The flow of a login that has had its pin."""
    answer = await server.post("/auth/login", {"username": name, "pin": f"pin of {name}"})
    assert "more_needed" == answer.json().get("code"), answer.text
    flow: str = answer.json()["flow"]
    return flow


async def register(
    server: Server, device: Authenticator, name: str = "ann", **more: Any
) -> httpx.Response:
    """Make an account that has nothing but the device's key."""
    begun = await server.post("/auth/passkey/register/begin", {"username": name, **more})
    if begun.is_error:
        return begun
    made = device.create(begun.json()["options"])
    body = {"ticket": begun.json()["ticket"], "passkey": made}
    return await server.post("/auth/passkey/register", body)


async def count(server: Server, table: str = "passkey") -> int:
    rows = await server.auth.database.read(f"select count(*) from {table}")
    found: int = rows[0][0]
    return found
