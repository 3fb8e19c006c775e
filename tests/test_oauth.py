"""Asking about tokens and giving them up, as OAuth libraries do (RFC 7662, RFC 7009)."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from picoauth import (
    FORM,
    Caller,
    ConfigError,
    NoSettings,
    Plugin,
    Session,
    Statement,
    User,
    hookimpl,
)
from picoauth.testing import Server
from tests.accounts import SETTINGS, accounts, login, user_id
from tests.storage import exactly
from tests.test_keys import written

INACTIVE = {"active": False}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with accounts(tmp_path) as server:
        yield server


async def keyed(server: Server, name: str = "media") -> dict[str, str]:
    """The header of a new resource server."""
    return {"Authorization": f"Bearer {await server.auth.resource_servers.add(name)}"}


def basic(name: str, key: str) -> dict[str, str]:
    credentials = base64.b64encode(f"{name}:{key}".encode()).decode()
    return {"Authorization": f"Basic {credentials}"}


async def asked(server: Server, token: str, headers: dict[str, str]) -> Any:
    answer = await server.client.post("/oauth/introspect", data={"token": token}, headers=headers)
    assert 200 == answer.status_code, answer.text
    return answer.json()


async def revoke(server: Server, token: str) -> httpx.Response:
    return await server.client.post("/oauth/revoke", data={"token": token})


async def test_access_token(server: Server) -> None:
    """A good access token is told with its claims, and the names that RFC 7662 gives them."""
    tokens = await login(server)
    claims = (await server.post("/jwt/validate", token=tokens["access_token"])).json()
    expected = {**claims, "active": True, "username": "ann", "token_type": "Bearer"}
    assert expected == await asked(server, tokens["access_token"], await keyed(server))


async def test_refresh_token(server: Server) -> None:
    """Of a refresh token there is told whose it is, and until when; it is not spent by that."""
    tokens, headers = await login(server), await keyed(server)
    for _ in range(2):
        found = await asked(server, tokens["refresh_token"], headers)
        expected = {
            "active": True,
            "iss": "http://127.0.0.1:8100",
            "sub": await user_id(server),
            "sid": found["sid"],
            "exp": server.auth.now() + 14 * 86400,
        }
        assert expected == found
    renewed = await server.post("/jwt/refresh", token=tokens["refresh_token"])
    assert 200 == renewed.status_code


async def test_spent_refresh_token(server: Server) -> None:
    """A spent refresh token is good within the window alone; asking is no theft."""
    server.clock.advance(10)
    headers, old = await keyed(server), (await login(server))["refresh_token"]
    server.clock.advance(10)
    new = (await server.post("/jwt/refresh", token=old)).json()["refresh_token"]
    for seconds, expected in ((9, True), (1, False)):
        server.clock.advance(seconds)
        assert expected is (await asked(server, old, headers))["active"]
        assert (await asked(server, new, headers))["active"] is True
    server.clock.advance(10)
    newest = (await server.post("/jwt/refresh", token=new)).json()["refresh_token"]
    assert INACTIVE == await asked(server, old, headers)
    assert (await asked(server, newest, headers))["active"] is True


async def test_stateless_refresh_token(tmp_path: Path) -> None:
    """A stateless one is good until its end or that of its session, used or not."""
    settings = f'{SETTINGS}[tokens]\nrefresh = "stateless"'
    async with accounts(tmp_path, settings) as server:
        headers, token = await keyed(server), (await login(server))["refresh_token"]
        await server.post("/jwt/refresh", token=token)
        server.clock.advance(86399)
        assert (await asked(server, token, headers))["active"] is True
        await revoke(server, token)
        assert INACTIVE == await asked(server, token, headers)


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
@pytest.mark.parametrize("way", ["logout", "disable", "delete", "unheard"])
async def test_ended(server: Server, kind: str, way: str) -> None:
    """What ended is not good, whoever ended it, and also where the list has not told yet."""
    tokens, headers, caller = await login(server), await keyed(server), Caller()
    assert (await asked(server, tokens[kind], headers))["active"] is True
    if way == "logout":
        await server.post("/auth/logout", token=tokens["access_token"])
    elif way == "unheard":
        await server.auth.accounts.logout_from_all(await user_id(server), caller)
        server.auth.revocations.ended.clear()
    else:
        await getattr(server.auth.accounts, way)(await user_id(server), caller)
    assert INACTIVE == await asked(server, tokens[kind], headers)


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_disabled_user(server: Server, kind: str) -> None:
    """A disabled user's tokens are not good, even with the session still there (S-6)."""
    tokens, headers = await login(server), await keyed(server)
    user = await server.auth.users.find("username", "ann")
    assert user is not None
    sql = "update users set disabled_at = 1 where id = ?"
    await server.auth.database.write(Statement(sql, (user.id,)))
    assert INACTIVE == await asked(server, tokens[kind], headers)


