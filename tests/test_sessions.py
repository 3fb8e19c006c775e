"""Sessions: refreshing, theft, ends, and the mode without a database."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from picoauth import (
    Addition,
    Caller,
    Database,
    Denied,
    Event,
    RefreshReused,
    Seconds,
    Session,
    Statement,
)
from picoauth.settings import TokenSettings
from picoauth.sqlsessions import SqlSessions
from picoauth.testing import Clock, Server, serving
from tests.factors import PLUGINS, code_of
from tests.refreshing import many_at_once
from tests.storage import kernel_tables

NOW = 1_800_000_000
DAY = 86400
KEY = 'plugins = ["key"]\n[tokens]\n'
STATELESS = f'{KEY}refresh = "stateless"\n'
ROTATING = f'{KEY}refresh = "rotating"\n'


@asynccontextmanager
async def running(
    folder: Path, settings: str = KEY, clock: Clock | None = None
) -> AsyncIterator[Server]:
    """A server on which Ann is registered, and logs in with a key, which costs no hashing."""
    async with serving(folder, settings, plugins={"key": PLUGINS["key"]}, clock=clock) as server:
        if await server.auth.users.find("username", "ann") is None:
            await server.auth.users.register(server.auth.users.draft(username="ann"))
        yield server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path) as server:
        yield server


@pytest.fixture
async def stateless(tmp_path: Path) -> AsyncIterator[Server]:
    """A server without rotation."""
    async with running(tmp_path, STATELESS) as server:
        yield server


async def login(server: Server) -> dict[str, Any]:
    begun = (await server.post("/auth/login/begin", {"factor": "key"})).json()
    proof = {"factor": "key", "owner": "ann", "verified": True, "flow": begun["flow"]}
    answer = await server.post("/auth/login", proof)
    assert 200 == answer.status_code, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def refreshed(server: Server, token: str) -> httpx.Response:
    return await server.post("/jwt/refresh", token=token)


async def rotated(server: Server, token: str) -> str:
    """The refresh token that is answered for another."""
    answer = await refreshed(server, token)
    assert 200 == answer.status_code, answer.text
    found: str = answer.json()["refresh_token"]
    return found


def claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return found


async def stored(server: Server) -> Session:
    """The one session there is."""
    [(session_id,)] = await server.auth.database.read("select id from sessions")
    session = await server.auth.sessions.get(session_id)
    assert session is not None
    return session


def heard(server: Server) -> list[Event]:
    """What is told from now on."""
    server.events.clear()
    return server.events.heard


async def thefts(server: Server, events: Sequence[Event]) -> int:
    await server.auth.events.settle()
    return len([event for event in events if isinstance(event, RefreshReused)])


async def test_refresh_rotates_once_per_window(server: Server) -> None:
    """Within the window the same token is answered; after it comes the next generation."""
    token = (await login(server))["refresh_token"]
    for seconds in (0, 9):
        server.clock.advance(seconds)
        assert token == await rotated(server, token)
    assert 0 == (await stored(server)).generation
    server.clock.advance(1)
    second = await rotated(server, token)
    session = await stored(server)
    assert (1, NOW + 10) == (session.generation, session.rotated_at)
    assert token != second
    assert second == await rotated(server, second)


async def test_refresh_answers_tokens(server: Server) -> None:
    """A refreshed access token is a new one of the same session, with the newest claims."""
    tokens = await login(server)
    await server.auth.accounts.change(
        claims(tokens["access_token"])["sub"], {"name": "Ann Smith"}, Caller()
    )
    answer = (await refreshed(server, tokens["refresh_token"])).json()
    assert {"access_token", "refresh_token", "token_type", "expires_in"} == set(answer)
    assert ("Bearer", 600) == (answer["token_type"], answer["expires_in"])
    before, after = claims(tokens["access_token"]), claims(answer["access_token"])
    assert ("ann", "Ann Smith") == (before["name"], after["name"])
    assert before["jti"] != after["jti"]
    assert {**before, "name": after["name"], "jti": after["jti"]} == after


async def test_ends_slide_up_to_the_absolute_one(server: Server) -> None:
    """Each rotation moves the idle end on; none moves the absolute one (K-8)."""
    token = (await login(server))["refresh_token"]
    ends = [claims(token)["exp"]]
    for _ in range(9):
        server.clock.advance(10 * DAY)
        answer = await refreshed(server, token)
        if answer.status_code != 200:
            break
        token = answer.json()["refresh_token"]
        ends.append(claims(token)["exp"])
        assert ends[-1] == (await stored(server)).idle_at
    days = [(end - NOW) / DAY for end in ends]
    assert [14, 24, 34, 44, 54, 64, 74, 84, 90] == days
    assert (401, "token_expired") == code_of(answer)


@pytest.mark.parametrize("count", [50, 1000])
async def test_many_refresh_at_once(server: Server, count: int) -> None:
    """However many tabs refresh at once: one generation, one family, one answer, no theft (K-10)."""
    await many_at_once(server, (await login(server))["refresh_token"], count)


async def test_fifty_requests_at_once(server: Server) -> None:
    """The same by requests, half of them with the token as the body."""
    token = (await login(server))["refresh_token"]
    server.clock.advance(11)
    answers = await asyncio.gather(
        *(refreshed(server, token) for _ in range(25)),
        *(server.client.post("/jwt/refresh", content=token) for _ in range(25)),
    )
    assert [200] * 50 == [answer.status_code for answer in answers]
    assert 1 == len({answer.json()["refresh_token"] for answer in answers})


@pytest.mark.parametrize(
    ("window", "age", "served"),
    [
        (10, 0, True),
        (10, 9, True),
        (10, 10, False),
        (10, 11, False),
        (10, 3600, False),
        (10, -1, True),
        (10, -3600, True),
        (60, 59, True),
        (60, 60, False),
        (0, 0, False),
        (0, -1, True),
    ],
)
async def test_token_that_is_used_again(
    tmp_path: Path, window: int, age: int, *, served: bool
) -> None:
    """A spent token is served within the window, with what the first one got; later it is theft."""
    async with running(tmp_path, f"{KEY}window = {window}") as server:
        events = heard(server)
        token = (await login(server))["refresh_token"]
        server.clock.advance(100)
        second = await rotated(server, token)
        server.clock.advance(age)
        answer = await refreshed(server, token)
        if served:
            assert (200, second) == (answer.status_code, answer.json()["refresh_token"])
            assert (0, 1) == (await thefts(server, events), (await stored(server)).generation)
            return
        assert (401, "session_ended") == code_of(answer)
        assert 1 == await thefts(server, events)
        session = await stored(server)
        [event] = [event for event in events if isinstance(event, RefreshReused)]
        assert (NOW + 100 + age, session.user_id, session.id) == (
            event.at,
            event.user_id,
            event.session_id,
        )
        assert "127.0.0.1" == event.caller.address
        assert session.ended_at == event.at


async def test_theft_ends_what_the_thief_has(server: Server) -> None:
    """After a theft no token of the session is accepted; other sessions go on (K-9)."""
    tokens, other = await login(server), await login(server)
    server.clock.advance(20)
    answer = (await refreshed(server, tokens["refresh_token"])).json()
    server.clock.advance(20)
    assert 401 == (await refreshed(server, tokens["refresh_token"])).status_code
    for token in (tokens["access_token"], answer["access_token"]):
        checked = await server.post("/jwt/validate", token=token)
        assert (401, "session_ended") == code_of(checked)
    assert (401, "session_ended") == code_of(await refreshed(server, answer["refresh_token"]))
    assert 200 == (await refreshed(server, other["refresh_token"])).status_code
    assert 200 == (await server.post("/jwt/validate", token=other["access_token"])).status_code


async def test_fifty_thieves_at_once(server: Server) -> None:
    """However often a spent token comes at once, the theft is told once."""
    events = heard(server)
    token = (await login(server))["refresh_token"]
    server.clock.advance(20)
    await rotated(server, token)
    server.clock.advance(20)
    answers = await asyncio.gather(*(refreshed(server, token) for _ in range(50)))
    assert {(401, "session_ended")} == {code_of(answer) for answer in answers}
    assert 1 == await thefts(server, events)


async def test_token_of_the_generation_before_last(server: Server) -> None:
    """Only the last generation but one is served within the window."""
    events = heard(server)
    first = (await login(server))["refresh_token"]
    server.clock.advance(10)
    second = await rotated(server, first)
    server.clock.advance(10)
    third = await rotated(server, second)
    assert third == await rotated(server, second)
    assert (401, "session_ended") == code_of(await refreshed(server, first))
    assert 1 == await thefts(server, events)


async def test_token_from_after_a_backup(server: Server) -> None:
    """A token newer than its session, as after a restored backup, is none to trust."""
    events = heard(server)
    token = (await login(server))["refresh_token"]
    server.clock.advance(20)
    second = await rotated(server, token)
    await server.auth.database.write(Statement("update sessions set generation = 0"))
    assert (401, "session_ended") == code_of(await refreshed(server, second))
    assert 1 == await thefts(server, events)


async def test_theft_and_rotation_at_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotation that comes between a theft and its end does not save the session."""
    events = heard(server)
    token = (await login(server))["refresh_token"]
    server.clock.advance(20)
    second = await rotated(server, token)
    server.clock.advance(20)
    end = server.auth.sessions.end
    rotations = [second]

    async def rotating(session_id: str) -> Sequence[Statement]:
        if rotations:
            await rotated(server, rotations.pop())
        return await end(session_id)

    monkeypatch.setattr(server.auth.sessions, "end", rotating)
    assert (401, "session_ended") == code_of(await refreshed(server, token))
    session = await stored(server)
    assert (2, NOW + 40, 1) == (
        session.generation,
        session.ended_at,
        await thefts(server, events),
    )


