"""The own account: what is shown and changed of it, and what ends with what."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from picoauth import (
    Addition,
    AuthError,
    Caller,
    Conflict,
    Embedded,
    Event,
    Row,
    Statement,
    UserChanged,
)
from picoauth.changes import again
from picoauth.testing import Server
from tests.accounts import SETTINGS, accounts, cut, heard, login, user_id, watched
from tests.factors import PIN, code_of, count, join, step

NOW = 1_800_000_000
FRESH = 300


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server on which Ann is registered."""
    async with accounts(tmp_path) as server:
        yield server


@pytest.fixture
async def token(server: Server) -> str:
    """An access token of Ann."""
    return access(await login(server))


def access(tokens: dict[str, Any]) -> str:
    found: str = tokens["access_token"]
    return found


async def change(server: Server, token: str, method: str = "PATCH", **body: Any) -> httpx.Response:
    return await server.send(method, "/auth/me", body, token=token)


async def epoch(server: Server) -> int:
    [(found,)] = await server.auth.database.read("select epoch from users")
    epoch: int = found
    return epoch


async def valid(server: Server, tokens: dict[str, Any]) -> tuple[bool, bool]:
    """Whether the access token and the refresh token are accepted; else the session has ended."""
    checked = await server.post("/jwt/validate", token=tokens["access_token"])
    refreshed = await server.post("/jwt/refresh", token=tokens["refresh_token"])
    codes = [code_of(answer) for answer in (checked, refreshed)]
    assert not set(codes) - {(200, None), (401, "session_ended")}
    return codes[0] == (200, None), codes[1] == (200, None)


async def told(server: Server, events: list[Event]) -> list[str]:
    await server.auth.events.settle()
    return [type(event).__name__ for event in events]


ME = {
    "username": "ann",
    "name": "ann",
    "locale": None,
    "identifiers": [{"kind": "username", "value": "ann", "verified": True}],
    "created_at": NOW,
    "last_login_at": NOW,
}


async def test_me(server: Server, token: str) -> None:
    """An account is shown with its id, its names, its identifiers and its times."""
    answer = await server.get("/auth/me", token=token)
    assert (200, {"id": await user_id(server), **ME}) == (answer.status_code, answer.json())


@pytest.mark.parametrize(
    ("method", "body", "expected", "fields"),
    [
        ("PATCH", {"name": "Ann A."}, {"name": "Ann A."}, ("name",)),
        ("PATCH", {"locale": "de"}, {"locale": "de"}, ("locale",)),
        ("PATCH", {"username": "anna"}, {"username": "anna"}, ("username",)),
        ("PATCH", {"username": "ANN"}, {"username": "ANN"}, ("username",)),
        ("PATCH", {"name": "A", "locale": "de"}, {"name": "A", "locale": "de"}, ("locale", "name")),
        ("PATCH", {"name": None, "locale": None, "username": None}, {}, None),
        ("PATCH", {"name": "ann", "username": "ann"}, {}, None),
        ("PATCH", {}, {}, None),
        (
            "PUT",
            {"username": "anna", "name": "A", "locale": "de"},
            {"username": "anna", "name": "A", "locale": "de"},
            ("locale", "name", "username"),
        ),
        ("PUT", {"username": "ann", "name": "A"}, {"name": "A"}, ("name",)),
        ("PUT", {"username": "ann", "name": "ann"}, {}, None),
    ],
)
async def test_changes(
    server: Server,
    token: str,
    *,
    method: str,
    body: dict[str, Any],
    expected: dict[str, Any],
    fields: tuple[str, ...] | None,
) -> None:
    """What is given and differs is changed, answered, and told; nothing else is."""
    events = heard(server)
    answer = await change(server, token, method, **body)
    username = expected.get("username", "ann")
    identifiers = [{"kind": "username", "value": username, "verified": True}]
    me = {"id": await user_id(server, username), **ME, **expected, "identifiers": identifiers}
    assert (200, me) == (answer.status_code, answer.json())
    assert me == (await server.get("/auth/me", token=token)).json()
    await server.auth.events.settle()
    changed = [event for event in events if isinstance(event, UserChanged)]
    assert ([fields] if fields else []) == [event.fields for event in changed]