@pytest.mark.parametrize(("kind", "life"), [("access_token", 600), ("refresh_token", 14 * 86400)])
async def test_expired(server: Server, kind: str, life: int) -> None:
    """What has expired is not good."""
    token, headers = (await login(server))[kind], await keyed(server)
    for seconds, expected in ((life - 1, True), (1, False)):
        server.clock.advance(seconds)
        assert expected is (await asked(server, token, headers))["active"]


@pytest.mark.parametrize("token", ["x", "a.b.c", "é", "x" * 5000])
async def test_no_token_of_ours(server: Server, token: str) -> None:
    """What is no token is not good, and giving it up is no error (RFC 7009, section 2.2)."""
    assert INACTIVE == await asked(server, token, await keyed(server))
    answer = await revoke(server, token)
    assert (200, b"") == (answer.status_code, answer.content)


class LoudPlugin(Plugin[NoSettings]):
    """Adds claims that have a meaning in the answer."""

    @hookimpl
    async def claims(self, user: User, session: Session) -> dict[str, Any]:
        return {"active": False, "token_type": "mac", "username": "root", "scope": "read"}


async def test_claims_of_plugins(tmp_path: Path) -> None:
    """A plugin's claims are told, but change nothing of what the kernel says."""
    settings = SETTINGS.replace("[", '["loud", ', 1)
    async with accounts(tmp_path, settings, loud=LoudPlugin) as server:
        found = await asked(server, (await login(server))["access_token"], await keyed(server))
        named = {name: found[name] for name in ("active", "token_type", "username", "scope")}
        expected = {"active": True, "token_type": "Bearer", "username": "ann", "scope": "read"}
        assert expected == named


async def test_names_in_basic(server: Server) -> None:
    """A key may come with its name, as most libraries send it (RFC 6749, section 2.3.1)."""
    key, token = (
        await server.auth.resource_servers.add("media"),
        (await login(server))["access_token"],
    )
    assert (await asked(server, token, basic("media", key)))["active"] is True


async def refused(server: Server, headers: dict[str, str]) -> None:
    token = (await login(server))["access_token"]
    answer = await server.client.post("/oauth/introspect", data={"token": token}, headers=headers)
    expected = {
        "error": "invalid_client",
        "error_description": "This is no key of a resource server.",
        "code": "invalid_client",
        "request_id": answer.headers["x-request-id"],
    }
    challenge = 'Bearer, Basic realm="picoauth"'
    assert (401, challenge) == (answer.status_code, answer.headers["www-authenticate"])
    assert ("application/json", expected) == (answer.headers["content-type"], answer.json())


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer media",
        "Basic",
        "Basic bWVkaWE6",
        "Basic ====",
        "Basic /w==",
        "Digest KEY",
        "KEY",
        "Bearer KEYx",
    ],
)
async def test_no_key(server: Server, header: str | None) -> None:
    """Without a key nothing is told, whatever the header looks like."""
    key = await server.auth.resource_servers.add("media")
    headers = {} if header is None else {"Authorization": header.replace("KEY", key)}
    await refused(server, headers)