async def test_theft_that_a_plugin_cannot_note(server: Server) -> None:
    """Where what a plugin adds fails, nothing is written and nothing is answered."""
    token = (await login(server))["refresh_token"]
    server.clock.advance(20)
    await rotated(server, token)
    server.clock.advance(20)
    failing = Statement("update users set name = 'x' where id = 'nobody'", rows=1)
    server.auth.events.recorders = {"test": lambda _: Addition([failing])}
    assert (409, "conflict") == code_of(await refreshed(server, token))
    assert (await stored(server)).ended_at is None


ENDS = ["logout", "logout_from_all", "disable", "delete"]


async def end(server: Server, how: str) -> None:
    session, caller = await stored(server), Caller()
    accounts = server.auth.accounts
    match how:
        case "logout":
            await accounts.logout(session.user_id, session.id, caller)
        case "logout_from_all":
            await accounts.logout_from_all(session.user_id, caller)
        case "disable":
            await accounts.disable(session.user_id, caller)
        case "delete":
            await accounts.delete(session.user_id, caller)


@pytest.mark.parametrize("age", [0, 20])
@pytest.mark.parametrize("how", ENDS)
async def test_ended_sessions_are_not_refreshed(server: Server, how: str, age: int) -> None:
    """Whatever ended a session, and whether it was just refreshed or not: it stays ended (K-12)."""
    events = heard(server)
    tokens = await login(server)
    server.clock.advance(age)
    await end(server, how)
    for _ in range(2):
        answer = await refreshed(server, tokens["refresh_token"])
        assert (401, "session_ended") == code_of(answer)
        server.auth.revocations.ended.clear()  # the row alone says no, too
    assert 0 == await thefts(server, events)