async def test_put_empties_what_is_left_out(server: Server, token: str) -> None:
    """PUT is the whole account: a locale that is left out is gone; PATCH leaves it."""
    await change(server, token, locale="de")
    await change(server, token, name="A")
    assert "de" == (await server.get("/auth/me", token=token)).json()["locale"]
    answer = await change(server, token, "PUT", username="ann", name="A")
    assert answer.json()["locale"] is None


@pytest.mark.parametrize(
    ("method", "body", "code"),
    [
        ("PUT", {"username": "ann"}, "invalid_body"),
        ("PUT", {"name": "A"}, "invalid_body"),
        ("PUT", {}, "invalid_body"),
        ("PATCH", {"name": ""}, "invalid_body"),
        ("PATCH", {"name": "x" * 201}, "invalid_body"),
        ("PATCH", {"locale": "x" * 36}, "invalid_body"),
        ("PATCH", {"id": "other"}, "invalid_body"),
        ("PATCH", {"disabled_at": 1}, "invalid_body"),
        ("PATCH", {"user_id": "other", "name": "A"}, "invalid_body"),
        ("PATCH", {"username": ""}, "invalid_username"),
        ("PATCH", {"username": "a b"}, "invalid_username"),
        ("PATCH", {"username": "x" * 60000}, "invalid_username"),
    ],
)
async def test_refused_changes(
    server: Server, token: str, method: str, body: dict[str, Any], code: str
) -> None:
    """What an account cannot be is refused, and nothing of it is written (M-4)."""
    events = heard(server)
    answer = await change(server, token, method, **body)
    assert (400, code) == code_of(answer)
    assert ME["name"] == (await server.get("/auth/me", token=token)).json()["name"]
    assert ([], 0) == (await told(server, events), await epoch(server))


async def test_taken_name(server: Server, token: str) -> None:
    """A name of someone else, in whatever spelling, is refused with all that came with it."""
    await join(server, "bob")
    answer = await change(server, token, username="BOB", name="A")
    assert (409, "username_taken") == code_of(answer)
    me = (await server.get("/auth/me", token=token)).json()
    assert ("ann", "ann") == (me["username"], me["name"])


async def test_rename_is_a_change_of_identifier(server: Server) -> None:
    """A rename raises the epoch, ends no session, and is seen in the next tokens."""
    tokens = await login(server)
    answer = await change(server, access(tokens), username="Anna")
    assert (200, 1) == (answer.status_code, await epoch(server))
    assert (True, True) == await valid(server, tokens)
    server.clock.advance(10)
    new = (await server.post("/jwt/refresh", token=tokens["refresh_token"])).json()
    claims = (await server.post("/jwt/validate", token=new["access_token"])).json()
    assert "Anna" == claims["preferred_username"]
    assert (401, "proof_refused") == code_of(await step(server, **PIN))
    await login(server, "anna")


async def test_spelling_is_no_change_of_identifier(server: Server, token: str) -> None:
    """Another spelling of the same name is shown, and changes nothing about logins."""
    await change(server, token, username="ANN", name="A")
    assert (0, 0) == (await epoch(server), await count(server, "retired_names"))
    await login(server)


async def test_rename_needs_a_fresh_proof(server: Server, token: str) -> None:
    """Who came a while ago may change how an account is shown, not what it is called."""
    server.clock.advance(FRESH + 1)
    answer = await change(server, token, username="anna")
    assert (403, "stepup_needed") == code_of(answer)
    assert (403, "stepup_needed") == code_of(await change(server, token, username="ANN"))
    assert 200 == (await change(server, token, username="ann", name="A")).status_code
    proof = {"factor": "pin", **PIN}
    new = (await server.post("/auth/stepup", proof, token=token)).json()["access_token"]
    assert 200 == (await change(server, new, username="anna")).status_code


