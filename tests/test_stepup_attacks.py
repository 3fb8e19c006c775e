"""Attacks on step-up: weaker proofs, flows of others, races, and clocks that go back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from picoauth import (
    Caller,
    Denied,
    Enrolment,
    Factor,
    NoSettings,
    Payload,
    Plugin,
    Proof,
    Session,
    Situation,
    Statement,
    SteppedUp,
    User,
    hookimpl,
)
from picoauth.testing import Server, serving
from tests.factors import (
    ALL,
    PATIENT,
    PIN,
    PLUGINS,
    KeyFactor,
    KeyPlugin,
    code_of,
    count,
    enrol,
    join,
    step,
)

STALE = 301
"""Seconds after which a proof is no longer fresh."""
ORIGIN = {"Origin": "http://127.0.0.1:8100"}
MANY = 50


class HeldKey(KeyFactor):
    """A key that says which of the user's enrolments it is, confirmed or not."""

    async def verify(self, situation: Situation, payload: Payload) -> Proof:
        proof = await super().verify(situation, payload)
        found = await self.auth.users.enrolments(proof.user.id)
        enrolment_id = next((e.id for e in found if e.factor == "key"), None)
        return replace(proof, enrolment_id=payload.get("enrolment_id", enrolment_id))


class HeldKeyPlugin(KeyPlugin):
    """Enrols such keys."""

    @hookimpl
    def factors(self) -> Sequence[Factor]:
        return [HeldKey(self.auth)]


