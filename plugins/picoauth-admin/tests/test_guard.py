"""Who is let in, and by what."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from office import KINDS, SETTINGS, TCP, Office, PermitsPlugin, path, told

from picoauth import (
    AccessRefused,
    Caller,
    NoSettings,
    Plugin,
    Reply,
    Request,
    Route,
    UserDeleted,
    hookimpl,
)
from picoauth.testing import serving
from picoauth_admin import AdminPlugin
from picoauth_admin.keys import DAY, PREFIX
from tests.factors import CEREMONIES

USERS = "/admin/users"
OK = (200, "")
NO_TOKEN = (401, "token_missing")
INVALID = (401, "invalid_token")
FORBIDDEN = (403, "forbidden")


async def test_socket(office: Office) -> None:
    """Who opened the socket itself is let in; nobody over TCP is (M-1)."""
    assert OK == await office.told("GET", USERS)
    assert NO_TOKEN == await office.told("GET", USERS, peer=TCP)
    assert NO_TOKEN == await office.told("GET", USERS, peer=("127.0.0.1", 1))


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "x-forwarded-host"]
)
async def test_proxy_before_the_socket(office: Office, name: str) -> None:
    """It opened the socket for somebody else, whom the socket's mode says nothing about."""
    assert NO_TOKEN == await office.told("GET", USERS, headers={name: "192.0.2.1"})
    key = await office.key()
    assert OK == await office.told("GET", USERS, token=key, headers={name: "192.0.2.1"})


async def test_wrong_credential_on_the_socket(office: Office) -> None:
    """Who shows something is what that says, and no more: there is no falling back."""
    assert INVALID == await office.told("GET", USERS, token="nonsense")
    assert INVALID == await office.told("GET", USERS, token=f"{PREFIX}nonsense")
    reader = await office.key("read")
    assert (403, "read_only") == await office.told("DELETE", USERS, {"ids": ["x"]}, token=reader)
    user = await office.server.join("pin")
    token = (await user.login())["access_token"]
    assert FORBIDDEN == await office.told("GET", USERS, token=token)
    for header in ("", "Basic YTpi", "Bearer", "Bearer ", PREFIX):
        headers = {"Authorization": header}
        assert 401 == (await office.told("GET", USERS, headers=headers))[0], header


async def test_key(office: Office) -> None:
    """By its name what is done is known; it is good for so long, and until it is revoked."""
    key, keys = await office.key(), office.server.auth.plugin(AdminPlugin).keys
    made = await office.ask("POST", USERS, {"username": "ann"}, token=key, peer=TCP)
    assert 201 == made.status_code
    gone = await office.ask("DELETE", path(made.json()), token=key, peer=TCP)
    assert 204 == gone.status_code
    [event] = office.server.events.of(UserDeleted)
    assert ("key:backup", TCP[0]) == (event.caller.actor, event.caller.address)
    office.server.clock.advance(DAY - 1)
    assert OK == await office.told("GET", USERS, token=key, peer=TCP)
    office.server.clock.advance(1)
    assert INVALID == await office.told("GET", USERS, token=key, peer=TCP)
    office.server.clock.advance(-2)
    assert OK == await office.told("GET", USERS, token=key, peer=TCP)
    await keys.revoke("backup", Caller())
    assert INVALID == await office.told("GET", USERS, token=key, peer=TCP)
    [refused, _] = office.server.events.of(AccessRefused)[-2:]
    assert ("invalid_token", None) == (refused.code, refused.caller.actor)


async def test_reading_key(office: Office) -> None:
    """It reads, by GET and HEAD, and changes nothing."""
    ann, key = await office.make(), await office.key("read")
    for place in ("", "/sessions", "/factors"):
        assert OK == await office.told("GET", path(ann, place), token=key, peer=TCP)
    assert 200 == (await office.ask("HEAD", USERS, token=key, peer=TCP)).status_code
    for method, place in (
        ("POST", "/disable"),
        ("POST", "/enable"),
        ("DELETE", ""),
        ("DELETE", "/sessions"),
        ("POST", "/invitation"),
    ):
        told_ = await office.told(method, path(ann, place), token=key, peer=TCP)
        assert (403, "read_only") == told_
    assert ["ann"] == await office.names()


