"""Administration with all that comes along: what six plugins make of each other's work."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from picoauth import AuthError, Caller
from picoauth.importing import Importer, Report
from picoauth.testing import MailPlugin, Server, Someone, serving
from picoauth_admin import AdminPlugin
from picoauth_audit import AuditPlugin
from picoauth_audit.reading import Filter
from picoauth_permissions import PermissionsPlugin
from tests.firstparty import LISTED

PLUGINS = [*(name for name in LISTED if name != "mail-console"), "captured-mail", "ratelimit"]
KINDS = {"captured-mail": MailPlugin}
ADMIN = "picoauth:admin"
ROOT = Caller(actor="command:root")
LAST = (409, "last_administrator")
BCRYPT = "$2b$04$usesomesillystringforeSZ3saLXGnQtLrpxgqydzBYMhY/4iDpG"


def settings(more: str = "") -> str:
    return f'plugins = {json.dumps(PLUGINS)}\npublic_url = "https://auth.example.org"\n{more}'


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path, settings(), plugins=KINDS) as server:
        yield server


async def ask(
    server: Server,
    method: str,
    path: str,
    body: Any = None,
    *,
    token: str | None = None,
    headers: Mapping[str, str] = {},
    peer: tuple[str, int] | None = None,
) -> httpx.Response:
    """Over the socket for administration, or by `peer` over TCP."""
    app = server.app.on("admin")

    async def from_peer(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "client": peer}, receive, send)

    sent = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
    content = {} if body is None else {"json": body}
    transport = httpx.ASGITransport(app=from_peer, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.request(method, path, headers=sent, **content)


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "") if answer.content else ""


async def administrator(server: Server, username: str = "root") -> Someone:
    someone = await server.join("password", "totp", username=username)
    await server.auth.plugin(PermissionsPlugin).grant(someone.user.id, ADMIN, ROOT)
    return someone


async def rows(server: Server, actor: str) -> list[str]:
    """The events of the audit log by one actor, oldest first."""
    await server.auth.events.settle()
    audit = server.auth.plugin(AuditPlugin)
    await audit.keeper.round()
    found, _ = await audit.reader.page(Filter(actor=actor), 200)
    return [entry["event"] for entry in reversed(found)]


async def imported(server: Server, *lines: Any) -> Report:
    file = io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    importer = Importer(server.auth, ROOT)
    report, _ = importer.check(file, lambda _: None)
    assert not report.refusals, report
    file.seek(0)
    return await importer.run(file, lambda _: None)


ACTS: tuple[tuple[str, str, Any, str], ...] = (
    ("PATCH", "", {"name": "Ann A."}, "UserChanged"),
    ("PUT", "/email", {"email": "ann@example.org"}, "IdentifierAdded"),
    ("POST", "/invitation", {}, "InvitationSent"),
    ("PUT", "/permissions/wiki:edit", None, "PermissionGranted"),
    ("DELETE", "/permissions/wiki:edit", None, "PermissionRevoked"),
    ("PUT", "/roles/editors", None, "RoleAssigned"),
    ("DELETE", "/roles/editors", None, "RoleUnassigned"),
    ("DELETE", "/sessions", None, "SessionsEnded"),
    ("POST", "/disable", None, "UserDisabled"),
    ("POST", "/enable", None, "UserEnabled"),
    ("DELETE", "", None, "UserDeleted"),
)


@pytest.mark.parametrize("who", ["socket", "key", "user"])
async def test_every_act_is_a_row(server: Server, who: str) -> None:
    """With who did it, whichever way somebody was let in (L-3)."""
    root, token = await administrator(server), None
    actor = {"socket": "socket", "key": "key:backup", "user": f"user:{root.user.id}"}[who]
    if who == "key":
        keys = server.auth.plugin(AdminPlugin).keys
        token = await keys.create("backup", "full", 1, ROOT)
    if who == "user":
        token = (await root.login())["access_token"]
    made = await ask(server, "POST", "/admin/users", {"username": "ann"}, token=token)
    assert 201 == made.status_code, made.text
    role = {"permissions": ["wiki:edit"]}
    assert 200 == (await ask(server, "PUT", "/admin/roles/editors", role, token=token)).status_code
    path = f"/admin/users/{made.json()['id']}"
    for method, below, body, _ in ACTS:
        answer = await ask(server, method, path + below, body, token=token)
        assert answer.is_success, (method, below, answer.text)
    found = await rows(server, actor)
    assert ["UserRegistered", "RoleChanged", *(event for *_, event in ACTS)] == found


async def test_every_way_to_the_last_administrator(server: Server) -> None:
    """The last one stays one, whoever tries what."""
    root = await administrator(server)
    permissions, user_id = server.auth.plugin(PermissionsPlugin), root.user.id
    token = (await root.login())["access_token"]
    path = f"/admin/users/{user_id}"
    for method, below, body in (
        ("DELETE", "", None),
        ("POST", "/disable", None),
        ("DELETE", f"/permissions/{ADMIN}", None),
        ("PUT", "/permissions", {"permissions": []}),
    ):
        for credential in (None, token):
            answer = await ask(server, method, path + below, body, token=credential)
            assert LAST == told(answer), (method, below)
    bulk = await ask(server, "DELETE", "/admin/users", {"ids": [user_id]})
    assert ["last_administrator"] == [one["code"] for one in bulk.json()["results"]]
    assert LAST == told(await server.send("DELETE", "/auth/me", token=token))
    accounts = server.auth.accounts
    for attempt in (accounts.delete, accounts.disable, accounts.close):
        with pytest.raises(AuthError) as refused:
            await attempt(user_id, ROOT)
        assert "last_administrator" == refused.value.problem.code
    line = {"id": user_id, "username": "root", "disabled": True}
    assert 1 == (await imported(server, line)).there
    assert {ADMIN} == await permissions.held(user_id)
    found = await server.auth.users.get(user_id)
    assert found is not None
    assert not found.barred


async def test_the_last_administrator_by_a_role(server: Server) -> None:
    """Nor by what the role brings, or that it is there."""
    ann = await server.join("password", "totp", username="ann")
    path = "/admin/roles/admins"
    assert 200 == (await ask(server, "PUT", path, {"permissions": [ADMIN]})).status_code
    belonging = f"/admin/users/{ann.user.id}/roles/admins"
    assert 204 == (await ask(server, "PUT", belonging)).status_code
    for method, place, body in (
        ("DELETE", path, None),
        ("PUT", path, {"permissions": []}),
        ("DELETE", belonging, None),
        ("PUT", f"/admin/users/{ann.user.id}/permissions", {"permissions": [], "roles": []}),
        ("DELETE", f"/admin/users/{ann.user.id}", None),
        ("POST", f"/admin/users/{ann.user.id}/disable", None),
    ):
        assert LAST == told(await ask(server, method, place, body)), (method, place)


SPELLINGS = (
    "/admin/users/",
    "//admin/users",
    "/./admin/users",
    "/x/../admin/users",
    "/%61dmin/users",
    "/admin%2Fusers",
    "/ADMIN/users",
    "/admin;x/users",
    "/admin/users%00",
    "/admin\\users",
    "/metrics",
    "/%6detrics",
    "/metrics/",
    "/admin/audit",
    "/admin/roles",
)


@pytest.mark.parametrize("path", SPELLINGS)
async def test_public_addresses_have_none_of_it(server: Server, path: str) -> None:
    """No spelling of a path reaches it, with a key that is good for everything (M-1)."""
    key = await server.auth.plugin(AdminPlugin).keys.create("backup", "full", 1, ROOT)
    for token in (None, key):
        answer = await server.get(path, token=token)
        assert answer.status_code in (400, 404), (path, answer.status_code)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-HTTP-Method-Override": "DELETE"},
        {"X-HTTP-Method": "DELETE"},
        {"X-Method-Override": "DELETE"},
        {},
    ],
)
async def test_reading_key_changes_nothing(server: Server, headers: Mapping[str, str]) -> None:
    """Whatever it calls a change: by a header, a parameter, or `HEAD`."""
    ann = await server.join("password", username="ann")
    reader = await server.auth.plugin(AdminPlugin).keys.create("reader", "read", 1, ROOT)
    path, peer = f"/admin/users/{ann.user.id}", ("192.0.2.9", 4711)
    described = (await ask(server, "GET", "/openapi.json")).json()["paths"]
    for place, methods in described.items():
        there = place.replace("{id}", ann.user.id).replace("{", "").replace("}", "")
        for method in methods:
            if there.startswith("/admin") and method.upper() not in ("GET", "HEAD"):
                answer = await ask(
                    server, method.upper(), there, {}, token=reader, headers=headers, peer=peer
                )
                assert (403, "read_only") == told(answer), (method, there)
    for method in ("GET", "HEAD"):
        for below in ("", "?_method=DELETE", "/sessions", "/factors"):
            await ask(server, method, path + below, token=reader, headers=headers, peer=peer)
    assert await server.auth.users.get(ann.user.id) is not None
    assert [] == await rows(server, "key:reader")


async def test_credentials_in_two_headers(server: Server) -> None:
    """A key beside nothing, or beside what is none, is what was shown last; never the socket."""
    key = await server.auth.plugin(AdminPlugin).keys.create("reader", "read", 1, ROOT)
    app = server.app.on("admin")

    async def from_nobody(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "client": None}, receive, send)

    transport = httpx.ASGITransport(app=from_nobody)
    for pair in ((f"Bearer {key}", ""), ("", f"Bearer {key}"), ("Bearer x", "Basic eDp5")):
        sent = [("Authorization", value) for value in pair]
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.post("/admin/users", json={"username": "eve"}, headers=sent)
        assert answer.status_code in (400, 401, 403), pair
    assert await server.auth.users.find("username", "eve") is None


async def test_invited_user_takes_no_known_password(server: Server) -> None:
    """Who was invited sets a password as everybody does: the breach check has its say."""
    made = (await ask(server, "POST", "/admin/users", {"username": "ann"})).json()
    path = f"/admin/users/{made['id']}/invitation"
    link = (await ask(server, "POST", path, {"link": True})).json()["link"]
    invitation = link.partition("invitation=")[2]
    token = (await server.post("/auth/login", {"invitation": invitation})).json()["access_token"]
    refused = await server.send("PUT", "/auth/password", {"password": "password1"}, token=token)
    assert (400, "password_breached") == told(refused)
    good = {"password": "violet harbour umbrella kite"}
    assert 200 == (await server.send("PUT", "/auth/password", good, token=token)).status_code
    again = await server.post("/auth/login", {"invitation": invitation})
    assert 401 == again.status_code


async def test_invitation_that_was_overtaken(server: Server) -> None:
    """It is no way in once the account has credentials from elsewhere, or another address."""
    for overtake in ("factor", "address", "disabled"):
        name = f"of-{overtake}"
        ann = await server.join("password", username=name)
        path = f"/admin/users/{ann.user.id}"
        shown = await ask(server, "POST", f"{path}/invitation", {"link": True})
        invitation = shown.json()["link"].partition("invitation=")[2]
        if overtake == "factor":
            token = (await ann.login())["access_token"]
            changing = {"password": "violet harbour umbrella kite"}
            answer = await server.send("PUT", "/auth/password", changing, token=token)
        elif overtake == "address":
            new = {"email": "ann@example.org", "verified": True}
            answer = await ask(server, "PUT", f"{path}/email", new)
        else:
            await ask(server, "POST", f"{path}/disable")
            answer = await ask(server, "POST", f"{path}/enable")
        assert answer.is_success, answer.text
        late = await server.post("/auth/login", {"invitation": invitation})
        assert 401 == late.status_code, overtake


async def test_imported_hashes_are_not_looked_at(server: Server) -> None:
    """Nobody knows the password of a hash; a login is never blocked by it (P-3)."""
    line = {"username": "ann", "password_hash": BCRYPT, "permissions": ["wiki:edit"]}
    assert 1 == (await imported(server, line)).made
    [advice] = [c for c in await findings(server) if c[0] == "password-imported"]
    assert "1 of 1 passwords still have the hash that they were imported with" in advice[1]


async def findings(server: Server) -> list[tuple[str, str]]:
    checks = dict(server.auth.plugins.collect("checks"))["password"]
    said = [(check.name, await check.run()) for check in checks]
    return [(name, problem) for name, problem in said if problem]


@pytest.mark.parametrize("factor", ["password", "passkey", "magic-link", "invitation"])
async def test_closed_account_by_any_factor(server: Server, factor: str) -> None:
    """Whichever way somebody logs in, a closed account says so, and can be restored."""
    ann = await server.join(factor, username="ann")
    await server.auth.accounts.close(ann.user.id, ROOT)
    assert (403, "account_closed") == told(await ann.prove(factor))


async def test_flood_of_administration(tmp_path: Path) -> None:
    """Guesses at keys are limited by address, for every plugin's routes; the socket has none."""
    more = '[ratelimit]\nadmin = "3/1m"\n'
    async with serving(tmp_path, settings(more), plugins=KINDS) as server:
        peer = ("192.0.2.9", 4711)
        places = ("/admin/users", "/admin/roles", "/admin/audit", "/admin/users/count")
        answers = [await ask(server, "GET", place, token="x", peer=peer) for place in places]
        assert [401, 401, 401, 429] == [answer.status_code for answer in answers]
        spoofed = {"X-Forwarded-For": "198.51.100.7"}
        answer = await ask(server, "GET", places[0], token="x", peer=peer, headers=spoofed)
        assert 429 == answer.status_code
        assert [200] * 9 == [
            (await ask(server, "GET", "/admin/roles")).status_code for _ in range(9)
        ]


