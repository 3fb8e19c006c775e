"""Leaving: at once by default, or after a time in which the owner, and nobody else, may come back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from picoauth import (
    Addition,
    AuthError,
    Caller,
    Condition,
    Conflict,
    Event,
    LoginCompleted,
    LoginFailed,
    Problem,
    Statement,
    UserClosed,
    UserDeleted,
    UserRestored,
)
from picoauth.leaving import sweeping
from picoauth.testing import Server
from tests.accounts import SETTINGS, accounts, cut, login, user_id
from tests.factors import PIN, code_of, count, enrol, join, step

DAY = 86400
GRACE = 7 * DAY
NOW = 1_800_000_000
HERE = Caller(actor="command:root")
CLOSED = (403, "account_closed")


@asynccontextmanager
async def lasting(folder: Path, more: str = "", plugins: str = SETTINGS) -> AsyncIterator[Server]:
    """A server where who leaves may come back for a week."""
    async with accounts(folder, f'{plugins}{more}[account]\ndeletion_grace = "7d"') as server:
        yield server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with lasting(tmp_path) as server:
        yield server


async def leave(server: Server, token: str | None = None) -> httpx.Response:
    token = token or (await login(server))["access_token"]
    return await server.send("DELETE", "/auth/me", token=token)


async def restore(server: Server, **more: Any) -> httpx.Response:
    return await step(server, **{**PIN, **more}, restore=True)


async def sweep(server: Server) -> None:
    await sweeping(server.auth).run()


async def test_at_once_by_default(tmp_path: Path) -> None:
    """Without the setting nothing is left to come back to."""
    async with accounts(tmp_path) as server:
        answer = await leave(server)
        assert (204, b"") == (answer.status_code, answer.content)
        assert 0 == await count(server, "users")
        assert (401, "proof_refused") == code_of(await restore(server))


async def test_leaving_for_good(server: Server) -> None:
    """The answer says when; until then all is there, and afterwards nothing."""
    ann = await user_id(server)
    tokens = [await login(server) for _ in range(2)]
    answer = await leave(server, tokens[0]["access_token"])
    assert (202, {"deleted_at": NOW + GRACE}) == (answer.status_code, answer.json())
    for each in tokens:
        checked = await server.post("/jwt/validate", token=each["access_token"])
        refreshed = await server.post("/jwt/refresh", token=each["refresh_token"])
        assert [(401, "session_ended")] * 2 == [code_of(checked), code_of(refreshed)]
    assert NOW + GRACE == server.events.one(UserClosed).delete_at
    server.clock.advance(GRACE - 1)
    await sweep(server)
    assert await server.auth.users.get(ann)
    server.clock.advance(1)
    await sweep(server)
    assert await server.auth.users.get(ann) is None
    assert ann == server.events.one(UserDeleted).user_id
    assert 1 == await count(server, "retired_names")


async def test_login_in_the_meantime(server: Server) -> None:
    """Whoever proves everything hears that the account is closed; it stays closed, and told."""
    await leave(server)
    server.events.clear()
    answer = await step(server, **PIN)
    assert CLOSED == code_of(answer)
    assert NOW + GRACE == answer.json()["deleted_at"]
    assert 0 == len(server.events.of(LoginCompleted))
    failed = server.events.one(LoginFailed)
    assert ("account_closed", "pin") == (failed.code, failed.factor)
    [ended] = list(await server.auth.database.read("select ended_at from sessions"))
    assert ended == (NOW,)


async def test_strangers_learn_nothing(server: Server) -> None:
    """Who proves nothing, or not enough, is answered as before the account was closed."""
    await enrol(server, "111111")
    before = [await step(server, **{**PIN, "pin": "wrong"}), await step(server, **PIN)]
    server.clock.advance(1)
    ann = await user_id(server)
    await server.auth.accounts.close(ann, HERE)
    after = [
        await step(server, **{**PIN, "pin": "wrong"}),
        await step(server, **PIN),
        await restore(server, pin="wrong"),
        await restore(server),
    ]
    known = [told(answer) for answer in before]
    assert [*known, *known] == [told(answer) for answer in after]


def told(answer: httpx.Response) -> tuple[int, dict[str, Any], list[str]]:
    body = {n: v for n, v in answer.json().items() if n not in ("request_id", "flow")}
    return answer.status_code, body, sorted(answer.json())


async def test_restoring(server: Server) -> None:
    """The flow of the refusal keeps the proofs: with it the account is restored, and logged in."""
    await leave(server)
    flow = (await step(server, **PIN)).json()["flow"]
    answer = await server.post("/auth/login", {"flow": flow, "restore": True})
    assert 200 == answer.status_code, answer.text
    me = await server.get("/auth/me", token=answer.json()["access_token"])
    assert "ann" == me.json()["username"]
    user = await server.auth.users.require(await user_id(server))
    assert (None, None, NOW) == (user.closed_at, user.delete_at, user.last_login_at)
    assert user.id == server.events.one(UserRestored).user_id
    server.clock.advance(GRACE)
    await sweep(server)
    assert 200 == (await step(server, **PIN)).status_code
    again = await server.post("/auth/login", {"flow": flow, "restore": True})
    assert (401, "flow_ended") == code_of(again)


async def test_restoring_in_one_step(server: Server) -> None:
    """Who knows says so at once, also with a second factor, and by cookie."""
    await enrol(server, "111111", "222222")
    await server.auth.accounts.close(await user_id(server), HERE)
    refused = await step(server, **PIN, restore=True)
    assert (401, "more_needed") == code_of(refused)
    body = {"code": "111111", "restore": True, "session": "cookie"}
    headers = {"Sec-Fetch-Site": "same-origin"}
    answer = await server.client.post(
        "/auth/login", json={"flow": refused.json()["flow"], **body}, headers=headers
    )
    assert 200 == answer.status_code, answer.text
    assert "set-cookie" in answer.headers


async def test_flow_goes_on_without_restoring(server: Server) -> None:
    """A flow with every proof in it is no login until it says that it restores."""
    await leave(server)
    flow = (await step(server, **PIN)).json()["flow"]
    answer = await server.post("/auth/login", {"flow": flow})
    assert (400, "factor_out_of_place") == code_of(answer)
    answer = await server.post("/auth/login", {"flow": answer.json()["flow"], "restore": False})
    assert (400, "factor_out_of_place") == code_of(answer)
    answer = await server.post("/auth/login", {"flow": answer.json()["flow"], "restore": True})
    assert 200 == answer.status_code


@pytest.mark.parametrize("body", [{"restore": True}, {"restore": True, "flow": "made up"}])
async def test_restoring_without_proof(server: Server, body: dict[str, Any]) -> None:
    """Nobody restores an account by asking for it."""
    await leave(server)
    answer = await server.post("/auth/login", body)
    assert answer.status_code in (400, 401)
    assert (await server.auth.users.require(await user_id(server))).closed_at


async def test_restoring_with_half_a_flow(server: Server) -> None:
    """A flow that lacks a proof does not restore."""
    await enrol(server, "111111")
    await server.auth.accounts.close(await user_id(server), HERE)
    flow = (await step(server, **PIN)).json()["flow"]
    answer = await server.post("/auth/login", {"flow": flow, "restore": True})
    assert (401, "more_needed") == code_of(answer)
    assert (await server.auth.users.require(await user_id(server))).closed_at


@pytest.mark.parametrize("value", ["yes", 1, None, [True]])
async def test_restore_is_true_or_false(server: Server, value: Any) -> None:
    """Anything else is a mistake."""
    answer = await step(server, **PIN, restore=value)
    assert (400, "invalid_body", "restore must be true or false") == (
        *code_of(answer),
        answer.json()["detail"],
    )


async def test_restore_of_an_open_account(server: Server) -> None:
    """It is a login like any other."""
    assert 200 == (await restore(server)).status_code
    assert [] == server.events.of(UserRestored)


async def test_disabled_in_the_meantime(server: Server) -> None:
    """A disabled user does not come back by restoring; an administrator restores, and no more."""
    ann = await user_id(server)
    await leave(server)
    flow = (await step(server, **PIN)).json()["flow"]
    await server.auth.accounts.disable(ann, HERE)
    for answer in (
        await restore(server),
        await step(server, **PIN),
        await server.post("/auth/login", {"flow": flow, "restore": True}),
    ):
        assert 401 == answer.status_code
        assert "account_closed" not in answer.text
    await server.auth.accounts.reopen(ann, HERE)
    assert (401, "proof_refused") == code_of(await step(server, **PIN))
    await server.auth.accounts.enable(ann, HERE)
    assert 200 == (await step(server, **PIN)).status_code


async def test_disabled_users_are_deleted_too(server: Server) -> None:
    """Whatever else becomes of a closed account, its time comes."""
    ann = await user_id(server)
    await leave(server)
    await server.auth.accounts.disable(ann, HERE)
    await server.auth.accounts.enable(ann, HERE)
    assert CLOSED == code_of(await step(server, **PIN))
    await server.auth.accounts.disable(ann, HERE)
    server.clock.advance(GRACE)
    await sweep(server)
    assert await server.auth.users.get(ann) is None


async def test_administrators_restore_and_delete(server: Server) -> None:
    """Restored, it is as before; deleted, it is gone at once."""
    ann = await user_id(server)
    await leave(server)
    await server.auth.accounts.reopen(ann, HERE)
    assert HERE == server.events.one(UserRestored).caller
    assert 200 == (await step(server, **PIN)).status_code
    with pytest.raises(AuthError) as refusal:
        await server.auth.accounts.reopen(ann, HERE)
    assert (409, "not_closed") == (refusal.value.problem.status, refusal.value.problem.code)
    with pytest.raises(AuthError, match=r"^not_found$"):
        await server.auth.accounts.reopen("nobody", HERE)
    await leave(server)
    await server.auth.accounts.delete(ann, HERE)
    assert await server.auth.users.get(ann) is None


async def test_names_stay_reserved(server: Server) -> None:
    """Nobody gets the name of who may come back, nor of who did not."""
    await leave(server)
    for _ in range(2):
        with pytest.raises(AuthError, match=r"^username_taken$"):
            await join(server, "ann")
        server.clock.advance(GRACE)
        await sweep(server)


async def test_closing_twice(server: Server) -> None:
    """Of fifty who close one account, all are told the one time, and it is told once."""
    token, ann = (await login(server))["access_token"], await user_id(server)
    answers = await asyncio.gather(*(leave(server, token) for _ in range(50)))
    codes = Counter(answer.status_code for answer in answers)
    assert {202, 401} >= codes.keys()
    assert {NOW + GRACE} == {a.json()["deleted_at"] for a in answers if a.status_code == 202}
    server.clock.advance(60)
    assert NOW + GRACE == await server.auth.accounts.close(ann, HERE)
    assert 1 == len(server.events.of(UserClosed))


async def test_stale_proof(server: Server) -> None:
    """To leave takes a fresh proof."""
    token = (await login(server))["access_token"]
    server.clock.advance(301)
    assert (403, "stepup_needed") == code_of(await leave(server, token))
    assert [] == server.events.of(UserClosed)


async def test_logins_race_with_leaving(server: Server) -> None:
    """Whatever a login that raced with the closing answered, no session is left."""
    ann = await user_id(server)
    results = await asyncio.gather(
        *(step(server, **PIN) for _ in range(25)),
        server.auth.accounts.close(ann, HERE),
        *(step(server, **PIN) for _ in range(25)),
    )
    alive = "select count(*) from sessions where ended_at is null"
    assert [(0,)] == await server.auth.database.read(alive)
    for answer in results:
        if isinstance(answer, httpx.Response) and answer.status_code == 200:
            token = answer.json()["refresh_token"]
            assert (401, "session_ended") == code_of(await server.post("/jwt/refresh", token=token))


async def test_restoring_races_with_deletion(server: Server) -> None:
    """When the time is over, either the account comes back or it is deleted, never half."""
    for number in range(6):
        name = f"user{number}"
        await join(server, name)
        one = await user_id(server, name)
        await server.auth.accounts.close(one, HERE)
        server.clock.advance(GRACE)
        logins = [restore(server, username=name) for _ in range(4)]
        sweeps = [sweep(server) for _ in range(4)]
        both = [*logins, *sweeps] if number % 2 else [*sweeps, *logins]
        answers = (await asyncio.gather(*both))[slice(0, 4) if number % 2 else slice(4, 8)]
        user = await server.auth.users.get(one)
        alive = await server.auth.sessions.list(one)
        if user is None:
            assert [] == alive
            assert 1 == len([e for e in server.events.of(UserDeleted) if e.user_id == one])
        else:
            assert user.closed_at is None
            assert len(alive) == Counter(a.status_code for a in answers)[200] > 0


async def test_sweeping_goes_on(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """An account that a plugin keeps, or that changes meanwhile, holds no other one up."""
    ids = []
    for number in range(4):
        await join(server, f"user{number}")
        ids.append(await user_id(server, f"user{number}"))
        await server.auth.accounts.close(ids[-1], HERE)
    server.clock.advance(GRACE)
    kept = Condition(Statement("select 1", rows=0), Problem(409, "kept", "It is kept."))

    def recorder(event: Event) -> Addition | None:
        if isinstance(event, UserDeleted) and event.user_id == ids[1]:
            return Addition(conditions=[kept])
        return None

    server.auth.events.recorders = {"keeper": recorder}
    await sweep(server)
    assert [ids[1]] == [one for one in ids if await server.auth.users.get(one)]
    sentence = f"the closed account {ids[1]} is not deleted yet: kept"
    assert [sentence] == [r.getMessage() for r in caplog.records if r.name == "picoauth.leaving"]


async def test_sweeping_many(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are due, one run takes them all."""
    monkeypatch.setattr("picoauth.leaving.BATCH", 2)
    for number in range(5):
        await join(server, f"user{number}")
        await server.auth.accounts.close(await user_id(server, f"user{number}"), HERE)
    server.clock.advance(GRACE)
    await sweep(server)
    assert 1 == await count(server, "users")