async def test_key_in_other_places(office: Office) -> None:
    """It is a bearer's alone, and no token of a user's."""
    key = await office.key()
    for headers in (
        {"Authorization": f"Basic {key}"},
        {"Authorization": key},
        {"X-Api-Key": key},
        {"Cookie": f"__Host-picoauth={key}"},
    ):
        assert 401 == (await office.told("GET", USERS, headers=headers, peer=TCP))[0]
    assert NO_TOKEN == await office.told("GET", f"{USERS}?access_token={key}", peer=TCP)
    assert INVALID == told(await office.server.get("/auth/me", token=key))


async def test_administrator(office: Office) -> None:
    """A user who may, after a fresh second factor, on the listener for administration."""
    root = await office.administrator()
    token = (await root.login())["access_token"]
    assert OK == await office.told("GET", USERS, token=token, peer=TCP)
    await office.ask("POST", USERS, {"username": "ann"}, token=token, peer=TCP)
    [user] = (await office.get(f"{USERS}?search=ann"))["users"]
    assert 204 == (await office.ask("DELETE", path(user), token=token, peer=TCP)).status_code
    [event] = office.server.events.of(UserDeleted)
    assert f"user:{root.user.id}" == event.caller.actor
    office.server.clock.advance(office.server.auth.config.logins.fresh_for + 1)
    assert (403, "stepup_needed") == await office.told("GET", USERS, token=token, peer=TCP)
    await root.prove("key", token=token)
    assert OK == await office.told("GET", USERS, token=token, peer=TCP)


async def test_second_factor_is_enrolled(office: Office) -> None:
    """A permission and a password are not enough, nor is a fallback alone."""
    root = await office.administrator("root", "pin")
    token = (await root.login())["access_token"]
    needed = (403, "second_factor_needed")
    assert needed == await office.told("GET", USERS, token=token, peer=TCP)


async def test_permission_is_looked_at_each_time(office: Office) -> None:
    """Who loses it is out at once, though the token is good (M-2)."""
    root, other = await office.administrator(), await office.administrator("other")
    token = (await root.login())["access_token"]
    permits = office.server.auth.plugin(PermitsPlugin)
    await permits.revoke(root.user.id, "picoauth:admin", Caller())
    assert FORBIDDEN == await office.told("GET", USERS, token=token, peer=TCP)
    await permits.grant(root.user.id, "picoauth:administrator", Caller())
    await permits.grant(root.user.id, "PICOAUTH:ADMIN", Caller())
    assert FORBIDDEN == await office.told("GET", USERS, token=token, peer=TCP)
    assert {other.user.id} == {*await permits.holders("picoauth:admin")}


async def test_disabled_administrator(office: Office) -> None:
    """Disabled, deleted, logged out: nothing is left of it (S-6)."""
    for number, verb in enumerate(("disable", "delete", "logout_from_all")):
        root = await office.administrator(f"root{number}")
        token = (await root.login())["access_token"]
        await getattr(office.server.auth.accounts, verb)(root.user.id, Caller())
        assert (401, "session_ended") == await office.told("GET", USERS, token=token, peer=TCP)


async def test_administrator_by_cookie(office: Office) -> None:
    """From a page of ours, and of no other site (S-5)."""
    root = await office.administrator()
    login = {"factor": "pin", "username": "root", "pin": "pin of root", "session": "cookie"}
    ours = {"Origin": office.server.auth.config.public_url}
    first = await office.server.client.post("/auth/login", json=login, headers=ours)
    flow = first.json()["flow"]
    begun = await office.server.post("/auth/login/begin", {"factor": "key", "flow": flow})
    proof = {"factor": "key", "flow": begun.json()["flow"], "owner": "root", "session": "cookie"}
    answer = await office.server.client.post("/auth/login", json=proof, headers=ours)
    assert 200 == answer.status_code, answer.text
    cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
    assert OK == await office.told("GET", USERS, headers=cookie, peer=TCP)
    for origin, expected in (
        (ours, (201, "")),
        ({"Origin": "https://evil.example"}, (403, "cross_site")),
        ({}, (403, "cross_site")),
        ({"Authorization": ""}, (403, "cross_site")),
    ):
        name = f"user{len(origin)}{expected[0]}"
        headers = {**cookie, **origin}
        body = {"username": name}
        assert expected == await office.told("POST", USERS, body, headers=headers, peer=TCP)
    assert root.user.id