async def test_figures_are_no_part_of_it(tmp_path: Path) -> None:
    """Where administration is let onto the public addresses, figures are not."""
    more = "[admin]\npublic = true\n[metrics]\nlocal = false\n"
    async with serving(tmp_path, settings(more), plugins=KINDS) as server:
        key = await server.auth.plugin(AdminPlugin).keys.create("reader", "read", 1, ROOT)
        for place in ("/admin/users", "/admin/roles", "/admin/audit"):
            assert 401 == (await server.get(place)).status_code
            assert 200 == (await server.get(place, token=key)).status_code
        assert 404 == (await server.get("/metrics", token=key)).status_code
        assert 200 == (await ask(server, "GET", "/metrics", token=key)).status_code
        behind = {"Via": "1.1 proxy"}
        assert 401 == (await ask(server, "GET", "/metrics", headers=behind)).status_code


async def test_figures_of_unknown_paths(server: Server) -> None:
    """Nobody makes labels by asking for what is not there."""
    for number in range(50):
        await server.get(f"/nothing-{number}")
        await server.get(f"/admin/users/{number}")
        await ask(server, "GET", f"/admin/users/{number}", headers={"Via": "x"})
    text = (await ask(server, "GET", "/metrics")).text
    assert "nothing-" not in text
    assert "/admin/users/{id}" in text
    assert "/admin/users/1" not in text