async def test_user_without_a_name_takes_one(server: Server) -> None:
    """An account that was made without a user name may get one."""
    user, _ = await server.auth.users.register(server.auth.users.draft())
    await server.auth.accounts.change(user.id, {"username": "Bob"}, Caller())
    assert ("Bob", user.id) == (
        await server.auth.users.username(user.id),
        await user_id(server, "bob"),
    )


async def test_two_renames_at_once(server: Server, token: str) -> None:
    """Of two renames by one user the later one is tried again, and stands."""
    answers = await asyncio.gather(
        *(change(server, token, username=name) for name in ("one", "two"))
    )
    assert [200, 200] == [answer.status_code for answer in answers]
    name = (await server.get("/auth/me", token=token)).json()["username"]
    assert (True, 1) == (name in ("one", "two"), await count(server, "identifiers"))


async def test_fifty_renames_to_one_name_by_one_user(server: Server, token: str) -> None:
    """The same rename, clicked fifty times, is one rename: no name is taken by oneself."""
    events = heard(server)
    answers = await asyncio.gather(*(change(server, token, username="anna") for _ in range(50)))
    assert {(200, None)} == {code_of(answer) for answer in answers}
    assert ["UserChanged"] == await told(server, events)
    assert (1, 1) == (await epoch(server), await count(server, "retired_names"))


async def test_fifty_renames_to_many_names(server: Server, token: str) -> None:
    """However many renames race, three are done, and one name is left."""
    answers = await asyncio.gather(*(change(server, token, username=f"ann{n}") for n in range(50)))
    codes = [code_of(answer) for answer in answers]
    assert set(codes) <= {(200, None), (409, "conflict"), (429, "too_many_renames")}
    done = codes.count((200, None))
    counts = [await count(server, table) for table in ("retired_names", "renames")]
    assert [done] * 3 == [await epoch(server), *counts]
    assert 1 <= done <= 3
    assert 1 == await count(server, "identifiers")


async def test_fifty_users_want_one_name(server: Server) -> None:
    """Of fifty users who rename to one name at once, one gets it."""
    for n in range(50):
        await join(server, f"user{n}")
    ids = [await user_id(server, f"user{n}") for n in range(50)]
    results = await asyncio.gather(
        *(server.auth.accounts.change(one, {"username": "best"}, Caller()) for one in ids),
        return_exceptions=True,
    )
    errors = [result for result in results if isinstance(result, AuthError)]
    assert (49, {"username_taken"}) == (len(errors), {e.problem.code for e in errors})


@pytest.mark.parametrize(("rises", "expected"), [(2, (200, None)), (3, (409, "conflict"))])
async def test_change_while_the_epoch_rises(
    server: Server, token: str, monkeypatch: pytest.MonkeyPatch, rises: int, expected: Any
) -> None:
    """A change that another one comes between is tried three times, then it is a conflict."""
    users, left = server.auth.users, [None] * rises
    identifiers = users.identifiers

    async def rising(user_id: str) -> Any:
        found = await identifiers(user_id)
        if left:
            left.pop()
            await server.auth.database.write(Statement("update users set epoch = epoch + 1"))
        return found

    monkeypatch.setattr(users, "username", lambda _: asyncio.sleep(0, "ann"))
    monkeypatch.setattr(users, "identifiers", rising)
    assert expected == code_of(await change(server, token, name="A"))


async def test_again_tries_three_times() -> None:
    """A conflict is tried again twice; another failure is not."""
    tried: list[Exception] = []

    async def failing(error: Exception) -> None:
        tried.append(error)
        raise error

    for error, times in ((Conflict(3), 3), (ValueError(), 1)):
        with pytest.raises(type(error)):
            await again(lambda error=error: failing(error))  # type: ignore[misc]
        assert times == tried.count(error)