class Moody(Plugin[NoSettings]):
    """Adds a claim until it is told to fail."""

    broken = False

    @hookimpl
    async def claims(self, user: User, session: Session) -> Mapping[str, Any]:
        if self.broken:
            raise RuntimeError("no claims today")
        return {}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server with every kind of factor; Ann has a pin."""
    settings = ALL.replace("]", ', "moody"]') + PATIENT
    plugins = {**PLUGINS, "key": HeldKeyPlugin, "moody": Moody}
    async with serving(tmp_path, settings, plugins=plugins) as running:
        await join(running)
        yield running


async def login(server: Server, **proof: Any) -> dict[str, Any]:
    answer = await step(server, **PIN, **proof)
    assert 200 == answer.status_code, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


async def stepup(server: Server, token: str, **body: Any) -> httpx.Response:
    return await server.post("/auth/stepup", body, token=token)


async def fresh(server: Server, token: str) -> tuple[int, str | None]:
    """Ask for something that a `fresh` policy guards, and that changes nothing."""
    return code_of(await server.send("DELETE", "/auth/sessions/none", token=token))


FRESH = (404, "not_found")
NEEDED = (403, "stepup_needed")


async def ann(server: Server) -> User:
    user = await server.auth.users.find("username", "ann")
    assert user is not None
    return user


async def unconfirmed(server: Server, factor: str) -> Enrolment:
    made = replace(server.auth.users.enrolment((await ann(server)).id, factor), confirmed_at=None)
    await server.auth.database.write(server.auth.users.enrolling(made))
    return made


async def enrolment_of(server: Server, factor: str) -> str:
    found = await server.auth.users.enrolments((await ann(server)).id)
    [enrolment_id] = [e.id for e in found if e.factor == factor]
    return enrolment_id


# Weaker proofs


async def test_fallback_replaces_no_first_factor(server: Server) -> None:
    """Where no second factor is enrolled, the first is to be proven: spare codes are neither."""
    token = (await enrol(server, "999999", "888888", table="spare"))["access_token"]
    server.clock.advance(STALE)
    answer = await stepup(server, token, factor="spare", spare="999999")
    assert ((401, "more_needed"), ["pin"]) == (code_of(answer), answer.json()["next"])
    assert NEEDED == await fresh(server, token)
    both = await stepup(server, token, flow=answer.json()["flow"], **PIN)
    assert (200, FRESH) == (both.status_code, await fresh(server, token))


async def test_fallback_does_where_a_second_factor_is_enrolled(server: Server) -> None:
    """Who lost the second factor removes it by a spare code, which is then no proof any more."""
    await enrol(server, "999999", "888888", table="spare")
    token = (await login(server))["access_token"]
    token = (await server.post("/code/enrol", {"code": "111111"}, token=token)).json()[
        "access_token"
    ]
    server.clock.advance(STALE)
    assert 200 == (await stepup(server, token, factor="spare", spare="999999")).status_code
    path = f"/auth/factors/{await enrolment_of(server, 'code')}"
    gone = await server.send("DELETE", path, token=token)
    token = gone.json()["access_token"]
    server.clock.advance(STALE)
    answer = await stepup(server, token, factor="spare", spare="888888")
    assert (401, "more_needed") == code_of(answer)


async def test_first_factor_where_a_second_is_enrolled(server: Server) -> None:
    """However often the pin is proven, alone and in one flow: the session stays as stale as it was."""
    await enrol(server, "111111")
    token = (await login(server, code=await another_code(server)))["access_token"]
    server.clock.advance(STALE)
    answer = await stepup(server, token, **PIN)
    assert (401, "more_needed") == code_of(answer)
    again = await stepup(server, token, flow=answer.json()["flow"], **PIN)
    assert (400, "factor_out_of_place") == code_of(again)
    link = await begun(server, token, "link", flow=again.json()["flow"])
    both = await stepup(server, token, flow=link, factor="link", clicked=True)
    assert ((401, "more_needed"), NEEDED) == (code_of(both), await fresh(server, token))


async def another_code(server: Server, code: str = "222222") -> str:
    """A further code of Ann, beside the one that she enrolled."""
    row = Statement(
        "insert into code values (?, ?, ?)",
        ((await ann(server)).id, await enrolment_of(server, "code"), code),
    )
    await server.auth.database.write(row)
    return code


async def begun(server: Server, token: str, factor: str, flow: str | None = None) -> str:
    body = {"factor": factor, **({"flow": flow} if flow else {})}
    answer = await server.post("/auth/stepup/begin", body, token=token)
    assert 200 == answer.status_code, answer.text
    found: str = answer.json()["flow"]
    return found


@pytest.mark.parametrize("how", ["login", "stepup"])
async def test_factor_that_is_not_confirmed_proves_nothing(server: Server, how: str) -> None:
    """A key that waits to be confirmed is refused, though its plugin believes it (O-1)."""
    token = (await login(server))["access_token"]
    await unconfirmed(server, "key")
    server.clock.advance(STALE)
    key = {"factor": "key", "owner": "ann", "verified": True}
    if how == "login":
        begin = await server.post("/auth/login/begin", {"factor": "key"})
        answer = await step(server, **key, flow=begin.json()["flow"])
    else:
        answer = await stepup(server, token, **key, flow=await begun(server, token, "key"))
        assert NEEDED == await fresh(server, token)
    assert ((401, "proof_refused"), 1) == (code_of(answer), await count(server, "sessions"))


async def test_proof_by_an_enrolment_of_someone_else(server: Server) -> None:
    """What a plugin says was used has to be the user's own."""
    token = (await login(server))["access_token"]
    bob = await join(server, "bob")
    [of_bob] = await server.auth.users.enrolments(bob.id)
    key = {"factor": "key", "owner": "ann", "enrolment_id": of_bob.id}
    answer = await stepup(server, token, **key, flow=await begun(server, token, "key"))
    assert (401, "proof_refused") == code_of(answer)
    assert [None] == [e.last_used_at for e in await server.auth.users.enrolments(bob.id)]


# Flows


@pytest.fixture
async def stale(server: Server) -> dict[str, str]:
    """Two sessions of Ann and one of Bob, all stale; Ann has codes."""
    await enrol(server, "111111")
    await join(server, "bob")
    found = {
        "ann": (await login(server, code=await another_code(server, "222222")))["access_token"],
        "also": (await login(server, code=await another_code(server, "333333")))["access_token"],
    }
    answer = await step(server, username="bob", pin="1234")
    found["bob"] = answer.json()["access_token"]
    server.clock.advance(STALE)
    return found


@pytest.mark.parametrize("other", ["also", "bob"])
async def test_flow_of_another_session(server: Server, stale: dict[str, str], other: str) -> None:
    """A flow with Ann's pin serves no other session, be it her own; and it is spent by that."""
    first = await stepup(server, stale["ann"], **PIN)
    flow = first.json()["flow"]
    taken = await stepup(server, stale[other], flow=flow, code="111111")
    assert ((401, "flow_ended"), False) == (code_of(taken), "flow" in taken.json())
    late = await stepup(server, stale["ann"], flow=flow, code="111111")
    assert (401, "flow_ended") == code_of(late)
    assert 200 == (await stepup(server, stale["ann"], code="111111")).status_code


