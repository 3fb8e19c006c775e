"""What seldom happens: users who vanish in between, pages that are off, odd documents."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from endpoint import APP, CLIENTS, TABLE, Home, home

from picoauth import AuthError, BackupRestored, Caller, Statement, Ticket, identifier
from picoauth_fetch import html
from picoauth_fetch.html import Page
from picoauth_fetch.testing import Site
from picoauth_fetch.testing import answer as served
from picoauth_privateauth import AuthorizationDenied, documents, profiles
from picoauth_privateauth.clients import AT_ONCE, host, keep
from picoauth_privateauth.tokens import ClientTokens


async def test_user_vanishes_while_deciding(at_home: Home) -> None:
    """Who is disabled between the look and the write decides nothing."""
    requests, user_id = at_home.plugin.requests, await at_home.user_id()
    waiting = await requests.look(await at_home.request(), user_id)
    await at_home.server.auth.accounts.disable(user_id, Caller())
    event = AuthorizationDenied(at=0, user_id=user_id, client_id=APP)
    with pytest.raises(AuthError) as caught:
        await requests.decide(waiting, user_id, event)
    assert "conflict" == caught.value.problem.code
    with pytest.raises(AuthError) as caught:
        await at_home.plugin.profiles.require(user_id)
    assert "not_found" == caught.value.problem.code


async def test_restored_backup(at_home: Home) -> None:
    """Which tokens were given up since it was made is not known: none is good, nor what waits."""
    tokens, waiting, server = await at_home.handed(), await at_home.request(), at_home.server
    event = BackupRestored(at=server.auth.now(), user_id=None, caller=Caller())
    await server.auth.events.commit(event)
    assert 401 == (await at_home.userinfo(tokens["access_token"])).status_code
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    answer = await at_home.post("token", client_id=APP, **form)
    assert "invalid_grant" == answer.json()["error"]
    assert 404 == (await at_home.ask("GET", f"requests/{waiting}")).status_code
    assert ["App"] == [
        one["name"] for one in await at_home.plugin.granted.of(await at_home.user_id())
    ]


async def test_user_vanished_before_redeeming(at_home: Home) -> None:
    """Whoever was disabled since the code was handed out gets nothing for it (S-6)."""
    code = await at_home.code()
    await at_home.server.auth.database.write(Statement("update users set disabled_at = 1"))
    assert "invalid_grant" == (await at_home.redeem(code)).json()["error"]


async def test_wrong_try_of_a_code_that_is_redeemed_meanwhile(
    at_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two had the code, whichever came first: what it got is taken back."""
    codes, code, got = at_home.plugin.codes, await at_home.code(scope="profile"), list[Any]()
    checked = codes.checked

    async def slow(secret: str, ticket: Ticket, form: Mapping[str, str]) -> Any:
        monkeypatch.undo()
        got.append((await at_home.redeem(code, "token")).json())
        return await checked(secret, ticket, {**form, "code_verifier": "x" * 43})

    monkeypatch.setattr(codes, "checked", slow)
    assert "invalid_grant" == (await at_home.redeem(code)).json()["error"]
    assert {"active": False} == await at_home.introspected(got[0]["access_token"])


