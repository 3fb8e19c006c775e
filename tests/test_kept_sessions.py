"""Sessions outside the database: what ended stays ended, whatever becomes of their keeper."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from picoauth import (
    Caller,
    Conflict,
    Denied,
    KeptSessions,
    NoSettings,
    Plugin,
    RefreshReused,
    Session,
    SessionStore,
    Statement,
    Unavailable,
    hookimpl,
)
from picoauth.revocations import ACCEPTED
from picoauth.testing import Server, serving
from picoauth.users_cli import sessions_of
from tests.accounts import heard, login, user_id
from tests.factors import PIN, PLUGINS, code_of, join, step
from tests.keepers import Shelf
from tests.storage import until
from tests.test_cookies import ENDED, OK, Browser

SETTINGS = 'plugins = ["shelf", "pin", "code", "spare", "key", "link"]\n'
DOWN = (503, "unavailable")


class ShelfPlugin(Plugin[NoSettings]):
    """Keeps sessions on a shelf of the test."""

    shelf: Shelf

    @hookimpl
    def sessions(self) -> SessionStore | None:
        return KeptSessions(self.auth, self.shelf)


def plugins(shelf: Shelf) -> dict[str, type[Plugin[Any]]]:
    return {**PLUGINS, "shelf": type("OnShelf", (ShelfPlugin,), {"shelf": shelf})}


@pytest.fixture
def shelf() -> Shelf:
    """Where sessions are."""
    return Shelf()


@pytest.fixture
async def server(tmp_path: Path, shelf: Shelf) -> AsyncIterator[Server]:
    """A server on which Ann may log in."""
    async with serving(tmp_path, SETTINGS, plugins=plugins(shelf)) as server:
        await join(server)
        yield server


async def endings(server: Server) -> int:
    [(count,)] = await server.auth.database.read("select count(*) from endings")
    return int(count)


async def settled(server: Server) -> None:
    """Wait until what is committed has come to pass, which nobody has to ask for."""
    for _ in range(10_000):
        if await endings(server) == 0:
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come to that")


async def refresh(server: Server, tokens: dict[str, Any]) -> tuple[int, str | None]:
    return code_of(await server.client.post("/jwt/refresh", content=tokens["refresh_token"]))


async def validate(server: Server, tokens: dict[str, Any]) -> tuple[int, str | None]:
    return code_of(await server.post("/jwt/validate", token=tokens["access_token"]))


async def test_life_of_a_session(server: Server, shelf: Shelf) -> None:
    """Login, refresh, step-up, the list and logout work as with rows of the database."""
    tokens = await login(server)
    assert OK == await refresh(server, tokens)
    stepped = await server.post("/auth/stepup", PIN, token=tokens["access_token"])
    assert OK == code_of(stepped)
    listing = await server.get("/auth/sessions", token=tokens["access_token"])
    assert list(shelf.known) == [one["id"] for one in listing.json()["sessions"]]
    assert [] == await server.auth.database.read("select * from sessions")
    assert (204, None) == code_of(await server.post("/auth/logout", token=tokens["access_token"]))
    assert {} == shelf.known
    assert 0 == await endings(server)
    assert ENDED == await refresh(server, tokens)
    assert ENDED == await validate(server, tokens)


async def test_what_others_are_told(server: Server) -> None:
    """A session stays ended here until its absolute end, and is published while its tokens last."""
    tokens, revocations = await login(server), server.auth.revocations
    access = server.auth.tokens.check(tokens["access_token"])
    await server.post("/auth/logout", token=tokens["access_token"])
    assert {access.session_id: server.auth.now() + ACCEPTED} == revocations.recent
    server.clock.advance(ACCEPTED)
    await revocations.poll()
    assert ([access.session_id], {}) == (list(revocations.ended), revocations.recent)
    server.clock.advance(90 * 86400)
    await revocations.poll()
    assert {} == revocations.ended


async def test_life_of_a_cookie(server: Server, shelf: Shelf) -> None:
    """A cookie is handed out, prolonged by use, renewed by a step-up, and ended."""
    browser = Browser(server)
    await browser.login()
    old = browser.cookie
    server.clock.advance(4 * 86400)
    assert OK == code_of(await browser.ask("GET", "/auth/session"))
    [session] = shelf.known.values()
    assert server.auth.now() + 7 * 86400 == session.idle_at
    assert OK == code_of(await browser.ask("POST", "/auth/stepup", PIN))
    assert browser.cookie != old
    assert ENDED == code_of(await Browser(server, old).ask("GET", "/auth/session"))
    assert (204, None) == code_of(await browser.ask("POST", "/auth/logout", {}))
    assert {} == shelf.known


async def test_keeper_is_down(server: Server, shelf: Shelf) -> None:
    """What needs a session is 503, and nobody is logged out by it; tokens verify all the while."""
    tokens = await login(server)
    browser = Browser(server)
    await browser.login()
    shelf.reachable = False
    assert DOWN == code_of(await step(server, **PIN))
    assert DOWN == await refresh(server, tokens)
    assert DOWN == code_of(await browser.ask("GET", "/auth/session"))
    assert DOWN == code_of(await server.post("/auth/logout", token=tokens["access_token"]))
    assert OK == await validate(server, tokens)
    shelf.reachable = True
    assert OK == await refresh(server, tokens)
    assert OK == code_of(await browser.ask("GET", "/auth/session"))
    assert OK == code_of(await step(server, **PIN))


@pytest.mark.parametrize("how", ["logout_from_all", "disable", "delete"])
async def test_ended_while_the_keeper_is_down(server: Server, shelf: Shelf, how: str) -> None:
    """What ends sessions does so without their keeper, which follows once it is back."""
    tokens = await login(server)
    browser = Browser(server)
    await browser.login()
    ann = await user_id(server)
    expected = {one.id: one.expires_at for one in shelf.known.values()}
    shelf.reachable = False
    await getattr(server.auth.accounts, how)(ann, Caller())
    assert 1 == await endings(server)
    shelf.reachable = True
    assert ENDED == await refresh(server, tokens)
    assert ENDED == code_of(await browser.ask("GET", "/auth/session"))
    await settled(server)
    assert {} == shelf.known
    sql = "select session_id, expires_at from revocations"
    assert expected == dict(await server.auth.database.read(sql))
    await until(lambda: expected.keys() <= server.auth.revocations.ended.keys())
    assert ENDED == await validate(server, tokens)


async def test_crash_after_the_write(tmp_path: Path, shelf: Shelf) -> None:
    """A process that dies right after the commit leaves the rest to the next one."""
    async with serving(tmp_path, SETTINGS, plugins=plugins(shelf)) as server:
        await join(server)
        tokens = await login(server)
        [session_id] = shelf.known
        shelf.reachable = False
        store = server.auth.sessions
        ending = await store.end_all(await user_id(server), keep=None, below_epoch=1)
        await server.auth.database.write(*ending)
    assert [session_id] == list(shelf.known)
    shelf.reachable = True
    async with serving(tmp_path, SETTINGS, plugins=plugins(shelf), clock=server.clock) as server:
        assert {} == shelf.known
        assert ENDED == await validate(server, tokens)
        assert 0 == await endings(server)


async def test_start_while_the_keeper_is_down(tmp_path: Path, shelf: Shelf) -> None:
    """A server starts without it, and refuses what ended before."""
    async with serving(tmp_path, SETTINGS, plugins=plugins(shelf)) as server:
        await join(server)
        tokens = await login(server)
        ending = await server.auth.sessions.end_all(await user_id(server), keep=None, below_epoch=1)
        shelf.reachable = False
        await server.auth.database.write(*ending)
    async with serving(tmp_path, SETTINGS, plugins=plugins(shelf), clock=server.clock) as server:
        assert OK == await validate(server, tokens)
        shelf.reachable = True
        assert ENDED == await refresh(server, tokens)
        await settled(server)


class Forgetful(Shelf):
    """A shelf that goes down when it is to remove something."""

    failing = False

    async def remove(self, session_id: str, user_id: str) -> None:
        if self.failing:
            raise Unavailable("the keeper is down")
        await super().remove(session_id, user_id)


async def test_crash_between_list_and_keeper(tmp_path: Path) -> None:
    """Sessions that are listed but not removed are removed later, with the same list."""
    shelf = Forgetful()
    async with serving(tmp_path, SETTINGS, plugins=plugins(shelf)) as server:
        await join(server)
        tokens = await login(server)
        [session_id] = shelf.known
        shelf.failing = True
        await server.auth.accounts.logout_from_all(await user_id(server), Caller())
        assert (1, [session_id]) == (await endings(server), list(shelf.known))
        assert ENDED == await validate(server, tokens)
        shelf.failing = False
        await settled(server)
        assert {} == shelf.known


class Slow(Shelf):
    """A shelf that says it failed to put what it put."""

    async def put(self, session: Session) -> None:
        await super().put(session)
        raise Unavailable("it took too long")


async def test_put_that_came_too_late(tmp_path: Path) -> None:
    """A session that nobody was told of is removed, once its keeper answers."""
    shelf = Slow()
    async with serving(tmp_path, SETTINGS, plugins=plugins(shelf)) as server:
        await join(server)
        assert DOWN == code_of(await step(server, **PIN))
        [session_id] = shelf.known
        assert await server.auth.sessions.get(session_id) is None
        await until(lambda: shelf.known == {})
        await settled(server)


async def test_login_that_comes_to_nothing(tmp_path: Path) -> None:
    """Its session is taken back at once, or, where that fails, later."""
    for shelf in (Shelf(), Forgetful()):
        folder = tmp_path / type(shelf).__name__
        folder.mkdir()
        async with serving(folder, SETTINGS, plugins=plugins(shelf)) as server:
            await join(server)
            one = await made(server, shelf)
            shelf.failing = True  # type: ignore[attr-defined]  # which a plain shelf does not look at
            statements = await server.auth.sessions.put(replace(one, id="late"))
            await failing_write(server, statements)
            await server.auth.sessions.undo(replace(one, id="late"))
            assert await server.auth.sessions.get("late") is None
            shelf.failing = False  # type: ignore[attr-defined]
            await until(lambda: list(shelf.known) == [one.id])  # noqa: B023 - awaited right here


async def test_change_that_comes_to_nothing(
    server: Server, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    """It is taken back, unless the session changed since or its keeper is down."""
    one = await made(server, shelf)
    changed = replace(one, amr=("hwk",))
    store = server.auth.sessions
    await failing_write(server, await store.change(changed, one.generation))
    await store.undo(changed, one)
    assert {one.id: one} == shelf.known
    caplog.set_level("INFO", "picoauth.sessions")
    await store.undo(changed, one)
    shelf.reachable = False
    await store.undo(changed, one)
    assert [
        f"session {one.id} changed before a change could be taken back",
        f"session {one.id} is not as it was: the keeper is down",
    ] == [record.getMessage() for record in caplog.records if record.name == "picoauth.sessions"]
    assert {one.id: one} == shelf.known


async def test_credential_change_whose_write_fails(server: Server, shelf: Shelf) -> None:
    """The session of a change that came to nothing has its old tokens, and they are good."""
    tokens = await login(server)
    [session_id] = shelf.known
    failing = [Statement("delete from users where id = 'nobody'", rows=1)]
    with pytest.raises(Denied):
        await server.auth.credentials.change_credential(session_id, "pin", failing, Caller())
    server.clock.advance(60)
    assert OK == await refresh(server, tokens)


class Raced(Shelf):
    """A shelf on which others change sessions between a look and a change."""

    def __init__(self) -> None:
        super().__init__()
        self.racers: list[Session] = []

    async def change(self, session: Session, before: Session) -> None:
        if self.racers:
            racer = self.racers.pop()
            self.known[racer.id] = racer
        await super().change(session, before)


@pytest.fixture
async def raced(tmp_path: Path) -> AsyncIterator[tuple[Server, Raced]]:
    """A server with such a shelf."""
    shelf = Raced()
    async with serving(tmp_path, SETTINGS, plugins=plugins(shelf)) as server:
        await join(server)
        yield server, shelf


async def test_rotation_keeps_what_changed_meanwhile(raced: tuple[Server, Raced]) -> None:
    """A step-up that comes between the look and the change of a rotation is not lost."""
    server, shelf = raced
    one = await made(server, shelf)
    server.clock.advance(60)
    shelf.racers = [replace(one, amr=("pin", "otp"))]
    rotated = await server.auth.sessions.rotate(one.id, one.generation, server.auth.now())
    assert rotated is not None
    assert (one.generation + 1, ("pin", "otp")) == (rotated.generation, rotated.amr)
    assert {one.id: rotated} == shelf.known


async def test_change_tries_again(raced: tuple[Server, Raced]) -> None:
    """A step-up that a refresh came between is done on what the refresh left."""
    server, shelf = raced
    tokens = await login(server)
    [one] = shelf.known.values()
    server.clock.advance(60)
    shelf.racers = [replace(one, generation=one.generation + 1)]
    assert OK == code_of(await server.post("/auth/stepup", PIN, token=tokens["access_token"]))
    assert one.generation + 1 == shelf.known[one.id].generation
    assert server.auth.now() == shelf.known[one.id].auth_time


async def test_theft_is_told_once(server: Server, shelf: Shelf) -> None:
    """However often a spent token comes at once, its session ends once."""
    tokens = await login(server)
    server.clock.advance(60)
    assert OK == await refresh(server, tokens)
    server.clock.advance(60)
    events = heard(server)
    answers = await asyncio.gather(*(refresh(server, tokens) for _ in range(20)))
    assert {ENDED} == set(answers)
    assert 1 == len([event for event in events if isinstance(event, RefreshReused)])
    assert {} == shelf.known


async def test_theft_beside_a_refresh(server: Server, shelf: Shelf) -> None:
    """A session that is refreshed while its theft is noticed ends nevertheless."""
    one = await made(server, shelf)
    stale = replace(one, generation=one.generation - 1)
    await server.auth.rotation.stolen(stale, Caller())
    assert {} == shelf.known


async def test_back_from_a_backup(server: Server, shelf: Shelf) -> None:
    """A keeper that lost its newest writes brings no session back, until its absolute end."""
    tokens = await login(server)
    [one] = shelf.known.values()
    await server.post("/auth/logout", token=tokens["access_token"])
    server.clock.advance(86400)
    shelf.known = {one.id: one}
    assert await server.auth.sessions.get(one.id) is None
    assert [] == list(await server.auth.sessions.list(one.user_id))
    assert ENDED == await refresh(server, tokens)


async def test_store_is_changed_and_changed_back(tmp_path: Path, shelf: Shelf) -> None:
    """Rows of sessions end when another store takes over: it would not end them with the others."""
    rows = SETTINGS.replace('"shelf", ', "")
    async with serving(tmp_path, rows, plugins=plugins(shelf)) as server:
        await join(server)
        tokens = await login(server)
    async with serving(tmp_path, SETTINGS, plugins=plugins(shelf), clock=server.clock) as server:
        assert ENDED == await refresh(server, tokens)
    async with serving(tmp_path, rows, plugins=plugins(shelf), clock=server.clock) as server:
        assert ENDED == await refresh(server, tokens)
        await login(server)


async def test_theft_that_another_process_noticed(tmp_path: Path, shelf: Shelf) -> None:
    """A session that another process has just ended is no theft any more, though not known here."""
    async with serving(tmp_path, SETTINGS, plugins=plugins(shelf)) as server:
        await join(server)
        one = await made(server, shelf)
        ending = await server.auth.sessions.end(one.id)
        await server.auth.database.write(*ending)
        events = heard(server)
        await server.auth.rotation.stolen(one, Caller())
        assert [] == [event for event in events if isinstance(event, RefreshReused)]
        assert {} == shelf.known


async def test_of_others(server: Server, shelf: Shelf) -> None:
    """What ends the sessions of one user ends nobody else's, in whatever state that is."""
    await made(server, shelf)
    await join(server, "bob")
    await login(server, "bob")
    mine, theirs = shelf.known.values()
    shelf.reachable = False
    await server.auth.accounts.logout_from_all(mine.user_id, Caller())
    shelf.reachable = True
    assert theirs == await server.auth.sessions.get(theirs.id)
    assert await server.auth.sessions.get(mine.id) is None
    await settled(server)
    assert [theirs.id] == list(shelf.known)


