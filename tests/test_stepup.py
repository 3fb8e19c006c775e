"""Step-up: a session proves itself afresh, and stays the session that it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from picoauth import Caller, Conflict, Session, SteppedUp, problems
from picoauth.testing import Server, serving
from tests.factors import ALL, PATIENT, PIN, PLUGINS, WRONG_PIN, code_of, count, enrol, join, step

STALE = 301
"""Seconds after which a proof is no longer fresh."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server with every kind of factor; Ann has a pin."""
    async with serving(tmp_path, ALL + PATIENT, plugins=PLUGINS) as running:
        await join(running)
        yield running


async def login(server: Server) -> dict[str, Any]:
    tokens: dict[str, Any] = (await step(server, **PIN)).json()
    return tokens


async def stepup(server: Server, token: str, **body: Any) -> httpx.Response:
    return await server.post("/auth/stepup", body, token=token)


async def fresh(server: Server, token: str) -> httpx.Response:
    """Ask for something that a `fresh` policy guards, and that changes nothing."""
    return await server.send("DELETE", "/auth/sessions/none", token=token)


async def stored(server: Server) -> Session:
    ann = await server.auth.users.find("username", "ann")
    assert ann is not None
    [session] = await server.auth.sessions.list(ann.id)
    return session


async def test_fresh_for_five_minutes(server: Server) -> None:
    """Without a second factor a proof of the first one counts for five minutes."""
    token = (await login(server))["access_token"]
    server.clock.advance(300)
    assert (404, "not_found") == code_of(await fresh(server, token))
    server.clock.advance(1)
    assert (403, "stepup_needed") == code_of(await fresh(server, token))


async def test_first_factor_is_enough_without_a_second(server: Server) -> None:
    """The pin proves a session afresh where it is all there is."""
    token = (await login(server))["access_token"]
    before = await stored(server)
    server.clock.advance(STALE)
    answer = await stepup(server, token, factor="pin", pin="1234")
    assert {"access_token", "token_type", "expires_in"} == set(answer.json())
    new = answer.json()["access_token"]
    assert (404, "not_found") == code_of(await fresh(server, new))
    claims = (await server.post("/jwt/validate", token=new)).json()
    assert (server.auth.now(), ["pin"], before.id) == (
        claims["auth_time"],
        claims["amr"],
        claims["sid"],
    )
    after = await stored(server)
    assert (before.id, before.generation) == (after.id, after.generation)
    assert (server.auth.now(), None) == (after.auth_time, after.second_at)


async def test_second_factor_is_needed_where_one_is_enrolled(server: Server) -> None:
    """The pin alone says what else would help; the code does, in the same flow or alone."""
    token = (await enrol(server, "111111", "222222"))["access_token"]
    server.clock.advance(STALE)
    first = await stepup(server, token, pin="1234")
    assert ((401, "more_needed"), ["code"]) == (code_of(first), first.json()["next"])
    assert (403, "stepup_needed") == code_of(await fresh(server, token))
    both = await stepup(server, token, flow=first.json()["flow"], code="111111")
    token = both.json()["access_token"]
    claims = (await server.post("/jwt/validate", token=token)).json()
    assert ["pin", "otp", "mfa"] == claims["amr"]
    assert (404, "not_found") == code_of(await fresh(server, token))
    server.clock.advance(STALE)
    assert 200 == (await stepup(server, token, code="222222")).status_code
    session = await stored(server)
    assert (server.auth.now(), server.auth.now()) == (session.auth_time, session.second_at)
    assert 1 == await count(server, "sessions")


async def test_other_factor_makes_several(server: Server) -> None:
    """Who logged in by one factor and proves another one afterwards has proven several."""
    token = (await enrol(server, "111111"))["access_token"]
    claims = (await server.post("/jwt/validate", token=token)).json()
    assert ["pin"] == claims["amr"]
    assert 200 == (await stepup(server, token, code="111111")).status_code
    assert ("pin", "otp", "mfa") == (await stored(server)).amr