async def test_restored_between_look_and_deletion(server: Server) -> None:
    """The sweep deletes nobody who came back after it was seen that the time is over."""
    ann = await user_id(server)
    await leave(server)
    server.clock.advance(GRACE)
    await server.auth.accounts.reopen(ann, HERE)
    await server.auth.accounts.leaving.delete(ann, HERE, due=server.auth.now())
    assert await server.auth.users.get(ann)
    assert [] == server.events.of(UserDeleted)


async def test_clock_that_goes_back(server: Server) -> None:
    """The time that was told stands, whatever the clock says later; nothing is deleted before."""
    ann = await user_id(server)
    await leave(server)
    server.clock.advance(-30 * DAY)
    await sweep(server)
    assert CLOSED == code_of(await step(server, **PIN))
    server.clock.advance(37 * DAY - 1)
    await sweep(server)
    assert await server.auth.users.get(ann)


async def test_clock_that_leaps(server: Server) -> None:
    """While the clock may be wrong, nobody is deleted by it."""
    jobs = server.auth.jobs
    ann = await user_id(server)
    await leave(server)
    jobs.monotonic = lambda: 0.0
    jobs.offset = server.auth.now()
    server.clock.advance(GRACE)
    await jobs.once()
    assert await server.auth.users.get(ann)


