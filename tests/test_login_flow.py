"""The flow of a login: what is kept between its steps, for how long, and for whom."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from picoauth import AuthError, Caller, Statement, Unavailable
from picoauth.flows import Step
from picoauth.testing import Server, serving
from tests.factors import (
    ALL,
    PATIENT,
    PIN,
    PLUGINS,
    WRONG_PIN,
    LinkFactor,
    begin,
    code_of,
    count,
    enrol,
    join,
    step,
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server with every kind of factor; Ann has a pin."""
    async with serving(tmp_path, ALL + PATIENT, plugins=PLUGINS) as running:
        await join(running)
        yield running


async def first(server: Server) -> str:
    """The flow of a login that has got its first proof."""
    answer = await step(server, **PIN)
    assert (401, "more_needed") == code_of(answer)
    flow: str = answer.json()["flow"]
    return flow


async def tries(server: Server) -> list[int]:
    rows = await server.auth.database.read("select data from tickets")
    return [json.loads(data)["tries"] for (data,) in rows]


REFUSALS = [
    ({"code": "000000"}, (401, "proof_refused")),
    ({"code": {"code": 3}}, (401, "proof_refused")),
    ({"code": "down"}, (503, "unavailable")),
    ({"factor": "nothing"}, (400, "unknown_factor")),
    ({"factor": "pin", "pin": "1234"}, (400, "factor_out_of_place")),
]