async def test_flows_of_logins_and_of_stepups(server: Server, stale: dict[str, str]) -> None:
    """Neither is the other, whichever step they are at, also where the user is the same."""
    login_flow = (await step(server, **PIN)).json()["flow"]
    begin_flow = (await server.post("/auth/login/begin", {"factor": "key"})).json()["flow"]
    for flow in (login_flow, begin_flow):
        for path in ("/auth/stepup", "/auth/stepup/begin"):
            body = {"flow": flow, "factor": "code", "code": "111111"}
            answer = await server.post(path, body, token=stale["ann"])
            assert (401, "flow_ended") == code_of(answer), path
    stepup_flow = (await stepup(server, stale["ann"], **PIN)).json()["flow"]
    for path in ("/auth/login", "/auth/login/begin"):
        answer = await server.post(path, {"flow": stepup_flow, "factor": "code", "code": "111111"})
        assert (401, "flow_ended") == code_of(answer), path
    assert 200 == (await step(server, flow=login_flow, code="111111")).status_code


async def test_ticket_is_good_once(server: Server, stale: dict[str, str]) -> None:
    """A flow that was answered is spent, right or wrong, and so is that of a challenge."""
    flow = (await stepup(server, stale["ann"], **PIN)).json()["flow"]
    wrong = await stepup(server, stale["ann"], flow=flow, code="000000")
    assert (401, "proof_refused") == code_of(wrong)
    for spent in (flow,):
        assert (401, "flow_ended") == code_of(
            await stepup(server, stale["ann"], flow=spent, code="111111")
        )
    done = await stepup(server, stale["ann"], flow=wrong.json()["flow"], code="111111")
    assert 200 == done.status_code
    late = await stepup(
        server, stale["ann"], flow=wrong.json()["flow"], code=await another_code(server, "444444")
    )
    assert (401, "flow_ended") == code_of(late)


async def test_flow_does_not_outlive_its_session(server: Server, stale: dict[str, str]) -> None:
    """After a logout the flow serves nobody, not the next session of the same user either."""
    flow = (await stepup(server, stale["ann"], **PIN)).json()["flow"]
    await server.post("/auth/logout", token=stale["ann"])
    body = {"flow": flow, "code": "111111"}
    assert (401, "session_ended") == code_of(await stepup(server, stale["ann"], **body))
    assert (401, "flow_ended") == code_of(await stepup(server, stale["also"], **body))


async def test_factor_removed_between_begin_and_proof(server: Server) -> None:
    """A key that was removed after its challenge is refused; and what was proven before it is void."""
    token = (await login(server))["access_token"]
    token = (await server.post("/key/enrol", token=token)).json()["access_token"]
    flow = await begun(server, token, "key")
    proven = (await stepup(server, token, **PIN)).json()["flow"]
    removed = await server.send(
        "DELETE", f"/auth/factors/{await enrolment_of(server, 'key')}", token=token
    )
    assert 200 == removed.status_code
    server.clock.advance(STALE - 2)
    key = {"factor": "key", "owner": "ann", "verified": True, "enrolment_id": "gone"}
    assert (401, "proof_refused") == code_of(await stepup(server, token, flow=flow, **key))
    late = await stepup(server, token, flow=proven, **key)
    assert ((401, "start_over"), False) == (code_of(late), "flow" in late.json())


# Cookies and tokens


async def cookie(answer: httpx.Response) -> dict[str, str]:
    """The headers of a page of ours, with the cookie that an answer set."""
    answer.request.headers.clear()
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0], **ORIGIN}


async def by_cookie(
    server: Server, headers: Mapping[str, str], path: str, body: Any
) -> httpx.Response:
    return await server.client.post(path, json=body, headers=headers)


async def test_cookie_and_token_sessions_share_no_flow(server: Server) -> None:
    """A flow begun by cookie is none of the token session beside it, nor the other way round."""
    await enrol(server, "111111")
    codes = [await another_code(server, f"22222{n}") for n in range(2)]
    token = (await login(server, code=codes[0]))["access_token"]
    body = {**PIN, "code": codes[1], "session": "cookie"}
    headers = await cookie(await by_cookie(server, ORIGIN, "/auth/login", body))
    flow = (await by_cookie(server, headers, "/auth/stepup", PIN)).json()["flow"]
    assert (401, "flow_ended") == code_of(await stepup(server, token, flow=flow, code="111111"))
    flow = (await stepup(server, token, **PIN)).json()["flow"]
    mixed = await by_cookie(server, headers, "/auth/stepup", {"flow": flow, "code": "111111"})
    assert (401, "flow_ended") == code_of(mixed)


