"""A whole login in one request: `{"username": …, "password": …, "totp": "123456"}`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from picoauth import LoginFailed
from picoauth.factors import first, likely
from picoauth.testing import Server, serving
from tests.factors import (
    ALL,
    PATIENT,
    PIN,
    PLUGINS,
    WRONG_PIN,
    begin,
    code_of,
    count,
    enrol,
    join,
    step,
)

OUTCOME = tuple[int, str | None]
IN: OUTCOME = (200, None)
REFUSED: OUTCOME = (401, "proof_refused")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server with every kind of factor; Ann has a pin, a spare code and a code."""
    async with serving(tmp_path, ALL + PATIENT, plugins=PLUGINS) as running:
        await join(running)
        await enrol(running, "999999", table="spare")
        await enrol(running, "111111")
        running.events.clear()
        yield running


async def left(server: Server) -> tuple[int, int]:
    """How many codes and spare codes are not spent."""
    return await count(server, "code"), await count(server, "spare")


@pytest.mark.parametrize(
    "body",
    [
        {**PIN, "code": "111111"},
        {**PIN, "code": {"code": "111111"}},
        {"factor": "pin", **PIN, "code": "111111"},
        {**PIN, "spare": "999999"},
    ],
)
async def test_second_factor_beside_the_first(server: Server, body: dict[str, Any]) -> None:
    """It stands under its name, as a text or as an object; the first may be named, or not."""
    answer = await step(server, **body)
    assert IN == code_of(answer)
    claims = (await server.post("/jwt/validate", token=answer.json()["access_token"])).json()
    assert ["pin", "otp", "mfa"] == claims["amr"]


async def test_members_do_not_depend_on_their_order(server: Server) -> None:
    """JSON objects have none: the second factor may be written first."""
    assert IN == code_of(await step(server, code="111111", **PIN))


async def test_two_further_factors(server: Server) -> None:
    """More than is needed is looked at, too, and spent."""
    assert IN == code_of(await step(server, **PIN, code="111111", spare="999999"))
    assert (0, 0) == await left(server)


async def test_wrong_one_before_a_right_one(server: Server) -> None:
    """The right one behind it is not looked at, and good for the next step."""
    wrong = await step(server, **PIN, code="000000", spare="999999")
    assert (REFUSED, (1, 1)) == (code_of(wrong), await left(server))
    [event] = server.events.of(LoginFailed)
    assert "code" == event.factor
    right = await step(server, wrong.json()["flow"], spare="999999")
    assert (IN, (1, 0)) == (code_of(right), await left(server))


async def test_wrong_one_behind_a_right_one(server: Server) -> None:
    """All of it has to be right: the right one counts, and no session is made yet."""
    wrong = await step(server, **PIN, code="111111", spare="000000")
    assert (REFUSED, (0, 1)) == (code_of(wrong), await left(server))
    assert 0 == await sessions(server)
    right = await step(server, wrong.json()["flow"], spare="999999")
    assert (IN, 1) == (code_of(right), await sessions(server))


async def sessions(server: Server) -> int:
    """Those made since the factors were enrolled, in the last session that did that."""
    ann = await server.auth.users.find("username", "ann")
    assert ann is not None
    return len(await server.auth.sessions.list(ann.id)) - 1


async def test_wrong_first_factor(server: Server) -> None:
    """No code is looked at where the pin is wrong, and no flow is handed out."""
    answer = await step(server, **WRONG_PIN, code="111111", spare="999999")
    assert (REFUSED, False) == (code_of(answer), "flow" in answer.json())
    assert (1, 1) == await left(server)
    assert ["pin"] == [event.factor for event in server.events.of(LoginFailed)]


@pytest.mark.parametrize("odd", [None, "", 7, True, [], ["111111"], {}, {"code": 111111}])
async def test_odd_second_factor(server: Server, odd: Any) -> None:
    """What is no code is a wrong one; the flow goes on."""
    answer = await step(server, **PIN, code=odd)
    assert (REFUSED, True) == (code_of(answer), "flow" in answer.json())
    assert 0 == await sessions(server)


@pytest.mark.parametrize("name", ["topt", "code ", "Code", "", "otp"])
async def test_unknown_member(server: Server, name: str) -> None:
    """A misspelt factor is none: the second one is asked for, and nobody is let in without."""
    answer = await server.post("/auth/login", {**PIN, name: "111111"})
    assert ((401, "more_needed"), ["code", "spare"]) == (code_of(answer), answer.json()["next"])
    assert ((1, 1), 0) == (await left(server), await sessions(server))