async def test_replies_of_plugins_are_answered(server: Server, token: str) -> None:
    """What a plugin replies in `record` stands in the answer under its name."""
    server.auth.events.recorders = {"audit": lambda _: Addition(reply={"line": 7})}
    answer = await change(server, token, name="A")
    assert ("A", {"line": 7}) == (answer.json()["name"], answer.json()["audit"])


async def test_delete(server: Server) -> None:
    """A deleted account is gone at once: its tokens, its login, its name; others stay."""
    await join(server, "bob")
    bob, tokens = await login(server, "bob"), await login(server)
    answer = await server.send("DELETE", "/auth/me", token=access(tokens))
    assert (204, b"") == (answer.status_code, answer.content)
    assert (False, False) == await valid(server, tokens)
    again = await server.send("DELETE", "/auth/me", token=access(tokens))
    assert (401, "session_ended") == code_of(again)
    assert (401, "proof_refused") == code_of(await step(server, **PIN))
    assert (True, True) == await valid(server, bob)


async def test_fifty_deletions_at_once(server: Server, token: str) -> None:
    """Of fifty deletions one deletes; the others find the session ended, or nothing there."""
    events = heard(server)
    answers = await asyncio.gather(
        *(server.send("DELETE", "/auth/me", token=token) for _ in range(50))
    )
    codes = [code_of(answer) for answer in answers]
    assert 1 == codes.count((204, None))
    assert set(codes) <= {(204, None), (401, "session_ended"), (404, "not_found")}
    assert 1 == (await told(server, events)).count("UserDeleted")


FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"


async def test_sessions(server: Server) -> None:
    """Each device is listed, the newest first, with when and how it logged in."""
    await login(server)
    server.clock.advance(5)
    headers = {"User-Agent": FIREFOX}
    tokens = (await server.client.post("/auth/login", json=PIN, headers=headers)).json()
    await join(server, "bob")
    await login(server, "bob")
    listed = (await server.get("/auth/sessions", token=access(tokens))).json()["sessions"]
    ids = [one.pop("id") for one in listed]
    assert 2 == len(set(ids))
    same = {"amr": ["pin"], "address": "127.0.0.1", "delivery": "token"}
    agent = server.client.headers["user-agent"]
    assert [
        {
            "current": current,
            "created_at": at,
            "used_at": at,
            "expires_at": at + 14 * 86400,
            "device": device,
            "user_agent": user_agent,
            **same,
        }
        for current, at, device, user_agent in (
            (True, NOW + 5, "Firefox on Linux", FIREFOX),
            (False, NOW, "python-httpx", agent),
        )
    ] == listed


async def test_ended_sessions_are_not_listed(server: Server) -> None:
    """What has ended, by logout or by time, is no device."""
    old = await login(server)
    server.clock.advance(14 * 86400 - 1)
    out, tokens = await login(server), await login(server)
    await server.post("/auth/logout", token=access(out))
    server.clock.advance(1)
    tokens = (await server.post("/jwt/refresh", token=tokens["refresh_token"])).json()
    listed = (await server.get("/auth/sessions", token=access(tokens))).json()["sessions"]
    assert [True] == [one["current"] for one in listed]
    assert (401, "token_expired") == code_of(await server.get("/auth/me", token=access(old)))


async def ids(server: Server, token: str) -> dict[bool, str]:
    listed = (await server.get("/auth/sessions", token=token)).json()["sessions"]
    return {one["current"]: one["id"] for one in listed}


async def end(server: Server, token: str, session_id: str) -> tuple[int, str | None]:
    return code_of(await server.send("DELETE", f"/auth/sessions/{session_id}", token=token))


async def test_end_one_session(server: Server) -> None:
    """The device that is named ends at once, and no other."""
    lost, mine = await login(server), await login(server)
    found = await ids(server, access(mine))
    assert (204, None) == await end(server, access(mine), found[False])
    assert ((False, False), (True, True)) == (await valid(server, lost), await valid(server, mine))
    assert (404, "not_found") == await end(server, access(mine), found[False])
    assert (204, None) == await end(server, access(mine), found[True])
    assert (False, False) == await valid(server, mine)