async def test_user_vanishes_while_redeeming(
    at_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is disabled between the look and the write gets nothing, and the code is spent."""
    codes, user_id = at_home.plugin.codes, await at_home.user_id()
    checked = codes.checked

    async def slow(*arguments: Any) -> Any:
        redeemed = await checked(*arguments)
        sql = "update users set disabled_at = 1 where id = ?"
        await at_home.server.auth.database.write(Statement(sql, (user_id,)))
        return redeemed

    code = await at_home.code()
    monkeypatch.setattr(codes, "checked", slow)
    assert "invalid_grant" == (await at_home.redeem(code)).json()["error"]
    monkeypatch.undo()
    sql = "update users set disabled_at = null"
    await at_home.server.auth.database.write(Statement(sql))
    assert "invalid_grant" == (await at_home.redeem(code)).json()["error"]


async def test_refresh_that_was_revoked_meanwhile(
    at_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that was given up between the look and the write is good for nothing."""
    tokens, good = await at_home.handed(), ClientTokens.good

    async def slow(self: ClientTokens, token: Any) -> Any:
        found = await good(self, token)
        await self.revoke(tokens["access_token"])
        return found

    monkeypatch.setattr(ClientTokens, "good", slow)
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    answer = await at_home.post("token", client_id=APP, **form)
    assert (400, "invalid_grant") == (answer.status_code, answer.json()["error"])


async def test_refresh_that_was_used_meanwhile(
    at_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that another used between the look and the write was stolen: its family ends."""
    tokens, find, others = await at_home.handed(), ClientTokens.find, list[Any]()
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}

    async def slow(self: ClientTokens, secret: str, kind: str) -> Any:
        found = await find(self, secret, kind)
        monkeypatch.undo()
        others.append((await at_home.post("token", client_id=APP, **form)).json())
        return found

    monkeypatch.setattr(ClientTokens, "find", slow)
    answer = await at_home.post("token", client_id=APP, **form)
    assert (400, "invalid_grant") == (answer.status_code, answer.json()["error"])
    assert {"active": False} == await at_home.introspected(others[0]["access_token"])


async def test_refresh_by_a_nameless_client(at_home: Home) -> None:
    """A refresh token needs its client's name, and a scope that is one."""
    tokens = await at_home.handed()
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    for changes, error in (
        ({"client_id": "x"}, "invalid_grant"),
        ({}, "invalid_grant"),
        ({"client_id": APP, "scope": " "}, "invalid_scope"),
    ):
        answer = await at_home.post("token", **form, **changes)
        assert (400, error) == (answer.status_code, answer.json()["error"])
    assert 200 == (await at_home.post("token", client_id=APP, **form)).status_code


async def test_unverified_addresses(at_home: Home) -> None:
    """An address that nobody verified is told to nobody."""
    auth, address = at_home.server.auth, identifier("email", "ann@example.com", verified=False)
    naming = auth.users.naming(await at_home.user_id(), address, auth.now())
    await auth.database.write(naming)
    assert "email" not in (await at_home.handed("profile email"))["profile"]


async def test_without_profile_pages(tmp_path: Path) -> None:
    """The pages may be off: the addresses are the users' all the same."""
    async with home(tmp_path, f"{TABLE}profile_pages = false\n{CLIENTS}") as quiet:
        assert 404 == (await quiet.server.get("/u/ann")).status_code
        told = (await quiet.redeem(await quiet.code())).json()
        assert {"me": "https://auth.example/u/ann"} == told


async def test_waiting_for_a_turn(at_home: Home) -> None:
    """Who waits too long for others' pages may try again: what this one says is not known."""
    clients = at_home.plugin.clients
    for _ in range(AT_ONCE):
        await clients.turns.free.acquire()
    clients.turns.seconds = 0
    name = "https://client.example/"
    answer = await at_home.authorize(client_id=name, redirect_uri=f"{name}x")
    told = answer.json()
    assert (503, "temporarily_unavailable") == (answer.status_code, told["error"])
    assert ("unavailable", "10") == (told["code"], answer.headers["retry-after"])
    page = await at_home.authorize(client_id=name, redirect_uri=f"{name}x", accept="text/html")
    assert (503, True) == (page.status_code, "try again" in page.text)


async def test_long_pages(at_home: Home, web: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is read once, and not where everybody waits for it."""
    threads = []

    def noted(text: str) -> Page:
        threads.append(threading.current_thread())
        return html.read(text)

    for module in (documents, profiles):
        monkeypatch.setattr(module, "read", noted)
    web.answers["/"] = served(b"<p>Long</p>", kind="text/html")
    name = "https://client.example/"
    await at_home.request(client_id=name, redirect_uri=f"{name}x")
    await at_home.ask("PUT", "me", {"urls": ["https://ann.example/"]})
    assert 2 == len(threads)
    assert threading.current_thread() not in threads


def test_little_things() -> None:
    """No URL has no host; and of too many the oldest is forgotten."""
    assert host("https:/") is None
    from collections import OrderedDict

    known: OrderedDict[str, int] = OrderedDict()
    for number in range(5):
        keep(known, str(number), number, 3)
    assert ["2", "3", "4"] == list(known)