async def test_fallback_and_complete_proofs_count(server: Server) -> None:
    """A spare code, or a key that verified its user, is a fresh second proof."""
    await enrol(server, "999999", table="spare")
    token = (await enrol(server, "111111"))["access_token"]
    server.clock.advance(STALE)
    answer = await stepup(server, token, spare="999999")
    token = answer.json()["access_token"]
    assert (404, "not_found") == code_of(await fresh(server, token))
    server.clock.advance(STALE)
    begun = await server.post("/auth/stepup/begin", {"factor": "key"}, token=token)
    body = {"factor": "key", "owner": "ann", "verified": True}
    answer = await stepup(server, token, flow=begun.json()["flow"], **body)
    assert 200 == answer.status_code
    assert (404, "not_found") == code_of(await fresh(server, token))


async def test_enrolling_makes_fresh(server: Server) -> None:
    """A second factor was proven when it was enrolled; without that, its owner is asked."""
    token = (await login(server))["access_token"]
    ann = await server.auth.users.find("username", "ann")
    assert ann is not None
    other = (await login(server))["access_token"]
    answer = await server.post("/code/enrol", {"code": "111111"}, token=token)
    assert (404, "not_found") == code_of(await fresh(server, answer.json()["access_token"]))
    assert (401, "session_ended") == code_of(await fresh(server, other))


async def test_login_before_a_second_factor_is_not_fresh(server: Server) -> None:
    """A session that never saw the second factor has to prove it, however young it is."""
    token = (await login(server))["access_token"]
    ann = await server.auth.users.find("username", "ann")
    assert ann is not None
    enrolment = server.auth.users.enrolment(ann.id, "key")
    await server.auth.database.write(server.auth.users.enrolling(enrolment))
    assert (403, "stepup_needed") == code_of(await fresh(server, token))


async def test_someone_else_cannot_prove(server: Server) -> None:
    """A proof of Bob is none for Ann's session, and her flow goes on."""
    await join(server, "bob")
    token = (await login(server))["access_token"]
    begun = await server.post("/auth/stepup/begin", {"factor": "key"}, token=token)
    body = {"factor": "key", "owner": "bob", "verified": True}
    wrong = await stepup(server, token, flow=begun.json()["flow"], **body)
    assert (401, "proof_refused") == code_of(wrong)
    right = await stepup(server, token, flow=wrong.json()["flow"], pin="1234")
    assert 200 == right.status_code


async def test_names_do_not_count(server: Server) -> None:
    """Who it is, is the session's business: the pin is compared with Ann's."""
    await join(server, "bob", "5678")
    token = (await login(server))["access_token"]
    bob = {"username": "bob", "pin": "5678"}
    assert (401, "proof_refused") == code_of(await stepup(server, token, **bob))
    ann = {"username": "bob", "pin": "1234"}
    assert 200 == (await stepup(server, token, **ann)).status_code


async def test_wrong_proof_without_a_flow(server: Server) -> None:
    """A wrong first proof hands out no flow, as at a login."""
    token = (await login(server))["access_token"]
    answer = await stepup(server, token, **WRONG_PIN)
    assert ((401, "proof_refused"), False) == (code_of(answer), "flow" in answer.json())


async def test_stepup_needs_a_session(server: Server) -> None:
    """Without a token, or with that of an ended session, there is nothing to step up."""
    token = (await login(server))["access_token"]
    for path in ("/auth/stepup", "/auth/stepup/begin"):
        assert (401, "token_missing") == code_of(await server.post(path, PIN))
    await server.post("/auth/logout", token=token)
    server.auth.revocations.ended.clear()
    for path in ("/auth/stepup", "/auth/stepup/begin"):
        assert (401, "session_ended") == code_of(await server.post(path, PIN, token=token))
    assert (401, "session_ended") == code_of(await fresh(server, token))