async def test_end_all_others(server: Server) -> None:
    """Whoever lost a device ends all but this one, by one request; the proof has to be fresh."""
    others, mine = [await login(server) for _ in range(3)], await login(server)
    events = heard(server)
    answer = await server.send("DELETE", "/auth/sessions", token=access(mine))
    assert (204, None) == code_of(answer)
    assert [(False, False)] * 3 == [await valid(server, other) for other in others]
    assert ((True, True), ["SessionsEnded"]) == (
        await valid(server, mine),
        await told(server, events),
    )
    server.clock.advance(FRESH + 1)
    answer = await server.send("DELETE", "/auth/sessions", token=access(mine))
    assert (403, "stepup_needed") == code_of(answer)


async def test_end_of_someone_elses_session(server: Server) -> None:
    """A session of someone else is not there, as one that is nobody's (M-3)."""
    await join(server, "bob")
    bob, ann = await login(server, "bob"), await login(server)
    session_id = (await ids(server, access(bob)))[True]
    events = heard(server)
    for name in (session_id, "nothing", "%00", "'"):
        assert (404, "not_found") == await end(server, access(ann), name)
    assert ((True, True), []) == (await valid(server, bob), await told(server, events))


async def test_ending_needs_a_fresh_proof(server: Server, token: str) -> None:
    """Who has but an old token ends no other device's session, and deletes nothing (S-7)."""
    await login(server)
    server.clock.advance(FRESH + 1)
    other = (await ids(server, token))[False]
    assert (403, "stepup_needed") == await end(server, token, other)
    answer = await server.send("DELETE", "/auth/me", token=token)
    assert (403, "stepup_needed") == code_of(answer)
    assert 2 == len(await ids(server, token))


async def test_fifty_ends_at_once(server: Server) -> None:
    """Of fifty who end a session at once one does, and it is told once; to the others it is gone."""
    lost, mine = await login(server), access(await login(server))
    other, events = (await ids(server, mine))[False], heard(server)
    codes = await asyncio.gather(*(end(server, mine, other) for _ in range(50)))
    assert {(204, None): 1, (404, "not_found"): 49} == Counter(codes)
    assert ((False, False), 1) == (await valid(server, lost), await count(server, "revocations"))
    assert ["SessionEnded"] == await told(server, events)


async def test_logout(server: Server) -> None:
    """A logout ends this session, at once and for good, however old the proof; no other."""
    other, tokens = await login(server), await login(server)
    server.clock.advance(FRESH + 1)
    answer = await server.post("/auth/logout", token=access(tokens))
    assert (204, b"") == (answer.status_code, answer.content)
    assert (False, False) == await valid(server, tokens)
    assert (True, True) == await valid(server, other)
    again = await server.post("/auth/logout", token=access(tokens))
    assert (401, "session_ended") == code_of(again)


async def test_logout_of_an_idle_session(tmp_path: Path) -> None:
    """A session that ended by itself can be logged out of, while its access token is valid."""
    async with accounts(tmp_path, f"{SETTINGS}[tokens]\nidle = 60") as server:
        tokens = await login(server)
        server.clock.advance(61)
        refreshed = await server.post("/jwt/refresh", token=tokens["refresh_token"])
        assert (401, "token_expired") == code_of(refreshed)
        assert 204 == (await server.post("/auth/logout", token=access(tokens))).status_code
        checked = await server.post("/jwt/validate", token=access(tokens))
        assert (401, "session_ended") == code_of(checked)


async def test_logout_from_all(server: Server) -> None:
    """Every session of the user ends, this one too; nobody else's, and a new login works."""
    await join(server, "bob")
    bob, other, tokens = [await login(server, name) for name in ("bob", "ann", "ann")]
    server.clock.advance(FRESH + 1)
    answer = await server.post("/auth/logout_from_all", token=access(tokens))
    assert (204, b"") == (answer.status_code, answer.content)
    for ended in (other, tokens):
        assert (False, False) == await valid(server, ended)
    assert (True, True) == await valid(server, bob)
    assert (True, True) == await valid(server, await login(server))