async def test_no_permissions(tmp_path: Path) -> None:
    """Without a plugin that knows of permissions, sessions are of no use here."""
    settings = 'plugins = ["pin", "key", "admin"]'
    async with serving(tmp_path, settings, plugins=KINDS, ceremonies=CEREMONIES) as server:
        office = Office(server)
        user = await server.join("pin", "key")
        token = (await user.login())["access_token"]
        assert FORBIDDEN == await office.told("GET", USERS, token=token, peer=TCP)
        assert OK == await office.told("GET", USERS)


SPELLINGS = [
    "/admin/users",
    "/admin/users/",
    "//admin/users",
    "/admin//users",
    "/./admin/users",
    "/auth/../admin/users",
    "/auth/%2e%2e/admin/users",
    "/%61dmin/users",
    "/admin%2fusers",
    "/ADMIN/users",
    "/admin/users%00",
    "/admin/users;a=b",
    "/admin/users/count",
    "/admin\\users",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_public_addresses_have_none_of_it(office: Office, spelling: str) -> None:
    """However it is spelled, and whatever is shown (M-1)."""
    key = await office.key()
    for token in (None, key):
        answer = await office.ask("GET", spelling, token=token, listener="public")
        assert answer.status_code in (400, 404), spelling
        answer = await office.ask("GET", spelling, token=token, listener="public", peer=TCP)
        assert answer.status_code in (400, 404), spelling


async def test_let_onto_the_public_addresses(tmp_path: Path) -> None:
    """By the settings; a socket is then no credential there."""
    settings = SETTINGS + "[admin]\npublic = true\n"
    async with serving(tmp_path, settings, plugins=KINDS, ceremonies=CEREMONIES) as server:
        office = Office(server)
        assert NO_TOKEN == await office.told("GET", USERS, listener="public")
        assert OK == await office.told("GET", USERS)
        key = await office.key("read")
        assert OK == await office.told("GET", USERS, token=key, listener="public", peer=TCP)


async def test_other_plugins_are_let_onto_them_alike(tmp_path: Path) -> None:
    """One rule for every route of the policy: what is let in, or is not there, is so for all."""
    kinds, listed = {**KINDS, "shelf": ShelfPlugin}, SETTINGS.replace('"admin"', '"admin", "shelf"')
    for public in ("true", "false"):
        settings = f"{listed}[admin]\npublic = {public}\n"
        folder = tmp_path / public
        folder.mkdir()
        async with serving(folder, settings, plugins=kinds, ceremonies=CEREMONIES) as server:
            office = Office(server)
            key = await office.key("read")
            for place in (USERS, "/admin/shelf"):
                there = await office.told("GET", place, token=key, listener="public", peer=TCP)
                assert (OK if public == "true" else (404, "not_found")) == there
                nobody = await office.told("GET", place, listener="public")
                assert (NO_TOKEN if public == "true" else (404, "not_found")) == nobody
                assert OK == await office.told("GET", place)


class ShelfPlugin(Plugin[NoSettings]):
    """Another plugin with a route for administrators."""

    @hookimpl
    def routes(self) -> list[Route]:
        return [
            Route(
                method=method,
                path="/admin/shelf",
                handler=self.answer,
                policy="admin",
                listener="admin",
                answer=dict,
            )
            for method in ("GET", "POST")
        ]

    async def answer(self, request: Request) -> Reply:
        return Reply({"actor": request.caller.actor})


async def test_routes_of_other_plugins(tmp_path: Path) -> None:
    """The same guard, and they hear who acts."""
    kinds: Mapping[str, type[Plugin[Any]]] = {**KINDS, "shelf": ShelfPlugin}
    settings = 'plugins = ["pin", "key", "admin", "permits", "shelf"]'
    async with serving(tmp_path, settings, plugins=kinds, ceremonies=CEREMONIES) as server:
        office = Office(server)
        reader = await office.key("read", "reader")
        root = await office.administrator()
        token = (await root.login())["access_token"]
        found = [
            (await office.get("/admin/shelf", token=each))["actor"]
            for each in (None, reader, token)
        ]
        assert ["socket", "key:reader", f"user:{root.user.id}"] == found
        assert (403, "read_only") == await office.told("POST", "/admin/shelf", token=reader)