async def test_disabled_meanwhile(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session of a user who was disabled while the proof was looked at is not stepped up."""
    token = (await login(server))["access_token"]
    before = await stored(server)
    factor = type(server.auth.factors["pin"])
    verify = factor.verify

    async def disabling(*arguments: Any) -> Any:
        proof = await verify(*arguments)
        await server.auth.accounts.disable(before.user_id, Caller())
        return proof

    monkeypatch.setattr(factor, "verify", disabling)
    answer = await stepup(server, token, pin="1234")
    assert (401, "session_ended") == code_of(answer)


async def test_epoch_that_moves_before_the_write(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step-up that raced with a rename starts over; nothing of the session is changed."""
    token = (await login(server))["access_token"]
    before = await stored(server)
    session = server.auth.credentials.session

    async def renaming(session_id: str) -> Session:
        found = await session(session_id)
        if seen:
            await server.auth.accounts.change(found.user_id, {"username": "anna"}, Caller())
        seen.append(session_id)
        return found

    seen: list[str] = []
    monkeypatch.setattr(server.auth.credentials, "session", renaming)
    answer = await stepup(server, token, pin="1234")
    assert (401, "start_over") == code_of(answer)
    [after] = await server.auth.sessions.list(before.user_id)
    assert before == after


async def test_code_spent_meanwhile(server: Server) -> None:
    """Of two step-ups with one code one wins; the other is refused, not told to start over."""
    token = (await enrol(server, "111111", "222222"))["access_token"]
    flows = [
        (await server.post("/auth/stepup/begin", {"factor": "code"}, token=token)).json()["flow"]
        for _ in range(2)
    ]
    answers = await asyncio.gather(
        *(stepup(server, token, flow=flow, code="111111") for flow in flows)
    )
    [lost] = [answer for answer in answers if answer.status_code != 200]
    assert (401, "proof_refused") == code_of(lost)
    again = await stepup(server, token, flow=lost.json()["flow"], code="222222")
    assert 200 == again.status_code


async def test_refresh_in_between(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refresh that rotates the session at that moment loses nothing, nor does the step-up."""
    tokens = await login(server)
    server.clock.advance(60)
    store = server.auth.sessions
    change = store.change
    rotated: list[httpx.Response] = []

    async def rotating(session: Session, generation: int) -> Any:
        if not rotated:
            answer = await server.post("/jwt/refresh", token=tokens["refresh_token"])
            rotated.append(answer)
        return await change(session, generation)

    monkeypatch.setattr(store, "change", rotating)
    answer = await stepup(server, tokens["access_token"], pin="1234")
    assert (200, 200) == (rotated[0].status_code, answer.status_code)
    session = await stored(server)
    assert (1, server.auth.now()) == (session.generation, session.auth_time)


async def test_refresh_that_always_comes_first(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After three tries a step-up gives up and says so."""
    token = (await login(server))["access_token"]

    async def losing(event: Any, *statements: Any) -> None:
        if isinstance(event, SteppedUp):
            tried.append(len(statements))
            raise Conflict(len(statements) - 1)

    tried: list[int] = []
    monkeypatch.setattr(server.auth.events, "commit", losing)
    answer = await stepup(server, token, pin="1234")
    assert ((401, "start_over"), 3) == (code_of(answer), len(tried))


async def test_session_that_ends_in_between(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that ended at that moment is not revived."""
    tokens = await login(server)
    store = server.auth.sessions
    change = store.change

    async def ending(session: Session, generation: int) -> Any:
        monkeypatch.setattr(store, "change", change)
        await server.auth.accounts.logout(session.user_id, session.id, Caller())
        return await change(session, generation)

    monkeypatch.setattr(store, "change", ending)
    answer = await stepup(server, tokens["access_token"], pin="1234")
    assert (401, "session_ended") == code_of(answer)


async def test_stale_session_cannot_change_anything(server: Server) -> None:
    """Each route of the policy `fresh` asks for a step-up; the others go on."""
    token = (await login(server))["access_token"]
    server.clock.advance(STALE)
    guarded = [
        ("DELETE", "/auth/me", None),
        ("DELETE", "/auth/sessions/x", None),
        ("DELETE", "/auth/factors/x", None),
        ("POST", "/code/enrol", {"code": "111111"}),
        ("PATCH", "/auth/me", {"username": "anna"}),
    ]
    for method, path, body in guarded:
        answer = await server.send(method, path, body, token=token)
        expected = problems.STEPUP_NEEDED.status, problems.STEPUP_NEEDED.code
        assert expected == code_of(answer), path
    assert 200 == (await server.get("/auth/me", token=token)).status_code
    named = await server.send("PATCH", "/auth/me", {"name": "Ann"}, token=token)
    assert "Ann" == named.json()["name"]