async def test_logins_in_the_second_of_logout_from_all(server: Server) -> None:
    """Sessions are told apart by the epoch, not the clock: one made after lives on (K-13)."""
    before = await login(server)
    await server.post("/auth/logout_from_all", token=access(before))
    after = await login(server)
    assert ((False, False), (True, True)) == (
        await valid(server, before),
        await valid(server, after),
    )
    await server.auth.accounts.logout_from_all(await user_id(server), Caller())
    assert (False, False) == await valid(server, after)


Doing = Callable[[Server, str], Awaitable[object]]
ENDS: dict[str, Doing] = {
    "disable": lambda server, ann: server.auth.accounts.disable(ann, Caller()),
    "delete": lambda server, ann: server.auth.accounts.delete(ann, Caller()),
    "logout_from_all": lambda server, ann: server.auth.accounts.logout_from_all(ann, Caller()),
}


ADMINISTRATION: dict[str, Doing] = {
    **ENDS,
    "enable": lambda server, ann: server.auth.accounts.enable(ann, Caller()),
}


@pytest.mark.parametrize("how", ENDS)
async def test_administrators_end_sessions_at_once(server: Server, how: str) -> None:
    """What an administrator does ends every session in that write, and its tokens here (K-12)."""
    sessions = [await login(server) for _ in range(2)]
    found = await ids(server, access(sessions[0]))
    await ENDS[how](server, await user_id(server))
    revoked = await server.auth.database.read("select session_id from revocations")
    assert set(found.values()) == {session_id for (session_id,) in revoked}
    for tokens in sessions:
        assert (False, False) == await valid(server, tokens)
    alive = "select count(*) from sessions where ended_at is null"
    assert [(0,)] == await server.auth.database.read(alive)


@pytest.mark.parametrize("how", [*ADMINISTRATION, "logout", "change"])
async def test_fail_each_statement(server: Server, how: str) -> None:
    """Whichever statement of a change fails, nothing of it is left, and no event is told."""
    tokens = await login(server)
    ann = await user_id(server)
    session_id = (await ids(server, access(tokens)))[True]
    accounts = server.auth.accounts
    doing: dict[str, Doing] = {
        **ADMINISTRATION,
        "logout": lambda _, ann: accounts.logout(ann, session_id, Caller()),
        "change": lambda _, ann: accounts.change(ann, {"username": "anna", "name": "A"}, Caller()),
    }
    before, events = await state(server), heard(server)
    with cut(server) as database:
        while database.after <= database.written:
            with pytest.raises((Conflict, AuthError)):
                await doing[how](server, ann)
            assert (before, []) == (await state(server), await told(server, events))
            database.after += 1
    assert (True, True) == await valid(server, tokens)
    await doing[how](server, ann)
    assert (True, 1) == (database.after > 1, len(await told(server, events)))


async def state(server: Server) -> list[Any]:
    """All that the database holds about users."""
    tables = ("users", "identifiers", "retired_names", "sessions", "revocations", "tickets", "pin")
    return [await server.auth.database.read(f"select * from {table}") for table in tables]


async def test_disable_and_enable(server: Server) -> None:
    """A disabled user is out until enabled; flows that were begun before lead nowhere."""
    ann, tokens = await user_id(server), await login(server)
    flow = (await server.post("/auth/stepup/begin", {"factor": "key"}, token=access(tokens))).json()
    assert 1 == await count(server, "tickets")
    server.clock.advance(7)
    await server.auth.accounts.disable(ann, Caller())
    user = await server.auth.users.require(ann)
    assert (NOW + 7, 1) == (user.disabled_at, user.epoch)
    assert 0 == await count(server, "tickets")
    assert (401, "proof_refused") == code_of(await step(server, **PIN))
    await server.auth.accounts.enable(ann, Caller())
    user = await server.auth.users.require(ann)
    assert (None, 1) == (user.disabled_at, user.epoch)
    assert (False, False) == await valid(server, tokens)
    new = await login(server)
    answer = await server.post("/auth/stepup", flow, token=access(new))
    assert (401, "flow_ended") == code_of(answer)