@pytest.mark.parametrize(("body", "expected"), REFUSALS)
async def test_every_refusal_in_a_flow_hands_out_a_new_flow(
    server: Server, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    """What was proven is kept in a new flow with one try fewer; the old flow is spent."""
    await enrol(server, "111111")
    old = await first(server)
    answer = await step(server, old, **body)
    assert (expected, [4]) == (code_of(answer), await tries(server))
    assert (401, "flow_ended") == code_of(await step(server, old, code="111111"))
    assert (200, None) == code_of(await step(server, answer.json()["flow"], code="111111"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"factor": "code", "hint": "down"}, (503, "unavailable")),
        ({"factor": "nothing"}, (400, "unknown_factor")),
        ({"factor": "pin"}, (400, "factor_out_of_place")),
    ],
)
async def test_refused_challenge_hands_out_a_new_flow(
    server: Server, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    """A challenge that cannot be made costs a try, and not what was proven."""
    await enrol(server, "111111")
    answer = await server.post("/auth/login/begin", {"flow": await first(server), **body})
    assert (expected, [4]) == (code_of(answer), await tries(server))
    assert 200 == (await step(server, answer.json()["flow"], code="111111")).status_code


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"factor": "nothing"}, (400, "unknown_factor")),
        ({"factor": "code"}, (400, "factor_out_of_place")),
        ({"flow": "made up", **PIN}, (401, "flow_ended")),
    ],
)
async def test_challenge_refused_without_a_flow(
    server: Server, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    """Nothing is kept of a login that never began; a second factor is asked after a first."""
    answer = await server.post("/auth/login/begin", body)
    assert (expected, False) == (code_of(answer), "flow" in answer.json())
    assert 0 == await count(server, "tickets")


async def test_wrong_first_proof_gets_no_flow(server: Server) -> None:
    """Nothing is kept of a login whose first proof was wrong."""
    answer = await step(server, **WRONG_PIN)
    assert ((401, "proof_refused"), False) == (code_of(answer), "flow" in answer.json())
    assert 0 == await count(server, "tickets")


async def test_one_step_with_a_wrong_code_hands_out_a_flow(server: Server) -> None:
    """The first proof, right in the same request, counts."""
    await enrol(server, "111111")
    answer = await step(server, **PIN, code="000000")
    assert ((401, "proof_refused"), [4]) == (code_of(answer), await tries(server))
    assert 200 == (await step(server, answer.json()["flow"], code="111111")).status_code


async def test_tries_end(server: Server) -> None:
    """The fifth wrong answer hands out no new flow, whatever was asked in between."""
    await enrol(server, "111111")
    flow = await first(server)
    for _ in range(4):
        flow = await begin(server, "code", flow)
        flow = (await step(server, flow, code="000000")).json()["flow"]
    last = await step(server, flow, code="000000")
    assert ((401, "proof_refused"), False) == (code_of(last), "flow" in last.json())
    assert 0 == await count(server, "tickets")


async def test_tries_are_a_setting(tmp_path: Path) -> None:
    """With one try a wrong second factor ends the login."""
    settings = f"{ALL}\n[logins]\nflow_tries = 1"
    async with serving(tmp_path, settings, plugins=PLUGINS) as server:
        await join(server)
        await enrol(server, "111111")
        answer = await step(server, await first(server), code="000000")
        assert ((401, "proof_refused"), False) == (code_of(answer), "flow" in answer.json())


async def test_life_counts_from_the_first_step(tmp_path: Path) -> None:
    """A flow is alive to the last second of its life, and no refusal makes it longer."""
    async with serving(tmp_path, f"{ALL}\n[logins]\nflow_life = 10", plugins=PLUGINS) as server:
        await join(server)
        await enrol(server, "111111", "222222")
        early, late = [await first(server) for _ in range(2)]
        server.clock.advance(9)
        late = (await step(server, late, code="000000")).json()["flow"]
        assert 200 == (await step(server, early, code="111111")).status_code
        server.clock.advance(1)
        assert (401, "flow_ended") == code_of(await step(server, late, code="222222"))


async def test_unavailable_says_when_to_come_again(server: Server) -> None:
    """A factor that is down answers 503 and `Retry-After`, at the last try without a flow."""
    await enrol(server, "111111")
    answer = await step(server, **PIN, code="down")
    for _ in range(4):
        assert ((503, "unavailable"), "7") == (code_of(answer), answer.headers["retry-after"])
        answer = await step(server, answer.json()["flow"], code="down")
    assert ((503, "unavailable"), "7") == (code_of(answer), answer.headers["retry-after"])
    assert "flow" not in answer.json()


async def test_begin_without_a_factor(server: Server) -> None:
    """A challenge, too, is that of the first factor where none is named: here there is none."""
    answer = await server.post("/auth/login/begin", {"username": "ann"})
    assert (200, {}) == (answer.status_code, answer.json()["challenge"])
    assert 200 == (await step(server, answer.json()["flow"], **PIN)).status_code


async def test_begin_within_a_flow(server: Server) -> None:
    """A second factor may ask for something of its own; that costs no try."""
    await enrol(server, "111111")
    body = {"flow": await first(server), "factor": "code", "hint": "x"}
    begun = await server.post("/auth/login/begin", body)
    assert ({"hint": "x"}, [5]) == (begun.json()["challenge"], await tries(server))
    assert 200 == (await step(server, begun.json()["flow"], code="111111")).status_code


async def test_challenge_is_good_for_one_look(server: Server) -> None:
    """The state of a challenge is gone after one try, right or wrong."""
    flow = await begin(server, "key")
    wrong = await step(server, flow, factor="key", owner="nobody")
    assert (401, "proof_refused") == code_of(wrong)
    body = {"factor": "key", "owner": "ann"}
    assert (400, "invalid_body") == code_of(await step(server, wrong.json()["flow"], **body))


async def test_lasting_challenge(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that may be mistyped outlives a wrong proof, and none once it was right."""
    monkeypatch.setattr(LinkFactor, "lasting", True)
    await enrol(server, "111111")
    flow = await begin(server, "link", to="ann")
    for _ in range(3):
        wrong = await step(server, flow, factor="link", clicked=False)
        assert (401, "proof_refused") == code_of(wrong)
        flow = wrong.json()["flow"]
    right = await step(server, flow, factor="link", clicked=True)
    assert (401, "more_needed") == code_of(right)
    rows = await server.auth.database.read("select data from tickets")
    assert [{}] == [json.loads(data)["states"] for (data,) in rows]


async def test_lasting_challenge_of_a_login_that_was_not_written(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing came of it, so it is good for another try; any other is gone."""
    login = server.auth.logins.mint.login

    async def full(*_: Any, **__: Any) -> Any:
        raise Unavailable("the disk is full")

    for lasting, expected in ((True, (200, None)), (False, (401, "proof_refused"))):
        monkeypatch.setattr(LinkFactor, "lasting", lasting)
        flow = await begin(server, "link", to="ann")
        monkeypatch.setattr(server.auth.logins.mint, "login", full)
        answer = await step(server, flow, factor="link", clicked=True)
        assert (503, "unavailable") == code_of(answer)
        monkeypatch.setattr(server.auth.logins.mint, "login", login)
        again = await step(server, answer.json()["flow"], factor="link", clicked=True)
        assert expected == code_of(again)


async def test_challenge_of_one_factor_survives_the_answer_of_another(server: Server) -> None:
    """Only the challenge that was answered is gone."""
    await enrol(server, "111111")
    flow = await begin(server, "key", await first(server))
    wrong = await step(server, flow, code="000000")
    right = await step(server, wrong.json()["flow"], factor="key", owner="ann")
    assert 200 == right.status_code


async def test_challenge_to_a_user_who_is_just_deleted(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A challenge that cannot be kept, since its user is gone, says to start over."""
    ann = await server.auth.users.find("username", "ann")
    assert ann is not None
    await enrol(server, "111111")
    asking = type(server.auth.factors["code"]).begin

    async def deleting(*arguments: Any) -> Any:
        await server.auth.accounts.delete(ann.id, Caller())
        return await asking(*arguments)

    flow = await first(server)
    monkeypatch.setattr(type(server.auth.factors["code"]), "begin", deleting)
    answer = await server.post("/auth/login/begin", {"flow": flow, "factor": "code"})
    assert ((401, "start_over"), 0) == (code_of(answer), await count(server, "tickets"))


async def test_flow_of_another_session_or_purpose(server: Server) -> None:
    """A flow of a login is none of a step-up, nor the other way round, nor of another session."""
    await enrol(server, "111111", "222222", "333333")
    token = (await step(server, **PIN, code="111111")).json()["access_token"]
    other = (await step(server, **PIN, code="222222")).json()["access_token"]
    code = {"factor": "code", "code": "333333"}
    login = await first(server)
    begun = await server.post("/auth/stepup/begin", {"factor": "code"}, token=token)
    stepup = begun.json()["flow"]
    answers = [
        await server.post("/auth/stepup", {"flow": login, **code}, token=token),
        await server.post("/auth/login", {"flow": stepup, **code}),
        await server.post("/auth/stepup", {"flow": stepup, **code}, token=other),
    ]
    assert [(401, "flow_ended")] * 3 == [code_of(answer) for answer in answers]
    assert 200 == (await step(server, login, code="333333")).status_code


async def test_flow_that_outlived_disabling(server: Server) -> None:
    """A flow written a moment after its user was disabled leads nowhere."""
    await enrol(server, "111111")
    flow = await first(server)
    await server.auth.database.write(Statement("update users set disabled_at = 1"))
    answer = await step(server, flow, code="111111")
    assert ((401, "flow_ended"), False) == (code_of(answer), "flow" in answer.json())


async def test_flow_that_outlived_a_factor(tmp_path: Path) -> None:
    """A proof of a factor whose plugin was switched off meanwhile counts for nothing."""
    async with serving(tmp_path, ALL, plugins=PLUGINS) as server:
        await join(server)
        await enrol(server, "111111")
        flow = await begin(server, "key")
        flow = (await step(server, flow, factor="key", owner="ann")).json()["flow"]
    settings = ALL.replace(', "key"', "")
    async with serving(tmp_path, settings, plugins=PLUGINS) as server:
        assert (401, "flow_ended") == code_of(await step(server, flow, code="111111"))
        assert (200, None) == code_of(await step(server, **PIN, code="111111"))


async def test_step_without_a_proof(server: Server) -> None:
    """A step that proves nothing is no login."""
    with pytest.raises(AuthError, match=r"^flow_ended$"):
        await server.auth.logins.prove(Step(flow=None, payloads=[], caller=Caller()))


@pytest.mark.parametrize(
    ("body", "expected"),
    [({"code": "000000"}, (401, "proof_refused")), ({"code": "111111"}, (503, "unavailable"))],
)
async def test_flow_that_cannot_be_kept(
    server: Server, monkeypatch: pytest.MonkeyPatch, body: dict[str, Any], expected: Any
) -> None:
    """A refusal stays what it is where the database fails that should keep its flow."""
    await enrol(server, "111111")
    flow = await first(server)
    write = server.auth.database.write

    async def failing(*statements: Statement) -> Any:
        if any("insert into" in each.sql and "throttle" not in each.sql for each in statements):
            raise Unavailable("the disk is full")
        return await write(*statements)

    monkeypatch.setattr(server.auth.database, "write", failing)
    answer = await step(server, flow, **body)
    assert (expected, False) == (code_of(answer), "flow" in answer.json())


async def test_flow_goes_on_as_it_came_where_nobody_was_seen(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is where the database fails that should say whose the proof is."""
    await enrol(server)
    flow = await begin(server, "key")
    write, looks = server.auth.database.write, iter((False, True))

    async def failing(*statements: Statement) -> Any:
        if all(statement.sql.startswith("select") for statement in statements) and next(looks):
            raise Unavailable("the database is away")
        return await write(*statements)

    body = {"factor": "key", "owner": "ann", "verified": True}
    with monkeypatch.context() as patch:
        patch.setattr(server.auth.database, "write", failing)
        answer = await step(server, flow, **body)
        assert (503, "unavailable") == code_of(answer)
    again = await step(server, answer.json()["flow"], **body)
    assert (400, "invalid_body") == code_of(again)  # a challenge is good for one look


async def test_flow_goes_on_as_it_came_where_nothing_was_written(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login whose last write fails is a 503 with a flow, in which the same proofs are still good."""
    await enrol(server, "111111")
    flow = await first(server)
    write = server.auth.database.write

    async def failing(*statements: Statement) -> Any:
        if any("insert into sessions" in statement.sql for statement in statements):
            raise Unavailable("the disk is full", retry_after=3)
        return await write(*statements)

    with monkeypatch.context() as patch:
        patch.setattr(server.auth.database, "write", failing)
        answer = await step(server, flow, code="111111")
        assert ((503, "unavailable"), "3") == (code_of(answer), answer.headers["retry-after"])
        one_step = await step(server, **PIN, code="111111")
        assert ((503, "unavailable"), False) == (code_of(one_step), "flow" in one_step.json())
    assert [4] == await tries(server)
    assert 200 == (await step(server, answer.json()["flow"], code="111111")).status_code