async def test_stepup_gives_no_session_another_form(server: Server) -> None:
    """A step-up that asks for a cookie makes none of a session that is kept as tokens."""
    token = (await login(server))["access_token"]
    headers = {"Authorization": f"Bearer {token}", **ORIGIN}
    answer = await by_cookie(server, headers, "/auth/stepup", {**PIN, "session": "cookie"})
    assert (200, False) == (answer.status_code, "set-cookie" in answer.headers)
    assert {"access_token", "token_type", "expires_in"} == set(answer.json())
    assert 1 == await count(server, "sessions")


async def test_old_cookie_after_a_stepup(server: Server) -> None:
    """The cookie is another one afterwards, and the old one is good for nothing (S-3)."""
    body = {**PIN, "session": "cookie"}
    old = await cookie(await by_cookie(server, ORIGIN, "/auth/login", body))
    server.clock.advance(STALE)
    new = await cookie(await by_cookie(server, old, "/auth/stepup", PIN))
    assert old != new
    codes = [
        code_of(await server.client.get("/auth/me", headers=headers)) for headers in (old, new)
    ]
    assert [(401, "session_ended"), (200, None)] == codes


async def test_one_cookie_in_an_answer(server: Server) -> None:
    """A cookie past half its life is prolonged, and renewed by the step-up: the new one alone is set."""
    body = {**PIN, "session": "cookie"}
    old = await cookie(await by_cookie(server, ORIGIN, "/auth/login", body))
    server.clock.advance(4 * 86400)
    answer = await by_cookie(server, old, "/auth/stepup", PIN)
    assert (200, 1) == (answer.status_code, len(answer.headers.get_list("set-cookie")))
    me = await server.client.get("/auth/me", headers=await cookie(answer))
    assert 200 == me.status_code


# Races


async def together(server: Server, *requests: tuple[str, str, Any], token: str) -> list[Any]:
    answers = await asyncio.gather(
        *(server.send(method, path, body, token=token) for method, path, body in requests)
    )
    return [code_of(answer) for answer in answers]


async def test_fifty_stepups_by_one_code(server: Server, stale: dict[str, str]) -> None:
    """One of them is let in, and told of once; the code is spent."""
    server.events.clear()
    asked = ("POST", "/auth/stepup", {"factor": "code", "code": "111111"})
    codes = await together(server, *[asked] * MANY, token=stale["ann"])
    assert {(200, None): 1, (401, "proof_refused"): MANY - 1} == {
        code: codes.count(code) for code in codes
    }
    assert 1 == len(server.events.of(SteppedUp))


async def test_fifty_stepups_by_one_flow(server: Server, stale: dict[str, str]) -> None:
    """One of them takes the ticket."""
    flow = (await stepup(server, stale["ann"], **PIN)).json()["flow"]
    body = {"flow": flow, "code": "111111"}
    codes = await together(server, *[("POST", "/auth/stepup", body)] * MANY, token=stale["ann"])
    assert {(200, None): 1, (401, "flow_ended"): MANY - 1} == {
        code: codes.count(code) for code in codes
    }


async def test_fifty_stepups_of_a_cookie(server: Server) -> None:
    """Each that is done has a cookie of its own, of which the newest is the session's."""
    body = {**PIN, "session": "cookie"}
    headers = await cookie(await by_cookie(server, ORIGIN, "/auth/login", body))
    answers = await asyncio.gather(
        *(by_cookie(server, headers, "/auth/stepup", PIN) for _ in range(MANY))
    )
    done = [answer for answer in answers if answer.status_code == 200]
    assert {code_of(a) for a in answers if a not in done} <= {(401, "start_over")}
    values = {answer.headers["set-cookie"] for answer in done}
    assert 1 <= len(values) == len(done)
    good = [
        answer
        for answer in done
        if 200 == (await server.client.get("/auth/me", headers=await cookie(answer))).status_code
    ]
    assert (1, 1) == (len(good), await count(server, "sessions"))