@pytest.mark.parametrize("how", ADMINISTRATION)
async def test_nobody(server: Server, how: str) -> None:
    """What is done to nobody is not done, and not told."""
    events = heard(server)
    with pytest.raises(AuthError, match=r"^not_found$"):
        await ADMINISTRATION[how](server, "nobody")
    assert [] == await told(server, events)


async def test_enabling_races_with_deleting(server: Server) -> None:
    """Each enabling is done and told, or refused and not told."""
    ann, events = await user_id(server), heard(server)
    accounts, caller = server.auth.accounts, Caller()
    deleting = asyncio.create_task(accounts.delete(ann, caller))
    results = await asyncio.gather(
        deleting, *(accounts.enable(ann, caller) for _ in range(20)), return_exceptions=True
    )
    refused = [str(result) for result in results if isinstance(result, Exception)]
    assert ["not_found"] * len(refused) == refused
    names = Counter(await told(server, events))
    assert Counter(UserDeleted=1, UserEnabled=20 - len(refused)) == names


async def test_deleted_before_the_enabling_is_written(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told that a user came back who is gone."""
    ann, events, database = await user_id(server), heard(server), watched(server)
    accounts, caller, write = server.auth.accounts, Caller(), database.write

    async def late(*statements: Statement) -> list[list[Row]]:
        if any("disabled_at = null" in each.sql for each in statements):
            monkeypatch.undo()
            await accounts.delete(ann, caller)
        return await write(*statements)

    monkeypatch.setattr(database, "write", late)
    with pytest.raises(AuthError, match=r"^not_found$"):
        await accounts.enable(ann, caller)
    assert ["UserDeleted"] == await told(server, events)


async def test_logout_of_nobody(server: Server) -> None:
    """An administrator, too, ends a session only of its own user."""
    await login(server)
    [(session_id,)] = await server.auth.database.read("select id from sessions")
    with pytest.raises(AuthError, match=r"^not_found$"):
        await server.auth.accounts.logout("nobody", session_id, Caller())


@pytest.mark.parametrize("how", [*ENDS, "logout"])
async def test_database_goes_down_after_the_commit(
    server: Server, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """What is committed is answered as done; its tokens are refused when the list is read again."""
    tokens, ann = await login(server), await user_id(server)
    session_id = (await ids(server, access(tokens)))[True]
    watched(server).down_after = "insert into revocations"
    if how == "logout":
        await server.auth.accounts.logout(ann, session_id, Caller())
    else:
        await ENDS[how](server, ann)
    sentence = "sessions that just ended are not refused here yet: the database is down"
    assert [sentence] == [r.getMessage() for r in caplog.records if r.name == "picoauth.changes"]
    assert 200 == (await server.post("/jwt/validate", token=access(tokens))).status_code
    watched(server).down_after, watched(server).down = None, False
    await server.auth.revocations.poll()
    assert (False, False) == await valid(server, tokens)


async def test_delete_races_with_logins(server: Server) -> None:
    """Whatever a login that raced with the deletion answered, nothing of it is left."""
    ann = await user_id(server)
    results = await asyncio.gather(
        *(step(server, **PIN) for _ in range(25)),
        server.auth.accounts.delete(ann, Caller()),
        *(step(server, **PIN) for _ in range(25)),
    )
    assert 0 == await count(server, "sessions")
    for answer in results:
        if isinstance(answer, httpx.Response) and answer.status_code == 200:
            assert (False, False) == await valid(server, answer.json())


@pytest.mark.embedded
async def test_embedded_is_what_is_watched(server: Server) -> None:
    """These tests run on a real database file."""
    assert isinstance(watched(server).inner, Embedded)