async def test_other_keys(server: Server) -> None:
    """Neither another server's name, nor a user's token, nor a removed key will do."""
    key = await server.auth.resource_servers.add("media")
    await server.auth.resource_servers.add("blog")
    await refused(server, basic("blog", key))
    await refused(server, basic("", key))
    await refused(server, {"Authorization": f"Bearer {(await login(server))['access_token']}"})
    await server.auth.resource_servers.remove("media")
    await refused(server, {"Authorization": f"Bearer {key}"})
    await refused(server, basic("media", key))


async def test_key_is_no_token(server: Server) -> None:
    """A resource server's key opens no route of a user."""
    answer = await server.client.get("/auth/me", headers=await keyed(server))
    assert (401, "invalid_token") == (answer.status_code, answer.json()["code"])


@pytest.mark.embedded
async def test_keys_are_hashed(server: Server, tmp_path: Path) -> None:
    """The database holds nothing by which a resource server could be played."""
    key = await server.auth.resource_servers.add("media")
    stored = written(tmp_path)
    assert (True, False) == (b"media" in stored, key.encode() in stored)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "é", "x" * 65])
async def test_odd_names(server: Server, name: str) -> None:
    """A name that clients would write in several ways is refused."""
    sentence = "A resource server's name has letters, digits, dots, - and _ alone."
    with pytest.raises(ConfigError, match=exactly(sentence)):
        await server.auth.resource_servers.add(name)


async def test_names_once(server: Server) -> None:
    """One key a name; which is missing is said with what was meant."""
    await server.auth.resource_servers.add("media")
    sentence = (
        "The resource server media has a key already: remove that first, or take another name."
    )
    with pytest.raises(ConfigError, match=exactly(sentence)):
        await server.auth.resource_servers.add("media")
    for name, hint in (("medai", ', did you mean "media"?'), ("blog", ".")):
        with pytest.raises(ConfigError, match=exactly(f"There is no resource server {name}{hint}")):
            await server.auth.resource_servers.remove(name)


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_revocation(server: Server, kind: str) -> None:
    """Giving up either token ends the session, and that of no other login."""
    tokens, others = await login(server), await login(server)
    for _ in range(2):  # and once more is no error
        assert 200 == (await revoke(server, tokens[kind])).status_code
    for token in tokens["access_token"], tokens["refresh_token"]:
        assert 401 == (await server.post("/jwt/validate", token=token)).status_code
    assert 401 == (await server.post("/jwt/refresh", token=tokens["refresh_token"])).status_code
    assert 200 == (await server.post("/jwt/validate", token=others["access_token"])).status_code


TYPE = "This route does not take this content type."
BODY = "The body is not what this route takes."


@pytest.mark.parametrize("path", ["introspect", "revoke"])
@pytest.mark.parametrize(
    ("body", "media", "words"),
    [
        (b"", "", f"{TYPE} It takes {FORM}."),
        (b"{}", "application/json", f"{TYPE} It takes {FORM}."),
        (b"hint=x", FORM, f"{BODY} token is missing"),
        (b"token=", FORM, f"{BODY} token is missing"),
        (b"token=a&token=b", FORM, BODY),
        (b"token=%ff", FORM, BODY),
    ],
)
async def test_malformed(server: Server, path: str, body: bytes, media: str, words: str) -> None:
    """What is no form with one token is refused in OAuth's words (RFC 6749, section 5.2)."""
    headers = {**await keyed(server), **({"Content-Type": media} if media else {})}
    answer = await server.client.post(f"/oauth/{path}", content=body, headers=headers)
    told = answer.json()
    status = 415 if words.startswith(TYPE) else 400
    assert status == answer.status_code
    assert ("invalid_request", words) == (told["error"], told["error_description"])


async def test_unknown_members_are_ignored(server: Server) -> None:
    """A hint, or what else a library sends, changes nothing (RFC 7662, section 2.1)."""
    form = {
        "token": (await login(server))["access_token"],
        "token_type_hint": "refresh_token",
        "x": "y",
    }
    headers = await keyed(server)
    answer = await server.client.post("/oauth/introspect", data=form, headers=headers)
    assert answer.json()["active"] is True