async def test_second_factor_of_someone_else(server: Server) -> None:
    """A code is of whoever has the pin; that of another user is a wrong one, and stays good."""
    await join(server, "bob", "5678")
    answer = await step(server, username="bob", pin="5678", code="111111")
    assert (REFUSED, (1, 1)) == (code_of(answer), await left(server))


async def test_second_factor_that_asks_first(server: Server) -> None:
    """What answers no challenge is refused; in the flow of its challenge it does."""
    answer = await step(server, **PIN, key={"owner": "ann"})
    assert (400, "invalid_body") == code_of(answer)
    flow = await begin(server, "key", answer.json()["flow"])
    assert IN == code_of(await step(server, flow, factor="key", owner="ann"))


async def test_everything_in_a_flow(server: Server) -> None:
    """A flow that began with a challenge may end in one step, too."""
    flow = await begin(server, "key")
    body = {"factor": "key", "owner": "ann", "code": "111111"}
    assert (IN, 1) == (code_of(await step(server, flow, **body)), await sessions(server))


async def test_second_factor_cannot_begin(server: Server) -> None:
    """The main factor has to be one that a login may start with, whatever comes along."""
    body: dict[str, Any] = {"factor": "code", "code": "111111", "pin": dict(PIN)}
    assert (400, "factor_out_of_place") == code_of(await step(server, **body))
    assert ((1, 1), 0) == (await left(server), await sessions(server))


async def test_fifty_at_once(server: Server) -> None:
    """One code lets one of them in; the others are refused, and each may go on."""
    answers = await asyncio.gather(*(step(server, **PIN, code="111111") for _ in range(50)))
    codes = [code_of(answer) for answer in answers]
    assert {IN: 1, REFUSED: 49} == {code: codes.count(code) for code in codes}
    assert all("flow" in answer.json() for answer in answers if answer.status_code != 200)
    assert (1, (0, 1)) == (await sessions(server), await left(server))


async def test_stepup_in_one_step(server: Server) -> None:
    """A session proves itself afresh in the same form."""
    token = (await step(server, **PIN, spare="999999")).json()["access_token"]
    server.clock.advance(301)
    answer = await server.post("/auth/stepup", {**PIN, "code": "111111"}, token=token)
    assert IN == code_of(answer)
    claims = (await server.post("/jwt/validate", token=answer.json()["access_token"])).json()
    assert server.auth.now() == claims["auth_time"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, "password"),
        ({"username": "ann"}, "password"),
        ({"username": "ann", "password": 5}, "password"),
        ({"username": "ann", "password": "x", "invitation": 5}, "password"),
        ({"invitation": "x"}, "invitation"),
        ({"username": "ann", "invitation": "x"}, "invitation"),
        ({"assertion": {}}, "passkey"),
        ({"nothing": 1}, "invitation"),
        ({"totp": "123456"}, "invitation"),
    ],
)
def test_factor_that_is_not_named(said: dict[str, Any], expected: str) -> None:
    """What is missing is told of the factor that was meant, whichever is listed first."""
    password = {"username": "ann", "password": "correct horse"}
    kinds: Any = {
        "totp": SimpleNamespace(name="totp", starts=False, example={"totp": "123456"}),
        "invitation": SimpleNamespace(name="invitation", starts=True, example={}),
        "passkey": SimpleNamespace(name="passkey", starts=True, example={"assertion": {}}),
        "password": SimpleNamespace(name="password", starts=True, example=password),
    }
    without = {
        name: kind for name, kind in kinds.items() if name != "passkey" or "assertion" in said
    }
    assert expected == likely(without, said)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, "passkey"),
        ({"username": "ann"}, "passkey"),
        ({"link": "x"}, "link"),
        ({"x": 1}, "passkey"),
    ],
)
def test_factor_that_begins_unnamed(said: dict[str, Any], expected: str) -> None:
    """Who asks to begin wants the first that may, whatever others would need."""
    kinds: Any = {
        "totp": SimpleNamespace(name="totp", starts=False, example={"totp": "123456"}),
        "passkey": SimpleNamespace(name="passkey", starts=True, example={}),
        "link": SimpleNamespace(name="link", starts=True, example={}),
        "password": SimpleNamespace(name="password", starts=True, example={"username": "ann"}),
    }
    assert expected == first(kinds, said)
