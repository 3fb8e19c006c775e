"""Siblings of a session: the same login on another root domain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from picoauth import Caller, Denied, Event, NoSettings, Plugin, Session, SessionDerived, hookimpl
from picoauth.testing import Server, serving
from tests.factors import PLUGINS, code_of, join
from tests.keepers import Shelf
from tests.siblings import ELSEWHERE, Siblings, derived
from tests.siblings import login as logged_in
from tests.test_kept_sessions import SETTINGS, plugins


class Witness(Plugin[NoSettings]):
    """Hears of everything."""

    heard: list[Event]

    @hookimpl
    async def on(self, event: Event) -> None:
        type(self).heard.append(event)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server on which Ann may log in."""
    witness = type("Hearing", (Witness,), {"heard": []})
    plugins = {**PLUGINS, "witness": witness}
    async with serving(tmp_path, 'plugins = ["pin", "witness"]', plugins=plugins) as running:
        await join(running)
        yield running


class TestRows(Siblings):
    """Sessions as rows of the database."""

    @pytest.fixture
    def server(self, server: Server) -> Server:
        return server


class TestKept(Siblings):
    """Sessions that something else keeps."""

    @pytest.fixture
    async def server(self, tmp_path: Path) -> AsyncIterator[Server]:
        async with serving(tmp_path, SETTINGS, plugins=plugins(Shelf())) as running:
            await join(running)
            yield running


async def login(server: Server) -> tuple[Session, str]:
    """A new session, and its access token."""
    session, tokens = await logged_in(server)
    return session, tokens["access_token"]


async def status(server: Server, token: str) -> tuple[int, str | None]:
    return code_of(await server.post("/jwt/validate", token=token))


async def test_sibling_is_the_same_login(server: Server) -> None:
    """It proves nothing anew: methods and time of the login are the parent's; an event says so."""
    parent, _ = await login(server)
    server.clock.advance(100)
    sibling, tokens = await derived(server, parent)
    assert (parent.id, parent.user_id, parent.auth_time, parent.amr, 0) == (
        sibling.parent_id,
        sibling.user_id,
        sibling.auth_time,
        sibling.amr,
        sibling.generation,
    )
    assert ("192.0.2.7", "the other domain") == (sibling.address, sibling.user_agent)
    assert (parent.created_at + 100, parent.expires_at) == (sibling.created_at, sibling.expires_at)
    server.clock.advance(100)
    assert 200 == (await server.post("/jwt/refresh", token=tokens["refresh_token"])).status_code
    await server.auth.events.settle()
    heard = server.auth.plugins.on["witness"].heard  # type: ignore[attr-defined]
    [event] = [event for event in heard if isinstance(event, SessionDerived)]
    assert (sibling.id, parent.id) == (event.session_id, event.parent_id)


async def test_sibling_ends_with_its_parent(server: Server) -> None:
    """Logging out ends the siblings too, at once, and those that were derived from them."""
    parent, token = await login(server)
    sibling, tokens = await derived(server, parent)
    grandchild, more = await derived(server, sibling)
    assert parent.id == grandchild.parent_id
    await server.post("/auth/logout", token=token)
    for each in (tokens, more):
        assert (401, "session_ended") == await status(server, each["access_token"])
        again = await server.post("/jwt/refresh", token=each["refresh_token"])
        assert (401, "session_ended") == code_of(again)


async def test_parent_outlives_its_sibling(server: Server) -> None:
    """Logging out on the other domain leaves the login where it was."""
    parent, token = await login(server)
    _, tokens = await derived(server, parent)
    await server.post("/auth/logout", token=tokens["access_token"])
    assert [(401, "session_ended"), (200, None)] == [
        await status(server, tokens["access_token"]),
        await status(server, token),
    ]


async def test_sibling_lives_no_longer_than_its_parent(server: Server) -> None:
    """Whatever is derived late ends when its parent does, used or not."""
    parent, _ = await login(server)
    used = replace(parent, idle_at=parent.expires_at)
    await server.auth.database.write(*await server.auth.sessions.change(used, 0))
    server.clock.advance(80 * 86400)
    sibling, _ = await derived(server, used)
    assert (parent.expires_at, parent.expires_at) == (sibling.idle_at, sibling.expires_at)


async def test_nothing_is_derived_of_what_ended(server: Server) -> None:
    """An ended parent, a disabled and a deleted user have no siblings."""
    accounts, caller = server.auth.accounts, Caller()
    parent, token = await login(server)
    await server.post("/auth/logout", token=token)
    with pytest.raises(Denied, match="session_ended"):
        await server.auth.derive(parent, ELSEWHERE)
    parent, _ = await login(server)
    for change in (accounts.disable, accounts.delete):
        await change(parent.user_id, caller)
        with pytest.raises(Denied, match="session_ended"):
            await server.auth.derive(parent, ELSEWHERE)
    assert [(0,)] == await server.auth.database.read("select count(*) from sessions")


async def test_deriving_against_a_logout(server: Server) -> None:
    """Whichever comes first of a logout and fifty derivations, no sibling is left alive."""
    parent, token = await login(server)
    results = await asyncio.gather(
        *(server.auth.derive(parent, ELSEWHERE) for _ in range(25)),
        server.post("/auth/logout", token=token),
        *(server.auth.derive(parent, ELSEWHERE) for _ in range(25)),
        return_exceptions=True,
    )
    assert 50 == sum(isinstance(result, dict | Denied) for result in results)
    assert [] == list(await server.auth.sessions.list(parent.user_id))
    tokens = [result["access_token"] for result in results if isinstance(result, dict)]
    assert {(401, "session_ended")} == {await status(server, token) for token in tokens} | {
        (401, "session_ended")
    }