async def test_fail_each_statement(server: Server) -> None:
    """Whichever statement of closing fails, nothing is closed and no session ends."""
    token, ann = (await login(server))["access_token"], await user_id(server)
    with cut(server) as database:
        while database.after <= database.written:
            with pytest.raises((Conflict, AuthError)):
                await server.auth.accounts.close(ann, HERE)
            assert (await server.auth.users.require(ann)).closed_at is None
            assert 200 == (await server.get("/auth/me", token=token)).status_code
            database.after += 1
    assert [] == server.events.of(UserClosed)


async def test_flow_and_stepup_of_before(server: Server) -> None:
    """What was begun before leads nowhere: the tickets are gone, and so are the proofs' epoch."""
    token = (await login(server))["access_token"]
    begun = (await server.post("/auth/stepup/begin", {"factor": "key"}, token=token)).json()
    await enrol(server, "111111")
    half = (await step(server, **PIN)).json()["flow"]
    await server.auth.accounts.close(await user_id(server), HERE)
    stepped = await server.post("/auth/stepup", {"flow": begun["flow"], **PIN}, token=token)
    assert (401, "session_ended") == code_of(stepped)
    answer = await server.post("/auth/login", {"flow": half, "code": "111111", "restore": True})
    assert (401, "flow_ended") == code_of(answer)


async def test_settings_that_are_changed(tmp_path: Path) -> None:
    """What was promised stands, also where the time is made shorter, or none, later."""
    async with lasting(tmp_path) as server:
        await leave(server)
    async with accounts(tmp_path) as server:
        await sweep(server)
        assert CLOSED == code_of(await step(server, **PIN))
        assert 200 == (await restore(server)).status_code