async def test_fifty_confirmations(server: Server) -> None:
    """One of them puts the enrolment in force; the others start over, or prove it first."""
    token = (await login(server))["access_token"]
    [session] = await server.auth.sessions.list((await ann(server)).id)
    made = await unconfirmed(server, "code")
    results = await asyncio.gather(
        *(server.auth.credentials.confirm(session.id, made, [], Caller()) for _ in range(MANY)),
        return_exceptions=True,
    )
    refused = [str(result) for result in results if isinstance(result, Denied)]
    assert (["start_over"] * (MANY - 1), 1) == (refused, (await ann(server)).epoch)
    assert FRESH == await fresh(server, token)


async def test_fifty_removals(server: Server) -> None:
    """One of them removes the factor, and the epoch rises once."""
    token = (await enrol(server, "111111"))["access_token"]
    epoch = (await ann(server)).epoch
    path = f"/auth/factors/{await enrolment_of(server, 'code')}"
    codes = await together(server, *[("DELETE", path, None)] * MANY, token=token)
    assert 1 == codes.count((200, None))
    assert set(codes) <= {(200, None), (401, "start_over"), (404, "not_found")}
    assert epoch + 1 == (await ann(server)).epoch


async def test_last_factor_from_two_sides(server: Server) -> None:
    """Fifty removals of either of two ways to log in leave one, and it works."""
    token = (await login(server))["access_token"]
    pin = await enrolment_of(server, "pin")
    draft = server.auth.users.enrolment((await ann(server)).id, "link")
    await server.auth.database.write(server.auth.users.enrolling(draft))
    asked = [("DELETE", f"/auth/factors/{one}", None) for one in (pin, draft.id)]
    codes = await together(server, *asked * (MANY // 2), token=token)
    assert 1 == codes.count((200, None))
    assert 1 == len(await server.auth.users.enrolments((await ann(server)).id))


async def test_enrolling_and_removing_at_once(server: Server) -> None:
    """Whatever wins: who has a second factor at the end is asked for it."""
    token = (await enrol(server, "111111"))["access_token"]
    path = f"/auth/factors/{await enrolment_of(server, 'code')}"
    requests: list[tuple[str, str, Any]] = [("DELETE", path, None), ("POST", "/key/enrol", {})]
    requests *= MANY // 2
    codes = await together(server, *requests, token=token)
    assert set(codes) <= {(200, None), (401, "start_over"), (404, "not_found")}
    enrolled = {e.factor for e in await server.auth.users.enrolments((await ann(server)).id)}
    alone = code_of(await step(server, **PIN))
    assert ((401, "more_needed") if enrolled & {"code", "key"} else (200, None)) == alone


# Time


async def test_session_that_has_just_lost_freshness(server: Server) -> None:
    """What was begun while it was fresh is not confirmed a second too late."""
    token = (await login(server))["access_token"]
    server.clock.advance(STALE - 1)
    assert FRESH == await fresh(server, token)
    server.clock.advance(1)
    for path, body in (("/code/enrol", {"code": "111111"}), ("/key/enrol", {})):
        assert NEEDED == code_of(await server.post(path, body, token=token))
    assert 0 == (await ann(server)).epoch


async def test_clock_that_goes_back(server: Server, stale: dict[str, str]) -> None:
    """A proof from the future is none; a new one counts from the time that it is."""
    assert 200 == (await stepup(server, stale["ann"], code="111111")).status_code
    server.clock.advance(-1)
    assert NEEDED == await fresh(server, stale["ann"])
    code = await another_code(server, "555555")
    assert 200 == (await stepup(server, stale["ann"], code=code)).status_code
    assert FRESH == await fresh(server, stale["ann"])


# What fails


async def test_claims_that_fail_at_a_stepup(server: Server, stale: dict[str, str]) -> None:
    """Where a plugin cannot say its claims, nothing was proven and no code is spent."""
    plugin: Any = server.auth.plugins.on["moody"]
    plugin.broken = True
    server.events.clear()
    answer = await stepup(server, stale["ann"], code="111111")
    assert ((403, "refused"), []) == (code_of(answer), server.events.of(SteppedUp))
    assert NEEDED == await fresh(server, stale["ann"])
    plugin.broken = False
    assert 200 == (await stepup(server, stale["ann"], code="111111")).status_code