async def test_fifty_logouts_at_once(server: Server, shelf: Shelf) -> None:
    """One of them ends the session, and it is told once; the others find nothing to end."""
    one, events = await made(server, shelf), heard(server)
    logout = server.auth.accounts.logout
    results = await asyncio.gather(
        *(logout(one.user_id, one.id, Caller()) for _ in range(50)), return_exceptions=True
    )
    assert {"None": 1, "not_found": 49} == Counter(map(str, results))
    await server.auth.events.settle()
    assert ["SessionEnded"] == [type(event).__name__ for event in events]
    assert {} == shelf.known


async def test_end_is_listed_while_tokens_live(server: Server, shelf: Shelf) -> None:
    """The list holds a session beyond its end, where an access token could live on."""
    one = await made(server, shelf)
    near = replace(one, id="near", idle_at=one.idle_at, expires_at=server.auth.now() + 5)
    await server.auth.database.write(*await server.auth.sessions.put(near))
    await server.auth.accounts.logout(one.user_id, "near", Caller())
    assert server.auth.now() + ACCEPTED == server.auth.revocations.ended["near"]


async def test_lost_sessions_stay_dead(server: Server, shelf: Shelf) -> None:
    """What its keeper lost is not adopted again; access tokens live out their minutes."""
    tokens = await login(server)
    browser = Browser(server)
    await browser.login()
    shelf.known.clear()
    assert ENDED == await refresh(server, tokens)
    assert ENDED == code_of(await browser.ask("GET", "/auth/session"))
    assert OK == await validate(server, tokens)
    assert 404 == (await server.post("/auth/logout", token=tokens["access_token"])).status_code
    assert [] == list(await server.auth.sessions.end("unknown"))


async def test_oldest_out(tmp_path: Path, shelf: Shelf) -> None:
    """A login beyond the limit ends the session that was not used for longest."""
    settings = f"{SETTINGS}[logins]\nsessions = 2\n"
    async with serving(tmp_path, settings, plugins=plugins(shelf)) as server:
        await join(server)
        for _ in range(3):
            tokens = await login(server)
            server.clock.advance(1)
        assert 2 == len(shelf.known)
        assert OK == await validate(server, tokens)


async def test_users_show(server: Server, shelf: Shelf) -> None:
    """The command says how many sessions a user has, where it can know that."""
    one = await made(server, shelf)
    user = await server.auth.users.require(one.user_id)
    assert 1 == await sessions_of(server.auth, user)
    shelf.reachable = False
    assert await sessions_of(server.auth, user) is None


async def made(server: Server, shelf: Shelf) -> Session:
    """A session of Ann."""
    await login(server)
    [session] = shelf.known.values()
    return session


async def failing_write(server: Server, statements: Sequence[Statement]) -> None:
    failing = Statement("delete from users where id = 'nobody'", rows=1)
    with pytest.raises(Conflict):
        await server.auth.database.write(*statements, failing)