@pytest.mark.parametrize(
    "sql",
    [
        "update sessions set ended_at = 1",
        "update sessions set idle_at = 1800000020",
        "update sessions set expires_at = 1800000020",
        "update users set disabled_at = 1",
        "delete from sessions",
        "delete from users",
    ],
)
async def test_rows_decide_about_refreshing(server: Server, sql: str) -> None:
    """What the rows say counts, not what the token was made with."""
    events = heard(server)
    token = (await login(server))["refresh_token"]
    server.clock.advance(20)
    await server.auth.database.write(Statement(sql))
    assert (401, "session_ended") == code_of(await refreshed(server, token))
    assert 0 == await thefts(server, events)


@pytest.mark.parametrize(("age", "expected"), [(14 * DAY - 1, 200), (14 * DAY, 401)])
async def test_idle_session(server: Server, age: int, expected: int) -> None:
    """A session that was not refreshed for the idle time has ended, and its token with it."""
    token = (await login(server))["refresh_token"]
    server.clock.advance(age)
    answer = await refreshed(server, token)
    assert expected == answer.status_code
    assert (expected == 401) == (code_of(answer) == (401, "token_expired"))


async def test_disabled_between_look_and_rotation(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who is disabled after having been looked at gets no new generation."""
    token = (await login(server))["refresh_token"]
    server.clock.advance(20)
    rotate = server.auth.sessions.rotate

    async def disabling(*arguments: Any) -> Session | None:
        await end(server, "disable")
        return await rotate(*arguments)

    monkeypatch.setattr(server.auth.sessions, "rotate", disabling)
    assert (401, "session_ended") == code_of(await refreshed(server, token))
    assert 0 == (await stored(server)).generation


async def test_refresh_races_with_every_end(server: Server) -> None:
    """Of a refresh and an end that come at once, the end always stands."""
    for how in ("logout", "logout_from_all"):
        await server.auth.database.write(Statement("delete from sessions"))
        token = (await login(server))["refresh_token"]
        server.clock.advance(20)
        results = await asyncio.gather(
            *(refreshed(server, token) for _ in range(10)),
            end(server, how),
            *(refreshed(server, token) for _ in range(10)),
        )
        codes = {code_of(answer) for answer in results if answer is not None}
        assert {(200, None), (401, "session_ended")} >= codes
        for answer in results:
            if answer is not None and answer.status_code == 200:
                again = await refreshed(server, answer.json()["refresh_token"])
                assert (401, "session_ended") == code_of(again)


async def test_stateless_refresh_reads_nothing(
    stateless: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refreshing without rotation reads and writes no row, and works without the database."""
    tokens = await login(stateless)
    token = tokens["refresh_token"]
    asked: list[str] = []

    async def read(*args: Any, **more: Any) -> Any:
        asked.append(f"{args} {more}")
        return []

    database = stateless.auth.database
    monkeypatch.setattr(database, "read", read)
    monkeypatch.setattr(database, "write", read)
    stateless.clock.advance(3600)
    answer = await stateless.auth.grants.refresh(token, Caller())
    assert [] == asked
    monkeypatch.undo()
    await stateless.auth.database.close()
    over_http = (await refreshed(stateless, token)).json()
    for each in (answer, over_http):
        assert token == each["refresh_token"]
        before, after = claims(tokens["access_token"]), claims(each["access_token"])
        assert (NOW + 3600, NOW + 4200) == (after["iat"], after["exp"])
        times = {name: after[name] for name in ("iat", "exp", "jti")}
        assert {**before, **times} == after
        assert before["jti"] != after["jti"]
        valid = await stateless.post("/jwt/validate", token=each["access_token"])
        assert 200 == valid.status_code


async def test_stateless_claims_may_be_stale(stateless: Server) -> None:
    """What changes after the login is not seen before the next one."""
    tokens = await login(stateless)
    user_id = claims(tokens["access_token"])["sub"]
    await stateless.auth.accounts.change(user_id, {"name": "Ann Smith"}, Caller())
    answer = (await refreshed(stateless, tokens["refresh_token"])).json()
    assert "ann" == claims(answer["access_token"])["name"]
    assert "Ann Smith" == claims((await login(stateless))["access_token"])["name"]


@pytest.mark.parametrize(("life", "more"), [(86400, ""), (120, "stateless_life = 120")])
async def test_stateless_end_is_fixed(tmp_path: Path, life: int, more: str) -> None:
    """A stateless token ends so long after the login, however often it is used."""
    async with running(tmp_path, STATELESS + more) as server:
        token = (await login(server))["refresh_token"]
        assert NOW + life == claims(token)["exp"]
        for fraction in (2, 4):
            server.clock.advance(life // fraction)
            assert token == await rotated(server, token)
        server.clock.advance(life // 4 - 1)
        assert token == await rotated(server, token)
        server.clock.advance(1)
        assert (401, "token_expired") == code_of(await refreshed(server, token))


@pytest.mark.parametrize("how", ENDS)
async def test_stateless_token_is_revoked(stateless: Server, how: str) -> None:
    """Every end of a session stops its stateless token, for as long as that could be used."""
    token = (await login(stateless))["refresh_token"]
    await end(stateless, how)
    for seconds in (0, 3600, 80_000):
        stateless.clock.advance(seconds)
        await stateless.auth.revocations.poll()
        assert (401, "session_ended") == code_of(await refreshed(stateless, token))


async def test_only_the_list_stops_a_stateless_token(stateless: Server) -> None:
    """No row is looked at, so none can stop it; the row is there for the list of sessions."""
    tokens = await login(stateless)
    listed = (await stateless.get("/auth/sessions", token=tokens["access_token"])).json()
    assert [claims(tokens["access_token"])["sid"]] == [each["id"] for each in listed["sessions"]]
    await stateless.auth.database.write(Statement("update sessions set ended_at = 1"))
    assert 200 == (await refreshed(stateless, tokens["refresh_token"])).status_code
    stateless.auth.revocations.ended[listed["sessions"][0]["id"]] = NOW + DAY
    answer = await refreshed(stateless, tokens["refresh_token"])
    assert (401, "session_ended") == code_of(answer)


@pytest.mark.parametrize("modes", [(ROTATING, STATELESS), (STATELESS, ROTATING)])
async def test_switching_the_mode_revives_nothing(tmp_path: Path, modes: Sequence[str]) -> None:
    """A refresh token of one mode is none of the other; access tokens go on."""
    clock = Clock()
    async with running(tmp_path, modes[0], clock) as server:
        tokens = await login(server)
    async with running(tmp_path, modes[1], clock) as server:
        answer = await refreshed(server, tokens["refresh_token"])
        assert (401, "invalid_token") == code_of(answer)
        assert 200 == (await server.post("/jwt/validate", token=tokens["access_token"])).status_code
        assert (await stored(server)).ended_at is None


def settings(**more: Any) -> TokenSettings:
    return replace(TokenSettings(), **more)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with kernel_tables(tmp_path) as database:
        yield database


def session(name: str = "s", user_id: str = "ann", epoch: int = 0, **more: Any) -> Session:
    """A session just made, of which every member has a value of its own."""
    members: dict[str, Any] = {
        "generation": 3,
        "created_at": NOW - 30,
        "rotated_at": NOW - 20,
        "idle_at": NOW + 100,
        "expires_at": NOW + 200,
        "auth_time": NOW - 10,
        "second_at": NOW - 5,
        "amr": ("pwd", "otp"),
        "address": "192.0.2.1",
        "user_agent": "test",
    }
    return Session(id=name, user_id=user_id, epoch=epoch, **{**members, **more})


def store_of(database: Database, **more: Any) -> SqlSessions:
    return SqlSessions(database, settings(**more), lambda: NOW)


@pytest.mark.parametrize(
    ("more", "life"),
    [
        ({}, 960),
        ({"idle_at": NOW + 86400, "expires_at": NOW + 86400}, 86400),
        ({"idle_at": NOW + 60, "expires_at": NOW + 60}, 960),
    ],
)
async def test_revocation_lasts_as_long_as_any_token(
    database: Database, more: dict[str, Any], life: int
) -> None:
    """An ended session is listed until the last token that is accepted without its row has ended.

    That is an access token of fifteen minutes, since its life may have been set shorter since,
    with a minute for one that is just being signed; or a stateless session's refresh token,
    which lasts as long as the session.
    """
    store = store_of(database, access_life=Seconds(60))
    await database.write(*await store.put(session(**more)))
    await database.write(*await store.end("s"))
    expected = [("s", NOW, NOW + life, 1)]
    assert expected == await database.read("select * from revocations")
    await database.write(*await store.end("s"))
    assert expected == await database.read("select * from revocations")


async def test_revocation_that_is_listed_already(database: Database) -> None:
    """A session that is on the list before its row says so ends all the same."""
    store = store_of(database)
    await database.write(*await store.put(session()))
    await database.write(Statement("insert into revocations values ('s', 1, 2, 3)"))
    await database.write(*await store.end("s"))
    assert [("s", 1, 2, 3)] == await database.read("select * from revocations")
    assert [] == await store.list("ann")


@pytest.mark.parametrize(
    ("generation", "more"),
    [
        (2, {}),
        (4, {}),
        (3, {"rotated_at": NOW - 9}),
        (3, {"rotated_at": NOW + 3600}),
        (3, {"ended_at": NOW - 1}),
        (3, {"idle_at": NOW}),
        (3, {"expires_at": NOW}),
        (3, {"user_id": "bob"}),
    ],
)
async def test_store_does_not_rotate(
    database: Database, generation: int, more: dict[str, Any]
) -> None:
    """The one statement that rotates looks at generation, window, ends and user (bob is disabled)."""
    store = store_of(database)
    put = session(**more)
    disabling = Statement("update users set disabled_at = 1 where id = 'bob'")
    await database.write(*await store.put(put), disabling)
    assert await store.rotate("s", generation, NOW) is None
    assert put == await store.get("s")


async def test_denied_says_why(server: Server) -> None:
    """A refusal is raised, never answered."""
    token = (await login(server))["refresh_token"]
    await end(server, "logout")
    with pytest.raises(Denied) as caught:
        await server.auth.grants.refresh(token, Caller())
    assert "session_ended" == caught.value.problem.code
